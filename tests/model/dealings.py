"""RAM before something happens, and whom it concerns: who waits where, whose time is lent, who is told of an end.

A system call begins with what its caller has (`coverage.py`), an event that no system call causes with what raised it
(`events.py`). From there on the steps are the same, and stand here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

from hw.ram import Ram
from kerneld import caps, channels, fast_survey
from kerneld.caps import OBJECT_MASK
from kerneld.mdb import BY_NUMBER
from kerneld.records import (
    CapType,
    DeathNotice,
    Endpoint,
    Notification,
    Reply,
    SchedContext,
    Slot,
    Tcb,
    TcbSlot,
    ThreadState,
)
from kerneld.survey import Held

HEAD = 1  # of a call stack: the word is a scheduling context's address
REVOCABLE, FIRST_OF_BADGE = 2, 1
ISSUED = {(CapType.IRQ_CONTROL, CapType.IRQ_HANDLER), (CapType.IO_PORT_CONTROL, CapType.IO_PORT)}
INSIDE = (CapType.CNODE, CapType.TCB, CapType.CHANNEL, CapType.DEATH_NOTICE, CapType.ZOMBIE)
Object = tuple[int, int]  # CapType, address


class Before:
    """RAM before a system call, and where everything is in it."""

    def __init__(self, ram: Ram) -> None:
        self.ram = ram
        self.survey = fast_survey.survey(ram)
        self.threads = [Tcb(ram, address) for address in self.survey.of_type(CapType.TCB)]

    @cached_property
    def objects(self) -> dict[int, Object]:
        """What each slot's capability names."""
        return {held.address: object_of(held) for held in self.survey.slots.values()}

    @cached_property
    def inside(self) -> dict[int, list[Held]]:
        """What each CNode, TCB, … holds."""
        found: dict[int, list[Held]] = defaultdict(list)
        for held in self.survey.slots.values():
            found[self.survey.owners[held.address]].append(held)
        return found

    @cached_property
    def naming(self) -> dict[Object, list[int]]:
        """The slots that name each object."""
        found: dict[Object, list[int]] = defaultdict(list)
        for address, named in self.objects.items():
            found[named].append(address)
        return found

    @cached_property
    def notices(self) -> dict[int, list[DeathNotice]]:
        """Those that watch, by what they watch."""
        found: dict[int, list[DeathNotice]] = defaultdict(list)
        for address in self.survey.of_type(CapType.DEATH_NOTICE):
            notice = DeathNotice(self.ram, address)
            if notice.key:
                found[notice.key].append(notice)
        return found

    def thread(self, address: int) -> Tcb:
        return Tcb(self.ram, address)

    def waiting(self, at: int, *states: ThreadState) -> set[int]:
        return {tcb.address for tcb in self.threads if tcb.blocked_on == at and tcb.state in states}

    def descendants(self, address: int) -> Iterable[int]:
        """The slots that hold what was derived from a slot's capability: those that follow it in the order, to the
        first that was not."""
        parent = self.survey.slots[address]
        at = self.survey.slots.get(parent.next)
        while at is not None and _derived(parent, at):
            yield at.address
            at = self.survey.slots.get(at.next)

    def nodes_of(self, tcb: int) -> set[int]:
        """The CNodes of a thread's capability space."""
        found: set[int] = set()
        root = Slot(self.ram, tcb + TcbSlot.CSPACE * Slot.SIZE)
        todo = [root.object] if root.cap_type == CapType.CNODE else []
        while todo:
            node = todo.pop()
            if node not in found:
                found.add(node)
                todo += [each.cap.object for each in self.inside[node] if each.kind == CapType.CNODE]
        return found


def object_of(held: Held) -> Object:
    """What a capability names; lines and ports have no address, and are their numbers."""
    kind = held.kind
    return kind, held.word1 if kind in BY_NUMBER else held.word0 & OBJECT_MASK


