"""Budgets in the pure kernel: exhaustion, replenishment, timeout faults, who is charged. Times in microseconds."""

from __future__ import annotations

from kerneld import budgets, refills, scheduler
from kerneld.outbox import Tell
from kerneld.records import SchedContext, ThreadState
from libsel4py.abi import FaultLabel, InitialSlot, Label, ObjectType, Rights, Syscall
from tests.harness import OWN_REPLY, Machine, Thread

from .scene import ENDPOINT, Scene, call, receive, reply_receive

CONFIGURE = Label.SCHED_CONTROL_CONFIGURE_FLAGS
HANDLER_BADGE = 77


def held(machine: Machine, name: str, budget: int, period: int, badge: int = 0) -> Thread:
    """A thread that is held to a budget."""
    thread = machine.thread(name)
    give(machine, thread, budget, period, badge)
    return thread


def give(machine: Machine, thread: Thread, budget: int, period: int, badge: int = 0) -> None:
    machine.root.call(InitialSlot.FIRST_FREE, CONFIGURE, (budget, period, 0, badge, 0), [thread.sched_context])


def context_of(machine: Machine, thread: Thread) -> SchedContext:
    return SchedContext(machine.ram, machine.slot(thread.sched_context).object)


def ring(context: SchedContext) -> list[tuple[int, int]]:
    count = refills.capacity(context)
    return [refills.refill(context, (context.refill_head + index) % count) for index in range(context.refill_count)]


def test_a_busy_thread_is_stopped_when_its_budget_is_used_up_and_goes_on_with_the_next_refill() -> None:
    machine = Machine()
    thread = held(machine, "busy", 1000, 10_000)
    machine.pass_time(999, thread)
    assert scheduler.may_run(thread.tcb)
    machine.pass_time(1, thread)
    assert [tell.subject for tell in machine.told(Tell.STOP)] == [thread.tcb.address]
    machine.pass_time(8999, thread)
    assert machine.used[thread.tcb.address] == 1000
    machine.pass_time(1, thread)
    assert [tell.subject for tell in machine.told(Tell.CONTINUE)] == [thread.tcb.address]
    machine.pass_time(100_000, thread)
    assert machine.used[thread.tcb.address] == 11_000


def test_round_robin_has_no_alarm() -> None:
    machine = Machine()
    thread = held(machine, "free", 1000, 1000)
    machine.pass_time(100_000, thread)
    assert not machine.alarms
    assert not machine.told(Tell.WATCH)


def test_round_robin_waits_for_no_refill() -> None:
    """Nor does one who had used more than time has passed: threads of a process count together."""
    machine = Machine()
    thread = held(machine, "side by side", 5000, 10_000)
    machine.pass_time(1000, thread)
    machine.used[thread.tcb.address] += 1000
    give(machine, thread, 5000, 5000)
    assert scheduler.may_run(thread.tcb)
    assert not context_of(machine, thread).postponed


def test_what_was_used_too_much_is_taken_from_the_next_refill() -> None:
    machine = Machine()
    thread = held(machine, "late", 1000, 10_000)
    machine.alarms.clear()  # the host is late
    machine.pass_time(1300, thread)
    machine.kernel.look_at_budget(context_of(machine, thread).address)
    machine.settle()
    assert ring(context_of(machine, thread)) == [(10_300, 700), (20_000, 300)]
    machine.pass_time(28_700, thread)
    assert machine.used[thread.tcb.address] == 3000


def test_a_thread_that_waits_has_no_alarm_after_one_look() -> None:
    scene = Scene()
    machine = scene.machine
    thread = scene.thread("waits")
    give(machine, thread, 1000, 10_000)
    receive(thread)
    machine.pass_time(1000)
    assert not machine.alarms
    call(scene.thread("client"))
    assert list(machine.alarms) == [context_of(machine, thread).address]


def test_who_sleeps_without_the_kernel_s_knowing_has_not_run_since_it_was_charged() -> None:
    scene = Scene()
    machine = scene.machine
    thread = scene.thread("sleeps")
    give(machine, thread, 1000, 10_000)
    context, core = context_of(machine, thread), machine.kernel.core
    assert budgets.has_slept(core, context)
    machine.used[thread.tcb.address] = 1
    assert not budgets.has_slept(core, context)
    machine.kernel.look_at_budget(context.address)
    machine.settle()
    assert budgets.has_slept(core, context)
    receive(thread)
    assert not budgets.has_slept(core, context)
    call(scene.thread("client"))
    assert budgets.has_slept(core, context)
    machine.pass_time(1000, thread)
    assert context.postponed
    assert not budgets.has_slept(core, context)
    scene.suspend(thread)
    machine.pass_time(10_000)
    assert not budgets.has_slept(core, context)


