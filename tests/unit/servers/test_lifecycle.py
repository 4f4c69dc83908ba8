"""Root's side of supervision by a reincarnation server, and what it does when that is gone: on the pure kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import pytest
from msgspec import structs

from kerneld.records import Notification, TcbSlot
from libsel4py import abi
from libsel4py.abi import FaultLabel, PageFault, Syscall
from libsel4py.description import Assigned, Grant, Group, Provide, Restart, Strategy, System, Use
from libsel4py.environment import HEARTBEAT_SIGNAL, SIGNAL_BADGE, STOP_SIGNAL, Slot
from libsel4py.heartbeats import INIT_SECONDS
from libsel4py.interfaces.lifecycle import (
    FOREVER,
    MOST_ALLOWED,
    ORDERS_SIGNAL,
    Allowed,
    Cause,
    Change,
    OrderKind,
    Standing,
    Stop,
    TaskRecord,
    fault_badge,
    fault_source,
    parts,
    whole,
)
from libsel4py.interfaces.system import NotPermitted
from libsel4py.wire import MAX_BYTES
from servers.reincarnation.reports import MOST_SHOWN, complaint_of
from servers.root.information import Information
from servers.root.lives import PASSING_ON
from servers.root.orders import LATER_SECONDS
from servers.root.running_task import Kind, Life, badge_of
from servers.root.supervisor import MOST_REINCARNATIONS, Essential
from tests.unit.servers.root_board import PING, UART, Root, root, task

SIGKILLED = 9
REINCARNATION = task("reincarnation", grants=(Grant.LIFECYCLE,), provides=(Provide("s", PING),))
ONE = task("one", provides=(Provide("one", PING),), restart=Restart.ALWAYS)
TWO = task("two", restart=Restart.ON_FAILURE, threads=1)
STOP = Stop(107.5, restarts=True, image="servers.two.main")
TOGETHER = Group("g", ("one", "two"), Strategy.ONE_FOR_ALL)


@pytest.fixture
def board() -> Iterator[Root]:
    with root(REINCARNATION, ONE, TWO, check=False) as made:
        made.supervisor.start_all()
        yield made


def records(board: Root) -> dict[str, TaskRecord]:
    return {record.name: record for record in board.lifecycle.tasks()}


def dies(board: Root, name: str, thread: int = 0) -> None:
    """The kernel hears that a thread's process has ended: its fault goes where its handler is."""
    board.machine.kernel.died(board.tcb(name, thread), SIGKILLED)
    board.machine.run()


# --- badges


def test_faults_are_told_apart_by_their_badges() -> None:
    assert fault_source(fault_badge(1234, 63)) == (1234, 63)
    for other in (0, 7, 1 << 40, SIGNAL_BADGE | 1, 1 << 62, 2 << 56):
        assert fault_source(other) is None


# --- what is told


def test_all_but_the_reincarnation_server_are_supervised(board: Root) -> None:
    found = records(board)
    assert list(found) == ["one", "two"]
    assert all(record.runs and record.standing is Standing.RUNNING for record in found.values())
    assert (found["one"].asks_to_stop, found["two"].asks_to_stop) == (True, False)


def test_a_process_that_has_ended_shows_although_nobody_told_of_it(board: Root) -> None:
    dies(board, "one")
    assert (records(board)["one"].runs, records(board)["one"].standing) == (False, Standing.RUNNING)


def test_orders_wait_until_they_are_said_to_be_done(board: Root) -> None:
    board.supervisor.order(board.running("one"), OrderKind.STOP)
    board.supervisor.kill(board.running("two"))
    first, second = board.lifecycle.orders(0)
    assert (first.kind, first.task, second.kind, second.task) == (OrderKind.STOP, 1, OrderKind.KILLED, 2)
    assert board.lifecycle.orders(0) == [first, second]
    assert board.lifecycle.orders(first.serial) == [second]
    assert board.lifecycle.orders(second.serial) == []
    assert board.running("two").life is Life.DEAD


def test_root_takes_no_orders_for_what_it_supervises_itself(board: Root) -> None:
    with pytest.raises(NotPermitted, match="root itself supervises reincarnation"):
        board.supervisor.order(board.running("reincarnation"), OrderKind.STOP)


def test_a_task_that_is_done_is_told_of(board: Root) -> None:
    board.supervisor.exited(1, 0)
    (order,) = board.lifecycle.orders(0)
    assert (order.kind, order.task) == (OrderKind.DONE, 1)
    assert records(board)["one"].standing is Standing.DONE


# --- what is carried out


def test_a_change_ends_and_starts_and_keeps_what_it_was_for(board: Root) -> None:
    cause = Cause(1, "killed", failures=2, failed_at=7.5)
    board.lifecycle.change(Change(cause, ends=(2, 1), starts=(1, 2)))
    found = records(board)
    assert (found["one"].failures, found["one"].failed_at) == (2, (7.5,))
    assert (found["two"].failures, found["two"].failed_at) == (0, ())
    assert [board.running(name).restarts for name in ("one", "two")] == [1, 1]
    assert list(board.running("one").events) == ["started", "killed", "started again (1)"]
    assert list(board.running("two").events) == ["started", "ended with its group", "started again (1)"]
    assert board.has_started("one")
    assert board.has_started("two", 1)


