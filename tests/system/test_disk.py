"""A disk in a booted system: image file, device, driver and a client's own memory."""

from __future__ import annotations

from pathlib import Path

from tests.system.supervisor import ROOT, Supervisor

DESCRIPTION = f"""
[system]
name = "disk"
paths = ["{ROOT}"]

[machine.devices.uart0]
type = "uart"
port = 0x3F8
irq = 4

[machine.devices.disk0]
type = "virtio-block"
port = 0x1000
irq = 5
image = "disk.img"
size = "8M"

[task.serial]
image = "servers.serial.main"
priority = 200
provides = {{ serial = "libsel4py.interfaces.serial:Serial" }}
devices = {{ uart = "uart0" }}

[task.console]
image = "servers.console.main"
priority = 190
threads = 1
uses = {{ serial = "serial.serial" }}
provides = {{ console = "libsel4py.interfaces.console:Console" }}

[task.block]
image = "servers.block.main"
priority = 180
restart = "always"
provides = {{ disk = "libsel4py.interfaces.block:Block" }}
devices = {{ disk = {{ device = "disk0", io_space = "4K" }} }}

[task.user]
image = "tests.system.images.disk_user"
essential = true
pool = "4M"
uses = {{ disk = {{ from = "block.disk", rights = "wgp" }}, console = "console.console" }}
"""


def test_what_a_client_writes_is_in_the_image(sel4py: Supervisor, tmp_path: Path) -> None:
    description = tmp_path / "disk.toml"
    description.write_text(DESCRIPTION)
    terminal = sel4py.terminal("up", description)

    def ask(line: str) -> str:
        terminal.type(line.encode() + b"\n")
        terminal.until(b"@")
        return terminal.until(b"\n").decode().strip()

    assert ask("size") == "16384"
    assert ask("fill 8 16 7") == "written"
    assert (tmp_path / "disk.img").read_bytes()[4096:12288] == b"\7" * 8192
    assert ask("look 8 16") == "7"
    assert ask("look 0 64") == "0 7"
    assert ask("scatter 30") == "same"
    assert ask("look 16384 1").startswith("BadRequest")
    print(ask("speed 8 1000"), ask("speed 128 1000"))
    terminal.type(b"end\n")
    assert terminal.wait() == 0
