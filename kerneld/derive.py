"""What a copy of a capability may be: derivation and new badges or guards (`deriveCap`, `updateCapData`).

Nothing here stores. A result of `caps.NULL` means that there is no such copy; the caller says what that means to the
user.
"""

from __future__ import annotations

from typing import Final

from kerneld import caps, mdb
from kerneld.caps import EXTRA_SHIFT, NULL, Cap
from kerneld.failures import SyscallError
from kerneld.records import CapType, Slot
from libsel4py.abi import WORD_BITS, Error

_GUARD_SIZE_MASK: Final = 63 << EXTRA_SHIFT + 6
_NEVER_COPIED: Final = (
    CapType.ZOMBIE,
    CapType.IRQ_CONTROL,
    CapType.IO_PORT_CONTROL,
    CapType.IO_SPACE_CONTROL,
)


def derive_cap(slot: Slot, cap: Cap) -> Cap:
    """The capability that a copy of the one in ``slot`` may be; ``cap`` is that one with rights and badge applied.

    Raises:
        SyscallError: REVOKE_FIRST for untyped memory from which something has been made.
    """
    match cap.word0 >> caps.TYPE_SHIFT:
        case CapType.UNTYPED:
            ensure_no_children(slot)
            return cap
        case CapType.FRAME:
            return Cap(cap.word0, 0)
        case kind if kind in _NEVER_COPIED:
            return NULL
        case _:
            return cap


def ensure_no_children(slot: Slot) -> None:
    """Raise REVOKE_FIRST if a capability derived from the slot's exists."""
    if mdb.has_children(slot):
        raise SyscallError(
            Error.REVOKE_FIRST, (), "capabilities made from this one exist; revoke it, then it can be copied"
        )


def update_cap_data(preserve: bool, data: int, cap: Cap) -> Cap:
    """The capability with a new badge (endpoint, notification) or guard (CNode); others stay as they are.

    A badge is given once, and not when the capability is only moved (``preserve``): NULL otherwise. NULL as well for a
    guard that together with the CNode's own bits is longer than an address.
    """
    match cap.word0 >> caps.TYPE_SHIFT:
        case CapType.ENDPOINT | CapType.NOTIFICATION:
            return NULL if preserve or cap.word1 else Cap(cap.word0, data)
        case CapType.CNODE:
            guard_size = data & 63
            if guard_size + cap.radix > WORD_BITS:
                return NULL
            guard = data >> 6 & ((1 << guard_size) - 1)
            return Cap(cap.word0 & ~_GUARD_SIZE_MASK | guard_size << EXTRA_SHIFT + 6, guard)
        case _:
            return cap