def test_what_is_not_started_yet_waits_with_its_moment(board: Root) -> None:
    board.lifecycle.change(Change(Cause(1, "killed"), ends=(1,), due=board.clock.now + 4))
    assert (records(board)["one"].standing, records(board)["one"].due) == (Standing.WAITING, board.clock.now + 4)
    assert board.running("one").state == "dead: killed; is started again in 4.0 s"
    assert not board.has_started("one")
    board.lifecycle.change(Change(starts=(1,)))
    assert (records(board)["one"].standing, board.running("one").state) == (Standing.RUNNING, "running")


def test_what_waits_can_be_told_to_wait_for_another_moment(board: Root) -> None:
    later = board.clock.now + 9
    board.lifecycle.change(Change(Cause(1, "killed"), ends=(1,), due=board.clock.now + 4))
    board.lifecycle.change(Change(Cause(2, "x"), leaves=(2,), ends=(2,)))
    board.lifecycle.change(Change(waits=((1, later), (2, 0.0), (99, 1.0))))
    found = records(board)
    assert [(found[name].standing, found[name].due) for name in ("one", "two")] == [
        (Standing.WAITING, later),
        (Standing.WAITING, 0.0),
    ]
    board.lifecycle.change(Change(starts=(1, 2)))
    board.lifecycle.change(Change(waits=((1, later),)))
    assert [records(board)[name].standing for name in ("one", "two")] == [Standing.RUNNING] * 2


def test_a_step_can_come_in_parts_which_another_life_of_that_server_forgets(board: Root) -> None:
    board.lifecycle.part(Change(ends=(2,)))
    board.lifecycle.part(Change(ends=(1,)))
    assert [board.running(name).restarts for name in ("one", "two")] == [0, 0]
    board.lifecycle.change(Change(Cause(1, "killed"), starts=(1, 2)))
    assert [board.running(name).restarts for name in ("one", "two")] == [1, 1]
    board.lifecycle.part(Change(ends=(1,)))
    assert records(board)["one"].runs
    board.lifecycle.change(Change(starts=(1,)))
    assert board.running("one").restarts == 1


def test_each_part_of_a_step_fits_a_message_and_all_are_the_step() -> None:
    many = range(60_000, 60_600)
    text = complaint_of("n" * 31, "\N{GRINNING FACE}" * 1000)
    cause = Cause(60_000, text, True, 1000, 1e9, True, True)
    numbers, waits = tuple(many), tuple((number, 1e9 / 7) for number in many)
    for change in (
        Change(cause, numbers, numbers[::-1], 1e9 / 7, numbers, True, asks="m" * 31, image="i" * 100, waits=waits),
        Change(cause, numbers[:5], numbers[:5], 1e9 / 7, numbers[:5], True, asks="m" * 31, waits=waits[:5]),
        Change(),
    ):
        found = list(parts(change))
        assert whole(found) == change
        assert max(len(msgspec.msgpack.encode((each,))) for each in found) <= MAX_BYTES
    most = [Allowed(number, 1 << 31) for number in many[:MOST_ALLOWED]]
    assert len(msgspec.msgpack.encode((1 << 63, most, True))) <= MAX_BYTES


def test_what_is_left_says_why(board: Root) -> None:
    board.lifecycle.change(Change(Cause(1, "killed"), ends=(1,), leaves=(1,), because="given up"))
    assert (records(board)["one"].standing, board.running("one").state) == (Standing.LEFT, "dead: killed; given up")


def test_a_group_that_begins_anew_has_failed_nothing(board: Root) -> None:
    board.lifecycle.change(Change(Cause(1, "killed", failures=3, failed_at=1.0), ends=(1,), starts=(1,)))
    board.lifecycle.change(Change(Cause(1, "killed"), ends=(1,), starts=(1,), renews=True))
    found = records(board)["one"]
    assert (found.failures, found.failed_at, found.renewed_at) == (0, (), board.clock.now)


def test_numbers_of_nobody_and_of_the_reincarnation_server_are_passed_over(board: Root) -> None:
    board.lifecycle.change(Change(Cause(99, "x"), ends=(0, 99), starts=(0, -1), leaves=(0, 3)))
    board.lifecycle.ask_to_stop(0, STOP)
    board.lifecycle.ask_to_stop(77, STOP)
    assert board.has_started("reincarnation")
    assert board.running("reincarnation").restarts == 0


def test_a_second_start_changes_nothing(board: Root) -> None:
    board.lifecycle.change(Change(starts=(1,)))
    assert board.running("one").restarts == 0


