"""The disk's driver in a booted system: it conforms, outlives hostile clients and their memory, and comes back."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from tests.system.supervisor import Supervisor, Terminal
from tests.system.test_disk import DESCRIPTION

SECTORS = 16384
MINE, THEIRS = (2048, 8192), (10240, 128)  # partitions: first sector, sectors
ATTACKER = """
[task.attacker]
image = "tests.system.images.disk_attacker"
pool = "1M"
uses = { disk = { from = "block.disk", rights = "wgp" }, console = "console.console" }
config = { messages = MESSAGES, seed = SEED }
"""


def description(folder: Path, further: str = "", partitions: str = "") -> Path:
    text = DESCRIPTION.replace(
        'image = "tests.system.images.disk_user"', 'image = "tests.system.images.disk_user"\nthreads = 2'
    )
    if partitions:
        text = text.replace("[task.block]", f"[task.block]\nconfig = {{ partitions = {partitions} }}")
    path = folder / "disk.toml"
    path.write_text(text + further)
    return path


def ask(terminal: Terminal, line: str) -> str:
    terminal.type(line.encode() + b"\n")
    return answer(terminal)


def answer(terminal: Terminal) -> str:
    terminal.until(b"@")
    return terminal.until(b"\n").decode().strip()


def end(terminal: Terminal) -> None:
    terminal.type(b"end\n")
    assert terminal.wait() == 0


def test_it_conforms(sel4py: Supervisor, tmp_path: Path) -> None:
    terminal = sel4py.terminal("up", description(tmp_path))
    assert ask(terminal, "conform") == "conforms"
    assert sel4py.result("fsck") == {"broken": []}
    end(terminal)


def test_memory_that_is_taken_back_while_the_disk_reads_to_it(sel4py: Supervisor, tmp_path: Path) -> None:
    terminal = sel4py.terminal("up", description(tmp_path))
    assert ask(terminal, "fill 8 16 7") == "written"
    assert re.fullmatch(r"lost \d+", ask(terminal, "lose 50"))
    assert ask(terminal, "look 8 16") == "7"
    assert sel4py.result("fsck") == {"broken": []}
    (driver,) = [row for row in sel4py.rows("ps") if row["name"] == "block"]
    assert driver["restarts"] == 0
    end(terminal)


def test_a_driver_s_successor_goes_on_with_the_disk(sel4py: Supervisor, tmp_path: Path) -> None:
    terminal = sel4py.terminal("up", description(tmp_path))
    for number in range(1, 4):
        assert ask(terminal, f"fill 8 16 {number}") == "written"
        sel4py.ok("kill", "block")
        said = ask(terminal, "look 8 16")
        assert said.startswith(("ServerDied", "BadRequest: there is no buffer")), said
        assert ask(terminal, "attach") == "attached"
        assert ask(terminal, "look 8 16") == str(number)
    assert sel4py.result("fsck") == {"broken": []}
    end(terminal)


@pytest.mark.parametrize("messages", [1000, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_a_hostile_client_harms_itself_alone(sel4py: Supervisor, tmp_path: Path, messages: int) -> None:
    image = tmp_path / "disk.img"
    table = b"".join(struct.pack("<B3xB3xII", 0, 0x83, *each) for each in (MINE, THEIRS))
    image.write_bytes((bytes(446) + table).ljust(510, b"\0") + b"\x55\xaa" + b"\x11" * 512 * (SECTORS - 1))
    further = ATTACKER.replace("MESSAGES", str(messages)).replace("SEED", "5")
    terminal = sel4py.terminal("up", description(tmp_path, further, "{ user = 1, attacker = 2 }"))
    terminal.until(b"@attacked ", seconds=500)
    refused, done = map(int, re.findall(r"\d+", terminal.until(b"done").decode()))
    assert refused + done == messages
    assert done > messages // 5, "the attacker's requests make so little sense that they test nothing"
    assert ask(terminal, "size") == str(MINE[1])
    assert ask(terminal, "fill 0 16 7") == "written"
    assert ask(terminal, "look 0 64") == "7 17"
    (driver,) = [row for row in sel4py.rows("ps") if row["name"] == "block"]
    assert driver["restarts"] == 0
    assert sel4py.result("fsck") == {"broken": []}
    end(terminal)
    found = image.read_bytes()
    assert found[512 : 512 * MINE[0]] == b"\x11" * 512 * (MINE[0] - 1)
    assert found[512 * MINE[0] : 512 * THEIRS[0]] == b"\7" * 8192 + b"\x11" * (512 * MINE[1] - 8192)
    assert found[512 * sum(THEIRS) :] == b"\x11" * 512 * (SECTORS - sum(THEIRS))
    assert found[512 * THEIRS[0] : 512 * sum(THEIRS)] != b"\x11" * 512 * THEIRS[1], "it has written nothing"
