"""Completions and hints, from RAM into the threads' rings; what else a transaction has told goes to others.

Rules. The tells of a transaction are carried out before the next one begins, in their order. Each may be carried out
twice: a kernel that is started again carries out what its predecessor had not emptied, from the one on that it was
about.

The completion of a system call that may have taken memory away is *held* until that memory is gone. The thread is in
its system call until then: for the kernel the completion waits to be published, and nothing else is taken from its
ring. Should it be stopped meanwhile, its resume tells the completion again.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeAlias

from hw import ring
from kerneld import scheduler
from kerneld.kernel import Kernel
from kerneld.outbox import Message, Tell
from kerneld.records import CapType, KernelRecord, Slot, Tcb, TcbSlot

U32: Final = 0xFFFFFFFF
Wait: TypeAlias = Callable[[int, Callable[[], None]], bool]


class Completions:
    """What the last transaction has told.

    Args:
        carry_out: does the tells that are neither completions nor hints, nor ends of channels.
        channels_gone: does these, of channels by their addresses.
        wait: has a function called once what was taken away so far is gone, for a thread (a TCB's address); False, and
            no call, if that is so already.
        released: told the TCB that was given a completion which was held.

    Attributes:
        others_told: whether it did any. severed: whether that ended a channel. Whoever has seen to it takes it back.
    """

    def __init__(
        self,
        kernel: Kernel,
        carry_out: Callable[[Message], None],
        wait: Wait,
        released: Callable[[int], None],
        channels_gone: Callable[[Sequence[int]], None] = lambda channels: None,
    ) -> None:
        self._kernel = kernel
        self._ram = kernel.ram
        self._carry_out = carry_out
        self._wait = wait
        self._released = released
        self._channels_gone = channels_gone
        self._held: dict[int, object] = {}  # for each TCB, which of its completions
        self._layout = _layout(kernel)
        self.others_told = self.severed = False

    def publish(self) -> Sequence[int]:
        """Carry out all tells, and empty the outbox. Returns the TCBs that were given a completion."""
        if self._held:
            return self._carry_out_all()
        delivered: Sequence[int] | None = ring.publish(self._ram, self._layout)
        if delivered is None:
            delivered = self._carry_out_map()
        return self._carry_out_all() if delivered is None else delivered

    def _carry_out_map(self) -> Sequence[int] | None:
        """The commonest of all else: a mapping, and completions. None where there is more to do.

        While it is not said to be done, a kernel that is started again carries it out once more.
        """
        outbox = self._kernel.outbox
        first = outbox.first
        if first.kind is not Tell.MAP or outbox.done:
            return None
        self._carry_out(first)
        self.others_told = True
        delivered = ring.publish(self._ram, self._layout, 1)
        if delivered is None:
            outbox.set_done(1)
        return delivered

    def _carry_out_all(self) -> list[int]:
        outbox = self._kernel.outbox
        delivered = self._deliver_of_death()
        done = outbox.done  # 0, but in the first turn of a kernel that was started again
        severed: list[int] = []  # channels, one behind the other: carried out as one
        for index, message in enumerate(outbox):
            if message.kind is Tell.CHANNEL_GONE:
                if index >= done:
                    severed.append(message.subject)
                continue
            if severed:
                self._sever(severed, index)
                severed = []
            if message.kind is Tell.DELIVER:
                given = message.subject not in delivered and not self._hold(message)
                if given and self._deliver(Tcb(self._ram, message.subject)):
                    delivered.append(message.subject)
            elif message.kind is Tell.HINT:
                self._hint(Tcb(self._ram, message.subject))
            elif index >= done:
                if message.kind is Tell.KILL:
                    self._held.pop(message.subject, None)
                elif message.kind is Tell.START and not message.more:
                    message = outbox.begin_start(index, message)
                self._carry_out(message)
                outbox.set_done(index + 1)
                self.others_told = True
        if severed:
            self._sever(severed, len(outbox))
        outbox.clear(self._held)
        return delivered

    def _sever(self, channels: Sequence[int], done: int) -> None:
        """Carry out the ends of these; so many tells are done then."""
        self._channels_gone(channels)
        self._kernel.outbox.set_done(done)
        self.others_told = self.severed = True

    def _deliver_of_death(self) -> list[int]:
        """Where a server has died, which its clients by channel are told one by one, whoever is told of it goes first:
        some wait for the next life. Returns who was given a completion."""
        outbox = self._kernel.outbox
        delivered: list[int] = []
        if not len(outbox) or outbox.first.kind is not Tell.RECEIVER_DIED:
            return delivered
        for message in outbox:
            if message.kind is Tell.DELIVER:
                at_once = not message.detail and message.subject not in self._held
                if at_once and self._deliver(Tcb(self._ram, message.subject)):
                    delivered.append(message.subject)
            elif message.kind is not Tell.RECEIVER_DIED:
                break
        return delivered

    def deliver_again(self, tcb: Tcb) -> None:
        """The thread has a completion that is told nowhere: the kernel before this one was holding it, when it died."""
        if tcb.told_pending and scheduler.may_run(tcb) and not self._try_hold(tcb.address):
            self._held[tcb.address] = this = object()
            self._release(tcb.address, this)

    def _hold(self, message: Message) -> bool:
        """Whether a completion has to wait."""
        return message.subject in self._held or (bool(message.detail) and self._try_hold(message.subject))

    def _try_hold(self, tcb: int) -> bool:
        """Hold a completion, if anything is being taken away."""
        this = object()
        if not self._wait(tcb, partial(self._release, tcb, this)):
            return False
        self._held[tcb] = this
        return True

    def _release(self, address: int, this: object) -> None:
        """Publish a completion that was held, unless its thread has ended or must not run."""
        if self._held.get(address) is not this:
            return
        del self._held[address]
        tcb = Tcb(self._ram, address)
        if tcb.told_pending and scheduler.may_run(tcb):
            self._deliver(tcb)
            with self._ram.transaction():
                tcb.told_pending = 0
            self._released(address)

    def _deliver(self, tcb: Tcb) -> bool:
        """False if the thread has no frame, and so nothing to read."""
        frame = tcb.trap_frame
        if not frame:
            return False
        produced = tcb.produced & U32
        published = ring.produced(self._ram, frame) == produced
        if published or ring.deliver(self._ram, frame, tcb.address + Tcb.TOLD, produced - 1 & U32):
            ring.wake(self._ram, frame)
        return True

    def _hint(self, tcb: Tcb) -> None:
        frame = tcb.trap_frame
        if frame:
            ring.hint(self._ram, frame)


def _layout(kernel: Kernel) -> bytes:
    """Where `ring.publish` finds what it needs (hw/_ram/publish.c, struct layout)."""
    record = kernel.core.kernel
    return struct.pack(
        "<9Q",
        record.address + KernelRecord.outbox_length.offset,
        record.address + KernelRecord.OUTBOX,
        Tell.DELIVER,
        TcbSlot.BUFFER * Slot.SIZE,
        CapType.FRAME,
        Tcb.produced.offset,
        Tcb.TOLD,
        Tcb.told_pending.offset,
        Tcb.told_pending.mask << Tcb.told_pending.shift,
    )
