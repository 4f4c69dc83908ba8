"""Loaded into a kernel under test: it kills itself once at each place where it does something that outlives it.

Such are: what it has the monitor keep, asks of the zygote, tells a process's keeper, signals, what it stores in RAM
outside of transactions, the end of a transaction that empties its outbox, and what it does to the memory of frames and
channels. Each is a place before, and another one after. A place is told by its callers, as far as `DEPTH`: a store of
the same line on another way is another place. `RECORD` says at which ones a kernel was killed.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

from kerneld.host import channels, frame_memory
from kerneld.host.control import ControlSocket
from kerneld.host.fd_store import FdStore
from kerneld.host.frame_stock import FrameStock
from kerneld.host.process import Process
from kerneld.host.zygote_link import ZygoteLink
from kerneld.outbox import Outbox

RECORD: Final = "RECORD"
DEPTH: Final = 4


def reach(what: str) -> None:
    """A place is reached: die there, if nobody has."""
    chain: list[str] = [what]
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and len(chain) <= DEPTH:
        file = frame.f_code.co_filename
        if "/kerneld/" in file:
            chain.append(f"{Path(file).name}:{frame.f_lineno}")
        frame = frame.f_back
    place = " ".join(chain)
    if place in Path(RECORD).read_text().splitlines():
        return
    with open(RECORD, "a") as record:
        record.write(place + "\n")
    os.kill(os.getpid(), signal.SIGKILL)


def deadly(owner: Any, name: str) -> None:
    function: Callable[..., object] = getattr(owner, name)

    @functools.wraps(function)
    def call(*arguments: Any, **more: Any) -> object:
        reach(f"before {name}")
        result = function(*arguments, **more)
        reach(f"after {name}")
        return result

    setattr(owner, name, call)


for kind in (FdStore, ZygoteLink, ControlSocket):
    deadly(kind, "_send")
deadly(Process, "_signal")
for each in ("set_done", "begin_start", "next_start", "clear"):
    deadly(Outbox, each)
for each in ("use", "free"):
    deadly(FrameStock, each)
deadly(frame_memory, "map_fixed")
deadly(frame_memory, "discard")
deadly(frame_memory, "withdraw_some")
deadly(channels, "_new_page")
deadly(channels.Channels, "gone")
