"""The hour of docs/guide/teaching.md, where it changes the kernel: in a copy of the tree, to the letter."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, Supervisor
from tests.system.test_guides import blocks

PAGE = "teaching.md"
CODE = ("apps", "deploy", "hw", "kerneld", "libsel4py", "servers")
TESTS = "tests"
pytestmark = pytest.mark.slow


def copied(folder: Path, *names: str) -> Path:
    """A tree of its own with these folders of this one."""
    unneeded = shutil.ignore_patterns("__pycache__", ".hypothesis")
    for name in names:
        shutil.copytree(ROOT / name, folder / name, ignore=unneeded)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def change(file: Path, old: str, new: str) -> None:
    """Put something in the place of what is there once."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} has {old!r} {text.count(old)} times"
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def changed(sel4py: Supervisor, tmp_path: Path) -> Iterator[Path]:
    """The tree with the system call of one's own, which `sel4py` runs."""
    sel4py.root = root = copied(tmp_path / "tree", *CODE)
    sel4py.environment["PYTHONPATH"] = str(root)
    number, case, command = blocks(PAGE, "python")
    change(root / "libsel4py/abi.py", "    CANCEL = -32", f"{number}    CANCEL = -32")
    change(root / "kerneld/syscall.py", "        case Syscall.EXIT:\n", f"{case}        case Syscall.EXIT:\n")
    commands = root / "apps/shell/commands/system.py"
    imports, _, function = command.partition("\n\n\n")
    change(commands, "from apps.shell.command import", f"{imports}\nfrom apps.shell.command import")
    with commands.open("a", encoding="utf-8") as file:
        file.write(f"\n\n{function}")
    yield root
    shutil.rmtree(root)


def test_the_system_call_of_one_s_own(sel4py: Supervisor, changed: Path) -> None:
    shown = sel4py.ok("up", "minimal", typed=b"clock\nclock\nexit\n")
    first, second = map(int, re.findall(r"(\d+) us", shown))
    assert 0 < first <= second
    _, case, _ = blocks(PAGE, "python")
    change(changed / "kerneld/syscall.py", case, "")
    ended = sel4py.run("up", "minimal", typed=b"clock\n")
    assert ended.status == 1, ended
    said = "root INFO: an essential task has ended: the system ends with status 1"
    assert said in (ROOT / "docs/guide" / PAGE).read_text(encoding="utf-8")
    assert said in sel4py.ok("logs", "root", "--system", "minimal")


def test_the_check_that_is_taken_out_is_missed(tmp_path: Path) -> None:
    text = (ROOT / "docs/guide" / PAGE).read_text(encoding="utf-8")
    (line,) = re.findall(r"In `decode_copy`, replace the line `(.*?)` by `pass`", text)
    root = copied(tmp_path / "tree", *CODE, TESTS)
    objects = root / "kerneld/objects/cnode.py"
    before, found, behind = objects.read_text(encoding="utf-8").partition("def decode_copy")
    assert found
    assert line in behind
    objects.write_text(before + found + behind.replace(line, "pass", 1), encoding="utf-8")
    (command,) = re.findall(r"^\$ \.venv/bin/python (-m pytest tests/unit/kernel/.*)$", text, re.MULTILINE)
    done = subprocess.run(
        [sys.executable, *command.split(), "-p", "no:cacheprovider"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 1, done
    shown = blocks(PAGE, "text")
    (told,) = [each for each in shown if command in each]
    for failed in re.findall(r"^FAILED (\S+)", told, re.MULTILINE):
        assert failed in done.stdout, done.stdout[-4000:]
    assert "AssertionError: order-linked: slot" in done.stdout
    shutil.rmtree(root)