def test_asking_to_stop_signals_the_task_and_leaves_nothing_in_roots_cspace(board: Root) -> None:
    free = board.authority.slots.free_count
    board.lifecycle.ask_to_stop(1, STOP)
    assert board.authority.slots.free_count == free
    one = board.act_for("one")
    done = one.syscall(Syscall.NB_WAIT, Slot.NOTIFICATION)
    assert done is not None
    assert done.badge == SIGNAL_BADGE | STOP_SIGNAL


def test_what_a_task_was_asked_to_stop_for_is_kept_until_it_is_ended(board: Root) -> None:
    board.lifecycle.ask_to_stop(1, STOP)
    assert (records(board)["one"].stop, records(board)["two"].stop) == (STOP, None)
    board.lifecycle.change(Change(Cause(1, ""), ends=(1,), starts=(1,)))
    assert records(board)["one"].stop is None
    board.ended("one", SIGKILLED)
    board.lifecycle.ask_to_stop(2, STOP)
    board.lifecycle.change(Change(Cause(2, ""), leaves=(2,), because="stopped by order", by_order=True))
    assert records(board)["two"].stop is None


def test_the_end_of_the_system_is_the_reincarnation_servers_to_say(board: Root) -> None:
    with pytest.raises(Essential) as ended:
        board.lifecycle.end_system(1, 5, "it is essential")
    assert ended.value.code == 5


def test_groups_are_told_as_the_description_has_them(board: Root) -> None:
    group = Group("g", ("one", "two"), Strategy.ONE_FOR_ALL)
    board.lifecycle._system = System("test", 1, (), board.description.tasks, (group,))
    assert board.lifecycle.groups() == [group]
    assert [record.group for record in board.lifecycle.tasks()] == ["g", "g"]


# --- slots that a task emptied


def test_a_life_begins_with_all_slots_that_the_description_fills() -> None:
    driver = task(
        "driver", devices=(Assigned("uart", "uart0"),), provides=(Provide("one", PING),), restart=Restart.ALWAYS
    )
    with root(driver, devices=(UART,)) as board:
        board.supervisor.start_all()
        before = {slot: (cap.type, cap.badge, cap.rights) for slot, cap in board.held("driver").items()}
        running = board.act_for("driver")
        for slot in sorted(before, reverse=True):
            if slot not in (Slot.CNODE, Slot.POOL):
                running.call(Slot.CNODE, abi.Label.CNODE_DELETE, (slot, 64))
        running.call(Slot.CNODE, abi.Label.CNODE_DELETE, (Slot.CNODE, 64))
        assert set(board.held("driver")) == {Slot.POOL}
        free = board.authority.slots.free_count
        board.ended("driver", SIGKILLED)
        after = {slot: (cap.type, cap.badge, cap.rights) for slot, cap in board.held("driver").items()}
        assert after == before
        assert board.authority.slots.free_count == free
        board.machine.interrupt(4)


# --- the reincarnation server's own end


def test_it_is_started_again_whatever_its_policy_says(board: Root) -> None:
    assert board.running("reincarnation").task.restart is Restart.NEVER
    board.ended("reincarnation", 0)
    assert board.running("reincarnation").restarts == 1
    board.supervisor.kill(board.running("reincarnation"))
    assert board.running("reincarnation").restarts == 2
    assert board.lifecycle.orders(0) == []


def test_root_asks_it_whether_it_serves_and_starts_a_hung_one_again() -> None:
    with root(structs.replace(REINCARNATION, heartbeat_us=500_000), ONE, check=False) as board:
        assert board.supervisor.alarm is not None
        assert board.supervisor.alarm.due() == FOREVER  # nothing has started
        board.supervisor.start_all()
        alarm, ours = board.supervisor.alarm, board.running("reincarnation")
        assert alarm is not None
        pulse = ours.environment.pulse
        assert ours.environment.heartbeats == {}  # it does not ask itself
        notification = board.cap(ours.objects.notification.cptr).object
        assert Notification(board.machine.ram, notification).signals & HEARTBEAT_SIGNAL

        def pass_time(seconds: float, *, serves: bool) -> None:
            until = board.clock.now + seconds
            while alarm.due() <= until:
                board.clock.now = alarm.due()
                if serves:
                    board.act_for("reincarnation").syscall(Syscall.SEND, pulse)
                alarm.ring()
            board.clock.now = until

        pass_time(60, serves=True)
        assert ours.restarts == 0
        pass_time(1, serves=False)
        assert (ours.restarts, ours.last_cause) == (1, "hung: it answers no heartbeats")
        assert board.has_started("reincarnation")
        pass_time(INIT_SECONDS - 0.5, serves=False)  # a new life has to load
        assert ours.restarts == 1
        pass_time(1, serves=False)
        assert ours.restarts == 2
        board.supervisor.take_over()
        assert alarm.due() == FOREVER


