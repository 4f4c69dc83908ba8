"""A reincarnation server that begins anew at any moment stands where the former one stood, by what root has kept."""

from __future__ import annotations

import contextlib
import random

import pytest

from libsel4py.description import GiveUp, Grant, Group, Provide, Restart, Strategy, Task
from libsel4py.interfaces.lifecycle import Change, Standing, parts
from libsel4py.interfaces.recovery import Decision
from servers.reincarnation.policy import AskToStop, CameUp, EndSystem, Policy, Step
from servers.root.running_task import Life
from servers.root.supervisor import Essential
from tests.unit.servers.root_board import PING, Root, root, task

NAMES = ("one", "two", "three", "four", "medic")
IMAGES = ("apps.pong.main", "apps.echo.main")
EVENTS = (
    *["fail"] * 6,
    "hang",
    "kill",
    "stop",
    "start",
    "restart",
    "update",
    "complain",
    *["decide", "tick"] * 2,
    "up",
)


def described(chance: random.Random) -> list[Task]:
    tasks = [task("reincarnation", grants=(Grant.LIFECYCLE,), provides=(Provide("s", PING),))]
    for number, name in enumerate(NAMES):
        found = task(
            name,
            image=IMAGES[0],
            versions=IMAGES[1:],
            provides=(Provide(name, PING),),
            restart=chance.choice([*[Restart.ALWAYS] * 4, Restart.ON_FAILURE, Restart.NEVER]),
            depends=tuple(each for each in NAMES[:number] if chance.random() < 0.3 and name != "medic"),
            stop_timeout_us=chance.choice([0, 5_000_000]),
        )
        tasks.append(found)
    return tasks


def grouped(chance: random.Random) -> Group:
    return Group(
        "g",
        NAMES[: chance.choice([2, 3, 4])],
        chance.choice(list(Strategy)),
        intensity=chance.choice([1, 3, 8]),
        period_us=chance.choice([1_000_000, 10_000_000]),
        backoff_us=chance.choice([0, 1_000_000]),
        give_up=chance.choice([GiveUp.LEAVE, GiveUp.RESTART_GROUP]),
        recovery=chance.choice(["", "medic"]),
        recovery_timeout_us=500_000,
    )


def carry_out(board: Root, steps: list[Step]) -> None:
    for step in steps:
        match step:
            case Change():
                *first, last = parts(step)
                for each in first:
                    board.lifecycle.part(each)
                board.lifecycle.change(last)
            case AskToStop(number, stop):
                board.lifecycle.ask_to_stop(number, stop)
            case CameUp(number):
                board.lifecycle.came_up(number)
            case EndSystem():
                raise Essential(1)


def follow(policy: Policy, board: Root, event: str, chance: random.Random) -> list[Step]:
    """Let one thing happen to a task, or to nobody; what is to be done then."""
    number, now = chance.randint(1, len(NAMES)), board.clock.now
    match event:
        case "fail" | "hang":
            return policy.failed(number, chance.choice([1, 137]), "x", now, faulted=True, hung=event == "hang")
        case "kill":
            board.supervisor.kill(board.tasks[number])
            return policy.killed(number, 137, now)
        case "stop" | "restart":
            return policy.stop(number, now, restarts=event == "restart")
        case "start":
            return policy.start(number, now)
        case "update":
            return policy.update(number, chance.choice(IMAGES), now)
        case "complain":
            return policy.complained(number, "x", now)[1]
        case "decide":
            case = policy.next_case("medic", 0)
            decision = chance.choice(list(Decision))
            return [] if case is None else policy.decided("medic", case.serial, decision, now)[1]
        case "up":
            return [step for each in policy.probation()[:1] for step in policy.came_up(each)]
    return policy.tick(now)


def state(policy: Policy, number: int, now: float) -> dict[str, object]:
    """All by which it will be decided of one task. What one that is left has failed is forgiven by any order."""
    child, supervisor = policy.children[number], policy.supervisors[number]
    period = supervisor.group.period_us / 1_000_000
    found: dict[str, object] = {
        "standing": child.standing,
        "due": child.due if child.standing is Standing.WAITING else 0.0,
        "stops": (child.stops_by, child.stops_for_restart, child.updates_to) if child.is_stopping else None,
        "image": (child.image, child.former_image),
        "started_at": child.started_at if child.standing is Standing.RUNNING else 0.0,
        "renewed_at": supervisor.renewed_at,
    }
    if child.standing in (Standing.RUNNING, Standing.WAITING):
        found["failures"] = child.failures
        found["failed_at"] = [moment for moment in child.failed_at if now - moment < period]
        found["complained_at"] = [moment for moment in child.complained_at if now - moment < period]
        found["back_at"] = child.back_at if child.complained_at else 0.0
    return found


@pytest.mark.parametrize("seed", range(20))
def test_who_begins_anew_decides_as_the_former_would_have(seed: int) -> None:
    chance = random.Random(seed)
    with root(*described(chance), groups=(grouped(chance),), check=False) as board, contextlib.suppress(Essential):
        board.supervisor.start_all()
        policy = Policy(board.lifecycle.tasks(), board.lifecycle.groups())
        for _ in range(40):
            board.clock.now += chance.choice([0.0, 0.001, 0.3, 1.0, 4.0])
            event = chance.choice(EVENTS)
            carry_out(board, follow(policy, board, event, chance))
            records = board.lifecycle.tasks()
            anew = Policy(records, board.lifecycle.groups())
            for record in records:
                number, now = record.number, board.clock.now
                assert state(anew, number, now) == state(policy, number, now), (event, record.name)
                is_running = board.tasks[number].life is Life.RUNNING
                assert is_running is (policy.children[number].standing is Standing.RUNNING)


def test_a_group_that_begins_anew_is_known_to_have_where_none_of_it_can_start_yet() -> None:
    """Its failures are forgotten, and it is given up for good when that was no help."""
    tasks = [
        task("reincarnation", grants=(Grant.LIFECYCLE,), provides=(Provide("s", PING),)),
        task("one", restart=Restart.ALWAYS),
        *(task(name, restart=Restart.ALWAYS, depends=("one",)) for name in NAMES[1:3]),
    ]
    group = Group("g", NAMES[1:3], intensity=1, give_up=GiveUp.RESTART_GROUP)
    with root(*tasks, groups=(group,), check=False) as board:
        board.supervisor.start_all()
        policy, now = Policy(board.lifecycle.tasks(), board.lifecycle.groups()), board.clock.now
        for steps in (policy.stop(1, now), policy.failed(2, 1, "x", now), policy.failed(3, 1, "x", now)):
            carry_out(board, steps)
        found = {record.number: (record.standing, record.failed_at) for record in board.lifecycle.tasks()}
        assert found == {1: (Standing.LEFT, ()), 2: (Standing.WAITING, ()), 3: (Standing.WAITING, ())}
        anew = Policy(board.lifecycle.tasks(), board.lifecycle.groups())
        assert [state(anew, number, now) for number in (2, 3)] == [state(policy, number, now) for number in (2, 3)]
        assert anew.supervisors[2].renewed_at == now
