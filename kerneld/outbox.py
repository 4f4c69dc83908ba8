"""What a transaction will tell the host: processes to start, stop or end, completions to publish, devices to kick.

Tells are records in RAM, written inside the transaction that causes them, so they are rolled back with it, and a
kernel that was killed after the commit finds them. The host carries them out in order, right after the commit and
before the next system call, says how far it has got (`done`), then calls `clear`. So a kernel that is started again
knows which one its predecessor was about; that one must be harmless when it is carried out twice, as completions and
hints must always be.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from hw.ram import Ram
from kerneld.failures import KernelBug
from kerneld.records import OUTBOX_ENTRIES, KernelRecord, OutboxEntry, Tcb


class Tell(IntEnum):
    """Kinds. `subject` is a TCB's address unless said otherwise."""

    DELIVER = 1  # publish the TCB's completion; detail 1: only when what was taken from processes so far is gone
    START = 2  # start the thread: process or thread of a live process, from its registers; more: its number, once begun
    STOP = 3  # the thread runs in user code and must not: hold it
    CONTINUE = 4  # undo STOP
    KILL = 5  # the TCB is gone (its record is not valid any more): end its process or thread; detail: VSpace address
    FRAME_GONE = 6  # subject: physical address of a frame that was destroyed; detail: bytes
    VSPACE_GONE = 7  # subject: address of a VSpace that was destroyed
    TRAP_FRAME = 8  # the thread has got another trap frame
    DEVICE = 9  # subject: device number; a port write needs the host (a byte to send, a timer to arm)
    CHANNEL_OPEN = 10  # subject: channel; hand its page to the TCB in detail; more: its listener number, 0: the client
    CHANNEL_GONE = 11  # subject: address of a channel that was severed: take its page away from everybody
    RECEIVER_DIED = 12  # subject: channel; more: number of a listener that has ended, in detail; the client is to know
    HINT = 13  # the thread listens, and something came to be received in the kernel
    MAP = 14  # subject: VSpace; detail: address | Rights (Read, Write); more: frame's physical address | size bits
    UNMAP = 15  # as MAP, with the rights that it had: take that away. Not told of a VSpace that is gone
    WATCH = 16  # subject: scheduling context; look at it when it may have run out of budget, or gets some again
    UNWATCH = 17  # subject: address of a scheduling context that is gone
    PRIORITY = 18  # the thread has another priority


_KINDS: Final = {int(kind): kind for kind in Tell}
_WORD: Final = struct.Struct("<Q")
_ENTRY: Final = struct.Struct("<4Q")  # OutboxEntry: kind, subject, detail, more
assert _ENTRY.size == OutboxEntry.SIZE


class Message(NamedTuple):
    kind: Tell
    subject: int
    detail: int = 0
    more: int = 0


class Outbox:
    """The list of tells, in RAM."""

    def __init__(self, ram: Ram) -> None:
        self._ram = ram
        self._kernel = KernelRecord.of(ram)
        self._base = self._kernel.address + KernelRecord.OUTBOX

    def __len__(self) -> int:
        return self._kernel.outbox_length

    def __iter__(self) -> Iterator[Message]:
        """What was told before the iteration began."""
        for kind, subject, detail, more in self._entries():
            yield Message(_KINDS[kind], subject, detail, more)

    def _entries(self) -> Iterator[tuple[int, ...]]:
        """One copy: a revocation tells dozens of things."""
        return _ENTRY.iter_unpack(self._ram.read(self._base, len(self) * OutboxEntry.SIZE))

    @property
    def first(self) -> Message:
        """The first tell, of some."""
        kind, subject, detail, more = _ENTRY.unpack(self._ram.read(self._base, OutboxEntry.SIZE))
        return Message(_KINDS[kind], subject, detail, more)

    def tell(self, kind: Tell, subject: int, detail: int = 0, more: int = 0) -> None:
        """Append, inside the open transaction."""
        index = self._kernel.outbox_length
        if index >= OUTBOX_ENTRIES:
            raise KernelBug("the outbox is full: a transaction tells an unbounded number of things")
        entry = OutboxEntry(self._ram, self._base + index * OutboxEntry.SIZE)
        entry.kind = kind
        entry.subject = subject
        entry.detail = detail
        entry.more = more
        self._kernel.outbox_length = index + 1

    @property
    def done(self) -> int:
        """How many tells, from the first one on, are carried out; completions and hints do not count."""
        return self._kernel.outbox_done

    def set_done(self, count: int) -> None:
        """So many are carried out. Outside of transactions."""
        self._ram.poke(self._kernel.address + KernelRecord.outbox_done.offset, _WORD.pack(count))

    def begin_start(self, index: int, message: Message) -> Message:
        """START is about to be carried out: it gets a number that nothing else was ever started with."""
        number = self.next_start()
        self._ram.poke(self._base + index * OutboxEntry.SIZE + OutboxEntry.more.offset, _WORD.pack(number))
        return message._replace(more=number)

    def next_start(self) -> int:
        """A number that nothing was ever started with. Outside of transactions."""
        number = self._kernel.starts + 1
        self._ram.poke(self._kernel.address + KernelRecord.starts.offset, _WORD.pack(number))
        return number

    def clear(self, held: Container[int] = ()) -> None:
        """Forget all, once carried out: a transaction of its own. ``held``: TCBs whose completions are yet to come."""
        if not len(self):
            return
        with self._ram.transaction():
            for kind, subject, _, _ in self._entries():
                if kind == Tell.DELIVER and subject not in held:
                    Tcb(self._ram, subject).told_pending = 0
            self._kernel.outbox_length = 0
            if self._kernel.outbox_done:
                self._kernel.outbox_done = 0