def test_root_takes_over_when_it_ends_again_and_again(board: Root) -> None:
    board.supervisor.kill(board.running("one"))
    board.lifecycle.change(Change(Cause(2, "killed"), ends=(2,), due=board.clock.now + 9))
    for _ in range(MOST_REINCARNATIONS + 1):
        board.ended("reincarnation", SIGKILLED)
    assert board.running("reincarnation").life is Life.DEAD
    assert "given up after 200 restarts" in board.running("reincarnation").state
    assert board.has_started("one")  # killed, and not looked after
    assert board.has_started("two")  # it waited for its moment
    ours = board.cap(board.endpoint.cptr).object
    for running in board.tasks[1:]:
        assert running.faults == running.own_faults
        assert board.tcb(running.task.name).slot(TcbSlot.FAULT_HANDLER).object == ours
    board.ended("one", SIGKILLED)
    assert board.running("one").restarts == 2


def test_one_that_was_killed_while_it_waited_is_started_once(board: Root) -> None:
    board.lifecycle.change(Change(Cause(2, "killed"), ends=(2,), due=board.clock.now + 9))
    board.supervisor.kill(board.running("two"))
    board.supervisor.take_over()
    running = board.running("two")
    assert (running.life, running.standing, running.restarts) == (Life.RUNNING, Standing.RUNNING, 1)


LEFT = Change(Cause(1, "x"), ends=(1,), leaves=(1,))


@pytest.mark.parametrize(
    ("before", "orders", "life", "restarts"),
    [
        (None, (OrderKind.STOP,), Life.DEAD, 0),
        (None, (OrderKind.RESTART,), Life.RUNNING, 1),
        (None, (OrderKind.UPDATE,), Life.RUNNING, 1),
        (None, (OrderKind.START,), Life.RUNNING, 0),
        (None, (OrderKind.STOP, OrderKind.START), Life.RUNNING, 1),
        (None, (OrderKind.RESTART, OrderKind.STOP), Life.DEAD, 0),
        (LEFT, (OrderKind.START,), Life.RUNNING, 1),
        (LEFT, (OrderKind.RESTART,), Life.RUNNING, 1),
        (LEFT, (OrderKind.STOP,), Life.DEAD, 0),
    ],
)
def test_orders_that_nobody_has_seen_to_are_carried_out_by_root(
    board: Root, before: Change | None, orders: tuple[OrderKind, ...], life: Life, restarts: int
) -> None:
    one = board.running("one")
    if before is not None:
        board.lifecycle.change(before)
    for order in orders:
        board.supervisor.order(one, order, "other" if order is OrderKind.UPDATE else "")
    board.supervisor.take_over()
    expected = Standing.LEFT if life is Life.DEAD else Standing.RUNNING
    assert (one.life, one.standing, one.restarts, one.stop) == (life, expected, restarts, None)
    assert one.former_image is None
    if restarts:
        assert board.has_started("one")


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("told", ["not at all", "to root", "to nobody yet"])
def test_what_was_asked_to_stop_is_stopped_by_root(restarts: bool, told: str) -> None:
    """Whether it goes on, has ended as it was asked to, or that is not told yet: it is essential, and may end so."""
    essential = structs.replace(ONE, essential=True, restart=Restart.ON_FAILURE)
    with root(REINCARNATION, essential, TWO, groups=(TOGETHER,), check=False) as board:
        board.supervisor.start_all()
        one = board.running("one")
        board.lifecycle.ask_to_stop(1, Stop(board.clock.now + 5, restarts))
        if told == "to root":
            board.ended("one", 0)
        elif told == "to nobody yet":
            dies(board, "one")
        board.supervisor.take_over()
        assert one.life is (Life.RUNNING if restarts else Life.DEAD)
        assert (one.restarts, one.stop) == (int(restarts), None)
        assert board.has_started("one") or not restarts


def test_what_waits_at_its_endpoint_is_seen_to_by_root() -> None:
    """An end that the kernel has told of, and nobody has taken."""
    with root(REINCARNATION, ONE, TWO, groups=(TOGETHER,), check=False) as board:
        board.supervisor.start_all()
        dies(board, "one")
        assert board.running("one").restarts == 0
        board.supervisor.take_over()
        assert board.running("one").restarts == 1
        assert board.has_started("one")


# --- what is allowed ahead


def allow(board: Root, *names: str, failures: int = 1) -> bool:
    done = board.orders.after(0)
    return board.lifecycle.allow(
        done[-1].serial if done else 0, [Allowed(board.running(name).number, failures) for name in names]
    )


def told(board: Root) -> list[tuple[OrderKind, int]]:
    return [(order.kind, order.task) for order in board.orders.after(0)]


def test_what_is_allowed_ahead_begins_again_at_once_one_time(board: Root) -> None:
    assert allow(board, "one", failures=3)
    board.ended("one", SIGKILLED)
    running = board.running("one")
    assert (running.restarts, running.life, running.standing) == (1, Life.RUNNING, Standing.RUNNING)
    (order,) = board.lifecycle.orders(0)
    assert (order.kind, order.task, order.status, order.at) == (OrderKind.RESTARTED, 1, 137, board.clock.now)
    assert (running.failures, list(running.failed_at)) == (3, [board.clock.now])
    board.ended("one", SIGKILLED)
    assert (running.restarts, running.life) == (1, Life.DEAD)
    assert told(board) == [(OrderKind.RESTARTED, 1), (OrderKind.FAILED, 1)]


