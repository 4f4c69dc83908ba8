"""Scheduling contexts and SchedControl: methods, order of checks, consumed time, refills (seL4 manual 6.1.6)."""

import pytest

from kerneld import refills
from kerneld.outbox import Tell
from kerneld.records import SchedContext, ThreadState
from libsel4py.abi import MAX_PERIOD_US, MIN_BUDGET_US, Error, InitialSlot, Label, ObjectType, Syscall
from tests.harness import OWN_REPLY, OWN_SCHED_CONTEXT, OWN_TCB, Machine, Thread

from .scene import ENDPOINT, OTHER, Scene, call, receive, reply_receive

CONTROL = InitialSlot.FIRST_FREE


def bound(machine: Machine, thread: Thread) -> SchedContext:
    context = thread.tcb.sched_context
    assert context is not None
    return context


# --- bind and unbind


def test_bind_refuses_what_is_bound_and_what_is_neither_thread_nor_notification() -> None:
    machine = Machine()
    root, free = machine.root, machine.sched_context()
    thread, passive = machine.thread("thread"), machine.thread("passive", passive=True)
    notification = machine.retype(ObjectType.NOTIFICATION)
    bind = Label.SCHED_CONTEXT_BIND
    assert root.invoke(free, bind) == (Error.TRUNCATED_MESSAGE, ())
    assert root.invoke(free, bind, (), [free]) == (Error.INVALID_CAPABILITY, (1,))
    assert root.invoke(free, bind, (), [thread.cap]) == (Error.ILLEGAL_OPERATION, ())
    assert root.invoke(thread.sched_context, bind, (), [passive.cap]) == (Error.ILLEGAL_OPERATION, ())
    assert root.invoke(thread.sched_context, bind, (), [free]) == (Error.INVALID_CAPABILITY, (1,))
    root.call(free, bind, (), [notification])
    assert root.invoke(free, bind, (), [machine.retype(ObjectType.NOTIFICATION)]) == (Error.ILLEGAL_OPERATION, ())
    second = machine.sched_context()
    assert root.invoke(second, bind, (), [notification]) == (Error.ILLEGAL_OPERATION, ())


def test_a_blocked_thread_is_bound_only_to_a_context_that_has_budget() -> None:
    scene = Scene()
    thread = scene.thread("thread")
    receive(thread)
    root = scene.machine.root
    root.call(thread.sched_context, Label.SCHED_CONTEXT_UNBIND)
    empty = scene.machine.retype(ObjectType.SCHED_CONTEXT, 8)
    assert root.invoke(empty, Label.SCHED_CONTEXT_BIND, (), [thread.cap]) == (Error.ILLEGAL_OPERATION, ())
    root.call(CONTROL, Label.SCHED_CONTROL_CONFIGURE_FLAGS, (5000, 5000, 0, 0, 0), [empty])
    root.call(empty, Label.SCHED_CONTEXT_BIND, (), [thread.cap])
    assert bound(scene.machine, thread) == scene.context_record(empty)


def test_a_running_thread_without_context_stops_and_goes_on_with_one() -> None:
    machine = Machine()
    thread = machine.thread("thread")
    root = machine.root
    root.call(thread.sched_context, Label.SCHED_CONTEXT_UNBIND_OBJECT, (), [thread.cap])
    assert [tell.subject for tell in machine.told(Tell.STOP)] == [thread.tcb.address]
    assert thread.state is ThreadState.RUNNING
    assert thread.syscall(Syscall.YIELD) is None
    root.call(thread.sched_context, Label.SCHED_CONTEXT_BIND, (), [thread.cap])
    assert [tell.subject for tell in machine.told(Tell.CONTINUE)] == [thread.tcb.address]
    assert thread.completion() is not None


def test_an_unconfigured_context_runs_nothing_until_it_is_configured() -> None:
    machine = Machine()
    passive = machine.thread("passive", passive=True)
    context = machine.retype(ObjectType.SCHED_CONTEXT, 8)
    machine.root.call(context, Label.SCHED_CONTEXT_BIND, (), [passive.cap])
    assert not [tell for tell in machine.told(Tell.START) if tell.subject == passive.tcb.address]
    machine.root.call(CONTROL, Label.SCHED_CONTROL_CONFIGURE_FLAGS, (100, 1000, 0, 0, 0), [context])
    assert [tell for tell in machine.told(Tell.START) if tell.subject == passive.tcb.address]


