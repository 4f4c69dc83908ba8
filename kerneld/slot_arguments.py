"""Arguments that name slots: looked up by (index, depth), present, empty, and long enough. Nothing here stores."""

from __future__ import annotations

from kerneld import caps, cspace
from kerneld.caps import Cap
from kerneld.core import Call
from kerneld.failures import LookupFailure, SyscallError, illegal_operation, range_error, truncated_message
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


def ensure_issuable(call: Call, label: int, words: int, method: str, arguments: str) -> None:
    """Check what is alike in the methods of the controls that give something out (interrupt lines, I/O ports).

    Raises:
        SyscallError: ILLEGAL_OPERATION for another ``label``; TRUNCATED_MESSAGE if words or the CNode are missing.
    """
    control, _, name = method.partition(".")
    if call.label != label:
        raise illegal_operation(f"{control} has no method with label {call.label}")
    if len(call.words) < words or not call.caps:
        raise truncated_message(f"{name} takes {arguments}")


def lookup_destination(call: Call, index: int, depth: int) -> Slot:
    """The empty slot below the CNode that came with the message, for what a control gives out.

    Raises:
        SyscallError: FAILED_LOOKUP, RANGE_ERROR (depth), DELETE_FIRST.
    """
    destination = lookup_slot(call.caps[0], index, depth)
    ensure_empty(destination)
    return destination


def ensure_not_given_out(given_out: bool, what: str, control: str) -> None:
    """Raise REVOKE_FIRST if it was given out: each thing has one capability of its own."""
    if given_out:
        raise SyscallError(Error.REVOKE_FIRST, (), f"{what} has been given out; revoke {control} first")


def ensure_present(cap: Cap, slot: Slot, depth: int, *, source: bool) -> None:
    """Raise FAILED_LOOKUP if the slot that was looked up is empty."""
    if cap.is_null:
        raise EmptySlot(slot.address, depth, source=source)


def ensure_length(words: tuple[int, ...], length: int, method: str, last: str) -> None:
    """Raise TRUNCATED_MESSAGE if the message is shorter than ``length`` words."""
    if len(words) < length:
        raise truncated_message(f"{method} takes {length} words, the last of them {last}; {len(words)} were sent")