def test_what_is_allowed_can_be_told_in_several_messages(board: Root) -> None:
    for more in (False, True):
        assert board.lifecycle.allow(0, [Allowed(1 + more, 1)], more)
    board.ended("one", SIGKILLED)
    assert board.running("one").restarts == 1
    assert not board.lifecycle.allow(0, [Allowed(1, 2)], True)
    board.ended("two", SIGKILLED)
    assert board.running("two").restarts == 0


def test_who_allows_it_is_signalled_when_the_new_life_has_had_its_time(board: Root) -> None:
    alarm, notification = board.supervisor.alarm, board.cap(board.running("reincarnation").objects.notification.cptr)
    bits = Notification(board.machine.ram, notification.object)
    assert alarm is not None
    allow(board, "one")
    board.ended("one", SIGKILLED)
    assert (bits.signals, alarm.due()) == (0, board.clock.now + LATER_SECONDS)
    board.clock.now = alarm.due()
    alarm.ring()
    assert bits.signals == SIGNAL_BADGE | ORDERS_SIGNAL
    assert alarm.due() == FOREVER


def test_nothing_is_allowed_before_all_is_looked_at_that_root_has_told(board: Root) -> None:
    allow(board, "one")
    board.ended("one", SIGKILLED)
    assert not board.lifecycle.allow(0, [Allowed(1, 1)])
    board.ended("one", SIGKILLED)
    assert board.running("one").restarts == 1


@pytest.mark.parametrize(
    "happens",
    [
        lambda board: board.lifecycle.change(Change()),
        lambda board: board.lifecycle.tasks(),
        lambda board: board.lifecycle.allow(0, []),
        lambda board: board.lifecycle.ask_to_stop(1, STOP),
        lambda board: board.supervisor.order(board.running("one"), OrderKind.STOP),
    ],
)
def test_what_was_allowed_is_over_when_something_else_is_decided(board: Root, happens: Callable[[Root], None]) -> None:
    allow(board, "one")
    happens(board)
    board.ended("one", SIGKILLED)
    assert (board.running("one").restarts, board.running("one").life) == (0, Life.DEAD)
    assert told(board)[-1] == (OrderKind.FAILED, 1)


def test_an_end_that_its_policy_does_not_follow_is_told(board: Root) -> None:
    allow(board, "two")
    board.ended("two", 0)
    assert board.running("two").restarts == 0
    assert told(board) == [(OrderKind.FAILED, 2)]


def test_an_order_about_an_end_is_void_once_that_is_seen_to(board: Root) -> None:
    """Its next life would be ended for it: the task's pager had told of the same end before it died itself."""
    for name in ("one", "two"):
        board.ended(name, SIGKILLED)
    board.supervisor.order(board.running("one"), OrderKind.STOP)
    assert told(board) == [(OrderKind.FAILED, 1), (OrderKind.FAILED, 2), (OrderKind.STOP, 1)]
    board.lifecycle.change(Change(ends=(1,), starts=(1,)))
    assert told(board) == [(OrderKind.FAILED, 2), (OrderKind.STOP, 1)]


@pytest.mark.parametrize("is_known", [False, True])
def test_a_life_is_not_ended_for_what_was_decided_of_the_one_before(board: Root, is_known: bool) -> None:
    """It was found hung, and ended by itself before that was told: one failure. It may hang as well, which is two."""
    allow(board, "one")
    board.ended("one", SIGKILLED)
    if is_known:
        board.lifecycle.orders(0)
    board.lifecycle.change(Change(Cause(1, "hung", True, failures=2, failed_at=5.0), ends=(1,), starts=(1,)))
    running = board.running("one")
    assert (running.life, running.restarts, running.failures) == (Life.RUNNING, 1 + is_known, 1 + is_known)
    assert list(running.failed_at) == [board.clock.now, 5.0][: 1 + is_known]
    assert told(board) == [(OrderKind.RESTARTED, 1)] * is_known


def test_what_gives_a_task_up_ends_the_life_that_has_begun_meanwhile(board: Root) -> None:
    allow(board, "one")
    board.ended("one", SIGKILLED)
    assert board.has_started("one")
    cause = Cause(1, "hung", True, failures=2, failed_at=5.0)
    board.lifecycle.change(Change(cause, ends=(1,), leaves=(1,), because="given up after 2 failures"))
    running = board.running("one")
    assert (running.life, running.standing, running.restarts) == (Life.DEAD, Standing.LEFT, 1)
    assert not board.has_started("one")
    assert told(board) == []


