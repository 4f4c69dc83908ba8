"""What the kernel tells of mappings, brought to the process of the VSpace; and what its threads are told of it.

`MAPPINGS_TOLD` in the trap frame of each thread of a process counts the messages that its keeper was sent of memory.
"""

from __future__ import annotations

import struct
from typing import Final

from hw.ram import Ram
from kerneld.host.mappings import Mappings
from kerneld.host.process import Process, Thread
from kerneld.outbox import Message, Tell
from libsel4py import abi

_PAGE: Final = (1 << abi.FRAME_MIN_BITS) - 1
_U32: Final = struct.Struct("<I")


def carry_out(mappings: Mappings, process: Process, message: Message) -> None:
    """Do a tell MAP or UNMAP about the process's VSpace."""
    address, rights = message.detail & ~_PAGE, message.detail & _PAGE
    if message.kind is Tell.MAP:
        mappings.map(process, address, rights, message.more & ~_PAGE, 1 << (message.more & _PAGE))
    else:
        mappings.unmap(process, address)


def tell_thread(ram: Ram, thread: Thread, count: int) -> None:
    """The keeper of the thread's process was sent so many messages."""
    ram.poke(thread.frame + abi.MAPPINGS_TOLD, _U32.pack(count & 0xFFFFFFFF))


def tell_threads(ram: Ram, process: Process, count: int) -> None:
    """As `tell_thread`, to all threads that the kernel serves."""
    for thread in process.threads:
        if thread.doorbell >= 0:
            tell_thread(ram, thread, count)


def told(ram: Ram, process: Process) -> int:
    """How many messages the threads were told of; the process may have written anything there, to its own harm."""
    frames = [thread.frame for thread in process.threads if thread.doorbell >= 0]
    return max((_U32.unpack(ram.read(frame + abi.MAPPINGS_TOLD, _U32.size))[0] for frame in frames), default=0)
