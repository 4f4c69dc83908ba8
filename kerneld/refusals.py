"""Refusals that carry what `explain.py` needs to say more than their ABI payload does."""

from __future__ import annotations

from kerneld.failures import LookupFailure, SyscallError
from libsel4py.abi import Error, LookupFailureKind


class NotEnoughMemory(SyscallError):
    """Untyped memory is too small. ``needed`` and ``left`` are bytes; the payload is ``left``."""

    def __init__(self, needed: int, left: int, why: str) -> None:
        super().__init__(Error.NOT_ENOUGH_MEMORY, (left,), why)
        self.needed = needed
        self.left = left


class EmptySlot(SyscallError):
    """A look-up by (index, depth) ended at an empty slot, at the physical address ``slot``. FAILED_LOOKUP."""

    def __init__(self, slot: int, depth: int, *, source: bool) -> None:
        failure = LookupFailure(LookupFailureKind.MISSING_CAPABILITY, (depth,))
        lookup = SyscallError.failed_lookup(source, failure)
        super().__init__(lookup.error, lookup.words, "the slot that the copy is to come from is empty")
        self.slot = slot