def test_a_group_that_begins_anew_does_so_with_the_life_that_has_begun_meanwhile(board: Root) -> None:
    allow(board, "one")
    board.ended("one", SIGKILLED)
    cause = Cause(1, "hung", True, failures=2, failed_at=5.0)
    board.lifecycle.change(Change(cause, ends=(1,), starts=(1,), renews=True))
    running = board.running("one")
    assert (running.life, running.restarts, list(running.failed_at)) == (Life.RUNNING, 2, [])
    assert told(board) == []


def test_a_life_that_has_ended_as_well_is_ended_by_what_was_decided_of_the_one_before(board: Root) -> None:
    allow(board, "one")
    for _ in range(2):
        board.ended("one", SIGKILLED)
    board.lifecycle.change(Change(Cause(1, "hung", True, failures=1, failed_at=5.0), ends=(1,), starts=(1,)))
    assert (board.running("one").life, board.running("one").restarts) == (Life.RUNNING, 2)
    assert told(board) == [(OrderKind.RESTARTED, 1)]


def test_it_waits_for_what_it_depends_on() -> None:
    with root(REINCARNATION, ONE, structs.replace(TWO, depends=("one",)), check=False) as board:
        board.supervisor.start_all()
        allow(board, "two")
        board.ended("one", SIGKILLED)
        board.ended("two", SIGKILLED)
        assert told(board) == [(OrderKind.FAILED, 1), (OrderKind.FAILED, 2)]
        assert board.running("two").restarts == 0


def test_what_is_allowed_outlives_the_reincarnation_server_until_the_next_one_asks(board: Root) -> None:
    allow(board, "one")
    board.ended("reincarnation", SIGKILLED)
    board.ended("one", SIGKILLED)
    assert board.running("one").restarts == 1
    record = records(board)["one"]
    assert (record.runs, record.failures, record.failed_at) == (True, 1, (board.clock.now,))


def test_what_has_failed_is_noted_once(board: Root) -> None:
    board.ended("one", SIGKILLED)
    (order,) = board.lifecycle.orders(0)
    board.lifecycle.change(Change(Cause(1, order.text, has_faulted=True), ends=(1,), starts=(1,)))
    events = list(board.running("one").events)
    assert (len(events), events[0], events[2]) == (3, "started", "started again (1)")


def test_what_a_pager_passes_on_goes_to_whoever_supervises_its_task() -> None:
    pager = task("pager", provides=(Provide("p", PING),), restart=Restart.ALWAYS)
    paged = task("paged", pager="pager", paged=4096, restart=Restart.ALWAYS)
    group = Group("g", ("pager", "paged"), Strategy.REST_FOR_ONE)
    with root(REINCARNATION, pager, paged, groups=(group,), check=False) as board:
        board.supervisor.start_all()
        (slot,) = board.running("pager").environment.paged["paged"].supervisors.values()
        theirs, ours = board.running("reincarnation").objects.endpoint, board.endpoint
        assert theirs is not None
        passed_on = board.held("pager")[slot]
        assert (passed_on.object, fault_source(passed_on.badge)) == (board.cap(theirs.cptr).object, (2, 0))
        board.supervisor.take_over()
        passed_on = board.held("pager")[slot]
        assert (passed_on.object, passed_on.badge) == (board.cap(ours.cptr).object, badge_of(Kind.FAULT, 2))
        assert passed_on.rights == PASSING_ON  # it cannot receive there
        handler = board.tcb("paged").slot(TcbSlot.FAULT_HANDLER)
        its = board.running("pager").objects.endpoint
        assert its is not None
        assert handler.object == board.cap(its.cptr).object  # its pager lives: it hears of it still


def test_faults_that_a_pager_left_are_told_to_the_reincarnation_server() -> None:
    """Root hears of them, since it is root that sees the pager end; the other one decides what follows."""
    pager = task("pager", provides=(Provide("p", PING),))
    paged = task("paged", pager="pager", paged=4096, restart=Restart.ALWAYS)
    group = Group("g", ("pager", "paged"), Strategy.REST_FOR_ONE)
    with root(REINCARNATION, pager, paged, groups=(group,), check=False) as board:
        board.supervisor.start_all()
        dies(board, "paged")
        assert board.lifecycle.orders(0) == []
        board.lifecycle.change(Change(Cause(1, "killed"), leaves=(1,)))
        (order,) = board.lifecycle.orders(0)
        assert (order.kind, order.task, order.status) == (OrderKind.FAILED, 2, 137)
        theirs = board.running("reincarnation").objects.endpoint
        assert theirs is not None
        board.lifecycle.change(Change(Cause(2, "killed"), ends=(2,), starts=(2,)))
        handler = board.tcb("paged").slot(TcbSlot.FAULT_HANDLER)
        assert (handler.object, fault_source(handler.word1)) == (board.cap(theirs.cptr).object, (2, 0))


def handled_by(board: Root, name: str) -> str:
    """Whose endpoint a task's faults go to."""
    handler = board.tcb(name).slot(TcbSlot.FAULT_HANDLER).object
    endpoints = {each.task.name: each.objects.endpoint for each in board.tasks if each.objects.endpoint is not None}
    found = [each for each, endpoint in endpoints.items() if board.cap(endpoint.cptr).object == handler]
    return found[0] if found or handler != board.cap(board.endpoint.cptr).object else "root"


