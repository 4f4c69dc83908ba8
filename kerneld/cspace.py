"""Capability addresses: from a number to a slot (seL4 Reference Manual 3.3; `resolveAddressBits`).

Nothing here stores. Failures are `LookupFailure`; who calls says whether that is a fault or an error.
"""

from __future__ import annotations

from kerneld import caps
from kerneld.failures import LookupFailure
from kerneld.records import CapType, Slot, Tcb, TcbSlot
from libsel4py.abi import WORD_BITS, LookupFailureKind


def resolve_address_bits(root: Slot, cptr: int, bits: int) -> tuple[Slot, int]:
    """Follow the low ``bits`` of ``cptr`` from the CNode capability in ``root``.

    Returns the slot, and how many low bits of the address were left when something else than a CNode was met.
    """
    ram = root.ram
    word0 = root.word0
    guard = root.word1
    if word0 >> 59 != CapType.CNODE:
        raise LookupFailure(LookupFailureKind.INVALID_ROOT, (), "the root of the look-up is not a CNode capability")
    while True:
        radix = word0 >> 40 & 63
        guard_size = word0 >> 46 & 63
        level = radix + guard_size
        found = cptr >> (bits - guard_size) & ((1 << guard_size) - 1) if guard_size <= bits else None
        if found != guard:
            raise LookupFailure(
                LookupFailureKind.GUARD_MISMATCH,
                (bits, guard, guard_size),
                f"with {bits} bits of 0x{cptr:x} left, the guard 0x{guard:x} of {guard_size} bits does not match"
                + ("" if found is None else f" 0x{found:x}"),
            )
        if level > bits:
            raise LookupFailure(
                LookupFailureKind.DEPTH_MISMATCH,
                (bits, level),
                f"the CNode resolves {level} bits and {bits} bits of 0x{cptr:x} are left",
            )
        bits -= level
        slot = Slot(ram, (word0 & caps.OBJECT_MASK) + (cptr >> bits & ((1 << radix) - 1)) * Slot.SIZE)
        if bits == 0:
            return slot, 0
        word0 = slot.word0
        if word0 >> 59 != CapType.CNODE:
            return slot, bits
        guard = slot.word1


def lookup_slot(thread: Tcb, cptr: int) -> Slot:
    """The slot of a system call's capability address; address bits that are left over do not matter."""
    return resolve_address_bits(thread.slot(TcbSlot.CSPACE), cptr, WORD_BITS)[0]


def lookup_target_slot(root: Slot, index: int, depth: int) -> Slot:
    """The slot that a CNode method addresses by (index, depth): all bits must be used up.

    Raises LookupFailure; the caller has checked that 1 <= depth <= 64.
    """
    slot, left = resolve_address_bits(root, index & ((1 << depth) - 1), depth)
    if left:
        raise LookupFailure(
            LookupFailureKind.DEPTH_MISMATCH,
            (left, 0),
            f"index 0x{index:x} meets something else than a CNode with {left} of {depth} bits left",
        )
    return slot
