"""DMA in a booted system: a device fills the frames that its driver mapped for it, and no other memory."""

from __future__ import annotations

import re
from pathlib import Path

from tests.system.supervisor import ROOT, Supervisor

DESCRIPTION = f"""
[system]
name = "dma"
paths = ["{ROOT}"]

[machine.devices.uart0]
type = "uart"
port = 0x3F8
irq = 4

[machine.devices.entropy0]
type = "entropy"
port = 0x100
irq = 5

[task.driver]
image = "tests.system.images.transfers"
restart = "always"
devices = {{ rng = {{ device = "entropy0", io_space = "4K" }}, uart = "uart0" }}
"""
LENGTHS = 5000
PAGE = 4096


def test_a_device_reaches_its_driver_s_frames_and_nothing_else(sel4py: Supervisor, tmp_path: Path) -> None:
    description = tmp_path / "dma.toml"
    description.write_text(DESCRIPTION)
    terminal = sel4py.terminal("up", description)
    said = terminal.until(b"done").decode()
    found = re.search(r"filled (\w+) (\w+) foreign (\w+)", said)
    assert found is not None, said
    first, second, foreign = (int(address, 16) for address in found.groups())
    image = tmp_path / "image"
    sel4py.ok("image", image)
    with image.open("rb") as ram:

        def read(address: int, size: int) -> bytes:
            ram.seek(address)
            return ram.read(size)

        # A page of random bytes has about 16 zeroes.
        assert read(first, PAGE).count(0) < 100
        assert read(second, LENGTHS - PAGE).count(0) < 50
        assert read(second + LENGTHS - PAGE, 2 * PAGE - LENGTHS) == bytes(2 * PAGE - LENGTHS)
        assert read(foreign, PAGE) == bytes(PAGE)
    (space,) = sel4py.rows("inspect", "io_spaces")
    assert space["device"] == 1
    assert [row["frame"] for row in space["mappings"]][-2:] == [f"0x{first:x}", f"0x{second:x}"]  # type: ignore[attr-defined]
    assert sel4py.result("fsck") == {"broken": []}
    assert "rng→entropy0,io_space=4K" in sel4py.ok("check", description)
    sel4py.ok("down")
    assert terminal.wait() == 0


def test_a_driver_s_second_life_finds_its_io_space_empty(sel4py: Supervisor, tmp_path: Path) -> None:
    description = tmp_path / "dma.toml"
    description.write_text(DESCRIPTION)
    terminal = sel4py.terminal("up", description)
    terminal.until(b"done")
    sel4py.ok("kill", "driver")
    terminal.until(b"done")
    assert sel4py.result("fsck") == {"broken": []}
    sel4py.ok("down")
    assert terminal.wait() == 0
