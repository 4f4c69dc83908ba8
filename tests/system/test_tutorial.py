"""The README's tutorial, followed to the letter in a folder of one's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.supervisor import PROMPT, ROOT, Supervisor

SERVER_LINES = 30


@pytest.fixture
def greeter(sel4py: Supervisor, tmp_path: Path) -> Path:
    """What `sel4py new greeter` makes."""
    folder = tmp_path / "greeter"
    output = sel4py.ok("new", folder)
    assert f"run it: sel4py up {folder}/system.toml" in output
    return folder


def test_the_readme_says_what_is_followed_here() -> None:
    readme = (ROOT / "README.md").read_text()
    for command in ("sel4py new greeter", "sel4py up greeter/system.toml"):
        assert command in readme


def test_the_server_is_short_and_its_own_test_passes(greeter: Path) -> None:
    for file in greeter.rglob("*.py"):
        assert len(file.read_text().splitlines()) <= SERVER_LINES, file
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(greeter), "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=greeter.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


def test_the_server_is_called_from_the_shell(sel4py: Supervisor, greeter: Path) -> None:
    assert "greeter.main" in sel4py.ok("check", greeter / "system.toml")
    terminal = sel4py.terminal("up", greeter / "system.toml")
    terminal.until(PROMPT)
    for number, name in enumerate((b"world", b"'Ada L.'"), 1):
        terminal.type(b"call greeter greet " + name + b"\r")
        terminal.until(b"hello %s, you are number %d" % (name.strip(b"'"), number))
        terminal.until(PROMPT)
    for typed, answer in (
        (b"call greeter greet", b"greet NAME"),
        (b"call greeter praise me", b"no method 'praise'; it has greet"),
        (b"call nobody greet me", b"shell may find greeter, and 'nobody' is not among it"),
    ):
        terminal.type(typed + b"\r")
        terminal.until(answer)
        terminal.until(PROMPT)
    terminal.type(b"exit\r")
    assert terminal.wait() == 0


def test_a_client_of_its_own_is_connected_by_the_description(sel4py: Supervisor, greeter: Path) -> None:
    """What the README says next: `self.uses.greeter.greet("ada")` in a task that the description connects."""
    (greeter / "greeter" / "client.py").write_text(
        "from libsel4py import Component, component\n\n\n"
        "@component\n"
        "class Main(Component):\n"
        "    def run(self) -> int:\n"
        '        self.log.info("%s", self.uses.greeter.greet("ada"))\n'
        "        return 0\n"
    )
    description = greeter / "system.toml"
    description.write_text(
        description.read_text()
        + '\n[task.client]\nimage = "greeter.client"\nuses = { greeter = "greeter.greeter" }\nessential = true\n'
    )
    terminal = sel4py.terminal("up", description)
    assert terminal.wait() == 0
    description.write_text(description.read_text().replace('uses = { greeter = "greeter.greeter" }\n', ""))
    terminal = sel4py.terminal("up", description)
    assert terminal.wait() == 1
    log = sel4py.ok("logs", "client", "--system", "greeter")
    assert re.search(r"AttributeError: this task has no connection 'greeter'", log), log
