"""Messages between threads: words and capabilities, from the sender's entry to the receiver's completion.

A message is read when it is delivered, from what the sender saved when it trapped, and copied once. The receiver's
system call ends with it. A receiver without a trap frame, or whose entry is `INLINE`, gets four words and no
capabilities. Nothing that is wrong with capabilities or the receive slot is an error: the receiver sees fewer extra
capabilities. Source: seL4 Reference Manual 4.2; SEL4 `doIPCTransfer`, `transferCaps`.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from kerneld import caps, completion, cspace, derive, fault_messages, mdb, message
from kerneld.core import Core
from kerneld.failures import Fault, LookupFailure, SyscallError
from kerneld.records import CapType, Endpoint, Slot, Tcb
from libsel4py import abi
from libsel4py.abi import EntryFlags

_EXTRA_CAPS = 3 << 7
_NO_CAPS = ~(7 << 9 | _EXTRA_CAPS | 127)  # of an info word: the label alone
_FIRST_IN_AREA = Tcb.TOLD_MESSAGE + abi.MESSAGE_REGISTERS * abi.WORD_BYTES


class Moved(NamedTuple):
    """What became of a message's capabilities: how many were dealt with, which were unwrapped, with which badges."""

    processed: int
    unwrapped: int
    badges: tuple[int, ...]


def transfer(
    core: Core, sender: Tcb, receiver: Tcb, badge: int, can_grant: bool, endpoint: Endpoint | None = None
) -> None:
    """Give the sender's message, or the message about its fault, to the receiver and end the receiver's system call.

    Args:
        badge: of the capability that it was sent by. can_grant: whether capabilities go along.
        endpoint: where they meet; None for a reply, in which nothing is unwrapped.
    """
    label = sender.fault_label
    if label:
        _deliver(core, receiver, badge, label << 12, fault_messages.fault_words(sender))
        return
    info = sender.info
    length = info & 127
    words: tuple[int, ...]
    if length > abi.MESSAGE_REGISTERS:
        words = message.message_words(sender)
    else:
        registers = (sender.mr0, sender.mr1, sender.mr2, sender.mr3)
        words = registers[:length]
        if not (info & _EXTRA_CAPS and can_grant):
            if length != abi.MESSAGE_REGISTERS:
                registers = completion.registers_of(words)
            completion.complete(core, receiver, badge, info & _NO_CAPS | length, registers)
            return
    moved = _transfer_caps(core, sender, receiver, endpoint) if info & _EXTRA_CAPS and can_grant else None
    _deliver(core, receiver, badge, info & _NO_CAPS, words, moved)


def has_buffer(receiver: Tcb) -> bool:
    """Whether the thread's system call can be answered with more than its registers."""
    return not receiver.entry_flags & EntryFlags.INLINE and receiver.trap_frame != 0


def _deliver(
    core: Core, receiver: Tcb, badge: int, label: int, words: tuple[int, ...], moved: Moved | None = None
) -> None:
    """End the receiver's system call with these words, cut to what it can take. ``label`` stands in place already."""
    area = 0
    if len(words) > abi.MESSAGE_REGISTERS:
        if has_buffer(receiver):
            area = len(words)
            rest = words[abi.MESSAGE_REGISTERS :]
            core.ram.write(receiver.address + _FIRST_IN_AREA, struct.pack(f"<{len(rest)}Q", *rest))
        else:
            words = words[: abi.MESSAGE_REGISTERS]
    info = label | len(words)
    if moved is not None and moved.processed:
        info |= moved.processed << 7 | moved.unwrapped << 9
        if moved.unwrapped:
            area |= completion.AREA_CAPS
            core.ram.write(receiver.address + Tcb.TOLD_CAPS_OR_BADGES, struct.pack("<3Q", *moved.badges))
    completion.complete(core, receiver, badge, info, completion.registers_of(words), area)


def _transfer_caps(core: Core, sender: Tcb, receiver: Tcb, endpoint: Endpoint | None) -> Moved | None:
    """Move the capabilities of a message: to the receive slot, or as the badge where one names the endpoint itself."""
    if not has_buffer(receiver):
        return None
    try:
        slots = message.lookup_extra_caps(sender)
    except Fault:
        return None
    destination = _receive_slot(receiver)
    count = 0
    unwrapped = 0
    badges = [0] * abi.MESSAGE_MAX_EXTRA_CAPS
    for slot in slots:
        cap = caps.read(slot)
        if endpoint is not None and cap.type is CapType.ENDPOINT and cap.object == endpoint.address:
            badges[count] = cap.badge
            unwrapped |= 1 << count
        else:
            derived = _derived(slot, cap)
            if destination is None or derived.is_null:
                break
            mdb.insert(core, derived, slot, destination)
            destination = None
        count += 1
    return Moved(count, unwrapped, tuple(badges))


def _derived(slot: Slot, cap: caps.Cap) -> caps.Cap:
    try:
        return derive.derive_cap(slot, cap)
    except SyscallError:
        return caps.NULL


def _receive_slot(receiver: Tcb) -> Slot | None:
    """The empty slot that the receiver has named for a capability, if there is one."""
    path = message.receive_path(receiver)
    if path is None:
        return None
    cnode, index, depth = path
    if not 1 <= depth <= abi.WORD_BITS:
        return None
    try:
        slot = cspace.lookup_target_slot(cspace.lookup_slot(receiver, cnode), index, depth)
    except LookupFailure:
        return None
    return slot if slot.cap_type == CapType.NULL else None
