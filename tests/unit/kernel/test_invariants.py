"""Every predicate finds the damage that it is about, and nothing is wrong with a sound machine."""

from collections.abc import Callable

import pytest

from kerneld import (
    budget_invariants,
    caps,
    channel_invariants,
    invariants,
    mapping_invariants,
    notice_invariants,
    scheduler,
)
from kerneld.caps import ZombieOf
from kerneld.cores import invariants as core_invariants
from kerneld.objects.call_stack import HEAD
from kerneld.records import (
    OUTBOX_ENTRIES,
    CapType,
    Endpoint,
    EndpointState,
    IoSpace,
    KernelRecord,
    Notification,
    SchedContext,
    Slot,
    Tcb,
    TcbSlot,
    ThreadState,
    VSpace,
)
from kerneld.survey import survey
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Syscall
from tests.harness import Machine, Thread


class Busy:
    """A machine with threads in every kind of wait."""

    def __init__(self) -> None:
        self.machine = machine = Machine()
        self.kernel = machine.kernel.core.kernel
        self.endpoint = machine.retype(ObjectType.ENDPOINT)
        self.notification = machine.retype(ObjectType.NOTIFICATION)
        self.idle_notification = machine.retype(ObjectType.NOTIFICATION)
        self.table = machine.retype(ObjectType.CNODE, 3)
        self.second_table = machine.retype(ObjectType.CNODE, 3)
        self.frame = machine.retype(ObjectType.FRAME, 12)
        self.io_space = machine.retype(ObjectType.IO_SPACE, 12)
        self.copy = machine.copy(self.endpoint, badge=7)
        self.client = self._thread("client")
        self.server = self._thread("server")
        self.waiter = self._thread("waiter")
        self.sender = self._thread("sender")
        self.second_sender = self._thread("second sender")
        assert self.server.syscall(Syscall.RECV, 1, reply=self.server.reply) is None
        assert self.client.syscall(Syscall.CALL, 1) is None
        assert self.waiter.syscall(Syscall.WAIT, 2) is None
        assert self.sender.syscall(Syscall.SEND, 1) is None
        assert self.second_sender.syscall(Syscall.SEND, 1) is None
        machine.root.call(self.server.cap, Label.TCB_BIND_NOTIFICATION, (), [self.idle_notification])
        self.handler = machine.new_slots()
        words = (3, self.handler, abi.WORD_BITS)
        machine.root.call(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, words, [InitialSlot.CNODE])

    def _thread(self, name: str) -> Thread:
        thread = self.machine.thread(name)
        self.machine.grant(thread, self.endpoint, 1)
        self.machine.grant(thread, self.notification, 2)
        return thread

    def slot(self, number: int) -> Slot:
        return self.machine.slot(number)

    def endpoint_record(self) -> Endpoint:
        return Endpoint(self.machine.ram, self.slot(self.endpoint).object)

    def notification_record(self) -> Notification:
        return Notification(self.machine.ram, self.slot(self.notification).object)

    def context(self) -> SchedContext:
        context = self.waiter.tcb.sched_context
        assert context is not None
        return context

    def set_word(self, address: int, value: int) -> None:
        self.machine.ram.set_word(address, value)


@pytest.fixture
def busy() -> Busy:
    return Busy()


def test_a_busy_machine_is_sound(busy: Busy) -> None:
    assert invariants.check(busy.machine.ram) == []


def test_names_and_sentences_are_unique() -> None:
    assert len({item.name for item in invariants.PREDICATES}) == len(invariants.PREDICATES)
    assert all(item.sentence.endswith(".") and item.sentence[0].isupper() for item in invariants.PREDICATES)


def empty_slot(busy: Busy) -> None:
    busy.slot(busy.machine.new_slots()).word1 = 5


def cap_type(busy: Busy) -> None:
    busy.slot(busy.copy).word0 = (max(CapType) + 1) << 59


def misaligned(busy: Busy) -> None:
    slot = busy.slot(busy.frame)
    slot.word0 = slot.word0 + 64


def outside(busy: Busy) -> None:
    busy.slot(busy.copy).word0 = caps.endpoint(0x1000).word0


def of_a_device_in_ram(busy: Busy) -> None:
    slot = busy.slot(busy.frame)
    cap = caps.read(slot)
    slot.word0 = caps.frame(cap.object, cap.frame_size_bits, cap.rights, is_device=True).word0


def one_way_link(busy: Busy) -> None:
    busy.slot(busy.copy).prev = None


def cycle(busy: Busy) -> None:
    slot = busy.slot(busy.copy)
    slot.prev = slot
    slot.next = slot


def apart(busy: Busy) -> None:
    first, second = busy.slot(busy.table), busy.slot(busy.second_table)
    stranger = busy.slot(busy.copy)
    stranger.word0, stranger.word1 = second.word0, 0
    assert first.word0 != second.word0


