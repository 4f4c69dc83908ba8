"""Which of the host's files a task may read."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

from kerneld.host.code_paths import code_paths


def holds(paths: list[str], file: str | Path) -> bool:
    place = Path(file).resolve()
    return any(place == Path(path) or Path(path) in place.parents for path in paths)


def test_the_interpreter_its_libraries_and_what_was_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("loaded", "unloaded"):
        (tmp_path / f"{name}.py").write_text("")
        (tmp_path / f"{name}_package").mkdir()
        (tmp_path / f"{name}_package" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("loaded", "loaded_package"):
        importlib.import_module(name)
    try:
        paths = code_paths()
    finally:
        del sys.modules["loaded"], sys.modules["loaded_package"]
    for file in (json.__file__, pytest.__file__, __file__, tmp_path / "loaded.py", tmp_path / "loaded_package/more.py"):
        assert holds(paths, file), file
    for file in (
        tmp_path,
        tmp_path / "unloaded.py",
        tmp_path / "unloaded_package",
        Path.home() / ".ssh",
        "/etc/passwd",
    ):
        assert not holds(paths, file), file
    assert holds(code_paths([str(tmp_path)]), tmp_path / "unloaded.py")


def test_no_path_lies_in_another() -> None:
    paths = [Path(path) for path in code_paths()]
    assert not [path for path in paths if set(path.parents) & set(paths)]