def test_faults_do_not_wait_for_a_pager_that_waits_for_who_does_not_come_back() -> None:
    """The reincarnation server hears of them until the pager is started."""
    disk = task("disk", restart=Restart.ALWAYS)
    names = task("names", depends=("disk",), restart=Restart.ALWAYS)
    pager = task("pager", provides=(Provide("p", PING),), depends=("names",), restart=Restart.ALWAYS)
    paged = task("paged", pager="pager", paged=4096, restart=Restart.ALWAYS)
    with root(REINCARNATION, disk, names, pager, paged, check=False) as board:
        board.supervisor.start_all()
        board.lifecycle.change(Change(Cause(1, "failed"), ends=(3, 2, 1), due=board.clock.now + 1))
        assert handled_by(board, "paged") == "pager"
        board.lifecycle.change(Change(Cause(1, "given up"), leaves=(1,)))
        assert handled_by(board, "paged") == "root"
        board.lifecycle.change(Change(starts=(1, 2, 3)))
        assert handled_by(board, "paged") == "pager"
        assert [record.pager for record in board.lifecycle.tasks()] == [None, None, None, 3]


@pytest.fixture
def together() -> Iterator[Root]:
    with root(REINCARNATION, ONE, TWO, groups=(TOGETHER,), check=False) as made:
        made.supervisor.start_all()
        yield made


def test_a_memory_fault_that_the_reincarnation_server_had_taken_is_told_to_its_next_life(together: Root) -> None:
    """Also of a further thread, of which no record tells."""
    thread, server = together.act_for("two", 1), together.act_for("reincarnation")
    assert thread.syscall(Syscall.FAULT, words=(abi.MAPPING_BASE, 0x77, int(PageFault.USER))) is None
    served = together.running("reincarnation").environment.provides["s"].cptr
    taken = server.syscall(Syscall.RECV, served, reply=Slot.REPLY)
    assert taken is not None
    assert fault_source(taken.badge) == (2, 1)
    together.ended("reincarnation", SIGKILLED)
    told = thread.completion()
    assert told is not None
    assert told.registers[0] == 0  # the instruction is tried again
    assert thread.syscall(Syscall.FAULT, words=(abi.MAPPING_BASE, 0x77, int(PageFault.USER))) is None
    again = together.act_for("reincarnation").syscall(Syscall.RECV, served, reply=Slot.REPLY)
    assert again is not None
    assert (fault_source(again.badge), again.label) == ((2, 1), FaultLabel.VM_FAULT)


# --- complaints


def test_each_life_has_a_number_and_the_next_one_has_it_once_that_has_ended(board: Root) -> None:
    assert [board.lifecycle.life(number) for number in (0, 1, 2, 77)] == [0, 1, 1, 0]
    board.lifecycle.change(Change(Cause(1, "killed"), ends=(1,), due=board.clock.now + 4))
    assert board.lifecycle.life(1) == 2
    board.lifecycle.change(Change(starts=(1,)))
    assert board.lifecycle.life(1) == 2
    allow(board, "one")
    board.ended("one", SIGKILLED)
    assert board.lifecycle.life(1) == 3


def test_a_complaint_is_kept_and_shown_as_why_the_life_has_ended(board: Root) -> None:
    cause = Cause(1, "complaint by two: it lies", failures=1, failed_at=7.5, is_complaint=True)
    board.lifecycle.change(Change(cause, ends=(1,), starts=(1,)))
    assert (records(board)["one"].complained_at, records(board)["one"].failed_at) == ((7.5,), (7.5,))
    assert (board.running("one").last_cause, board.running("one").state) == ("complaint by two: it lies", "running")
    back_at = records(board)["one"].started_at
    board.lifecycle.change(Change(Cause(1, "killed", failures=2, failed_at=8.5), ends=(1,), starts=(1,)))
    assert records(board)["one"].complained_at == (7.5,)
    assert records(board)["one"].back_at == back_at > 0


def test_a_complaint_does_not_end_the_life_that_has_begun_meanwhile(board: Root) -> None:
    """Root has started it again, and the reincarnation server, which complains of the life before, does not know."""
    allow(board, "one")
    board.ended("one", SIGKILLED)
    cause = Cause(1, "complaint by two: it lies", failures=1, failed_at=7.5, is_complaint=True)
    board.lifecycle.change(Change(cause, ends=(1,), starts=(1,)))
    assert (board.running("one").restarts, records(board)["one"].complained_at) == (1, ())


def test_the_reincarnation_server_is_told_who_may_complain_of_whom() -> None:
    with root(REINCARNATION, ONE, structs.replace(TWO, complains_of=("one",)), check=False) as board:
        board.supervisor.start_all()
        assert [record.complains_of for record in records(board).values()] == [(), (1,)]


