"""Questions that a thread asks about itself and about what it holds: EXPLAIN, IDENTIFY, and TCB.explain.

Rules: nothing here changes anything but the asking thread's completion. A thread learns of its own capability space;
badges are not told.
"""

from __future__ import annotations

import re
import struct
from typing import Final

from kerneld import caps, completion, cspace, explain, fault_messages, message
from kerneld.core import Core
from kerneld.failures import LookupFailure
from kerneld.records import CapType, ProcessState, Reply, Slot, Tcb, ThreadState
from libsel4py import abi
from libsel4py.abi import FaultLabel

TYPE_BYTE: Final = 7  # of a slot: the last one of its first word, whose upper bits are `Slot.cap_type`
TYPES: Final = bytes(byte >> 3 for byte in range(256))  # by that byte
_OCCUPIED: Final = re.compile(rb"[^\0]")


def text_words(text: str) -> tuple[int, ...]:
    """Text as message words: its length in bytes, then UTF-8, cut to what a message holds."""
    data = text.encode()[: explain.EXPLANATION_BYTES].decode(errors="ignore").encode()
    padded = data.ljust((len(data) + 7) // 8 * 8, b"\0")
    return (len(data), *struct.unpack(f"<{len(padded) // 8}Q", padded))


def answer_explain(core: Core, tcb: Tcb) -> None:
    """Complete EXPLAIN: why the thread's last refused system call was refused."""
    words = text_words(explain.last_refusal(core, tcb))
    completion.complete_with_words(core, tcb, abi.message_info(0, len(words)), words)


def answer_identify(core: Core, tcb: Tcb) -> None:
    """Complete IDENTIFY: type, rights, size of the capability at ``cptr``, and one of its object's marks.

    Type NULL where there is none. With a message of two words, of a CNode: the types of so many slots (word 1)
    from slot word 0 on, a byte each; of those that it has, IDENTIFIED_SLOTS at most. With two words, of a TCB: the
    fault that its thread waits for the answer to, label and words. With three words, of a CNode: of so many slots
    (word 1) from slot word 0 on those alone that are not empty, index << 8 | type, behind the slot that is to be asked
    for next; nothing of anything else. With a message of one word, which is the address of another capability: whether
    both are to one object, by one badge.
    """
    cap = _cap_at(tcb, tcb.cptr)
    asked = message.message_words(tcb)
    if len(asked) == 3:
        words = _occupied_slots(core, cap, asked[0], asked[1]) if cap.type is CapType.CNODE else ()
        completion.complete_with_words(core, tcb, abi.message_info(0, len(words)), words)
        return
    if len(asked) >= 2 and cap.type is CapType.CNODE:
        words = _types_of_slots(core, cap, asked[0], asked[1])
        completion.complete_with_words(core, tcb, abi.message_info(0, len(words)), words)
        return
    if len(asked) >= 2 and cap.type is CapType.TCB:
        words = _fault_taken(Tcb(core.ram, cap.object))
        completion.complete_with_words(core, tcb, abi.message_info(0, len(words)), words)
        return
    if len(asked) == 1:
        same = _is_same(cap, _cap_at(tcb, asked[0]))
        completion.complete_with_words(core, tcb, abi.message_info(0, 1), (int(same),))
        return
    words = (int(cap.type), _rights(cap), _size_bits(cap), int(_mark(core, cap)))
    completion.complete_with_words(core, tcb, abi.message_info(0, len(words)), words)


def _cap_at(tcb: Tcb, address: int) -> caps.Cap:
    """The capability at an address of the thread's; none where it does not resolve."""
    try:
        return caps.read(cspace.lookup_slot(tcb, address))
    except LookupFailure:
        return caps.NULL


def _is_same(cap: caps.Cap, other: caps.Cap) -> bool:
    """Whether both name one object (EROS' Discrim compare); of what has badges, by one badge.

    Types without an object of their own in RAM, and memory, whose parts begin where it begins, are never the same.
    """
    match cap.type:
        case CapType.ENDPOINT | CapType.NOTIFICATION:
            return (cap.type, cap.object, cap.badge) == (other.type, other.object, other.badge)
        case CapType.FRAME | CapType.TCB | CapType.CNODE | CapType.VSPACE | CapType.SCHED_CONTEXT | CapType.REPLY:
            return (cap.type, cap.object) == (other.type, other.object)
        case _:
            return False


def _types_of_slots(core: Core, cnode: caps.Cap, first: int, count: int) -> tuple[int, ...]:
    """How many slots are told of, then their types, a byte each."""
    told = max(0, min(count, abi.IDENTIFIED_SLOTS, (1 << cnode.radix) - first))
    slots = core.ram.read(cnode.object + first * Slot.SIZE, told * Slot.SIZE) if told else b""
    padded = slots[TYPE_BYTE :: Slot.SIZE].translate(TYPES).ljust(-(-told // abi.WORD_BYTES) * abi.WORD_BYTES, b"\0")
    return (told, *struct.unpack(f"<{len(padded) // abi.WORD_BYTES}Q", padded))


def _occupied_slots(core: Core, cnode: caps.Cap, first: int, count: int) -> tuple[int, ...]:
    """The slot behind those that are told of, then what is not empty among these, as much as fits."""
    looked = max(0, min(count, abi.OCCUPIED_LOOKS, (1 << cnode.radix) - first))
    slots = core.ram.read(cnode.object + first * Slot.SIZE, looked * Slot.SIZE) if looked else b""
    types = slots[TYPE_BYTE :: Slot.SIZE].translate(TYPES)
    found: list[int] = []
    for match in _OCCUPIED.finditer(types):
        if len(found) == abi.OCCUPIED_SLOTS:
            return (first + match.start(), *found)
        found.append((first + match.start()) << 8 | types[match.start()])
    return (first + looked, *found)


def _rights(cap: caps.Cap) -> int:
    match cap.type:
        case CapType.ENDPOINT | CapType.NOTIFICATION | CapType.REPLY | CapType.FRAME:
            return cap.rights
        case _:
            return 0


def _mark(core: Core, cap: caps.Cap) -> bool:
    """Of memory: whether it is a device's. Of a TCB: whether its thread has a process, in which it is not stopped. Of a
    reply object: whether the thread that waits there has faulted at memory that was not there."""
    match cap.type:
        case CapType.UNTYPED:
            return cap.is_device
        case CapType.FRAME:
            return cap.frame_is_device
        case CapType.TCB:
            thread = Tcb(core.ram, cap.object)
            return thread.process != ProcessState.NONE and thread.state != ThreadState.INACTIVE
        case CapType.REPLY:
            return _waits_for_memory(Reply(core.ram, cap.object).tcb)
        case _:
            return False


def _waits_for_memory(thread: Tcb | None) -> bool:
    return (
        thread is not None
        and thread.state == ThreadState.BLOCKED_ON_REPLY
        and thread.fault_label == FaultLabel.VM_FAULT
    )


def _fault_taken(thread: Tcb) -> tuple[int, ...]:
    """Label and words of the fault that somebody has taken from the thread and not answered; () if there is none."""
    if thread.state != ThreadState.BLOCKED_ON_REPLY or not thread.fault_label:
        return ()
    return (thread.fault_label, *fault_messages.fault_words(thread))


def _size_bits(cap: caps.Cap) -> int:
    found = caps.region(cap)
    return found[1].bit_length() - 1 if found is not None else 0
