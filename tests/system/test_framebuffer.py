"""Device memory of a booted system: a driver has it, and nobody else; it outlives drivers, kernels and the system."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, cast

import pytest

from tests.memory_rows import check_sums
from tests.system.supervisor import ROOT, Supervisor
from tests.system.test_kernel_restart import Kernel

SYSTEM = """
[system]
name = "drawing"
paths = ["{root}"]

[machine.devices.screen0]
type = "framebuffer"
port = 0x200
irq = 5
width = 64
height = 48
pictures = 2

[machine.devices.entropy0]
type = "entropy"
port = 0x100
irq = 6

[task.server]
image = "tests.system.images.lent"
restart = "always"
memory = "256M"
slot_bits = 10
provides = {{ lent = "tests.system.images.lent:Lent" }}

[task.driver]
image = "tests.system.images.drawing"
memory = "256M"
slot_bits = 10
config = {{ scene = "{scene}" }}
devices = {{ screen = "screen0", rng = {{ device = "entropy0", io_space = "4K" }} }}
uses = {{ service = {{ from = "server.lent", rights = "rwgp" }} }}
{more}
"""
PAINTER = """
[system]
name = "painting"

[machine.devices.screen0]
type = "framebuffer"
port = 0x200
irq = 5
width = 640
height = 480
pictures = 2

[task.painter]
image = "apps.painter.main"
restart = "always"
devices = { screen = "screen0" }
config = { pause = 0.001 }
"""


def describe(folder: Path, scene: str, more: str = "") -> Path:
    description = folder / "drawing.toml"
    ram = '[machine]\nram = "1G"\n\n[machine.devices.screen0]'
    text = SYSTEM.format(root=ROOT, scene=scene, more=more).replace("[machine.devices.screen0]", ram, 1)
    description.write_text(text)
    return description


def pixels(file: Path) -> tuple[int, list[bytes]]:
    """A PNG's width, and its lines of red, green and blue."""
    data = file.read_bytes()
    width = int.from_bytes(data[16:20], "big")
    at = data.index(b"IDAT")
    lines = zlib.decompress(data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at], "big")])
    return width, [lines[at + 1 : at + 1 + 3 * width] for at in range(0, len(lines), 1 + 3 * width)]


def wait_said(sel4py: Supervisor, task: str, text: str) -> None:
    while text not in (log := sel4py.run("logs", task).output):
        assert "Error" not in log, log


def presented(sel4py: Supervisor) -> int:
    (row, *_) = sel4py.rows("inspect", "devices")
    return int(cast(dict[str, Any], row["state"])["presented"])


@pytest.mark.parametrize("scene", ["rights", "taken", "refused", "lends"])
def test_a_driver_has_its_device_s_memory_as_other_memory_but_for_what_is_not_allowed(
    sel4py: Supervisor, tmp_path: Path, scene: str
) -> None:
    ended = sel4py.run("up", describe(tmp_path, scene, "essential = true"))
    logs = "" if not ended.status else sel4py.run("logs", "--system", "drawing").output
    assert ended.status == 0, f"{ended}\n{logs}"


def test_what_is_drawn_and_presented_is_what_people_see(sel4py: Supervisor, tmp_path: Path) -> None:
    file = tmp_path / "shown.png"
    sel4py.ok("up", describe(tmp_path, "draws"), "--detach")
    wait_said(sel4py, "driver", "drawn")
    assert "64 x 48" in sel4py.ok("screenshot", file)
    width, lines = pixels(file)
    assert (width, len(lines)) == (64, 48)
    assert lines[:4] == [b"\3\2\1" * 64, b"\x55" * 192, b"\xff\x88\0" * 64, bytes(192)]
    found = cast(dict[str, Any], sel4py.result("inspect", "memory"))
    check_sums(found)
    assert found["ram"] == 1 << 30
    (memory,) = found["devices"]
    assert (int(memory["address"], 16) >= 1 << 30, memory["bytes"], memory["free"]) == (True, 1 << 15, 0)
    assert sel4py.result("fsck") == {"broken": []}
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    refused = sel4py.run("screenshot", other)
    assert (refused.status, other.read_text()) == (1, "mine")
    assert "no such framebuffer; there are screen0" in sel4py.run("screenshot", file, "--device", "other").error
    sel4py.ok("down")


def test_a_store_to_registers_that_may_only_be_read_ends_the_task_that_makes_it(
    sel4py: Supervisor, tmp_path: Path
) -> None:
    sel4py.ok("up", describe(tmp_path, "stores"), "--detach")
    while "The thread faulted" not in (why := sel4py.ok("why", "driver")):
        continue
    assert "where what is mapped gives Read" in why
    sel4py.ok("down")


def test_device_memory_outlives_drivers_kernels_and_a_suspended_system(sel4py: Supervisor, tmp_path: Path) -> None:
    sel4py.ok("up", describe(tmp_path, "lives", 'restart = "always"'), "--detach")
    wait_said(sel4py, "driver", "found 0")
    sel4py.ok("kill", "driver")
    wait_said(sel4py, "driver", "found 1")
    kernel = Kernel(sel4py, "drawing")
    kernel.kill()
    assert kernel.sound()
    sel4py.ok("kill", "driver")
    wait_said(sel4py, "driver", "found 2")
    kernel.kill()
    file = tmp_path / "file"
    sel4py.ok("suspend", file)
    image = cast(dict[str, Any], sel4py.result("inspect", "memory", "--image", file))
    check_sums(image)
    assert image["ram"] == 1 << 30
    assert sel4py.result("fsck", "--image", file) == {"broken": []}
    sel4py.ok("resume", file, "--detach")
    wait_said(sel4py, "driver", "found 3")
    assert sel4py.result("fsck") == {"broken": []}
    sel4py.ok("down")


def test_a_painter_does_not_notice_that_kernels_die(sel4py: Supervisor, tmp_path: Path) -> None:
    description, file = tmp_path / "painting.toml", tmp_path / "shown.png"
    description.write_text(PAINTER)
    sel4py.ok("up", description, "--detach")
    kernel = Kernel(sel4py, "painting")
    for _ in range(5):
        before = presented(sel4py)
        while presented(sel4py) < before + 3:
            continue
        kernel.kill()
        assert kernel.sound()
    before = presented(sel4py)
    while presented(sel4py) < before + 3:
        continue
    (painter,) = [row for row in sel4py.rows("ps") if row["name"] == "painter"]
    assert painter["restarts"] == 0
    sel4py.ok("screenshot", file)
    _, lines = pixels(file)
    bars, other = max(lines, key=lines.count), min(lines, key=lines.count)
    assert (lines.count(bars), lines.count(other)) == (479, 1)
    assert bars[:3] + bars[3 * 560 - 3 : 3 * 560] + bars[-3:] == b"\xff\xff\xff\0\0\xff\0\0\0"
    assert other == b"\x80" * 1920
    sel4py.ok("down")