def test_time_that_was_saved_up_is_not_used_on_top_of_what_comes() -> None:
    """A thread that slept for 95 of 100 and then never stops has its budget once, and again a period later."""
    machine = Machine()
    thread = held(machine, "sleeper", 10_000, 100_000)
    machine.pass_time(95_000)
    machine.pass_time(99_000, thread)
    assert machine.used[thread.tcb.address] == 10_000
    machine.pass_time(12_000, thread)
    assert machine.used[thread.tcb.address] == 20_000


def test_a_system_call_without_budget_is_made_when_there_is_some() -> None:
    machine = Machine()
    thread = held(machine, "caller", 1000, 10_000)
    machine.used[thread.tcb.address] = 1000
    machine.clock.advance(1000)
    assert thread.syscall(Syscall.NB_RECV, ENDPOINT, reply=OWN_REPLY) is None
    assert thread.syscall(Syscall.YIELD) is None
    assert not thread.tcb.in_trap
    machine.pass_time(9000)
    assert context_of(machine, thread).postponed == 0


def test_yield_gives_up_the_refill_and_comes_back_a_period_after_it_was_begun() -> None:
    machine = Machine()
    thread = held(machine, "yields", 1000, 10_000)
    machine.pass_time(300, thread)
    assert thread.syscall(Syscall.YIELD) is None
    assert ring(context_of(machine, thread)) == [(10_000, 1000)]
    machine.pass_time(9699)
    assert thread.completion() is None
    machine.pass_time(1)
    assert thread.completion() is not None
    assert context_of(machine, thread).consumed == 300


def test_the_deleted_context_of_a_watched_thread_leaves_no_alarm() -> None:
    machine = Machine()
    thread = held(machine, "gone", 1000, 10_000)
    machine.pass_time(1000, thread)
    assert machine.alarms
    machine.revoke(thread.sched_context)
    machine.delete(thread.sched_context)
    assert not machine.alarms


class Handled:
    """A thread whose timeouts a handler hears of."""

    def __init__(self, budget: int = 1000, period: int = 10_000) -> None:
        self.scene = Scene()
        machine = self.machine = self.scene.machine
        self.thread = held(machine, "held", budget, period, badge=5)
        self.endpoint = machine.retype(ObjectType.ENDPOINT)
        self.handler = machine.thread("handler")
        machine.grant(self.handler, self.endpoint, ENDPOINT)
        self.watch(self.thread)
        assert receive(self.handler) is None

    def watch(self, thread: Thread) -> None:
        machine = self.machine
        badged = machine.copy(self.endpoint, Rights.ALL, HANDLER_BADGE)
        machine.root.call(thread.cap, Label.TCB_SET_TIMEOUT_ENDPOINT, (), [badged])


def test_the_timeout_handler_is_told_the_badge_and_what_was_consumed() -> None:
    case = Handled()
    case.machine.pass_time(1000, case.thread)
    told = case.handler.completion()
    assert told is not None
    assert (told.badge, told.label, told.words) == (HANDLER_BADGE, FaultLabel.TIMEOUT, (5, 1000))
    assert case.thread.state is ThreadState.BLOCKED_ON_REPLY


def test_a_reply_to_a_timeout_resumes_when_there_is_budget_again() -> None:
    case = Handled()
    case.machine.pass_time(1000, case.thread)
    case.handler.completion()
    reply_receive(case.handler, ())
    assert case.thread.state is ThreadState.RESTART
    assert not scheduler.may_run(case.thread.tcb)
    case.machine.pass_time(9000, case.thread)
    assert scheduler.may_run(case.thread.tcb)


def test_a_handler_that_gives_more_lets_the_thread_go_on_at_once() -> None:
    case = Handled(5000, 60_000_000)
    case.machine.pass_time(5000, case.thread)
    case.handler.completion()
    give(case.machine, case.thread, 1_000_000, 60_000_000)
    reply_receive(case.handler, ())
    assert scheduler.may_run(case.thread.tcb)
    case.machine.pass_time(50_000, case.thread)
    assert case.machine.used[case.thread.tcb.address] == 55_000


def test_another_answer_leaves_the_thread_stopped() -> None:
    case = Handled()
    case.machine.pass_time(1000, case.thread)
    case.handler.completion()
    reply_receive(case.handler, (), label=1)
    assert case.thread.state is ThreadState.INACTIVE
