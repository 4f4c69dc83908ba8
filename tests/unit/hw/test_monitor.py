"""The monitor's process, without a system below it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hw import monitor
from hw.monitor import Monitor, MonitorOptions, run
from hw.runtime_folder import prepare_folder


def test_a_system_that_cannot_be_started_leaves_its_logs_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "one"

    def fails(self: Monitor, console: tuple[int, ...]) -> None:
        (folder / "monitor.pid").write_text("1\n")
        (folder / "console").symlink_to("/dev/null")
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(monitor, "hide_memory", lambda: None)
    monkeypatch.setattr(Monitor, "start", fails)
    with pytest.raises(OSError, match="Too many open files"):
        run(MonitorOptions("one", folder, 1 << 28, ("servers.root.main",)))
    assert [each.name for each in folder.iterdir()] == ["logs"]


def test_logs_of_another_place_stay(tmp_path: Path) -> None:
    folder, other = tmp_path / "one", tmp_path / "other"
    folder.mkdir(mode=0o700)
    other.mkdir()
    (other / "kept.log").touch()
    (folder / "logs").symlink_to(other)
    with pytest.raises(PermissionError, match="is a link, and logs that it leads to would be removed"):
        prepare_folder(folder)
    assert (other / "kept.log").exists()
