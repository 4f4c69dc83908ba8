"""What ``sel4py new`` writes: small, complete, sound, and there whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import scaffold as module
from deploy.description import load
from deploy.runtime import RuntimeRefused
from deploy.scaffold import scaffold
from hw.module_path import TREE


def test_writes_a_server_of_at_most_thirty_lines(tmp_path: Path) -> None:
    files = scaffold(tmp_path / "greeter")
    assert all(path.is_file() for path in files)
    server = [tmp_path / "greeter" / "greeter" / name for name in ("interface.py", "main.py")]
    assert sum(len(path.read_text().splitlines()) for path in server) <= 30
    for path in files:
        if path.suffix == ".py":
            compile(path.read_text(), path, "exec")
        assert "$" not in path.read_text()
    assert os.listdir(tmp_path) == ["greeter"]


@pytest.mark.parametrize("arguments", [("check", "--select", "E,F,I,B,UP,SIM,PIE,RUF"), ("format", "--check")])
def test_what_it_writes_is_formatted_and_linted(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    scaffold(tmp_path / "time_keeper")
    command = [sys.executable, "-m", "ruff", *arguments, "--isolated", "--line-length", "120", "."]
    done = subprocess.run(command, cwd=tmp_path / "time_keeper", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_its_own_tests_pass_and_its_description_is_right(tmp_path: Path) -> None:
    scaffold(tmp_path / "time_keeper")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "time_keeper"]
    environment = {**os.environ, "PYTHONPATH": str(TREE), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
    assert load(tmp_path / "time_keeper" / "system.toml").system.task("time_keeper").image == "time_keeper.main"


@pytest.mark.parametrize("name", ["Greeter", "a-b", "class", "9lives", "json", "libsel4py", "msgpack", "x" * 40])
def test_refuses_names_that_cannot_be_a_new_package(tmp_path: Path, name: str) -> None:
    with pytest.raises(RuntimeRefused, match=r"cannot be called|would hide"):
        scaffold(tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_refuses_a_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "greeter").mkdir()
    with pytest.raises(FileExistsError, match="there already"):
        scaffold(tmp_path / "greeter")


def test_says_so_where_a_component_of_that_name_is_in_the_tree_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaffold(tmp_path / "greeter")
    monkeypatch.setattr(module, "TREE", tmp_path)
    with pytest.raises(FileExistsError, match="there already"):
        scaffold(tmp_path / "greeter")


def test_says_which_folder_to_make_first(tmp_path: Path) -> None:
    with pytest.raises(RuntimeRefused, match=f"there is no folder {tmp_path / 'shop'} to write till into"):
        scaffold(tmp_path / "shop" / "till")


def test_leaves_nothing_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module._FILES, "broken", "$unknown")
    with pytest.raises(KeyError):
        scaffold(tmp_path / "greeter")
    assert os.listdir(tmp_path) == []