def test_a_task_is_told_of_whom_its_answers_are_complained() -> None:
    uses = (Use("said", "one", "one", PING, 1, complains=True), Use("asked", "one", "one", PING, 2))
    with root(REINCARNATION, ONE, structs.replace(TWO, uses=uses, complains_of=("one",)), check=False) as board:
        connections = board.running("two").environment.connections
        assert {name: each.complains_of for name, each in connections.items()} == {"said": "one", "asked": ""}


@pytest.mark.parametrize(
    ("why", "shown"),
    [("", ""), ("it lies", ": it lies"), ("\x1b[2J\n", ": ?[2J?"), ("x" * 500, ": " + "x" * MOST_SHOWN)],
)
def test_what_a_complaint_says_is_shown_and_commands_no_terminal(why: str, shown: str) -> None:
    assert complaint_of("two", why) == f"complaint by two{shown}"


def test_what_follows_an_end_does_not_hide_why_it_was(board: Root) -> None:
    board.lifecycle.change(Change(Cause(1, "complaint by two"), ends=(1,), due=board.clock.now + 4))
    board.lifecycle.change(Change(leaves=(1,), because="left by two"))
    one = board.running("one")
    assert one.last_cause == "complaint by two"
    assert one.state == "dead: complaint by two; is started again in 4.0 s; left by two"
    assert list(one.events) == ["started", "complaint by two", "is started again in 4.0 s", "left by two"]


def test_who_is_asked_what_is_to_follow_is_shown(board: Root) -> None:
    board.lifecycle.change(Change(Cause(1, "killed"), ends=(1,), due=board.clock.now + 1, asks="two"))
    assert board.running("one").state == "dead: killed; waits for two, 1.0 s at most"


# --- updates


def test_a_task_runs_the_image_that_it_is_updated_to_and_no_other() -> None:
    with root(REINCARNATION, structs.replace(ONE, versions=("apps.httpd.main",)), TWO, check=False) as board:
        board.supervisor.start_all()
        one, other = board.running("one"), board.description.image_index("apps.httpd.main")
        first = one.image

        def change(image: str) -> None:
            board.lifecycle.change(Change(Cause(1, "by order"), ends=(1,), starts=(1,), image=image))

        change("apps.httpd.main")
        found = records(board)["one"]
        assert (one.image, found.image, found.former_image) == (other, "apps.httpd.main", ONE.image)
        board.lifecycle.came_up(1)
        assert records(board)["one"].former_image == ""
        change(ONE.image)
        assert (one.image, records(board)["one"].former_image) == (first, "apps.httpd.main")
        change("apps.httpd.main")  # the way back is none that could fail
        assert (one.image, records(board)["one"].former_image) == (other, "")
        assert list(one.events)[-3:-1] == ["apps.pong.main did not come up", "runs apps.httpd.main from now on"]
        for foreign in ("servers.root.main", "nobody.main"):
            change(foreign)
            assert one.image == other
        assert one.restarts == 5


@pytest.mark.parametrize("alone", [False, True])
def test_an_update_that_says_that_it_is_done_has_not_come_up(alone: bool) -> None:
    """Its clients hold a server's endpoint, which is there for the former image: also where nobody decides but root."""
    with root(REINCARNATION, structs.replace(ONE, versions=("apps.httpd.main",)), TWO, check=False) as board:
        board.supervisor.start_all()
        one = board.running("one")
        board.lifecycle.change(Change(Cause(1, "by order"), ends=(1,), starts=(1,), image="apps.httpd.main"))
        board.supervisor.exited(1, 0)
        (order,) = board.lifecycle.orders(0)
        assert (order.kind, order.task, order.status) == (OrderKind.QUIT, 1, 0)
        assert (one.life, one.standing, one.is_closed) == (Life.DEAD, Standing.RUNNING, False)
        assert one.last_cause == "said that it is done, with status 0, before it had come up"
        if alone:
            board.supervisor.take_over()
        else:
            board.lifecycle.change(Change(Cause(1, order.text), ends=(1,), starts=(1,), image=ONE.image))
        assert (one.life, one.image, one.former_image) == (Life.RUNNING, board.description.image_index(ONE.image), None)
        board.supervisor.exited(1, 0)
        assert (one.life, one.is_closed) == (Life.DONE, True)


def test_an_update_is_ordered_of_what_the_description_permits() -> None:
    with root(REINCARNATION, structs.replace(ONE, versions=("apps.httpd.main",)), TWO, check=False) as board:
        information = Information(board.authority, board.description, board.tasks, board.supervisor)
        information.update_task("one", "apps.httpd.main")
        (order,) = board.lifecycle.orders(0)
        assert (order.kind, order.task, order.text) == (OrderKind.UPDATE, 1, "apps.httpd.main")
        for name, image in (("one", "servers.root.main"), ("two", "apps.httpd.main")):
            with pytest.raises(NotPermitted, match=f"{name} can be updated to"):
                information.update_task(name, image)