def _derived(parent: Held, child: Held) -> bool:
    """By the manual's rules, and not by the kernel's code: copies of an original, what was made of memory, what a
    control capability has issued. A badged endpoint's are those of its badge."""
    if not parent.mdb_word & REVOCABLE:
        return False
    if parent.kind == CapType.UNTYPED:
        inner, start = caps.region(child.cap), parent.cap.object
        return inner is not None and start <= inner[0] < start + (1 << parent.cap.size_bits)
    if (parent.kind, child.kind) in ISSUED:
        return True
    if object_of(parent) != object_of(child) or parent.kind == CapType.ZOMBIE:
        return False
    badged = parent.kind in (CapType.ENDPOINT, CapType.NOTIFICATION) and parent.word1
    return not badged or (child.word1 == parent.word1 and not child.mdb_word & FIRST_OF_BADGE)


class Dealings:
    """What is dealt with, and whom that concerns. A subclass says where it begins.

    Attributes: addresses.

    nodes: CNodes whose slots are its own. held: slots in them. doomed: slots that it can empty. threads: those that it
    controls, itself among them. woken: those that a message, an answer, a signal or an end can let go on. queues:
    endpoints and notifications. contexts, replies, channels, told (death notices). lenders: threads that may gain or
    lose their time. granted: threads that it can send capabilities to. faulting: threads that stop, and whose fault is
    told. ended: those whose process is gone. unbound: slots that are bound no more. lines: numbers of interrupt lines.
    """

    def __init__(self, before: Before, actor: int = 0) -> None:
        self.before = before
        self.ram = before.ram
        self.actor = actor
        self.nodes: set[int] = set()
        self.held: set[int] = set()
        self.doomed: set[int] = set()
        self.threads: set[int] = set()
        self.woken: set[int] = set()
        self.queues: set[int] = set()
        self.contexts: set[int] = set()
        self.replies: set[int] = set()
        self.channels: set[int] = set()
        self.told: set[int] = set()
        self.lenders: set[int] = set()
        self.granted: set[int] = set()
        self.faulting: set[int] = set()
        self.ended: set[int] = set()
        self.unbound: set[int] = set()
        self.lines: set[int] = set()

    def named(self, slots: Iterable[int]) -> set[Object]:
        objects = self.before.objects
        return {objects[each] for each in slots if each in objects}

    @property
    def destroyable(self) -> set[Object]:
        """Objects all capabilities of which it can take away."""
        return {each for each in self.named(self.doomed) if self.doomed.issuperset(self.before.naming[each])}

    def _signal(self, notification: int) -> None:
        self.queues.add(notification)
        self.woken |= self.before.waiting(notification, ThreadState.BLOCKED_ON_NOTIFICATION)
        bound = Notification(self.ram, notification).bound_tcb
        if bound is not None and bound.state == ThreadState.BLOCKED_ON_RECEIVE:
            self.woken.add(bound.address)

    def _tell(self, keys: set[int]) -> None:
        """Of the ends of what is found by the keys, and of what has ended before and is told on."""
        for key in keys:
            self.told |= {notice.address for notice in self.before.notices.get(key, [])}
        self.told |= {
            each.address
            for ring in self.before.notices.values()
            if any(other.is_telling for other in ring)
            for each in ring
        }
        for address in self.told:
            slot = DeathNotice(self.ram, address).slot
            if slot.cap_type == CapType.NOTIFICATION:
                self._signal(slot.object)

    def _spread_all(self) -> None:
        size, sets = -1, (self.woken, self.queues, self.contexts, self.replies, self.lenders, self.faulting)
        while size != sum(map(len, sets)):
            size = sum(map(len, sets))
            self._spread()

    def _spread(self) -> None:
        """Along queues that those concerned wait in, and along the calls by which time was lent."""
        for address in self.threads | self.woken | self.faulting:
            tcb = Tcb(self.ram, address)
            context, reply, bound = tcb.sched_context, tcb.reply, tcb.bound_notification
            if tcb.blocked_on:
                self.queues.add(tcb.blocked_on)
            if context is not None:
                self.contexts.add(context.address)
            if reply is not None:
                self.replies.add(reply.address)
            if bound is not None and address in self.threads:
                self.queues.add(bound.address)
        for address in self.queues & set(self.before.survey.of_type(CapType.NOTIFICATION)):
            context = Notification(self.ram, address).sched_context
            if context is not None:
                self.contexts.add(context.address)
        for address in list(self.replies):
            reply = Reply(self.ram, address)
            if reply.prev is not None:
                self.replies.add(reply.prev.address)
            if reply.next_word & HEAD:
                self.contexts.add(reply.next_word ^ HEAD)
            elif reply.next_word:
                self.replies.add(reply.next_word)
        for address in self.contexts:
            record = SchedContext(self.ram, address)
            if record.reply is not None:
                self.replies.add(record.reply.address)
            if record.tcb is not None:
                self.lenders.add(record.tcb.address)
            if record.notification is not None:
                self.queues.add(record.notification.address)
        if any(SchedContext(self.ram, address).period for address in self.contexts):
            for address in self.threads | self.woken | self.lenders | self.faulting:
                self._time_out(Tcb(self.ram, address))

    def _time_out(self, tcb: Tcb) -> None:
        """A budget that it runs on, or is lent, may turn out to be used up: its timeout handler is told."""
        if self._fault(tcb.slot(TcbSlot.TIMEOUT_HANDLER)):
            self.faulting.add(tcb.address)

    def _fault(self, handler: Slot) -> bool:
        """Whether the handler is one that can be told."""
        if handler.cap_type != CapType.ENDPOINT or not handler.can_write:
            return False
        self.queues.add(handler.object)
        self.woken |= self.before.waiting(handler.object, ThreadState.BLOCKED_ON_RECEIVE)
        return True

    # --- further

    @cached_property
    def spaces(self) -> set[int]:
        """VSpaces and IOSpaces that it names, or takes a frame out of."""
        found = {address for kind, address in self.named(self.doomed) if kind in (CapType.VSPACE, CapType.IO_SPACE)}
        slots = [self.before.survey.slots[each] for each in self.doomed if each in self.before.survey.slots]
        return found | {held.cap.mapped_space for held in slots if held.cap.is_mapped}

    @cached_property
    def memory(self) -> list[tuple[int, int]]:
        """Untyped memory that it can make objects of: start and end."""
        slots = [self.before.survey.slots[each] for each in self.held]
        return [
            (held.cap.object, held.cap.object + (1 << held.cap.size_bits))
            for held in slots
            if held.kind == CapType.UNTYPED
        ]

    @cached_property
    def receiving(self) -> set[int]:
        """The CNodes in which a capability that it sends can arrive."""
        return {node for tcb in self.granted for node in self.before.nodes_of(tcb)}

    @cached_property
    def sending(self) -> set[int]:
        """The CNodes of those who wait to send to it."""
        senders = [each for each in self.woken if Tcb(self.ram, each).state == ThreadState.BLOCKED_ON_SEND]
        return {node for tcb in senders for node in self.before.nodes_of(tcb)}

    def bound_to_ended(self, tcb: Tcb) -> bool:
        bound = tcb.bound_notification
        return bound is not None and (CapType.NOTIFICATION, bound.address) in self.destroyable

    def has(self, *kinds: CapType) -> bool:
        """Whether it holds, or can take away, a capability of one of the kinds."""
        return any(kind in kinds for kind, _ in self.named(self.doomed))

    def listens_at(self, tcb: Tcb) -> bool:
        """Whether the thread listens to something concerned."""
        target = channels.target_of(tcb.slot(TcbSlot.LISTEN))
        if isinstance(target, Endpoint | Notification) and target.address in self.queues:
            return True
        bound = tcb.bound_notification
        return bound is not None and bound.address in self.queues