def test_unbinding_checks_who_is_bound_and_spares_the_caller() -> None:
    machine = Machine()
    root = machine.root
    thread, other = machine.thread("thread"), machine.thread("other")
    notification = machine.retype(ObjectType.NOTIFICATION)
    context, unbind = thread.sched_context, Label.SCHED_CONTEXT_UNBIND_OBJECT
    assert root.invoke(context, unbind) == (Error.TRUNCATED_MESSAGE, ())
    assert root.invoke(context, unbind, (), [other.cap]) == (Error.ILLEGAL_OPERATION, ())
    assert root.invoke(context, unbind, (), [notification]) == (Error.ILLEGAL_OPERATION, ())
    assert root.invoke(context, unbind, (), [context]) == (Error.INVALID_CAPABILITY, (1,))
    assert thread.invoke(OWN_SCHED_CONTEXT, unbind, (), [OWN_TCB]) == (Error.ILLEGAL_OPERATION, ())
    assert thread.invoke(OWN_SCHED_CONTEXT, Label.SCHED_CONTEXT_UNBIND) == (Error.ILLEGAL_OPERATION, ())
    root.call(context, unbind, (), [thread.cap])
    root.call(context, Label.SCHED_CONTEXT_BIND, (), [notification])
    root.call(context, unbind, (), [notification])
    root.call(context, Label.SCHED_CONTEXT_BIND, (), [thread.cap])
    assert bound(machine, thread).notification is None


def test_unbinding_a_lent_context_does_not_hand_it_back() -> None:
    scene = Scene()
    server = scene.machine.thread("server", passive=True)
    scene.machine.grant(server, scene.endpoint, ENDPOINT)
    client = scene.thread("client")
    borrowed = scene.machine.sched_context()
    scene.machine.root.call(borrowed, Label.SCHED_CONTEXT_BIND, (), [server.cap])
    receive(server)
    scene.machine.root.call(borrowed, Label.SCHED_CONTEXT_UNBIND)
    call(client)
    context = bound(scene.machine, server)
    scene.machine.root.call(client.sched_context, Label.SCHED_CONTEXT_UNBIND_OBJECT, (), [server.cap])
    assert (context.tcb, client.tcb.sched_context, server.tcb.sched_context) == (None, None, None)
    assert client.state is ThreadState.BLOCKED_ON_REPLY
    scene.machine.root.call(client.sched_context, Label.SCHED_CONTEXT_UNBIND)
    assert context.reply is None


def test_an_unknown_label_is_illegal() -> None:
    machine = Machine()
    assert machine.root.invoke(InitialSlot.SCHED_CONTEXT, 99) == (Error.ILLEGAL_OPERATION, ())
    assert machine.root.invoke(CONTROL, 99) == (Error.ILLEGAL_OPERATION, ())


# --- consumed time


class Clock:
    """Processor time of each thread, by TCB address; and the time of day."""

    def __init__(self, machine: Machine) -> None:
        self.used: dict[int, int] = {}
        self.now = 0
        machine.kernel.core.processor_time = lambda address: self.used.get(address, 0)
        machine.kernel.core.now = lambda: self.now


def test_consumed_reports_what_was_used_since_the_last_report() -> None:
    machine = Machine()
    clock = Clock(machine)
    thread = machine.thread("thread")
    consumed = Label.SCHED_CONTEXT_CONSUMED
    clock.used[thread.tcb.address] = 70
    assert machine.root.call(thread.sched_context, consumed) == (70,)
    assert machine.root.call(thread.sched_context, consumed) == (0,)
    clock.used[thread.tcb.address] = 100
    assert machine.root.call(thread.sched_context, Label.SCHED_CONTEXT_YIELD_TO) == (30,)
    clock.used[thread.tcb.address] = 5  # a new process
    assert machine.root.call(thread.sched_context, consumed) == (5,)


