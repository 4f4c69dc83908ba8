"""A task's own trap frame and channels as bare memory, found as hostile code would find them: by its machine's data."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

from hw import _cpu
from libsel4py import abi
from libsel4py.capabilities import Channel, CNode, Endpoint, Untyped
from tests.escape import slots
from tests.escape.attempt import Stopped
from tests.system.images.behaviour import DOORBELL
from tests.system.images.forger import RawRing

PAGE: Final = 4096
LEAST_BITS: Final = 36  # of an address that Linux chooses; below are pairs of small numbers
FAULT_STACK: Final = 9  # words behind the frame's address in struct cpu_thread: a guard page's address


def _data_of_machine() -> tuple[int, int]:
    """First and last address of `hw._cpu`'s writable data, where a fork has them too. Asked while /proc is there."""
    name, found = Path(_cpu.__file__).name, []
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    for at, line in enumerate(lines):
        if line[-1].endswith(name) and line[1] == "rw-p":
            found += line[0].split("-")
            after = lines[at + 1]
            if len(after) == 5 and after[0].startswith(found[-1] + "-"):
                found += after[0].split("-")
    return int(found[0], 16), int(found[-1], 16)


DATA: Final = _data_of_machine()


def word(address: int) -> ctypes.c_uint64:
    return ctypes.c_uint64.from_address(address)


def half(address: int) -> ctypes.c_uint32:
    return ctypes.c_uint32.from_address(address)


def _frame_place() -> int:
    """Where the machine keeps the frame's address: before the doorbell's number."""
    first, end = DATA
    for place in range(first, end - 16, 8):
        value = word(place).value
        if value and value % PAGE == 0 and value >> 47 == 0 and half(place + 8).value == DOORBELL:
            return place
    raise LookupError("the machine's data hold no trap frame")


def frame() -> int:
    """The address of the calling thread's trap frame."""
    return word(_frame_place()).value


class Ring(RawRing):
    """The thread's own ring as memory: after this, `hw.cpu` is out of step and not used any more."""

    def __init__(self) -> None:
        self.frame = frame()

    def refused(self, produced: int) -> None:
        """Publish an index that cannot be, and wait for what comes of it: a fault, which the judge hears of."""
        self.publish(produced)
        self.wait(abi.COMPLETE_PRODUCED, produced)


def connected() -> int:
    """The address of the page of a channel to the witness, which is made of the task's own memory.

    Raises:
        Stopped: its page is not found.
    """
    Untyped(slots.OWN_MEMORY).retype(abi.ObjectType.CHANNEL, 0, CNode(slots.OWN_CNODE), slots.FREE, 1)
    Endpoint(slots.WITNESS).connect(Channel(slots.FREE))
    first, end = DATA
    excluded = _frame_place()
    for place in range(first, end, 8):
        value = word(place).value
        if place in (excluded, excluded + 8 * FAULT_STACK) or value % PAGE or not value >> LEAST_BITS or value >> 47:
            continue
        if half(value + abi.CHANNEL_POSTED).value & 0xFFFF == abi.CHANNEL_VALID:
            return value
    raise Stopped("the machine's data hold no channel")
