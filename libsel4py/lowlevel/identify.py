"""What one of the task's own capabilities is, asked of the kernel (system call IDENTIFY, sel4py's own).

The kernel says type, rights and size; it never says a badge, which is the server's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libsel4py.abi import CapType, Rights, Syscall
from libsel4py.lowlevel.syscalls import FOREVER_NS, machine

LETTERS: Final = ((Rights.READ, "R"), (Rights.WRITE, "W"), (Rights.GRANT, "G"), (Rights.GRANT_REPLY, "P"))


@dataclass(frozen=True, slots=True)
class Identity:
    """``rights`` in letters (R W G, P for grant-reply), empty where the type has none; ``size_bits`` 0 likewise.

    Attributes:
        is_device: it is untyped memory or a frame of a device's registers, and not of RAM.
    """

    type: str
    rights: str
    size_bits: int
    is_device: bool = False


def identify(cptr: int) -> Identity:
    """What the capability at an address is; type NULL for an empty slot or an address that does not resolve."""
    _, _, _, kind, rights, size_bits, is_device = machine.trap(Syscall.IDENTIFY, cptr, 0, 0, 0, 0, 0, 0, 0, FOREVER_NS)
    letters = "".join(letter for right, letter in LETTERS if rights & right)
    return Identity(CapType(kind).name, letters, size_bits, bool(is_device))
