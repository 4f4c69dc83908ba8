"""A root that begins anew in a system that is resumed, on the pure kernel: whatever the first one had changed."""

from __future__ import annotations

import pytest

from kerneld import invariants
from kerneld.caps import Cap
from kerneld.outbox import Tell
from kerneld.records import CapType, TcbSlot, ThreadState
from libsel4py.abi import ObjectType
from libsel4py.capabilities import Endpoint
from libsel4py.description import Grant, Provide, Restart
from libsel4py.environment import Slot as Fixed
from servers.root.running_task import Life, Standby
from tests.unit.servers.root_board import PING, Root, root, task

SIGKILLED = 9
IT = task("it", provides=(Provide("it", PING),), restart=Restart.ALWAYS, threads=1, standby=True, state=1 << 12)
REINCARNATION = task("reincarnation", grants=(Grant.LIFECYCLE,), provides=(Provide("s", PING),), heartbeat_us=1_000_000)
PAGER = task("pager", provides=(Provide("p", PING),))
PAGED = task("paged", pager="pager", paged=4096, restart=Restart.ALWAYS)


def ensure_whole(board: Root, name: str, held: dict[int, Cap]) -> None:
    """The task runs in the body that root takes for its, with the same capabilities but of what is of a body."""
    objects = board.running(name).objects
    own = {Fixed.TCB: objects.main.tcb, Fixed.SCHED_CONTEXT: objects.main.sched_context, Fixed.VSPACE: objects.vspace}
    now = board.held(name)
    assert {slot: now[slot].object for slot in own} == {slot: board.cap(cap.cptr).object for slot, cap in own.items()}
    assert set(now) == set(held)
    same = set(held) - set(own) - {Fixed.TAKEOVER}
    assert {slot: now[slot].object for slot in same} == {slot: held[slot].object for slot in same}
    tcb = board.tcb(name)
    assert tcb.slot(TcbSlot.CSPACE).object == board.cap(objects.cnode.cptr).object
    assert tcb.bound_notification is not None
    assert board.has_started(name)
    assert invariants.check(board.machine.ram) == []


@pytest.mark.parametrize(("ends", "stands_by"), [(0, True), (1, True), (1, False), (2, True)])
def test_whichever_body_served_the_task_goes_on_and_another_one_stands_by(ends: int, stands_by: bool) -> None:
    with root(IT, check=False) as board:
        board.supervisor.start_all()
        held = board.held("it")
        for _ in range(ends):
            board.lives.standbys.make_all()
            board.ended("it", SIGKILLED)
        if stands_by:
            board.lives.standbys.make_all()
        board.resume()
        running = board.running("it")
        assert (running.life, running.standby) == (Life.RUNNING, Standby.NONE)
        ensure_whole(board, "it", held)
        tcbs = [board.tcb("it", thread).address for thread in range(2)]
        assert [message.subject for message in board.machine.told(Tell.START)] == tcbs
        for _ in range(2):
            board.lives.standbys.make_all()
            assert running.standby is Standby.READY
            board.ended("it", SIGKILLED)
            ensure_whole(board, "it", held)


def test_a_task_goes_on_whose_end_was_to_be_taken_over() -> None:
    with root(IT, check=False) as board:
        board.supervisor.start_all()
        board.lives.standbys.make_all()
        held = board.held("it")
        board.lives.end(board.running("it"))
        assert board.running("it").standby is Standby.CHOSEN
        board.resume()
        ensure_whole(board, "it", held)


def test_what_is_over_stays_so_and_nothing_stands_by_for_it() -> None:
    with root(IT, check=False) as board:
        board.supervisor.start_all()
        board.lives.standbys.make_all()
        board.ended("it", SIGKILLED)
        board.supervisor.exited(0, 0)
        board.resume()
        board.lives.standbys.make_all()
        assert (board.running("it").life, board.running("it").standby) == (Life.DONE, Standby.NONE)
        assert board.machine.told(Tell.START) == []


def test_what_root_had_for_a_moment_is_deleted() -> None:
    with root(IT, check=False) as board:
        board.supervisor.start_all()
        lost = board.authority.make("root", ObjectType.REPLY)
        slot = board.authority.slots.allocate()
        board.authority.cnode.mint(slot, board.authority.cnode, board.endpoint.cptr, 7)
        board.resume()
        assert board.cap(slot).is_null
        assert Endpoint(board.authority.make("root", ObjectType.ENDPOINT)).cptr == lost
        assert board.cap(lost).type == CapType.ENDPOINT


def test_without_its_reincarnation_server_root_supervises_again() -> None:
    one = task("one", restart=Restart.ALWAYS)
    with root(REINCARNATION, one, check=False) as board:
        board.supervisor.start_all()
        board.lives.end(board.running("reincarnation"))
        board.supervisor.take_over()
        board.resume()
        assert board.supervisor.alarm is None
        running = board.running("one")
        assert board.supervisor.is_ours(running)
        assert board.tcb("one").slot(TcbSlot.FAULT_HANDLER).object == board.cap(board.endpoint.cptr).object
        board.ended("one", SIGKILLED)
        assert (running.life, running.restarts) == (Life.RUNNING, 1)


def test_with_its_reincarnation_server_it_does_not() -> None:
    one = task("one", restart=Restart.ALWAYS)
    with root(REINCARNATION, one, check=False) as board:
        board.supervisor.start_all()
        board.resume()
        assert board.supervisor.alarm is not None  # and asks it whether it serves
        assert not board.supervisor.is_ours(board.running("one"))
        assert board.has_started("reincarnation")
        assert board.has_started("one")


def test_a_pager_that_is_over_hears_of_no_faults() -> None:
    with root(PAGER, PAGED, check=False) as board:
        board.supervisor.start_all()
        board.supervisor.exited(0, 0)
        board.resume()
        assert board.tcb("pager").state == ThreadState.INACTIVE
        assert board.has_started("paged")
        assert board.tcb("paged").slot(TcbSlot.FAULT_HANDLER).object == board.cap(board.endpoint.cptr).object
