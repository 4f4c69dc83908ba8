"""What one of the task's own capabilities is, asked of the kernel (system call IDENTIFY, sel4py's own).

The kernel says type, rights and size, and of a CNode what its slots hold; it never says a badge, which is the
server's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libsel4py.abi import CapType, Rights, Syscall, message_info
from libsel4py.lowlevel.batch import Asked, Batch
from libsel4py.lowlevel.syscalls import FOREVER_NS, Completion, machine, unpack

LETTERS: Final = ((Rights.READ, "R"), (Rights.WRITE, "W"), (Rights.GRANT, "G"), (Rights.GRANT_REPLY, "P"))


@dataclass(frozen=True, slots=True)
class Identity:
    """``rights`` in letters (R W G, P for grant-reply), empty where the type has none; ``size_bits`` 0 likewise.

    Attributes:
        is_device: it is untyped memory or a frame of a device's registers, and not of RAM.
        runs: it is a TCB whose thread has a process, in which it is not stopped (`ThreadState.INACTIVE`).
        owes_memory: it is a reply object, and whoever waits for the answer has faulted at memory that was not there.
    """

    type: str
    rights: str
    size_bits: int
    is_device: bool = False
    runs: bool = False
    owes_memory: bool = False


def identify(cptr: int) -> Identity:
    """What the capability at an address is; type NULL for an empty slot or an address that does not resolve."""
    return _read(machine.trap(Syscall.IDENTIFY, cptr, 0, 0, 0, 0, 0, 0, 0, FOREVER_NS))


def queue_identify(batch: Batch, cptr: int) -> Asked[Identity]:
    """As `identify`, by a batch: what it is when the entries before this one are carried out."""
    asked = Asked(_read)
    batch.ask(Syscall.IDENTIFY, cptr, asked)
    return asked


def _read(completion: Completion) -> Identity:
    _, _, _, kind, rights, size_bits, mark = completion
    letters = "".join(letter for right, letter in LETTERS if rights & right)
    marks = CapType(kind) if mark else CapType.NULL
    return Identity(
        CapType(kind).name,
        letters,
        size_bits,
        is_device=marks in (CapType.UNTYPED, CapType.FRAME),
        runs=marks is CapType.TCB,
        owes_memory=marks is CapType.REPLY,
    )


def is_same(cptr: int, other: int) -> bool:
    """Whether the capabilities at two addresses are to one object, by one badge; their rights may differ.

    Told of endpoints, notifications, frames, TCBs, CNodes, VSpaces, scheduling contexts and replies; of others never.
    """
    completion = machine.trap(Syscall.IDENTIFY, cptr, message_info(0, 1), other, 0, 0, 0, 0, 0, FOREVER_NS)
    return bool(unpack(completion, "IDENTIFY").words[0])


def taken_fault(cptr: int) -> tuple[int, tuple[int, ...]] | None:
    """Label and words of the fault that the thread of the TCB at an address waits for the answer to.

    None if it waits for none, nobody has received it yet, or nothing is at the address.
    """
    completion = machine.trap(Syscall.IDENTIFY, cptr, message_info(0, 2), 0, 0, 0, 0, 0, 0, FOREVER_NS)
    label, *words = unpack(completion, "IDENTIFY").words or (0,)
    return (label, tuple(words)) if label else None


def occupied_slots(cnode: int, count: int) -> dict[int, int]:
    """What stands in those of the first ``count`` slots of the CNode at an address that are not empty, a `CapType`
    each, in their order. Empty where the address names no CNode, as where all slots are empty."""
    found: dict[int, int] = {}
    first = 0
    while first < count:
        completion = machine.trap(
            Syscall.IDENTIFY, cnode, message_info(0, 3), first, count - first, 0, 0, 0, 0, FOREVER_NS
        )
        following, *slots = unpack(completion, "IDENTIFY").words or (0,)
        if following <= first:
            break
        found |= {slot >> 8: slot & 0xFF for slot in slots}
        first = following
    return found
