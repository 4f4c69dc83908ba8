"""Arguments that name slots: looked up by (index, depth), present, empty, and long enough. Nothing here stores."""

from __future__ import annotations

from kerneld import caps, cspace
from kerneld.caps import Cap
from kerneld.failures import LookupFailure, SyscallError, range_error, truncated_message
from kerneld.records import CapType, Slot
from kerneld.refusals import EmptySlot
from libsel4py.abi import WORD_BITS, Error, LookupFailureKind


def lookup_slot(root: Slot, index: int, depth: int, *, source: bool = False) -> Slot:
    """The slot that an argument pair (index, depth) names below the CNode capability in ``root``.

    Raises:
        SyscallError: FAILED_LOOKUP, with ``source`` as its first word; RANGE_ERROR for a depth outside 1..64.
    """
    if root.word0 >> caps.TYPE_SHIFT != CapType.CNODE:
        failure = LookupFailure(LookupFailureKind.INVALID_ROOT, (), "the root of the look-up is not a CNode capability")
        raise SyscallError.failed_lookup(source, failure)
    if not 1 <= depth <= WORD_BITS:
        raise range_error(1, WORD_BITS, f"depth {depth} is not a number of address bits")
    try:
        return cspace.lookup_target_slot(root, index, depth)
    except LookupFailure as failure:
        raise SyscallError.failed_lookup(source, failure) from None


def ensure_empty(slot: Slot) -> None:
    """Raise DELETE_FIRST if the slot holds a capability."""
    if slot.word0:
        kind = CapType(slot.cap_type).name
        raise SyscallError(Error.DELETE_FIRST, (), f"the destination slot holds a capability ({kind}); delete it first")


def ensure_present(cap: Cap, slot: Slot, depth: int, *, source: bool) -> None:
    """Raise FAILED_LOOKUP if the slot that was looked up is empty."""
    if cap.is_null:
        raise EmptySlot(slot.address, depth, source=source)


def ensure_length(words: tuple[int, ...], length: int, method: str, last: str) -> None:
    """Raise TRUNCATED_MESSAGE if the message is shorter than ``length`` words."""
    if len(words) < length:
        raise truncated_message(f"{method} takes {length} words, the last of them {last}; {len(words)} were sent")
