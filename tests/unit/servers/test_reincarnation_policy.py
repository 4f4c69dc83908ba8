"""The reincarnation server's rules in virtual time: nothing runs, and years take no time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import msgspec
import pytest

from libsel4py.description import GiveUp, Group, Restart, Strategy
from libsel4py.interfaces.complaints import Verdict
from libsel4py.interfaces.lifecycle import Cause, Change, Standing, Stop, TaskRecord
from libsel4py.interfaces.recovery import Case, Decision, Event
from servers.reincarnation.policy import AskToStop, CameUp, EndSystem, Policy, Step

NAMES = ("first", "second", "third")
BACKED_OFF = Group("g", NAMES, intensity=1000, backoff_us=1_000_000)


def record(number: int, group: str = "g", **fields: object) -> TaskRecord:
    plain: dict[str, object] = {"restart": Restart.ALWAYS, "standing": Standing.RUNNING, "runs": True}
    return TaskRecord(number, NAMES[number], group, **{**plain, **fields})  # type: ignore[arg-type]


@dataclass
class World:
    """What root would do and keep, and time. ``dues``: of those that wait, as root is told."""

    records: list[TaskRecord]
    groups: list[Group]
    now: float = 100.0
    up: set[int] = field(default_factory=set)
    happened: list[str] = field(default_factory=list)
    dues: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.policy = Policy(self.records, self.groups)
        self.up = {each.number for each in self.records if each.standing is Standing.RUNNING}
        self.dues = {each.number: each.due for each in self.records if each.standing is Standing.WAITING}

    def take(self, steps: list[Step]) -> list[Step]:
        for step in steps:
            if not isinstance(step, Change):
                continue
            for number in step.ends:
                self.happened.append(f"-{NAMES[number]}")
                self.up.discard(number)
                self.dues[number] = step.due
            self.dues.update(step.waits)
            for number in step.starts:
                self.happened.append(f"+{NAMES[number]}")
                self.up.add(number)
            for number in (*step.starts, *step.leaves):
                self.dues.pop(number, None)
        if not any(isinstance(step, EndSystem) for step in steps):
            assert self.dues == self.waiting, "another life of the policy goes on as this one would"
        return steps

    @property
    def waiting(self) -> dict[int, float]:
        """Who waits, and until when, as the policy has it."""
        children = self.policy.children.values()
        return {each.number: each.due for each in children if each.standing is Standing.WAITING}

    def fail(self, number: int, status: int = 137) -> list[Step]:
        self.up.discard(number)
        return self.take(self.policy.failed(number, status, "killed", self.now))

    def kill(self, number: int) -> list[Step]:
        self.up.discard(number)
        return self.take(self.policy.killed(number, 137, self.now))

    def wait(self) -> float:
        """Let time go on until something is due; returns how long that took."""
        due = self.policy.next_due()
        waited, self.now = due - self.now, due
        self.take(self.policy.tick(self.now))
        return waited

    def again(self) -> World:
        """The same of a policy that begins anew from what root has kept."""
        kept = [
            replace_record(
                child.record,
                standing=child.standing,
                failures=child.failures,
                due=self.dues.get(child.number, 0.0),
                started_at=child.started_at,
                failed_at=tuple(child.failed_at),
                complained_at=tuple(child.complained_at),
                back_at=child.back_at,
                stop=Stop(child.stops_by, child.stops_for_restart, child.updates_to) if child.is_stopping else None,
                image=child.image,
                former_image=child.former_image,
                renewed_at=self.policy.supervisors[child.number].renewed_at,
            )
            for child in self.policy.children.values()
        ]
        return replace(self, records=kept)


def replace_record(record: TaskRecord, **fields: object) -> TaskRecord:
    return msgspec.structs.replace(record, **fields)


def replace_group(group: Group, **fields: object) -> Group:
    return msgspec.structs.replace(group, **fields)


def world(strategy: Strategy = Strategy.ONE_FOR_ONE, **fields: object) -> World:
    return World([record(0), record(1), record(2)], [Group("g", NAMES, strategy, **fields)])  # type: ignore[arg-type]


# --- strategies


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.ONE_FOR_ONE, "-second +second"),
        (Strategy.REST_FOR_ONE, "-third -second +second +third"),
        (Strategy.ONE_FOR_ALL, "-third -second -first +first +second +third"),
    ],
)
def test_a_strategy_says_who_begins_anew_and_in_which_order(strategy: Strategy, expected: str) -> None:
    it = world(strategy)
    it.fail(1)
    assert " ".join(it.happened) == expected
    assert it.up == {0, 1, 2}


def test_one_step_does_it_all_so_that_it_is_done_whole_or_not_at_all() -> None:
    steps = world(Strategy.ONE_FOR_ALL).fail(2)
    assert [type(step) for step in steps] == [Change]


def test_a_task_alone_is_a_group_of_its_own() -> None:
    it = World([record(0, "first"), record(1, "second")], [])
    it.fail(0)
    assert it.happened == ["-first", "+first"]


def test_what_has_ended_for_good_does_not_come_back_with_its_group() -> None:
    it = World([record(0), record(1, standing=Standing.LEFT), record(2)], [Group("g", NAMES, Strategy.ONE_FOR_ALL)])
    it.fail(0)
    assert it.happened == ["-third", "-first", "+first", "+third"]


def test_one_that_is_never_started_again_ends_with_its_group_and_is_left() -> None:
    it = World([record(0), record(1, restart=Restart.NEVER)], [Group("g", NAMES, Strategy.ONE_FOR_ALL)])
    (step,) = it.fail(0)
    assert it.happened == ["-second", "-first", "+first"]
    assert isinstance(step, Change)
    assert step.leaves == (1,)


# --- restart


@pytest.mark.parametrize(
    ("restart", "status", "again"),
    [
        (Restart.NEVER, 137, False),
        (Restart.ON_FAILURE, 0, False),
        (Restart.ON_FAILURE, 3, True),
        (Restart.ALWAYS, 0, True),
    ],
)
def test_restart_says_whether_it_begins_anew(restart: Restart, status: int, again: bool) -> None:
    it = World([record(0, restart=restart)], [])
    (step,) = it.fail(0, status)
    assert isinstance(step, Change)
    assert (step.starts, step.leaves, step.ends) == (((0,), (), (0,)) if again else ((), (0,), ()))


def test_the_end_of_an_essential_task_is_the_systems() -> None:
    it = World([record(0, restart=Restart.NEVER, essential=True)], [])
    assert it.fail(0, 7) == [EndSystem(0, 7, "killed")]


@pytest.mark.parametrize("by_order", [False, True])
def test_an_essential_task_that_ends_with_its_group_and_is_not_started_again_is_the_systems_end(by_order: bool) -> None:
    group = Group("g", NAMES[:2], Strategy.ONE_FOR_ALL)
    it = World([record(0), record(1, restart=Restart.NEVER, essential=True)], [group])
    (step,) = it.kill(0) if by_order else it.fail(0)
    assert isinstance(step, EndSystem)
    assert (step.task, step.status) == (1, 1)
    it = World([record(0), record(1, essential=True)], [group])
    it.fail(0)
    assert it.up == {0, 1}


def test_a_second_report_of_the_same_end_changes_nothing() -> None:
    it = World([record(0, restart=Restart.NEVER)], [])
    it.fail(0)
    assert it.fail(0) == []


def test_a_hung_one_is_ended_also_where_it_is_not_started_again() -> None:
    it = World([record(0, restart=Restart.NEVER)], [])
    (step,) = it.policy.failed(0, 1, "hung", it.now, hung=True)
    assert isinstance(step, Change)
    assert (step.ends, step.starts, step.leaves) == ((0,), (), (0,))


# --- delays


def test_delays_are_minixs() -> None:
    """MNX-03: at once, then 2, 4, 8, 16, 30, 30 s with a period of one second."""
    it = World([record(0)], [BACKED_OFF])
    delays = []
    for _ in range(7):
        it.fail(0)
        delays.append(0.0 if 0 in it.up else it.wait())
        assert 0 in it.up
        it.now += 0.01
    assert delays == [0, 2, 4, 8, 16, 30, 30]


def test_a_long_life_is_no_failure_to_start() -> None:
    it = World([record(0)], [BACKED_OFF])
    for _ in range(3):
        it.fail(0)
        if 0 not in it.up:
            it.wait()
    it.now += 30
    it.fail(0)
    assert 0 in it.up


def test_who_goes_along_waits_as_long() -> None:
    it = World([record(0), record(1)], [msgspec.structs.replace(BACKED_OFF, strategy=Strategy.REST_FOR_ONE)])
    it.fail(0)
    it.fail(0)
    assert it.up == set()
    assert it.wait() == 2
    assert it.happened[-2:] == ["+first", "+second"]


def test_who_waits_for_its_own_delay_is_not_started_early_by_anothers_failure() -> None:
    it = World([record(0), record(1)], [msgspec.structs.replace(BACKED_OFF, strategy=Strategy.REST_FOR_ONE)])
    it.fail(1)
    it.fail(1)
    it.now += 0.5
    it.fail(0)
    assert it.up == {0}
    assert it.wait() == 1.5
    assert it.up == {0, 1}


def test_a_waiting_task_is_started_by_a_supervisor_that_begins_anew() -> None:
    it = World([record(0)], [BACKED_OFF])
    it.fail(0)
    it.fail(0)
    again = it.again()
    assert again.wait() == 2
    assert again.happened[-1] == "+first"


def test_who_waits_for_longer_with_another_one_does_so_of_a_supervisor_that_begins_anew() -> None:
    group = msgspec.structs.replace(BACKED_OFF, strategy=Strategy.REST_FOR_ONE)
    it = World([record(0, failures=3, started_at=99), record(1, failures=1, started_at=99)], [group])
    it.fail(1)
    it.fail(0)
    it.happened.clear()
    it = it.again()
    assert it.wait() == 8
    assert it.happened == ["+first", "+second"]


@pytest.mark.parametrize("order", ["start", "update", "kill"])
def test_an_order_that_waits_for_another_task_outlives_the_supervisor(order: str) -> None:
    it = World([record(0), record(1, depends=(0,))], [Group("g", NAMES[:1]), Group("h", NAMES[1:2])])
    it.take(it.policy.stop(0, it.now))
    it.take(it.policy.stop(1, it.now))
    match order:
        case "start":
            it.take(it.policy.start(1, it.now))
        case "update":
            it.take(it.policy.update(1, "newer", it.now))
        case _:
            it.kill(1)
    assert it.up == set()
    it = it.again()
    it.take(it.policy.start(0, it.now))
    assert it.up == {0, 1}


# --- intensity


def test_a_group_that_fails_too_often_is_given_up() -> None:
    it = world(intensity=2, period_us=5_000_000)
    for number in (0, 1):
        it.fail(number)
        it.now += 1
    (step,) = it.fail(2)
    assert isinstance(step, Change)
    assert (step.starts, step.leaves) == ((), (2,))
    assert "given up after 2 restarts within 5 s" in step.because


def test_failures_are_forgotten_behind_the_period_and_not_before() -> None:
    it = world(intensity=1, period_us=5_000_000)
    it.fail(0)
    it.now += 4.9
    again = it.again()
    assert isinstance(step := again.fail(0)[0], Change)
    assert step.leaves == (0,)
    it.now += 0.1
    assert isinstance(step := it.fail(0)[0], Change)
    assert step.starts == (0,)


def test_giving_up_can_begin_the_group_anew_once_and_then_leaves_it() -> None:
    it = world(intensity=1, period_us=5_000_000, give_up=GiveUp.RESTART_GROUP)
    it.fail(1)
    it.happened.clear()
    (step,) = it.fail(1)
    assert it.happened == ["-third", "-second", "-first", "+first", "+second", "+third"]
    assert isinstance(step, Change)
    assert step.renews
    it.fail(1)
    assert isinstance(step := it.again().fail(1)[0], Change)
    assert step.leaves == (1,)
    it.now += 11
    it.fail(1)
    assert isinstance(step := it.fail(1)[0], Change)
    assert step.renews


def test_giving_up_can_end_the_system() -> None:
    it = world(intensity=0, give_up=GiveUp.END_SYSTEM)
    assert it.fail(0, 3) == [EndSystem(0, 3, "killed; given up after 0 restarts within 10 s")]


# --- dependencies


def test_a_restart_waits_for_what_the_task_depends_on() -> None:
    first = record(0, "first", restart=Restart.NEVER)
    it = World([first, record(1, "second", depends=(0,)), record(2, "third", depends=(1,))], [])
    it.fail(0)
    it.fail(1)
    it.fail(2)
    assert it.up == set()
    assert it.policy.next_due() == float("inf")
    it = it.again()
    it.take(it.policy.start(0, it.now))
    assert it.happened[-3:] == ["+first", "+second", "+third"]


# --- orders


def test_killing_forgives_and_begins_anew_what_was_given_up() -> None:
    it = world(intensity=1)
    it.fail(0)
    it.fail(0)
    assert 0 not in it.up
    it.kill(0)
    assert it.happened[-1] == "+first"
    (step,) = it.fail(0)
    assert isinstance(step, Change)
    assert step.starts == (0,)


def test_stop_asks_then_ends_and_nothing_starts_it_but_an_order() -> None:
    it = World([record(0, asks_to_stop=True, stop_timeout_us=2_000_000)], [])
    assert it.take(it.policy.stop(0, it.now)) == [AskToStop(0, Stop(it.now + 2))]
    assert it.wait() == 2
    assert it.happened == ["-first"]
    assert it.policy.next_due() == float("inf")
    it.take(it.policy.start(0, it.now))
    assert it.happened == ["-first", "+first"]


def test_one_that_stops_by_itself_is_cleared_away_and_no_failure() -> None:
    it = World([record(0, asks_to_stop=True, stop_timeout_us=2_000_000)], [Group("g", NAMES, intensity=0)])
    it.take(it.policy.stop(0, it.now))
    (step,) = it.fail(0, 0)
    assert isinstance(step, Change)
    assert (step.ends, step.starts, step.leaves) == ((0,), (), (0,))


def test_a_restart_by_order_stops_and_starts() -> None:
    it = World([record(0, asks_to_stop=True, stop_timeout_us=2_000_000)], [])
    it.take(it.policy.stop(0, it.now, restarts=True))
    it.fail(0, 0)
    assert it.happened == ["-first", "+first"]


@pytest.mark.parametrize("ends_by_itself", [False, True])
@pytest.mark.parametrize(("image", "restarts"), [("", False), ("", True), ("two", True)])
def test_an_order_is_carried_out_by_a_supervisor_that_begins_anew_behind_asking(
    ends_by_itself: bool, image: str, restarts: bool
) -> None:
    it = World([record(0, asks_to_stop=True, stop_timeout_us=2_000_000, image="one")], [])
    it.take(it.policy.stop(0, it.now, restarts=restarts, image=image))
    it = it.again()
    it.happened.clear()
    if ends_by_itself:
        it.fail(0, 0)
    else:
        assert it.wait() == 2
    assert it.happened == ["-first", "+first"][: 1 + restarts]
    child = it.policy.children[0]
    assert (child.standing, child.image) == (Standing.RUNNING if restarts else Standing.LEFT, image or "one")
    assert (child.is_stopping, it.policy.supervisors[0].failures_within(it.now)) == (False, 0)


def test_a_task_that_is_done_stays_so() -> None:
    it = World([record(0)], [])
    it.policy.done(0)
    assert it.fail(0) == it.kill(0) == it.policy.start(0, it.now) == []


# --- what is allowed ahead


def allowed(it: World) -> list[tuple[int, int]]:
    return [(each.task, each.failures) for each in it.policy.allowed(it.now)]


def test_each_that_fails_alone_is_allowed_to_begin_again() -> None:
    assert allowed(world(intensity=10)) == [(0, 1), (1, 1), (2, 1)]
    for strategy in (Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL):
        assert allowed(world(strategy, intensity=10)) == []
    single = World([record(0)], [Group("g", NAMES[:1], Strategy.ONE_FOR_ALL, intensity=1)])
    assert allowed(single) == [(0, 1)]


def test_no_more_are_allowed_than_the_group_may_fail() -> None:
    it = world(intensity=2, period_us=5_000_000)
    assert allowed(it) == [(0, 1), (1, 1)]
    it.policy.restarted(1, it.now)
    assert allowed(it) == [(0, 1)]
    it.policy.restarted(0, it.now)
    assert allowed(it) == []
    assert it.wait() == 5.0  # then what has failed counts no more
    assert len(allowed(it)) == 2


def test_one_that_would_wait_is_not_allowed_until_its_life_is_long() -> None:
    it = World([record(0, started_at=100.0)], [msgspec.structs.replace(BACKED_OFF, tasks=NAMES[:1])])
    assert allowed(it) == [(0, 1)]
    it.policy.restarted(0, it.now)
    assert allowed(it) == []
    limit = it.policy.supervisors[0].group.backoff_limit_us / 1e6
    while not allowed(it):
        it.wait()
    assert it.now == 100.0 + limit
    assert allowed(it) == [(0, 1)]


def standing(it: World) -> list[object]:
    count = it.policy.supervisors[0].failures_within(it.now)
    children = it.policy.children.values()
    return [count, *((each.standing, each.failures, each.due, each.started_at) for each in children)]


@pytest.mark.parametrize("period_us", [3_000_000, 100_000_000])
def test_what_root_does_ahead_is_what_would_be_decided(period_us: int) -> None:
    """Whatever fails and when: one that is allowed is decided to begin again at once, and counts the same."""
    group = Group("g", NAMES, intensity=4, period_us=period_us, backoff_us=500_000, backoff_limit_us=2_000_000)
    seeds = random.Random(1)
    for _ in range(200):
        ahead, asked = (World([record(number) for number in range(3)], [group]) for _ in range(2))
        for _ in range(30):
            number, pause = seeds.randrange(3), seeds.choice((0.1, 0.7, 2.5))
            may = {each.task: each.failures for each in ahead.policy.allowed(ahead.now)}
            ahead.now = asked.now = ahead.now + pause
            for each in (ahead, asked):
                each.take(each.policy.tick(each.now))
            steps = asked.fail(number)
            if number in may:
                ahead.policy.restarted(number, ahead.now)
                (step,) = steps
                assert isinstance(step, Change)
                assert (step.ends, step.starts, step.due) == ((number,), (number,), 0.0)
                assert step.cause is not None
                assert (step.cause.failures, step.cause.failed_at) == (may[number], ahead.now)
            else:
                ahead.fail(number)
            assert standing(ahead) == standing(asked)


def test_who_stops_or_is_not_started_again_is_not_allowed() -> None:
    stopping = World([record(0, asks_to_stop=True, stop_timeout_us=10), record(1, restart=Restart.NEVER)], [])
    assert allowed(stopping) == [(0, 1)]
    stopping.policy.stop(0, stopping.now)
    assert allowed(stopping) == []


# --- complaints


def complain(it: World, number: int = 0) -> Verdict:
    verdict, steps = it.policy.complained(number, "complaint by third: why", it.now)
    it.take(steps)
    return verdict


def test_a_complaint_is_a_failure_that_its_group_follows() -> None:
    it = world(Strategy.REST_FOR_ONE)
    (change,) = it.policy.complained(1, "complaint by third: why", it.now)[1]
    assert change == Change(
        Cause(1, "complaint by third: why", failures=1, failed_at=it.now, is_complaint=True),
        ends=(2, 1),
        starts=(1, 2),
    )
    assert it.policy.supervisors[1].failures_within(it.now) == 1


def test_the_next_life_is_let_alone_for_a_second() -> None:
    it = world()
    assert complain(it) is Verdict.ENDED
    for later, verdict in ((0.0, Verdict.TOO_OFTEN), (0.9, Verdict.TOO_OFTEN), (0.2, Verdict.ENDED)):
        it.now += later
        assert complain(it) is verdict
    assert complain(it, 1) is Verdict.ENDED  # that is each one's own second


@pytest.mark.parametrize("strategy", [Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE])
def test_the_next_lives_of_all_that_ended_with_it_are_let_alone(strategy: Strategy) -> None:
    """Who may complain of each in a group has no group that is never up."""
    it = world(strategy, intensity=1000)
    assert complain(it, 0) is Verdict.ENDED
    for later, verdict in ((0.9, Verdict.TOO_OFTEN), (0.2, Verdict.ENDED)):
        it.now += later
        assert [complain(it, number) for number in (2, 1)] == [verdict, Verdict.TOO_OFTEN]


def test_half_of_what_a_group_may_fail_are_complaints() -> None:
    it = world(intensity=5, period_us=10_000_000)
    verdicts = []
    for number in (0, 1, 2, 0, 1, 2):
        verdicts.append(complain(it, number))
        it.now += 1.5
    assert verdicts == [Verdict.ENDED] * 2 + [Verdict.TOO_OFTEN] * 4
    it.now += 1  # the first complaint counts no more
    assert complain(it, 0) is Verdict.ENDED


def test_a_complaint_never_gives_a_task_up() -> None:
    it = world(intensity=4)
    for _ in range(4):
        it.fail(0)
    it.happened.clear()
    assert complain(it) is Verdict.TOO_OFTEN
    assert (it.happened, it.up) == ([], {0, 1, 2})


def test_who_was_away_for_long_is_let_alone_as_long() -> None:
    it = World([record(0), record(1), record(2)], [BACKED_OFF])
    it.fail(0)
    assert complain(it) is Verdict.ENDED
    away = it.wait()
    assert away == 2.0  # its second failure in a row
    for later, verdict in ((1.9, Verdict.TOO_OFTEN), (0.2, Verdict.ENDED)):
        it.now += later
        assert complain(it) is verdict


@pytest.mark.parametrize("begins_anew", [False, True])
def test_a_life_long_behind_a_complaint_is_not_let_alone_for_it(begins_anew: bool) -> None:
    it = world()
    assert complain(it) is Verdict.ENDED
    it.now += 3600
    it.fail(0)
    it = it.again() if begins_anew else it
    it.now += 0.9
    assert complain(it) is Verdict.TOO_OFTEN
    it.now += 0.2
    assert complain(it) is Verdict.ENDED


def test_whoever_complains_whenever_it_can_leaves_it_up_for_half_of_the_time() -> None:
    it = World([record(0), record(1), record(2)], [replace_group(BACKED_OFF, period_us=3_600_000_000)])
    begun, down, verdicts = it.now, 0.0, set()
    while it.now < begun + 3600:
        verdicts.add(complain(it))
        if 0 in it.up:
            it.now += 0.1
        else:
            down += it.wait()
    assert verdicts == {Verdict.ENDED, Verdict.TOO_OFTEN}
    assert 0 < down <= (it.now - begun) / 2


def test_a_life_that_is_over_or_stops_is_not_complained_of() -> None:
    it = World([record(0), record(1), record(2, asks_to_stop=True, stop_timeout_us=1_000_000)], [BACKED_OFF])
    it.fail(0)
    it.fail(0)
    assert 0 not in it.up
    it.take(it.policy.stop(2, it.now))
    for number in (0, 2, 17):
        assert complain(it, number) is Verdict.LATE


def test_no_task_is_ended_by_a_complaint_that_would_not_come_back() -> None:
    never = record(0, restart=Restart.NEVER)
    it = World([never, record(1, standing=Standing.LEFT), record(2, depends=(1,))], [Group("g", NAMES)])
    for number in (0, 2):
        assert complain(it, number) is Verdict.TOO_OFTEN
    assert it.happened == []


def test_complaints_are_counted_by_a_supervisor_that_begins_anew() -> None:
    it = world(intensity=2)
    assert complain(it) is Verdict.ENDED
    it = it.again()
    it.now += 5
    assert complain(it) is Verdict.TOO_OFTEN
    it.now += 6
    assert complain(it) is Verdict.ENDED


# --- recovery by a task


MEDIC = replace_group(Group("g", NAMES[:2], backoff_us=10_000_000), recovery="third", recovery_timeout_us=1_000_000)


def recovered(strategy: Strategy = Strategy.ONE_FOR_ONE, **fields: object) -> World:
    group = replace_group(MEDIC, strategy=strategy, **fields)
    return World([record(0), record(1), record(2, "h")], [group, Group("h", ("third",))])


def case(it: World, after: int = 0) -> Case:
    found = it.policy.next_case("third", after)
    assert found is not None
    return found


def decide(it: World, decision: Decision, serial: int | None = None, name: str = "third") -> bool:
    was_open, steps = it.policy.decided(name, case(it).serial if serial is None else serial, decision, it.now)
    it.take(steps)
    return was_open


def test_an_end_is_held_until_it_is_decided() -> None:
    it = recovered(Strategy.REST_FOR_ONE)
    it.fail(0)
    assert (it.happened, it.up) == (["-second", "-first"], {2})
    asked = case(it)
    assert (asked.component, asked.event, asked.reason) == ("first", Event.ENDED, "killed")
    assert (asked.failures, asked.along) == (1, 1)
    assert decide(it, Decision.RESTART)
    assert it.happened == ["-second", "-first", "+first", "+second"]
    assert it.policy.next_case("third", 0) is None


def test_each_event_has_its_name() -> None:
    it = recovered(intensity=100)
    for event, happens in (
        (Event.ENDED, lambda: it.policy.failed(0, 1, "x", it.now, faulted=True)),
        (Event.HUNG, lambda: it.policy.failed(0, 1, "x", it.now, hung=True)),
        (Event.COMPLAINT, lambda: it.policy.complained(0, "x", it.now)[1]),
    ):
        it.take(happens())
        assert case(it).event is event
        assert decide(it, Decision.RESTART)


@pytest.mark.parametrize(("decision", "waits"), [(Decision.RESTART, False), (Decision.POLICY, True)])
def test_a_restart_is_at_once_and_the_policy_has_its_delay(decision: Decision, waits: bool) -> None:
    it = recovered()
    it.fail(0)
    assert decide(it, Decision.POLICY)  # of a first failure: at once
    assert it.up == {0, 1, 2}
    it.fail(0)
    assert decide(it, decision)
    assert (0 not in it.up) is waits
    if waits:
        assert it.wait() == 20.0
        assert it.up == {0, 1, 2}


def test_nobody_that_decides_is_waited_for_longer_than_is_said() -> None:
    it = recovered()
    it.fail(0)
    late = case(it).serial
    assert it.wait() == 1.0
    assert it.up == {0, 1, 2}
    assert it.policy.next_case("third", 0) is None
    it.happened.clear()
    assert not decide(it, Decision.LEAVE, late)
    it.fail(0)
    assert not decide(it, Decision.LEAVE, late)  # nor does it hit the next case
    assert it.wait() == 20.0  # the policy's delay, which is longer
    assert it.up == {0, 1, 2}


def test_what_is_left_stays_down_until_an_order_and_the_others_come_back() -> None:
    it = recovered(Strategy.ONE_FOR_ALL)
    it.fail(0)
    assert decide(it, Decision.LEAVE)
    assert it.up == {1, 2}
    it.take(it.policy.start(0, it.now))
    assert it.up == {0, 1, 2}


def test_a_whole_group_can_be_made_to_begin_anew() -> None:
    it = recovered()
    it.fail(1)
    it.happened.clear()
    assert decide(it, Decision.RESTART_GROUP)
    assert it.happened == ["-first", "+first", "+second"]


def test_only_who_recovers_a_group_decides_it() -> None:
    it = recovered()
    it.fail(0)
    asked = case(it).serial
    for name in ("first", "second", "", "nobody"):
        assert it.policy.next_case(name, 0) is None
        assert not decide(it, Decision.LEAVE, asked, name)
    assert decide(it, Decision.RESTART, asked)
    assert not decide(it, Decision.RESTART, asked)


def test_who_recovers_is_not_asked_of_itself_nor_while_it_is_down() -> None:
    it = recovered()
    it.fail(2)
    assert it.up == {0, 1, 2}
    it.take(it.policy.stop(2, it.now))
    it.fail(0)
    assert it.up == {0, 1}


def test_an_order_ends_a_case_and_a_second_end_replaces_it() -> None:
    it = recovered(Strategy.ONE_FOR_ALL)
    it.fail(0)
    first = case(it).serial
    it.take(it.policy.stop(0, it.now))
    assert it.policy.next_case("third", 0) is None
    assert not decide(it, Decision.RESTART, first)
    it = recovered()
    it.fail(0)
    it.fail(1)
    assert [case(it).component, case(it, case(it).serial).component] == ["first", "second"]


def held_twice(strategy: Strategy = Strategy.REST_FOR_ONE) -> tuple[World, int, int]:
    """The second one is held, the first one fails half a second later; the numbers of both cases."""
    it = recovered(strategy)
    it.fail(1)
    if strategy is Strategy.ONE_FOR_ALL:
        it.take(it.policy.start(0, it.now))
    second = case(it).serial
    it.now += 0.5
    it.fail(0)
    assert case(it).serial == second
    first = case(it, second).serial
    it.happened.clear()
    return it, first, second


ALONG = (Strategy.REST_FOR_ONE, Strategy.ONE_FOR_ALL)


@pytest.mark.parametrize("strategy", ALONG)
def test_a_held_one_stays_held_when_one_ends_with_which_it_would_have(strategy: Strategy) -> None:
    it, first, second = held_twice(strategy)
    assert decide(it, Decision.RESTART, first)
    assert (it.happened, it.policy.is_open("third", second)) == (["+first"], True)
    assert decide(it, Decision.LEAVE, second)
    assert (it.up, it.policy.children[1].standing) == ({0, 2}, Standing.LEFT)


@pytest.mark.parametrize("strategy", ALONG)
@pytest.mark.parametrize("decision", [Decision.RESTART, Decision.POLICY])
def test_a_held_one_is_not_started_before_the_other(strategy: Strategy, decision: Decision) -> None:
    it, first, second = held_twice(strategy)
    assert decide(it, decision, second)
    assert it.happened == []
    assert decide(it, Decision.RESTART, first)
    assert it.happened == ["+first", "+second"]


@pytest.mark.parametrize("strategy", ALONG)
def test_a_held_one_is_not_started_before_the_other_where_the_supervisor_dies(strategy: Strategy) -> None:
    it, _, _ = held_twice(strategy)
    it = it.again()
    assert it.wait() == 1.0
    assert it.happened == ["+first"]
    assert it.wait() < 0.001
    assert it.happened == ["+first", "+second"]


def test_of_two_that_are_held_one_can_be_left() -> None:
    it, first, second = held_twice()
    assert decide(it, Decision.LEAVE, second)
    assert decide(it, Decision.RESTART, first)
    assert it.happened == ["+first"]
    it, first, second = held_twice()
    assert decide(it, Decision.LEAVE, first)
    assert decide(it, Decision.RESTART, second)
    assert it.happened == ["+second"]


def test_two_that_nobody_decides_are_started_in_order() -> None:
    it, _, _ = held_twice()
    assert it.wait() == 1.0
    assert it.wait() < 0.001
    assert it.happened == ["+first", "+second"]
    assert it.policy.next_case("third", 0) is None


def test_who_waits_with_a_held_one_stays_with_it() -> None:
    group = replace_group(MEDIC, tasks=NAMES, recovery="medic", strategy=Strategy.REST_FOR_ONE)
    medic = replace_record(record(0), number=3, name="medic", group="h")
    it = World([record(0), record(1), record(2), medic], [group, Group("h", ("medic",))])

    def serials() -> list[int]:
        found: list[int] = []
        while (case := it.policy.next_case("medic", found[-1] if found else 0)) is not None:
            found.append(case.serial)
        return found

    it.fail(1)  # the third one waits with it
    it.now += 0.5
    it.fail(0)
    second, first = serials()
    it.happened.clear()
    assert decide(it, Decision.RESTART, first, "medic")
    assert it.happened == ["+first"]
    assert decide(it, Decision.RESTART, second, "medic")
    assert it.happened == ["+first", "+second", "+third"]


def test_two_that_end_at_one_moment_are_decided_one_by_one() -> None:
    it = recovered()
    it.fail(0)
    it.fail(1)
    first = case(it).serial
    second = case(it, first).serial
    it.happened.clear()
    assert decide(it, Decision.RESTART, first)
    assert it.happened == ["+first"]
    assert decide(it, Decision.LEAVE, second)
    assert it.up == {0, 2}


def test_a_serial_number_is_higher_than_any_of_an_earlier_life() -> None:
    it = recovered()
    it.fail(0)
    it.fail(1)
    last = case(it, case(it).serial).serial
    it = it.again()
    it.now += 0.001
    it.take(it.policy.tick(it.now + 1))
    it.now += 1
    it.fail(0)
    assert case(it).serial > last


def test_root_is_allowed_nothing_ahead_where_a_task_decides() -> None:
    it = recovered()
    assert [number for number, _ in allowed(it)] == [2]


def test_giving_up_is_nobodys_to_decide() -> None:
    it = recovered(intensity=1)
    it.fail(0)
    assert decide(it, Decision.RESTART)
    it.fail(0)
    assert it.policy.next_case("third", 0) is None
    assert it.policy.children[0].standing is Standing.LEFT


# --- updates


def updatable() -> World:
    one = record(0, image="one", asks_to_stop=True, stop_timeout_us=2_000_000)
    return World([one, record(1, image="x")], [Group("g", NAMES[:2], Strategy.REST_FOR_ONE)])


def updated(image: str = "two") -> World:
    """The task has ended as it was asked to, and runs that image."""
    it = updatable()
    assert it.policy.update(0, image, it.now) == [AskToStop(0, Stop(it.now + 2, restarts=True, image=image))]
    (change,) = it.fail(0, status=0)
    assert isinstance(change, Change)
    assert (change.image, change.ends, change.starts) == (image, (0,), (0,))
    return it


def test_an_update_asks_the_task_to_stop_and_starts_it_with_the_other_image() -> None:
    it = updated()
    assert it.happened == ["-first", "+first"]
    assert it.policy.probation() == [0]
    assert it.policy.supervisors[0].failures_within(it.now) == 0


def test_an_update_that_serves_has_come_up_and_fails_as_any_other() -> None:
    it = updated()
    assert it.policy.came_up(0) == [CameUp(0)]
    assert it.policy.probation() == []
    (change,) = it.fail(0)
    assert isinstance(change, Change)
    assert change.image == ""
    assert it.policy.supervisors[0].failures_within(it.now) == 1


@pytest.mark.parametrize("again", [False, True])
def test_an_update_that_does_not_come_up_is_rolled_back(again: bool) -> None:
    """Also by a supervisor that begins anew. That is no failure of the task's, and ends no other one."""
    it = updated()
    it = it.again() if again else it
    it.happened.clear()
    (change,) = it.take(it.policy.failed(0, 1, "hung: it answers no heartbeats", it.now, hung=True))
    assert isinstance(change, Change)
    assert change.cause == Cause(0, "hung: it answers no heartbeats")
    assert (change.image, it.happened) == ("one", ["-first", "+first"])
    assert it.policy.probation() == []
    assert it.policy.supervisors[0].failures_within(it.now) == 0
    assert len(it.fail(0)) == 1  # and the former one fails as ever
    assert it.policy.supervisors[0].failures_within(it.now) == 1


