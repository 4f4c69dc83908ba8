"""The hour of docs/guide/teaching.md, where it changes the kernel: in a copy of the tree, to the letter."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, Supervisor
from tests.system.test_guides import blocks
from tests.system.tree import Tree

PAGE = "teaching.md"
pytestmark = pytest.mark.slow


@pytest.fixture
def tree(sel4py: Supervisor, tmp_path: Path) -> Tree:
    """With the system call of one's own; it is what `sel4py` runs."""
    made = Tree(tmp_path / "tree", sel4py)
    sel4py.root = tmp_path / "tree"
    number, case, command = blocks(PAGE, "python")
    made.change("libsel4py/abi.py", "    CANCEL = -32", f"{number}    CANCEL = -32")
    made.change("kerneld/syscall.py", "        case Syscall.EXIT:\n", f"{case}        case Syscall.EXIT:\n")
    imports, _, function = command.partition("\n\n\n")
    shell, first = "apps/shell/commands/system.py", "from apps.shell.command import"
    made.change(shell, first, f"{imports}\n{first}")
    with (tmp_path / "tree" / shell).open("a", encoding="utf-8") as file:
        file.write(f"\n\n{function}")
    return made


def test_the_system_call_of_one_s_own(sel4py: Supervisor, tree: Tree) -> None:
    shown = sel4py.ok("up", "minimal", typed=b"clock\nclock\nexit\n")
    first, second = map(int, re.findall(r"(\d+) us", shown))
    assert 0 < first <= second
    _, case, _ = blocks(PAGE, "python")
    tree.change("kerneld/syscall.py", case, "")
    ended = sel4py.run("up", "minimal", typed=b"clock\n")
    assert ended.status == 1, ended
    said = "root INFO: an essential task has ended: the system ends with status 1"
    assert said in (ROOT / "docs/guide" / PAGE).read_text(encoding="utf-8")
    assert said in sel4py.ok("logs", "root", "--system", "minimal")


def test_the_check_that_is_taken_out_is_missed(sel4py: Supervisor, tmp_path: Path) -> None:
    text = (ROOT / "docs/guide" / PAGE).read_text(encoding="utf-8")
    (line,) = re.findall(r"In `decode_copy`, replace the line `(.*?)` by `pass`", text)
    root = tmp_path / "tree"
    tree = Tree(root, sel4py, "tests")
    shutil.copy(ROOT / "pyproject.toml", root)
    cnode = (root / "kerneld/objects/cnode.py").read_text(encoding="utf-8")
    found = re.search(rf"(?s)def decode_copy.*?{re.escape(line)}", cnode)
    assert found is not None
    tree.change("kerneld/objects/cnode.py", found[0], found[0].replace(line, "pass"))
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
