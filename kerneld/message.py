"""A thread's message as the kernel reads it: words and capability addresses, each copied once.

The words of a message lie in the submission entry (0..3), in its tail (4..7, batched calls) or in the thread's trap
frame (4..119). The frame can change under our hands; what was copied is what counts.
"""

from __future__ import annotations

from typing import Final

from kerneld import cspace
from kerneld.failures import Fault, LookupFailure
from kerneld.records import Slot, Tcb
from libsel4py import abi
from libsel4py.abi import EntryFlags

INLINE_WORDS: Final = abi.MESSAGE_REGISTERS + abi.TAIL_MESSAGE_WORDS
_INLINE: Final = int(EntryFlags.INLINE)


def message_length(tcb: Tcb) -> int:
    """Words that the thread's message really has: what its info word says, cut to what can carry it."""
    length = min(tcb.info & 127, abi.MESSAGE_MAX_LENGTH)
    if tcb.entry_flags & _INLINE:
        return min(length, INLINE_WORDS)
    return length if tcb.trap_frame else min(length, abi.MESSAGE_REGISTERS)


def message_words(tcb: Tcb) -> tuple[int, ...]:
    """The message's words: one copy."""
    length = message_length(tcb)
    registers = (tcb.mr0, tcb.mr1, tcb.mr2, tcb.mr3)
    if length <= abi.MESSAGE_REGISTERS:
        return registers[:length]
    more = length - abi.MESSAGE_REGISTERS
    if tcb.entry_flags & _INLINE:
        return registers + tcb.ram.words(tcb.address + Tcb.TAIL + abi.TAIL_MR, more)
    first = tcb.trap_frame + abi.IPC_MESSAGE + abi.MESSAGE_REGISTERS * abi.WORD_BYTES
    return registers + tcb.ram.words(first, more)


def extra_cap_addresses(tcb: Tcb) -> tuple[int, ...]:
    """The addresses of the message's extra capabilities."""
    count = tcb.info >> 7 & 3
    if not count:
        return ()
    if tcb.entry_flags & _INLINE:
        return tcb.ram.words(tcb.address + Tcb.TAIL + abi.TAIL_CAPS, min(count, abi.TAIL_CAP_SLOTS))
    frame = tcb.trap_frame
    return tcb.ram.words(frame + abi.IPC_CAPS_OR_BADGES, count) if frame else ()


def lookup_extra_caps(tcb: Tcb) -> tuple[Slot, ...]:
    """The slots of the message's extra capabilities; a failed look-up is a CAP_FAULT in the send phase."""
    slots = []
    for address in extra_cap_addresses(tcb):
        try:
            slots.append(cspace.lookup_slot(tcb, address))
        except LookupFailure as failure:
            raise Fault.from_lookup(address, False, failure) from None
    return tuple(slots)


def receive_path(tcb: Tcb) -> tuple[int, int, int] | None:
    """(CNode address, index, depth) of the thread's receive slot, or None if it has no trap frame."""
    frame = tcb.trap_frame
    if not frame:
        return None
    cnode, index, depth = tcb.ram.words(frame + abi.IPC_RECEIVE_CNODE, 3)
    return cnode, index, depth
