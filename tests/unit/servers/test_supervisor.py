"""What root does when a task ends, for each restart policy: on the pure kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kerneld.outbox import Tell
from libsel4py.abi import MAPPING_BASE, ExceptionNumber, FaultLabel, LookupFailureKind, PageFault, info_label
from libsel4py.description import Restart
from libsel4py.fault_reports import KILLED, describe_fault, exit_status
from servers.root.main import Root as Parent
from servers.root.running_task import Kind, Life, badge_of
from servers.root.supervisor import (
    MOST_RESTARTS,
    RESTART_SECONDS,
    Essential,
)
from tests.unit.servers.root_board import Root, root, task

FAILED = 3 << 8  # wait status of exit(3)
SIGKILLED = 9
CAP_FAULT = (FaultLabel.CAP_FAULT, (0, 0x77, 0, LookupFailureKind.MISSING_CAPABILITY, 0))


@pytest.fixture
def board() -> Iterator[Root]:
    with root(task("one"), task("pair", threads=1, restart=Restart.ALWAYS), check=False) as made:
        made.supervisor.start_all()
        yield made


def policy(restart: Restart, essential: bool = False) -> Iterator[Root]:
    with root(task("it", restart=restart, essential=essential), check=False) as made:
        made.supervisor.start_all()
        yield made


@pytest.fixture
def never() -> Iterator[Root]:
    yield from policy(Restart.NEVER)


@pytest.fixture
def always() -> Iterator[Root]:
    yield from policy(Restart.ALWAYS)


@pytest.fixture
def on_failure() -> Iterator[Root]:
    yield from policy(Restart.ON_FAILURE)


@pytest.fixture
def essential() -> Iterator[Root]:
    yield from policy(Restart.NEVER, essential=True)


def events(board: Root, name: str = "it") -> list[str]:
    return list(board.running(name).events)


def test_all_tasks_start_and_their_threads_in_order(board: Root) -> None:
    started = [message.subject for message in board.machine.told(Tell.START)]
    expected = [board.tcb("one"), board.tcb("pair"), board.tcb("pair", 1)]
    assert started[-3:] == [tcb.address for tcb in expected]
    assert events(board, "pair") == ["started"]


# --- policies


def test_never_leaves_the_task_as_it_is(never: Root) -> None:
    never.ended("it", FAILED)
    running = never.running("it")
    assert (running.life, running.state, running.restarts) == (Life.DEAD, "dead: ended with status 3", 0)
    assert events(never) == ["started", "ended with status 3: `sel4py logs it` has what it wrote"]


@pytest.mark.parametrize("status", [0, FAILED, SIGKILLED])
def test_always_starts_again_whatever_the_status(always: Root, status: int) -> None:
    always.ended("it", status)
    running = always.running("it")
    assert (running.life, running.restarts) == (Life.RUNNING, 1)
    assert events(always)[-1] == "started again (1)"
    assert always.has_started("it")


@pytest.mark.parametrize(("status", "again"), [(0, False), (FAILED, True), (SIGKILLED, True)])
def test_on_failure_starts_again_after_a_failure_alone(on_failure: Root, status: int, again: bool) -> None:
    on_failure.ended("it", status)
    assert on_failure.running("it").restarts == int(again)


def test_an_essential_tasks_end_is_the_systems(essential: Root) -> None:
    with pytest.raises(Essential) as ended:
        essential.ended("it", FAILED)
    assert ended.value.code == 3


def test_an_essential_task_that_may_be_started_again_is() -> None:
    with root(task("it", restart=Restart.ON_FAILURE, essential=True), check=False) as board:
        board.supervisor.start_all()
        board.ended("it", SIGKILLED)
        assert board.running("it").restarts == 1
        with pytest.raises(Essential) as ended:
            board.ended("it", 0)
        assert ended.value.code == 0


# --- faults


def test_a_fault_that_nobody_answers_is_noted(never: Root) -> None:
    never.fault("it", *CAP_FAULT)
    assert never.running("it").state.startswith("faulted: capability fault while sending at address 0x77: missing")
    assert never.running("it").restarts == 0


def test_a_guarded_access_is_refused_and_ends_nothing(on_failure: Root) -> None:
    """Memory that was taken away: the thread gets VMFault, and its task goes on. An unguarded access is its end."""
    parent = Parent([on_failure.running("it")], on_failure.supervisor, on_failure.lives)
    badge = badge_of(Kind.FAULT, on_failure.running("it").number)
    kind = PageFault.USER | PageFault.WRITE
    answer = parent.fault(badge, FaultLabel.VM_FAULT, (0x77, MAPPING_BASE, 0, kind | PageFault.GUARDED))
    assert answer is not None
    assert info_label(answer[0]) == 1
    assert on_failure.running("it").restarts == 0
    assert parent.fault(badge, FaultLabel.VM_FAULT, (0x77, MAPPING_BASE, 0, kind)) is None
    assert on_failure.running("it").restarts == 1


def test_a_faulted_task_is_started_again(on_failure: Root) -> None:
    on_failure.fault("it", *CAP_FAULT)
    assert on_failure.running("it").restarts == 1
    assert events(on_failure)[1].startswith("thread 0: capability fault")


def test_an_essential_tasks_fault_ends_the_system(essential: Root) -> None:
    with pytest.raises(Essential) as ended:
        essential.fault("it", *CAP_FAULT)
    assert ended.value.code == 1


# --- threads


def test_a_thread_may_end_when_its_work_is_done(board: Root) -> None:
    board.ended("pair", 0, thread=1)
    assert events(board, "pair") == ["started"]


def test_a_failed_thread_takes_its_task_along(board: Root) -> None:
    board.ended("pair", FAILED, thread=1)
    assert events(board, "pair") == ["started", "thread 1: ended with status 3", "started again (1)"]


def test_a_restart_makes_all_threads_anew_and_starts_the_first_one_first(board: Root) -> None:
    """The old process may live on in a further thread: only new threads are certain to get a new process."""
    before = board.running("pair").objects.threads
    board.machine.tells.clear()
    board.ended("pair", SIGKILLED)
    kinds = [message.kind for message in board.machine.tells]
    assert kinds.count(Tell.KILL) == 2
    started = [message.subject for message in board.machine.told(Tell.START)]
    assert started == [board.tcb("pair", 0).address, board.tcb("pair", 1).address]
    last_kill = max(at for at, kind in enumerate(kinds) if kind is Tell.KILL)
    assert kinds.index(Tell.START) > last_kill
    assert len(before) == len(board.running("pair").objects.threads)


def test_the_deaths_of_a_dead_tasks_further_threads_change_nothing() -> None:
    with root(task("it", threads=2), check=False) as board:
        board.supervisor.start_all()
        board.ended("it", SIGKILLED)
        board.ended("it", SIGKILLED, thread=1)
        board.ended("it", SIGKILLED, thread=2)
        assert (board.running("it").state, events(board)) == (
            "dead: ended with status 137",
            ["started", "ended with status 137"],
        )


# --- done


def test_a_task_that_said_that_it_is_done_is_not_started_again(always: Root) -> None:
    always.supervisor.exited(0, 0)
    assert not always.has_started("it")
    always.ended("it")
    always.supervisor.kill(always.running("it"))
    running = always.running("it")
    assert (running.life, running.state, running.restarts) == (Life.DONE, "dead: done, with status 0", 0)
    assert events(always) == ["started", "said that it is done, with status 0"]


def test_an_essential_task_that_is_done_ends_the_system(essential: Root) -> None:
    with pytest.raises(Essential) as ended:
        essential.supervisor.exited(0, 5)
    assert ended.value.code == 5


# --- again and again


def test_a_task_that_ends_at_once_is_given_up(always: Root) -> None:
    for _ in range(MOST_RESTARTS):
        always.ended("it", FAILED)
        always.clock.now += 0.9
    assert always.running("it").life is Life.RUNNING
    always.ended("it", FAILED)
    running = always.running("it")
    assert (running.life, running.restarts) == (Life.DEAD, MOST_RESTARTS)
    assert running.state == ("dead: ended with status 3; given up after 10 restarts within 10 s, kill starts it again")
    assert events(always)[-1] == "given up after 10 restarts within 10 s"


def test_one_that_ends_now_and_then_is_not(always: Root) -> None:
    for _ in range(5 * MOST_RESTARTS):
        always.ended("it", FAILED)
        always.clock.now += RESTART_SECONDS / MOST_RESTARTS
    assert (always.running("it").life, always.running("it").restarts) == (Life.RUNNING, 5 * MOST_RESTARTS)


def test_killing_what_was_given_up_starts_it_again(always: Root) -> None:
    for _ in range(MOST_RESTARTS + 1):
        always.ended("it")
    always.supervisor.kill(always.running("it"))
    assert always.running("it").life is Life.RUNNING
    always.ended("it")
    assert always.running("it").life is Life.RUNNING


def test_a_task_that_faults_again_and_again_is_ended(always: Root) -> None:
    for _ in range(MOST_RESTARTS):
        always.fault("it", *CAP_FAULT)
    always.machine.tells.clear()
    always.fault("it", *CAP_FAULT)
    assert always.running("it").life is Life.DEAD
    assert Tell.KILL in [message.kind for message in always.machine.tells]
    assert not always.has_started("it")


def test_an_essential_one_that_is_given_up_ends_the_system() -> None:
    with root(task("it", restart=Restart.ON_FAILURE, essential=True), check=False) as board:
        board.supervisor.start_all()
        for _ in range(MOST_RESTARTS):
            board.ended("it", FAILED)
        with pytest.raises(Essential) as ended:
            board.ended("it", FAILED)
        assert ended.value.code == 3


# --- kill


def test_kill_ends_a_task_and_its_policy_decides(never: Root) -> None:
    never.supervisor.kill(never.running("it"))
    assert (never.running("it").state, events(never)) == ("dead: killed", ["started", "killed by order"])
    assert not never.has_started("it")


@pytest.mark.parametrize("restart", [Restart.ALWAYS, Restart.ON_FAILURE])
def test_kill_is_a_failure(restart: Restart) -> None:
    with root(task("it", restart=restart), check=False) as board:
        board.supervisor.start_all()
        board.supervisor.kill(board.running("it"))
        assert events(board) == ["started", "killed by order", "started again (1)"]
        assert board.has_started("it")


def test_killing_an_essential_task_ends_the_system(essential: Root) -> None:
    with pytest.raises(Essential) as ended:
        essential.supervisor.kill(essential.running("it"))
    assert ended.value.code == KILLED


# --- words


def test_statuses_are_as_a_shell_has_them() -> None:
    assert [exit_status(status) for status in (0, FAILED, SIGKILLED, 11)] == [0, 3, 137, 139]


def test_faults_are_told_in_words() -> None:
    assert describe_fault(FaultLabel.CAP_FAULT, (0, 5, 1, 2, 0)).startswith(
        "capability fault while receiving at address 0x5"
    )
    assert describe_fault(FaultLabel.UNKNOWN_SYSCALL, ()) == "unknown system call"
    assert describe_fault(FaultLabel.USER_EXCEPTION, (0, 0, 0, 257, 7)) == "exception 257, code 0x7"
    assert describe_fault(FaultLabel.USER_EXCEPTION, (0, 0, 0, ExceptionNumber.DEATH, 0)) == "ended"
    assert describe_fault(FaultLabel.TIMEOUT, ()) == f"fault {int(FaultLabel.TIMEOUT)}"
