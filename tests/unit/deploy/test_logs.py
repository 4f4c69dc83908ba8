"""Reading and following logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.logs import LINE_LIMIT, LogLine, read_logs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "logs").mkdir()
    return tmp_path


def test_follows_lines_and_new_logs_until_the_end(folder: Path) -> None:
    ping = folder / "logs" / "ping.log"
    ping.write_text("one\ntw")
    steps = iter([False, False, True])

    def ended() -> bool:
        step = next(steps)
        if not step:
            with ping.open("a") as file:
                file.write("o\n")
            (folder / "logs" / "pong.log").write_text("late")
        return step

    found = list(read_logs(folder, None, ended))
    assert found == [
        LogLine("ping", "one"),
        LogLine("ping", "two"),
        LogLine("ping", "o"),
        LogLine("pong", "late"),
    ]


def test_a_line_without_end_is_told_in_pieces(folder: Path) -> None:
    (folder / "logs" / "ping.log").write_bytes(b"x" * (2 * LINE_LIMIT + 5))
    lengths = [len(line.text) for line in read_logs(folder, ["ping"])]
    assert lengths == [LINE_LIMIT, LINE_LIMIT, 5]


def test_a_link_is_not_followed(folder: Path) -> None:
    (folder / "secret").write_text("secret")
    (folder / "logs" / "ping.log").symlink_to(folder / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        list(read_logs(folder, ["ping"]))