def test_a_lent_context_is_charged_for_the_server_s_time_and_no_other() -> None:
    scene = Scene()
    clock = Clock(scene.machine)
    server, client = scene.machine.thread("server", passive=True), scene.thread("client")
    scene.machine.grant(server, scene.endpoint, ENDPOINT)
    borrowed = scene.machine.sched_context()
    scene.machine.root.call(borrowed, Label.SCHED_CONTEXT_BIND, (), [server.cap])
    receive(server)
    scene.machine.root.call(borrowed, Label.SCHED_CONTEXT_UNBIND)
    clock.used |= {server.tcb.address: 1000, client.tcb.address: 10}
    call(client)
    server.completion()
    clock.used |= {server.tcb.address: 1300, client.tcb.address: 15}
    reply_receive(server)
    clock.used |= {server.tcb.address: 9000, client.tcb.address: 16}
    assert scene.machine.root.call(client.sched_context, Label.SCHED_CONTEXT_CONSUMED) == (10 + 300 + 1,)


def test_yield_to_needs_another_thread_of_no_higher_priority_than_the_caller_controls() -> None:
    machine = Machine()
    thread = machine.thread("thread", mcp=40, priority=30)
    rival, idle = machine.thread("rival", priority=50), machine.sched_context()
    for source, index in ((rival.sched_context, OTHER), (idle, 3)):
        machine.grant(thread, source, index)
    yield_to = Label.SCHED_CONTEXT_YIELD_TO
    assert thread.invoke(3, yield_to) == (Error.ILLEGAL_OPERATION, ())
    assert thread.invoke(OWN_SCHED_CONTEXT, yield_to) == (Error.ILLEGAL_OPERATION, ())
    assert thread.invoke(OTHER, yield_to) == (Error.ILLEGAL_OPERATION, ())
    machine.root.call(rival.cap, Label.TCB_SET_PRIORITY, (40,), [InitialSlot.TCB])
    assert thread.invoke(OTHER, yield_to) == (0, (0,))


# --- SchedControl


@pytest.mark.parametrize(
    ("words", "error", "payload"),
    [
        ((5000, 5000, 0, 0), Error.TRUNCATED_MESSAGE, ()),
        ((MAX_PERIOD_US + 1, 1, 0, 0, 0), Error.RANGE_ERROR, (MIN_BUDGET_US, MAX_PERIOD_US)),
        ((1, MAX_PERIOD_US + 1, 0, 0, 0), Error.RANGE_ERROR, (MIN_BUDGET_US, MAX_PERIOD_US)),
        ((MIN_BUDGET_US - 1, 5000, 0, 0, 0), Error.RANGE_ERROR, (MIN_BUDGET_US, MAX_PERIOD_US)),
        ((5000, MIN_BUDGET_US - 1, 0, 0, 0), Error.RANGE_ERROR, (MIN_BUDGET_US, MAX_PERIOD_US)),
        ((5001, 5000, 0, 0, 0), Error.RANGE_ERROR, (MIN_BUDGET_US, 5000)),
        ((5000, 5000, 9, 0, 0), Error.RANGE_ERROR, (0, 8)),
    ],
)
def test_configure_flags_checks_its_ranges(words: tuple[int, ...], error: Error, payload: tuple[int, ...]) -> None:
    machine = Machine()
    context = machine.retype(ObjectType.SCHED_CONTEXT, 8)
    assert machine.root.invoke(CONTROL, Label.SCHED_CONTROL_CONFIGURE_FLAGS, words, [context]) == (error, payload)
    assert SchedContext(machine.ram, machine.slot(context).object).refill_max == 0


def test_configure_flags_checks_times_before_the_capability_and_that_before_refills() -> None:
    machine = Machine()
    configure = Label.SCHED_CONTROL_CONFIGURE_FLAGS
    assert machine.root.invoke(CONTROL, configure, (5, 5, 0, 0, 0)) == (Error.TRUNCATED_MESSAGE, ())
    assert machine.root.invoke(CONTROL, configure, (5, 5, 0, 0, 0), [1])[0] == Error.RANGE_ERROR
    assert machine.root.invoke(CONTROL, configure, (500, 500, 1 << 40, 0, 0), [1]) == (Error.INVALID_CAPABILITY, (1,))


