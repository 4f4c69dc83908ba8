"""What root tells the shell, on the pure kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from libsel4py import abi
from libsel4py.abi import ObjectType
from libsel4py.description import Assigned, Grant, Provide, Restart
from libsel4py.environment import Slot
from libsel4py.interfaces.system import InterruptInfo, UnknownTask
from servers.root.information import Information
from tests.unit.servers.root_board import PING, UART, Root, root, task


@pytest.fixture
def board() -> Iterator[Root]:
    tasks = (
        task("zeta", provides=(Provide("one", PING),), devices=(Assigned("uart", "uart0"),)),
        task("alpha", grants=(Grant.SYSTEM_INFORMATION,), restart=Restart.ALWAYS, threads=1),
    )
    with root(*tasks, devices=(UART,), check=False) as made:
        made.supervisor.start_all()
        yield made


@pytest.fixture
def told(board: Root) -> Information:
    return Information(board.authority, board.description, board.tasks, board.supervisor)


def test_tasks_stand_by_name(board: Root, told: Information) -> None:
    alpha, zeta = told.tasks()
    assert (alpha.name, alpha.state, alpha.threads, alpha.memory_bytes) == (
        "alpha",
        "running",
        2,
        (1 << 20) + (1 << 14),
    )
    assert (zeta.name, zeta.priority, zeta.restarts) == ("zeta", 100, 0)


def test_time_is_summed_over_questions_threads_and_lives(board: Root, told: Information) -> None:
    """The kernel forgets what it has told: asking twice must not lose it, nor a restart."""

    def use(thread: int, microseconds: int) -> None:
        context = board.tcb("alpha", thread).sched_context
        assert context is not None
        with board.machine.ram.transaction():
            context.consumed = context.consumed + microseconds

    use(0, 100)
    use(1, 20)
    assert [told.tasks()[0].consumed_us for _ in range(3)] == [120, 120, 120]
    use(1, 3)
    board.ended("alpha", 9)
    use(0, 4000)
    assert told.tasks()[0].consumed_us == 4123


def test_capabilities_are_what_stands_in_the_slots_now(board: Root, told: Information) -> None:
    found = {each.slot: each for each in told.capabilities("zeta")}
    assert set(found) == set(board.held("zeta"))
    assert (found[Slot.PARENT].type, found[Slot.PARENT].rights) == ("ENDPOINT", "WP")
    assert (found[16].type, found[16].description) == ("ENDPOINT", "endpoint that it serves")
    zeta = board.act_for("zeta")
    zeta.call(Slot.POOL, abi.Label.UNTYPED_RETYPE, (ObjectType.REPLY, 0, 0, 0, 60, 1), [Slot.CNODE])
    zeta.call(Slot.CNODE, abi.Label.CNODE_DELETE, (16, 64))
    free = board.authority.slots.free_count
    after = {each.slot: each.type for each in told.capabilities("zeta")}
    assert 16 not in after
    assert after[Slot.POOL] == "UNTYPED"  # it has children, and so cannot be copied to be looked at
    assert board.authority.slots.free_count == free


def test_memory_names_each_objects_owner(board: Root, told: Information) -> None:
    memory = told.memory()
    owners = {each.owner for each in memory}
    assert {"zeta: vspace", "alpha: tcb", "root: endpoint"} <= owners
    for each in memory:
        assert 0 <= each.used_bytes <= each.used_bytes + each.padding_bytes <= each.bytes
    top = [each for each in memory if each.depth == 0]
    assert sum(each.bytes for each in top) == board.description.ram
    for part in ("used_bytes", "padding_bytes"):
        assert sum(getattr(each, part) for each in top) == sum(getattr(each, part) for each in memory if each.owner)
    for each in memory:
        if each.owner and each.depth:
            assert each.used_bytes + each.padding_bytes == each.bytes


def test_interrupts_name_line_device_and_driver(told: Information) -> None:
    assert told.interrupts() == [InterruptInfo(4, "uart0", "zeta")]


def test_the_log_has_the_last_events(board: Root, told: Information) -> None:
    told.kill("alpha")
    assert told.task_log("alpha") == ["started", "killed by order", "started again (1)"]
    assert told.task_log("alpha", 1) == ["started again (1)"]
    assert told.task_log("alpha", 0) == told.task_log("alpha", -1) == []


def test_why_speaks_of_each_thread(told: Information) -> None:
    first, *threads = told.why("alpha")
    assert first == "alpha is running"
    assert [line.split(":")[0] for line in threads] == ["thread 0", "thread 1"]
    assert told.why("zeta")[0] == "zeta is running"


def test_an_unknown_task_is_told_with_those_that_there_are(told: Information) -> None:
    for ask in (told.capabilities, told.task_log, told.kill, told.why):
        with pytest.raises(UnknownTask, match="there is no task 'beta'; there are alpha, zeta"):
            ask("beta")
