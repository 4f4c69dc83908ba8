"""Integrity: a system call changes nothing but what its caller's authority covers, and an event that no system call
causes (an interrupt, the end of a process, a budget that is looked at) nothing but what its cause's does.

All of RAM is compared before and after, word by word: kernel objects, the kernel's own record, untyped memory, frames.
Each word that differs must belong to an object of which `coverage.py`, or `events.py`, says that this word may be
changed: the whole of what is the caller's own, and of the others only what the dealing with them needs. What a thread
perceives in its trap frame is compared as well, after the host's part was done.

Not compared: the undo log, and what the initial task does, which holds everything.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from kerneld import caps, layout
from kerneld.caps import Cap
from kerneld.records import CapType, Channel, DeathNotice, KernelRecord, Slot, Tcb, TcbSlot
from libsel4py import abi
from tests.model.dealings import Before, Dealings

WORD = abi.WORD_BYTES


def _words(*fields: object) -> frozenset[int]:
    return frozenset(each.offset for each in fields)  # type: ignore[attr-defined]


LENT = _words(Tcb.state, Tcb.process, Tcb.sched_context, Tcb.consumed_us, Tcb.waited_us, Tcb.block_word)
RESTARTS = _words(Tcb.restart_next, Tcb.restart_prev)
QUEUE = _words(Tcb.queue_prev, Tcb.queue_next, Tcb.run_last, Tcb.run_first)
LISTENERS = _words(Tcb.listen_prev, Tcb.listen_next)
SPACE = _words(Tcb.vspace_prev, Tcb.vspace_next)
STARTED = _words(Tcb.consumed, Tcb.produced)  # of one that has no process yet and may run now: its rings begin anew
FAULTED = (  # of a thread that stops, and whose fault is told
    LENT
    | QUEUE
    | _words(Tcb.reply, Tcb.blocked_on, Tcb.block_badge)
    | frozenset(range(Tcb.fault_label.offset, Tcb.REGISTERS, WORD))
)
ENDED = LISTENERS | _words(Tcb.listener, Tcb.channels)  # of a thread whose process is gone
DEALT = (  # what a message, an answer or a signal changes of a thread that waits for it
    LENT
    | QUEUE
    | _words(Tcb.reply, Tcb.blocked_on, Tcb.block_badge, Tcb.consumed, Tcb.produced)
    | frozenset(range(Tcb.fault_label.offset, Tcb.REGISTERS, WORD))
    | frozenset(range(Tcb.TOLD, Tcb.NAME, WORD))
)
WRITTEN_BACK = range(Tcb.REGISTERS, Tcb.TAIL)  # by the answer to a fault
CHANNEL_LINKS = _words(Channel.client_prev, Channel.client_next, Channel.target_prev, Channel.target_next)
NOTICE_LINKS = frozenset(range(DeathNotice.before.offset, DeathNotice.state.offset, WORD)) | _words(
    DeathNotice.first_word, DeathNotice.telling_before, DeathNotice.telling_behind
)
KERNEL_QUEUES = _words(
    KernelRecord.restart_head,
    KernelRecord.restart_tail,
    KernelRecord.outbox_length,
    KernelRecord.outbox_done,
    KernelRecord.starts,
    KernelRecord.watched,
    KernelRecord.telling,
)
DOMAINS = _words(KernelRecord.domain_start, KernelRecord.domain_index)
FRAME_PARTS = (  # of a trap frame: what the kernel writes there
    range(abi.IPC_MESSAGE, abi.IPC_USER_DATA),
    range(abi.IPC_CAPS_OR_BADGES, abi.IPC_RECEIVE_CNODE),
    range(abi.SUBMIT_CONSUMED, abi.SUBMIT_CONSUMED + 64),
    range(abi.COMPLETE_RING, abi.SUBMIT_TAILS),
)
NEW_PROCESS = range(abi.TASK_LINE, abi.TASK_LINE + 128)
WITH_SLOTS = {CapType.TCB: len(TcbSlot), CapType.CHANNEL: Channel.SLOTS, CapType.DEATH_NOTICE: DeathNotice.SLOTS}


@dataclass(frozen=True, slots=True)
class Change:
    """A word that differs, and the object that it was of: ``kind`` NULL where it was untyped memory."""

    address: int
    kind: CapType
    object: int

    @property
    def offset(self) -> int:
        return self.address - self.object

    def __str__(self) -> str:
        return f"word {self.offset} of {self.kind.name} 0x{self.object:x} (0x{self.address:x})"


class Layout:
    """Which object each address is of."""

    def __init__(self, before: Before) -> None:
        found = []
        for kind, objects in before.survey.objects.items():
            if kind in (CapType.UNTYPED, CapType.NULL):
                continue
            for cap in objects.values():
                region = caps.region(cap)
                if region is not None:
                    found.append((*region, CapType(kind)))
        found.sort(key=lambda row: (row[0], row[2] == CapType.ZOMBIE))
        self._starts = [start for start, _, _ in found]
        self._found = found

    def at(self, address: int) -> tuple[CapType, int]:
        place = bisect_right(self._starts, address) - 1
        if place >= 0:
            start, length, kind = self._found[place]
            if address < start + length:
                return kind, start
        return CapType.NULL, address


class Judge:
    """Says of each changed word whether the coverage allows it."""

    def __init__(self, before: Before, after: Before, coverage: Dealings, addresses: list[int]) -> None:
        self.before, self.after, self.coverage = before, after, coverage
        places = Layout(before)
        self._changes = [
            Change(address, *places.at(address))
            for address in addresses
            if not layout.UNDO_LOG <= address < layout.UNDO_LOG + layout.UNDO_LOG_BYTES
        ]
        # Slots that got, lost or changed their capability, those that are the caller's to empty included.
        own = coverage.doomed | {each.address for each in before.inside[coverage.actor]}
        slots = {address // Slot.SIZE * Slot.SIZE for address in addresses}
        self._filled = {each for each in addresses if each in slots} | (own & slots)
        self._filled |= {each - WORD for each in addresses if each - WORD in slots and each % Slot.SIZE == WORD}

    def violations(self) -> list[str]:
        rams = self.before.ram, self.after.ram
        wrong = [change for change in self._changes if not self._allows(change)]
        return [f"{each}: {' -> '.join(hex(ram.word(each.address)) for ram in rams)}" for each in wrong]

    def _allows(self, change: Change) -> bool:
        mine = self.coverage
        if change.address < layout.USER_BASE:
            return self._allows_kernel(change.address)
        slots = WITH_SLOTS.get(change.kind, 0)
        if change.kind in (CapType.CNODE, CapType.ZOMBIE) or change.offset < slots * Slot.SIZE:
            return self._allows_slot(change)
        match change.kind:
            case CapType.TCB:
                return self._allows_thread(change)
            case CapType.ENDPOINT | CapType.NOTIFICATION:
                return change.object in mine.queues
            case CapType.REPLY:
                return change.object in mine.replies
            case CapType.SCHED_CONTEXT:
                return change.object in mine.contexts
            case CapType.VSPACE | CapType.IO_SPACE:
                return change.object in mine.spaces
            case CapType.CHANNEL:
                return change.object in mine.channels or self._is_linked_channel(change)
            case CapType.DEATH_NOTICE:
                return self._owns(change) or change.object in mine.told or change.offset in NOTICE_LINKS
            case CapType.FRAME:
                return self._allows_frame(change)
            case _:
                return any(start <= change.address < end for start, end in mine.memory)

    def _owns(self, change: Change) -> bool:
        named = self.coverage.named(self.coverage.held) | self.coverage.destroyable
        return (int(change.kind), change.object) in named

    # --- the kernel's record

    def _allows_kernel(self, address: int) -> bool:
        offset, mine = address - layout.KERNEL_RECORD, self.coverage
        if offset in KERNEL_QUEUES or KernelRecord.OUTBOX <= offset < layout.DEVICE_RECORDS - layout.KERNEL_RECORD:
            return True
        if KernelRecord.IRQ_SLOTS <= offset < KernelRecord.IRQ_STATES:
            line = (offset - KernelRecord.IRQ_SLOTS) // Slot.SIZE
            owned = (CapType.IRQ_HANDLER, line) in mine.named(mine.doomed)
            return owned or self._is_neighbour(address)
        if KernelRecord.IRQ_STATES <= offset < KernelRecord.IRQ_STATES + abi.IRQS * WORD:
            line = (offset - KernelRecord.IRQ_STATES) // WORD
            return line in mine.lines or mine.has(CapType.IRQ_CONTROL)
        if KernelRecord.IO_SPACES <= offset < KernelRecord.DOMAIN_SCHEDULE:
            return mine.has(CapType.IO_SPACE, CapType.IO_SPACE_CONTROL)
        if KernelRecord.IO_PORT_BITMAP <= offset < KernelRecord.OUTBOX:
            return mine.has(CapType.IO_PORT, CapType.IO_PORT_CONTROL)
        return (offset in DOMAINS or offset >= KernelRecord.DOMAIN_SCHEDULE > 0) and mine.has(CapType.DOMAIN)

    # --- slots

    def _allows_slot(self, change: Change) -> bool:
        slot = change.address // Slot.SIZE * Slot.SIZE
        if slot in self.coverage.doomed or change.object in self.coverage.nodes | self.coverage.threads:
            return True
        if change.kind is not CapType.CNODE and (self._owns(change) or change.object in self.coverage.channels):
            return True
        was, has = caps.read(Slot(self.before.ram, slot)), caps.read(Slot(self.after.ram, slot))
        if slot in self.coverage.unbound and change.address == slot and has == Cap(was.word0 & ~caps.BOUND, was.word1):
            return True
        arrives = was.is_null and change.object in self.coverage.receiving
        if arrives or self._is_unmapped(was, has) or self._is_sent(was, has, change.object):
            return True
        return change.address - slot >= 2 * WORD and was == has and self._is_neighbour(slot)

    def _is_neighbour(self, slot: int) -> bool:
        """The derivation order has a place for each capability that comes or goes: its neighbours' links change."""
        records = (
            Slot(self.before.ram, slot // Slot.SIZE * Slot.SIZE),
            Slot(self.after.ram, slot // Slot.SIZE * Slot.SIZE),
        )
        if records[0].revocable != records[1].revocable:
            return False
        near = {each.address for record in records for each in (record.prev, record.next) if each is not None}
        return bool(near & self._filled)

    def _is_unmapped(self, was: Cap, has: Cap) -> bool:
        """The space that another's frame was mapped in is gone."""
        return was.is_mapped and was.mapped_space in self.coverage.spaces and has == Cap(was.word0, 0)

    def _is_sent(self, was: Cap, has: Cap, container: int) -> bool:
        """Memory that a waiting sender has sent: nothing is made of the sender's own capability while a copy lives."""
        full = was.type is CapType.UNTYPED and has == Cap(was.word0, 1 << was.size_bits)
        return full and container in self.coverage.sending

    # --- threads

    def _allows_thread(self, change: Change) -> bool:
        mine, offset = self.coverage, change.offset
        if change.object in mine.threads:
            return True
        tcb, later = Tcb(self.before.ram, change.object), Tcb(self.after.ram, change.object)
        if change.object in mine.woken and (offset in DEALT or (offset in WRITTEN_BACK and tcb.fault_label)):
            return True
        if change.object in mine.lenders and (offset in LENT or (offset in STARTED and not tcb.process)):
            return True
        if (change.object in mine.faulting and offset in FAULTED) or (change.object in mine.ended and offset in ENDED):
            return True
        if offset in RESTARTS:
            return True
        if offset in QUEUE:
            return bool({tcb.blocked_on, later.blocked_on} & mine.queues)
        if offset in LISTENERS:
            return mine.listens_at(tcb)
        if offset in SPACE:
            return tcb.slot(TcbSlot.VSPACE).object in mine.spaces
        if offset == Tcb.bound_notification.offset:
            return mine.bound_to_ended(tcb)
        if offset == Tcb.channels.offset:
            clients = (Channel(self.before.ram, each).client for each in mine.channels)
            return any(client is not None and client.address == change.object for client in clients)
        return False

    def _is_linked_channel(self, change: Change) -> bool:
        if change.offset not in CHANNEL_LINKS:
            return False
        before = Channel(self.before.ram, change.object)
        others = [Channel(self.before.ram, each) for each in self.coverage.channels]
        same_client = any(before.client is not None and before.client == each.client for each in others)
        return same_client or before.slot.object in self.coverage.queues

    # --- frames

    def _allows_frame(self, change: Change) -> bool:
        """Only where the kernel writes to the trap frame of a thread that it has dealt with."""
        for kind in (self.before, self.after):
            for tcb in kind.threads:
                if tcb.trap_frame == change.object and self._perceives(tcb, change.offset):
                    return True
        return False

    def _perceives(self, tcb: Tcb, offset: int) -> bool:
        mine = self.coverage
        if tcb.address in mine.threads | mine.woken | mine.lenders | mine.faulting:
            return any(offset in part for part in FRAME_PARTS) or offset in NEW_PROCESS
        hint = abi.RECEIVE_HINT // WORD * WORD
        return offset == hint and mine.listens_at(tcb)
