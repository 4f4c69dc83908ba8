"""The system description of a confined run: one program, and the servers by which its streams and files reach it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from deploy.confined.gifts import Gift
from deploy.quantities import format_size
from libsel4py.streams import MTU

LINE: Final = "line0"  # the device by which its streams go
PROGRAM: Final = "script"  # what the program's task is called
SERVERS_RAM: Final = 512 << 20  # root's, the servers', and what alignment takes
POOL: Final = 4 << 20
PERIOD_US: Final = 100_000

_TEXT: Final = """\
# A program that nobody has to trust, and the servers by which its streams and its files reach it.

[system]
name = {name}

[machine]
ram = "{ram}"

[machine.devices.line0]
type = "virtio-net"
port = 0x2000
irq = 6
backend = "starter"
mtu = {mtu}

[machine.devices.disk0]
type = "virtio-block"
port = 0x1000
irq = 5
image = "files.img"

[task.ethernet]
image = "servers.ethernet.main"
priority = 175
provides = {{ card = "libsel4py.interfaces.ethernet:Ethernet" }}
devices = {{ card = {{ device = "line0", io_space = "4K" }} }}

[task.block]
image = "servers.block.main"
priority = 170
provides = {{ disk = "libsel4py.interfaces.block:Block" }}
devices = {{ disk = {{ device = "disk0", io_space = "4K" }} }}

[task.littlefs]
image = "servers.littlefs.main"
priority = 160
memory = "64M"
pool = "4M"
provides = {{ given = "libsel4py.interfaces.file:Directory", results = "libsel4py.interfaces.file:Directory" }}
uses = {{ disk = {{ from = "block.disk", rights = "wgp" }} }}

[task.littlefs.config.clients]
"{program}/given" = "r /given"
"{program}/results" = "rw /results"

[task.{program}]
image = "apps.script.main"
essential = true
memory = "{memory}"
pool = "{pool}"
{time}

[task.{program}.uses]
line = {{ from = "ethernet.card", rights = "rwgp" }}
given = {{ from = "littlefs.given", rights = "wgp" }}
results = {{ from = "littlefs.results", rights = "wgp" }}

[task.{program}.config]
script = {script}
arguments = {arguments}
read_only = {read_only}
writable = {writable}
terminal = {terminal}
"""


@dataclass(frozen=True)
class Program:
    """What is run.

    ``memory``: bytes, a power of two. ``terminal``: which of the streams 0, 1, 2 are a terminal. ``share``: of a
    processor, in percent; None: as the host gives.
    """

    name: str
    arguments: Sequence[str]
    gifts: Sequence[Gift]
    memory: int
    terminal: Sequence[int]
    share: int | None = None


def describe(system: str, program: Program) -> str:
    """The description's text."""
    return _TEXT.format(
        name=_quoted(system),
        ram=format_size(SERVERS_RAM + 2 * program.memory),
        mtu=MTU,
        program=PROGRAM,
        memory=format_size(program.memory),
        pool=format_size(POOL),
        time=_time(program.share),
        script=_quoted(program.name),
        arguments=_list(program.arguments),
        read_only=_list([gift.name for gift in program.gifts if not gift.writable]),
        writable=_list([gift.name for gift in program.gifts if gift.writable]),
        terminal=list(program.terminal),
    )


def _time(share: int | None) -> str:
    """Its threads and its budget. A process of one thread is charged all that it uses; with a budget it has no more."""
    if share is None:
        return "threads = 2 # they make the system calls of threads that the program makes itself"
    return f'budget = "{PERIOD_US * share // 100}us"\nperiod = "{PERIOD_US}us"'


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_quoted, texts))}]"


def _quoted(text: str) -> str:
    """A basic string of TOML: JSON's, but for the letter that only TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