def free_index(busy: Busy) -> None:
    memory = busy.slot(busy.machine.untyped)
    memory.word1 = (1 << 30) + 1


def past_watermark(busy: Busy) -> None:
    busy.slot(busy.machine.untyped).word1 = 64


def overlap(busy: Busy) -> None:
    slot = busy.slot(busy.table)
    slot.word0 = caps.cnode(slot.object, 14).word0


def zombie_tail(busy: Busy) -> None:
    slot = busy.slot(busy.table)
    address = slot.object
    slot.word0, slot.word1 = caps.zombie(address, ZombieOf.CNODE, 2, 3)
    busy.set_word(address + 5 * Slot.SIZE, 1)


def zombie_number(busy: Busy) -> None:
    slot = busy.slot(busy.table)
    slot.word0, slot.word1 = caps.zombie(slot.object, ZombieOf.CNODE, 9, 3)


def line_state(busy: Busy) -> None:
    busy.set_word(busy.kernel.address + KernelRecord.IRQ_STATES + 8, 1)


def line_signals_endpoint(busy: Busy) -> None:
    caps.write(busy.kernel.irq_slot(3), caps.read(busy.slot(busy.endpoint)))


def port_bit(busy: Busy) -> None:
    busy.set_word(busy.kernel.address + KernelRecord.IO_PORT_BITMAP, 1)


def io_space_of_a_device_is_none(busy: Busy) -> None:
    busy.set_word(busy.kernel.io_space_word(1), busy.slot(busy.frame).object)


def io_space_says_so_alone(busy: Busy) -> None:
    IoSpace(busy.machine.ram, busy.slot(busy.io_space).object).device_word = 2


def io_space_of_no_device(busy: Busy) -> None:
    IoSpace(busy.machine.ram, busy.slot(busy.io_space).object).device_word = abi.WORD_MASK


def outbox(busy: Busy) -> None:
    busy.kernel.outbox_length = OUTBOX_ENTRIES + 1


def thread_state(busy: Busy) -> None:
    busy.client.tcb.state = 9


def thread_priority(busy: Busy) -> None:
    busy.client.tcb.priority = 256


def wrong_slot(busy: Busy) -> None:
    caps.write(busy.client.tcb.slot(TcbSlot.FAULT_HANDLER), caps.tcb(busy.client.tcb.address))


def nowhere(busy: Busy) -> None:
    busy.server.tcb.state = ThreadState.BLOCKED_ON_SEND


def linked_while_running(busy: Busy) -> None:
    busy.machine.root.tcb.blocked_on = busy.endpoint_record().address


def queue_back_link(busy: Busy) -> None:
    busy.second_sender.tcb.queue_prev = None


def queue_run(busy: Busy) -> None:
    busy.second_sender.tcb.run_first = None


def queue_run_of_one(busy: Busy) -> None:
    busy.server.tcb.run_last = busy.sender.tcb


def queue_tail(busy: Busy) -> None:
    busy.endpoint_record().tail = busy.sender.tcb


def queue_priority(busy: Busy) -> None:
    busy.second_sender.tcb.priority = 101


def endpoint_state(busy: Busy) -> None:
    busy.endpoint_record().state = EndpointState.RECEIVE


def notification_state(busy: Busy) -> None:
    busy.notification_record().state = 0


def signals_without_state(busy: Busy) -> None:
    busy.notification_record().signals = 1


def bound_one_way(busy: Busy) -> None:
    busy.server.tcb.bound_notification = None


def bound_other_way(busy: Busy) -> None:
    Notification(busy.machine.ram, busy.slot(busy.idle_notification).object).bound_tcb = None


def context_one_way(busy: Busy) -> None:
    busy.context().tcb = None


def context_other_way(busy: Busy) -> None:
    busy.waiter.tcb.sched_context = None


def stack_head(busy: Busy) -> None:
    busy.context().reply = busy.client.tcb.reply


def reply_one_way(busy: Busy) -> None:
    reply = busy.client.tcb.reply
    assert reply is not None
    reply.tcb = None


def reply_other_way(busy: Busy) -> None:
    busy.client.tcb.reply = None


def reply_on_a_stack(busy: Busy) -> None:
    reply = busy.client.tcb.reply
    assert reply is not None
    reply.next_word = busy.context().address | HEAD


def restart_flag(busy: Busy) -> None:
    busy.client.tcb.restart_queued = 1


def restart_tail(busy: Busy) -> None:
    busy.kernel.restart_tail = busy.client.tcb


def restart_back_link(busy: Busy) -> None:
    scheduler.enqueue_restart(busy.kernel, busy.client.tcb)
    busy.client.tcb.restart_prev = busy.client.tcb


def address_space(busy: Busy) -> None:
    space = VSpace(busy.machine.ram, busy.machine.root.tcb.slot(TcbSlot.VSPACE).object)
    first = space.threads
    assert first is not None
    space.threads = first.vspace_next


