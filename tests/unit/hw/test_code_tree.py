"""A root with code alone: what is there, by which names, and what went on being open."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hw import code_tree, namespaces
from hw.child_answer import answer_of_child


@pytest.fixture
def at(tmp_path: Path) -> Path:
    folder = tmp_path / "at"
    folder.mkdir()
    if not code_tree.permitted(folder):
        pytest.skip("this host permits no file tree of one's own")
    return folder


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "module.py").write_text("code")
    (tmp_path / "private").write_text("private")
    return folder


def seen(paths: list[Path], at: Path, look: Callable[[], object]) -> str:
    """What `look` finds in the tree."""
    caller = os.getpid()

    def enter() -> bytes:
        namespaces.enter(caller)
        assert code_tree.enter(paths, at)
        return repr(look()).encode()

    return answer_of_child(enter).decode()


def test_what_was_named_is_there_alone(at: Path, code: Path, tmp_path: Path) -> None:
    def look() -> object:
        return (code / "module.py").read_text(), os.listdir(tmp_path), os.path.exists("/etc/passwd"), os.getcwd()

    assert seen([code], at, look) == repr(("code", ["code"], False, "/"))


def test_a_file_alone_and_by_links(at: Path, code: Path, tmp_path: Path) -> None:
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to(code)
    (tmp_path / "round").symlink_to("round")
    named = tmp_path / "first" / "module.py"

    def look() -> object:
        return named.read_text(), os.listdir(code), sorted(os.listdir(tmp_path))

    paths = [named, tmp_path / "round", tmp_path / "missing"]
    assert seen(paths, at, look) == repr(("code", ["module.py"], ["code", "first", "round", "second"]))


def test_what_is_open_stays_and_nothing_is_made(at: Path, code: Path) -> None:
    folder = os.open(at, os.O_RDONLY | os.O_DIRECTORY)

    def look() -> object:
        log = os.open("log", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=folder)
        os.write(log, b"a line")
        try:
            os.mkdir("/made")
        except OSError as error:
            return error.strerror, Path("/proc/self/statm").exists()
        return "made"

    try:
        assert seen([code], at, look) == repr(("Read-only file system", True))
    finally:
        os.close(folder)
    assert (at / "log").read_text() == "a line"


def test_where_it_is_refused_nothing_has_changed(at: Path, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = os.getpid()

    def enter() -> bytes:
        namespaces.enter(caller)
        os.chdir(code)
        monkeypatch.setattr(code_tree, "_pivot", _refused)
        return repr((code_tree.enter([code], at), os.getcwd() == str(code), os.listdir(at))).encode()

    assert answer_of_child(enter).decode() == repr((False, True, []))


def _refused(_at: object) -> None:
    raise PermissionError