def test_an_update_that_says_that_it_is_done_is_rolled_back_unless_it_has_come_up() -> None:
    it = updated()
    (change,) = it.take(it.policy.quit(0, 0, "said that it is done", it.now))
    assert change == Change(Cause(0, "said that it is done"), ends=(0,), starts=(0,), image="one")
    it = updated()
    it.policy.came_up(0)
    assert it.policy.quit(0, 0, "said so", it.now) == [Change(Cause(0, "said so"), leaves=(0,))]
    assert it.policy.quit(0, 0, "said so", it.now) == it.policy.quit(17, 0, "", it.now) == []


def test_an_update_that_is_asked_to_stop_and_says_that_it_is_done_has_stopped() -> None:
    it = updated()
    it.policy.update(0, "three", it.now)
    (change,) = it.take(it.policy.quit(0, 0, "said that it is done", it.now))
    assert isinstance(change, Change)
    assert (change.image, it.policy.probation()) == ("three", [0])


def test_a_complaint_rolls_an_update_back() -> None:
    it = updated()
    verdict, (change,) = it.policy.complained(0, "complaint by third", it.now)
    assert isinstance(change, Change)
    assert (verdict, change.image) == (Verdict.ENDED, "one")


def test_a_second_update_that_does_not_come_up_leads_back_to_what_had() -> None:
    it = updated()
    it.policy.update(0, "three", it.now)
    it.fail(0, status=0)
    (change,) = it.fail(0)
    assert isinstance(change, Change)
    assert change.image == "one"


def test_root_is_allowed_no_restart_of_an_update_that_has_not_come_up() -> None:
    it = World([record(0, "a", image="one"), record(1, "b", image="x")], [])
    it.take(it.policy.update(0, "two", it.now))
    assert [number for number, _ in allowed(it)] == [1]
    it.policy.came_up(0)
    assert [number for number, _ in allowed(it)] == [0, 1]


def test_what_is_down_starts_with_its_update() -> None:
    it = World([record(0, image="one", standing=Standing.LEFT), record(1, standing=Standing.DONE)], [])
    (change,) = it.take(it.policy.update(0, "two", it.now))
    assert isinstance(change, Change)
    assert (change.image, it.up) == ("two", {0})
    for number in (1, 17):
        assert it.policy.update(number, "two", it.now) == []


def test_an_order_to_stop_takes_an_update_back() -> None:
    it = updatable()
    it.policy.update(0, "two", it.now)
    it.policy.stop(0, it.now)
    it.fail(0, status=0)
    it.take(it.policy.start(0, it.now))
    it.policy.stop(0, it.now, restarts=True)
    (change,) = it.fail(0, status=0)
    assert isinstance(change, Change)
    assert (change.image, it.up) == ("", {0, 1})
