"""What happens that no system call causes, and what each of it may change, by the authority of its cause.

- An interrupt: its line's state, and what a signal to the notification does that the line's handler has set.
- The end of a process: its thread's, its channels', its place in what it waited in or listened to, whoever handles its
  faults, and who watches it. Whoever waits for its answers, waits on.
- A process that is reaped: the one slot that says what its thread listened to.
- A budget that is looked at: the scheduling context, the thread that runs on it, and the handler of its timeouts.
- A channel that the host has no page for: that channel, at both of its ends.
- Notices that are told of an end which lies some time back: they, and what a signal to their notifications does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from kerneld import caps, channels
from kerneld.death_notices import key_of
from kerneld.records import CapType, Channel, KernelRecord, Slot, Tcb, TcbSlot
from tests.model.dealings import Before, Dealings


@dataclass(frozen=True, slots=True)
class Interrupt:
    line: int


@dataclass(frozen=True, slots=True)
class ProcessEnd:
    thread: int


@dataclass(frozen=True, slots=True)
class Reaping:
    thread: int


@dataclass(frozen=True, slots=True)
class BudgetLook:
    context: int


@dataclass(frozen=True, slots=True)
class ChannelFailure:
    channel: int


@dataclass(frozen=True, slots=True)
class Telling:
    pass


Event: TypeAlias = Interrupt | ProcessEnd | Reaping | BudgetLook | ChannelFailure | Telling


def coverage_of(before: Before, event: Event) -> Dealings:
    """What the event may change."""
    return _Consequences(before).of(event)


class _Consequences(Dealings):
    def of(self, event: Event) -> Dealings:
        match event:
            case Interrupt(line):
                self._interrupt(line)
            case ProcessEnd(thread):
                self._end_process(Tcb(self.ram, thread))
            case Reaping(thread):
                self.unbound.add(thread + TcbSlot.LISTEN * Slot.SIZE)
            case BudgetLook(context):
                self.contexts.add(context)
            case ChannelFailure(channel):
                self._sever(Channel(self.ram, channel))
            case Telling():
                self._tell(set())
        self._spread_all()
        return self

    def _interrupt(self, line: int) -> None:
        self.lines.add(line)
        slot = KernelRecord.of(self.ram).irq_slot(line)
        if slot.cap_type == CapType.NOTIFICATION:
            self._signal(slot.object)

    def _end_process(self, tcb: Tcb) -> None:
        self.faulting.add(tcb.address)
        self.ended.add(tcb.address)
        self._fault(tcb.slot(TcbSlot.FAULT_HANDLER))
        self._tell({key_of(caps.tcb(tcb.address))})
        listens_to = channels.target_of(tcb.slot(TcbSlot.LISTEN))
        if tcb.listener and listens_to is not None:
            self.queues.add(listens_to.address)
        for address in self.before.survey.of_type(CapType.CHANNEL):
            channel = Channel(self.ram, address)
            if channel.client == tcb:
                self._sever(channel)

    def _sever(self, channel: Channel) -> None:
        self.channels.add(channel.address)
        target = channels.target_of(channel.slot)
        if target is not None:
            self.queues.add(target.address)
