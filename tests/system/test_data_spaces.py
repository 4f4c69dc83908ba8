"""Data spaces of all kinds in booted systems, opened and driven by one set of operations (RefOS)."""

from __future__ import annotations

from pathlib import Path

from tests.system.supervisor import ROOT, Supervisor

SYSTEM = """
[system]
name = "spaces"
paths = ["{root}"]

[machine]
ram = "512M"
[machine.devices.uart0]
type = "uart"
port = 0x3F8
irq = 4
backend = "stdio"

[task.serial]
image = "servers.serial.main"
priority = 200
devices = {{ uart = "uart0" }}
[task.serial.provides]
serial = "libsel4py.interfaces.serial:Serial"
data = "libsel4py.interfaces.data_space:DataSpaces"

[task.windows]
image = "servers.windows.main"
priority = 150
pool = "4M"
slot_bits = 12
provides = {{ windows = "libsel4py.interfaces.windows:Windows" }}

[task.client]
image = "tests.system.images.opening"
essential = true
pager = "windows"
paged = "64K"
config = {{ kinds = "{kinds}" }}
[task.client.uses]
windows = {{ from = "windows.windows", rights = "wgp" }}
{uses}
"""
CONSOLE = """
[task.console]
image = "servers.console.main"
priority = 190
threads = 1
uses = { serial = "serial.serial" }
[task.console.provides]
console = "libsel4py.interfaces.console:Console"
data = "libsel4py.interfaces.data_space:DataSpaces"
"""
OTHERS = """
[task.clock]
image = "servers.clock.main"
priority = 180
[task.clock.provides]
clock = "libsel4py.interfaces.clock:Clock"
data = "libsel4py.interfaces.data_space:DataSpaces"

[task.memory]
image = "servers.dataspaces.main"
pool = "1M"
slot_bits = 10
provides = { data = "libsel4py.interfaces.data_space:DataSpaces" }

[task.ramfs]
image = "servers.ramfs.main"
pool = "1M"
provides = { root = "libsel4py.interfaces.file:Directory" }

[task.filed]
image = "servers.dataspaces.main"
pool = "2M"
slot_bits = 10
provides = { data = "libsel4py.interfaces.data_space:DataSpaces" }
uses = { files = { from = "ramfs.root", rights = "wgp" } }
"""


def test_REF01_memory_files_timer_and_serial_line_are_opened_read_written_and_mapped_by_the_same_operations(
    sel4py: Supervisor, tmp_path: Path
) -> None:
    description = tmp_path / "spaces.toml"
    names = {"memory": "memory", "file": "filed", "timer": "clock", "serial": "serial"}
    lines = [f'{kind} = {{ from = "{task}.data", rights = "wgp" }}' for kind, task in names.items()]
    description.write_text(SYSTEM.format(root=ROOT, kinds=" ".join(names), uses="\n".join(lines)) + OTHERS)
    terminal = sel4py.terminal("up", description)
    terminal.until(b"serial says: type xyz")
    terminal.until(b"!")
    terminal.type(b"xyz")
    assert terminal.wait() == 0, sel4py.run("logs", "--system", "spaces").output


def test_REF01_a_console_is_opened_read_and_written_by_the_same_operations(sel4py: Supervisor, tmp_path: Path) -> None:
    description = tmp_path / "spaces.toml"
    uses = 'console = { from = "console.data", rights = "wgp" }'
    description.write_text(SYSTEM.format(root=ROOT, kinds="console", uses=uses) + CONSOLE)
    terminal = sel4py.terminal("up", description)
    terminal.until(b"console says: type two lines")
    terminal.type("first\rzwö\r".encode())
    assert terminal.wait() == 0, sel4py.run("logs", "--system", "spaces").output