def address_space_back_link(busy: Busy) -> None:
    first = VSpace(busy.machine.ram, busy.machine.root.tcb.slot(TcbSlot.VSPACE).object).threads
    assert first is not None
    first.vspace_prev = busy.client.tcb


def address_space_unsaid(busy: Busy) -> None:
    busy.client.tcb.slot(TcbSlot.VSPACE).word1 = 0


def address_space_of_a_plain_slot(busy: Busy) -> None:
    busy.slot(InitialSlot.VSPACE).word1 = busy.client.tcb.address


def untraceable(busy: Busy) -> None:
    slot = busy.slot(busy.table)
    slot.word0 = caps.cnode(busy.machine.ram.size - 64, 20).word0


DAMAGE: dict[Callable[[Busy], None], str] = {
    empty_slot: "empty-slot",
    cap_type: "cap-type",
    misaligned: "cap-object",
    outside: "cap-object",
    of_a_device_in_ram: "cap-object",
    one_way_link: "order-linked",
    cycle: "order-acyclic",
    apart: "object-together",
    free_index: "free-index",
    past_watermark: "inside-parent",
    overlap: "disjoint",
    zombie_tail: "zombie",
    zombie_number: "zombie",
    line_state: "interrupts",
    line_signals_endpoint: "interrupts",
    port_bit: "io-ports",
    io_space_of_a_device_is_none: "io-spaces",
    io_space_says_so_alone: "io-spaces",
    io_space_of_no_device: "io-spaces",
    outbox: "outbox",
    thread_state: "thread-state",
    thread_priority: "thread-state",
    wrong_slot: "thread-slots",
    nowhere: "waits-somewhere",
    linked_while_running: "waits-somewhere",
    queue_back_link: "queues",
    queue_run: "runs",
    queue_run_of_one: "waits-somewhere",
    queue_tail: "queues",
    queue_priority: "queues",
    endpoint_state: "endpoint-state",
    notification_state: "notification-state",
    signals_without_state: "notification-state",
    bound_one_way: "bindings",
    bound_other_way: "bindings",
    context_one_way: "bindings",
    context_other_way: "contexts",
    stack_head: "contexts",
    reply_one_way: "replies",
    reply_other_way: "replies",
    reply_on_a_stack: "replies",
    restart_flag: "restarts",
    restart_tail: "restarts",
    restart_back_link: "restarts",
    address_space: "address-spaces",
    address_space_back_link: "address-spaces",
    address_space_unsaid: "address-spaces",
    address_space_of_a_plain_slot: "address-spaces",
    untraceable: "followable",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_found(busy: Busy, damage: Callable[[Busy], None]) -> None:
    with busy.machine.ram.transaction():
        damage(busy)
    assert DAMAGE[damage] in {violation.name for violation in invariants.check(busy.machine.ram)}


def test_every_predicate_is_tried() -> None:
    others = (
        *channel_invariants.PREDICATES,
        *mapping_invariants.PREDICATES,
        *notice_invariants.PREDICATES,
        *core_invariants.PREDICATES,
        *budget_invariants.PREDICATES,
    )  # those: their own files
    tried = set(DAMAGE.values()) | {item.name for item in others}
    assert {item.name for item in invariants.PREDICATES} == tried


def test_any_bytes_can_be_checked(busy: Busy) -> None:
    """A damaged image gives violations, never an exception: each word of a TCB and a CNode in turn."""
    ram = busy.machine.ram
    table = busy.machine.root.tcb.slot(TcbSlot.CSPACE).object
    places = [*range(busy.client.tcb.address, busy.client.tcb.address + 300, 8), *range(table + 32, table + 40 * 32, 8)]
    for address in places:
        held = ram.word(address)
        for wrong in (abi.WORD_MASK, 0x7, ram.size - 8, held ^ 1 << 59):
            with ram.transaction():
                ram.set_word(address, wrong)
            invariants.check(ram)
        with ram.transaction():
            ram.set_word(address, held)
    assert invariants.check(ram) == []


def test_the_survey_begins_at_any_thread_that_the_kernel_knows(busy: Busy) -> None:
    with busy.machine.ram.transaction():
        busy.kernel.initial_tcb = None
    found = survey(busy.machine.ram)
    # Nothing leads anywhere now: nothing is found, and nothing is said to be wrong.
    assert found.of_type(CapType.TCB) == {}
    assert not found.is_complete
    assert invariants.check(busy.machine.ram) == []
    with busy.machine.ram.transaction():
        busy.kernel.restart_head = busy.kernel.restart_tail = Tcb(busy.machine.ram, busy.client.tcb.address)
        busy.client.tcb.restart_queued = 1
    assert len(survey(busy.machine.ram).of_type(CapType.TCB)) == 6
