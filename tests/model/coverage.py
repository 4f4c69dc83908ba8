"""What a system call of a thread may change, by the authority that the thread has when it makes it.

After seL4's integrity theorem (Sewell and others, 2011), object kind by object kind, on what RAM says before the call.
Two steps lead there. *Control*: the slots that the thread reaches in its capability space, what is derived from them
(it can revoke), and the objects whose every capability is among those (it can destroy), with what is inside of them.
*Dealings* (`dealings.py`): who waits at an endpoint, notification or reply object that the thread can use, whose time
is lent along with that, and who is told when an object dies. `integrity.py` says which words of whom that covers.
"""

from __future__ import annotations

from kerneld import channels
from kerneld.death_notices import key_of
from kerneld.records import CapType, Channel, KernelRecord, Reply, Slot, TcbSlot, ThreadState
from kerneld.survey import Held
from libsel4py.abi import Rights
from tests.model.dealings import INSIDE, Before, Dealings, Object


class Coverage(Dealings):
    """Of a thread's system call: all that it controls, and all that it can deal with."""

    def __init__(self, before: Before, actor: int) -> None:
        super().__init__(before, actor)
        self.nodes = before.nodes_of(actor)
        self.held = {each.address for node in self.nodes for each in before.inside[node]}
        self.doomed = set(self.held)
        self.threads = {actor}
        for address in self.held:
            self.doomed.update(before.descendants(address))
        self._control()
        self._deal()
        self.lines = {line for kind, line in self.named(self.doomed) if kind == CapType.IRQ_HANDLER}

    # --- control

    def _control(self) -> None:
        size = -1
        while size != len(self.doomed) + len(self.threads):
            size = len(self.doomed) + len(self.threads)
            self.threads |= {address for kind, address in self.named(self.held) if kind == CapType.TCB}
            self.threads |= {address for kind, address in self.destroyable if kind == CapType.TCB}
            self.threads |= {tcb for tcb in map(self._made_of, self.doomed) if tcb}
            opened = {address for kind, address in self.named(self.held) | self.destroyable if kind in INSIDE}
            opened -= {address for kind, address in self.named(self.held) if kind == CapType.CNODE}
            for container in opened | self.threads:
                self.doomed |= {each.address for each in self.before.inside[container]}
            irq = KernelRecord.of(self.ram)
            lines = [line for kind, line in self.named(self.doomed) if kind == CapType.IRQ_HANDLER]
            self.doomed |= {irq.irq_slot(line).address for line in lines if irq.irq_slot(line).word0}

    def _made_of(self, slot: int) -> int:
        """The thread that loses its address space or trap frame with this slot."""
        owner = self.before.survey.owners.get(slot, 0)
        vital = (owner + TcbSlot.VSPACE * Slot.SIZE, owner + TcbSlot.BUFFER * Slot.SIZE)
        return owner if owner in self.before.survey.of_type(CapType.TCB) and slot in vital else 0

    # --- dealings

    def _deal(self) -> None:
        ended = self.destroyable
        usable = self.held | {each.address for each in self.before.inside[self.actor]}
        for slot in usable:
            self._use(self.before.survey.slots[slot])
        for kind, address in ended:
            self._end(kind, address)
        objects = [self.before.survey.of_type(CapType(kind)).get(address) for kind, address in ended]
        objects += [self.before.survey.of_type(CapType.TCB).get(address) for address in self.threads]
        slots = [self.before.survey.slots[address] for address in self.doomed if address in self.before.survey.slots]
        places = self.doomed | {slot.prev for slot in slots}  # whose copies, or who themselves, may go
        self._tell({key_of(cap) for cap in objects if cap is not None} | places)
        self._channels(ended)
        self._spread_all()

    def _use(self, held: Held) -> None:
        address, rights = held.cap.object, held.cap.rights
        if held.kind == CapType.ENDPOINT:
            self.queues.add(address)
            if rights & Rights.WRITE:
                receivers = self.before.waiting(address, ThreadState.BLOCKED_ON_RECEIVE)
                self.woken |= receivers
                if rights & Rights.GRANT:
                    self.granted |= receivers
            if rights & Rights.READ:
                self.woken |= self.before.waiting(address, ThreadState.BLOCKED_ON_SEND)
        elif held.kind == CapType.NOTIFICATION:
            self.queues.add(address)
            if rights & Rights.WRITE:
                self._signal(address)
        elif held.kind == CapType.REPLY:
            self.replies.add(address)
            caller = Reply(self.ram, address).tcb
            if caller is not None:
                self.woken.add(caller.address)
                if rights & Rights.GRANT:
                    self.granted.add(caller.address)
        elif held.kind == CapType.SCHED_CONTEXT:
            self.contexts.add(address)

    def _end(self, kind: int, address: int) -> None:
        if kind in (CapType.ENDPOINT, CapType.NOTIFICATION):
            self.queues.add(address)
            self.woken |= {tcb.address for tcb in self.before.threads if tcb.blocked_on == address}
        elif kind == CapType.REPLY:
            self.replies.add(address)
            waiting = Reply(self.ram, address).tcb
            if waiting is not None:
                self.woken.add(waiting.address)
        elif kind == CapType.SCHED_CONTEXT:
            self.contexts.add(address)

    def _channels(self, ended: set[Object]) -> None:
        """Those that it has, and those that end with what it controls: of its threads, and of what they listen to."""
        listened: set[int] = set()
        for tcb in map(self.before.thread, self.threads):
            slot, bound = tcb.slot(TcbSlot.LISTEN), tcb.bound_notification
            if slot.bound:
                listened |= {slot.object} | ({bound.address} if bound is not None else set())
        gone = {address for _, address in ended}
        own = {address for kind, address in self.named(self.held) | ended if kind == CapType.CHANNEL}
        for address in self.before.survey.of_type(CapType.CHANNEL):
            channel = Channel(self.ram, address)
            client, target = channel.client, channels.target_of(channel.slot)
            of_client = client is not None and client.address in self.threads
            of_target = target is not None and target.address in listened | gone
            if address in own or of_client or of_target or channel.slot.address in self.doomed:
                self.channels.add(address)
                if target is not None:
                    self.queues.add(target.address)