@pytest.mark.parametrize(("size_bits", "extra"), [(7, 0), (8, 8), (9, 24), (12, 248)])
def test_the_size_of_a_context_says_how_many_refills_it_has(size_bits: int, extra: int) -> None:
    machine = Machine()
    context = machine.retype(ObjectType.SCHED_CONTEXT, size_bits)
    configure = Label.SCHED_CONTROL_CONFIGURE_FLAGS
    assert machine.root.invoke(CONTROL, configure, (50, 100, extra + 1, 0, 0), [context]) == (
        Error.RANGE_ERROR,
        (0, extra),
    )
    machine.root.call(CONTROL, configure, (50, 100, extra, 7, 1), [context])
    record = SchedContext(machine.ram, machine.slot(context).object)
    assert (record.refill_max, record.budget, record.period, record.badge, record.flags) == (extra + 2, 50, 100, 7, 1)
    last = SchedContext.REFILLS + 16 * record.refill_max
    assert last == 1 << size_bits


def test_new_refills_hold_the_whole_budget_from_now() -> None:
    machine = Machine()
    clock = Clock(machine)
    clock.now = 123
    context = machine.retype(ObjectType.SCHED_CONTEXT, 8)
    record = SchedContext(machine.ram, machine.slot(context).object)
    configure = Label.SCHED_CONTROL_CONFIGURE_FLAGS
    machine.root.call(CONTROL, configure, (50, 100, 0, 0, 0), [context])
    assert (record.refill_count, refills.refill(record, 0)) == (1, (123, 50))
    machine.root.call(CONTROL, configure, (100, 100, 3, 0, 0), [context])
    assert (record.period, record.budget, record.refill_max, record.refill_count) == (0, 100, 2, 2)
    assert [refills.refill(record, index) for index in range(2)] == [(123, 100), (123, 0)]


def test_changing_a_context_in_use_never_exceeds_the_new_budget() -> None:
    machine = Machine()
    clock = Clock(machine)
    thread = machine.thread("thread", passive=True)
    context = machine.retype(ObjectType.SCHED_CONTEXT, 8)
    record = SchedContext(machine.ram, machine.slot(context).object)
    configure = Label.SCHED_CONTROL_CONFIGURE_FLAGS
    machine.root.call(CONTROL, configure, (50, 100, 0, 0, 0), [context])
    machine.root.call(context, Label.SCHED_CONTEXT_BIND, (), [thread.cap])
    clock.now = 10
    machine.root.call(CONTROL, configure, (80, 200, 0, 0, 0), [context])
    assert [refills.refill(record, index) for index in range(record.refill_count)] == [(10, 50), (210, 30)]
    machine.root.call(CONTROL, configure, (40, 200, 0, 0, 0), [context])
    assert [refills.refill(record, index) for index in range(record.refill_count)] == [(10, 40)]


def test_a_context_without_budget_left_is_not_released() -> None:
    machine = Machine()
    clock = Clock(machine)
    context = machine.sched_context()
    record = SchedContext(machine.ram, machine.slot(context).object)
    core = machine.kernel.core
    assert refills.is_released(core, record)
    with machine.ram.transaction():
        refills.lay_out(core, record, 2, 50, 100)
        machine.ram.set_word(record.address + SchedContext.REFILLS, 1000)
    assert not refills.is_released(core, record)
    clock.now = 1000
    assert refills.is_released(core, record)


def test_deleting_a_context_stops_its_thread_and_forgets_its_notification() -> None:
    scene = Scene()
    thread = scene.thread("thread")
    notification = scene.machine.retype(ObjectType.NOTIFICATION)
    owned = scene.machine.sched_context()
    scene.machine.root.call(owned, Label.SCHED_CONTEXT_BIND, (), [notification])
    for slot in (thread.sched_context, owned):
        scene.machine.revoke(slot)
        scene.machine.delete(slot)
    assert thread.tcb.sched_context is None
    assert scene.notification_record(notification).sched_context is None
    assert thread.syscall(Syscall.NB_RECV, ENDPOINT, reply=OWN_REPLY) is None
