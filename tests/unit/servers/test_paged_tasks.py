"""Root and the pagers of a description: who hears of faults, of ends, and who when the pager has ended. Pure kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kerneld.records import ThreadState
from libsel4py.abi import CapType, FaultLabel, ObjectType, PageFault, Syscall
from libsel4py.capabilities import Reply
from libsel4py.description import Provide, Restart, Use
from libsel4py.environment import PAGED_ADDRESS, PAGED_BADGE, Slot
from libsel4py.lowlevel.syscalls import Received
from libsel4py.wire import Outcome
from servers.root.running_task import THREAD_SHIFT, Kind, Life, badge_of
from tests.harness import Thread
from tests.unit.servers.root_board import Root, root, task

FAILED, SIGKILLED = 3 << 8, 9  # wait statuses
SERVED = 16  # first slot that a task is given: the pager's endpoint, the other's connection
PAGER_INTERFACE = "libsel4py.interfaces.pager:PagerStatistics"
GUARDED = int(PageFault.USER | PageFault.GUARDED)
PLAIN = int(PageFault.USER)
THREADS = 2


@pytest.fixture
def board() -> Iterator[Root]:
    pager = task("pager", provides=(Provide("pager", PAGER_INTERFACE),))
    client = task("client", pager="pager", paged=1 << 16, threads=THREADS - 1, restart=Restart.ON_FAILURE)
    other = task("other", uses=(Use("pager", "pager", "pager", PAGER_INTERFACE, 7),))
    with root(pager, client, other, check=False) as made:
        made.supervisor.start_all()
        yield made


def badge(board: Root, thread: int = 0) -> int:
    """What the pager knows a thread of the client by."""
    return PAGED_BADGE | thread << THREAD_SHIFT | board.running("client").number


def touch(board: Root, kind: int = PLAIN) -> Thread:
    """The client's first thread touches memory that is not there."""
    client = board.act_for("client")
    assert client.syscall(Syscall.FAULT, words=(PAGED_ADDRESS, 0x77, kind)) is None
    return client


def listen(board: Root) -> Thread:
    """The pager waits for a message."""
    pager = board.act_for("pager")
    assert pager.syscall(Syscall.RECV, SERVED, reply=Slot.REPLY) is None
    return pager


def at_root(board: Root) -> Received | None:
    """The next message at root's own endpoint."""
    reply = Reply(board.authority.make("root", ObjectType.REPLY))
    received = board.endpoint.nb_recv(reply)
    board.authority.free(reply.cptr)
    return received


def test_the_pager_holds_the_space_and_for_each_thread_an_endpoint_of_roots(board: Root) -> None:
    (paged,) = board.running("pager").environment.paged.items()
    name, given = paged
    assert (name, given.size) == ("client", 1 << 16)
    held = board.held("pager")
    space = board.cap(board.running("client").objects.vspace.cptr)
    assert (held[given.vspace].type, held[given.vspace].object) == (CapType.VSPACE, space.object)
    assert set(given.supervisors) == {badge(board, thread) for thread in range(THREADS)}
    assert all(held[slot].object == board.cap(board.endpoint.cptr).object for slot in given.supervisors.values())
    assert board.running("client").environment.paged_bytes == 1 << 16


def test_page_faults_come_to_the_pager(board: Root) -> None:
    pager = listen(board)
    touch(board)
    told = pager.completion()
    assert told is not None
    assert (told.badge, told.label, told.words[:2]) == (badge(board), FaultLabel.VM_FAULT, (0x77, PAGED_ADDRESS))
    assert at_root(board) is None


def test_the_pager_hears_of_a_client_that_is_ended_by_order(board: Root) -> None:
    """Its successor finds none of its pages, though no fault told of its end."""
    pager = listen(board)
    board.supervisor.kill(board.running("client"))
    told = pager.completion()
    assert told is not None
    assert (told.badge, told.label, told.words) == (badge(board), FaultLabel.NULL_FAULT, ())
    assert board.running("client").restarts == 1
    assert board.has_started("client")


def test_a_pager_that_does_not_listen_holds_nobody_up(board: Root, caplog: pytest.LogCaptureFixture) -> None:
    board.supervisor.kill(board.running("client"))
    assert board.running("client").restarts == 1
    assert "pager, the pager of client, does not listen" in caplog.text


def test_a_guarded_access_that_the_dead_pager_had_not_taken_fails(board: Root) -> None:
    client = touch(board, GUARDED)
    board.ended("pager", FAILED)
    told = client.completion()
    assert told is not None
    assert told.registers[0] == 1
    assert client.state is ThreadState.RUNNING
    assert board.running("client").restarts == 0


def test_one_that_it_had_taken_fails_as_well(board: Root) -> None:
    pager = listen(board)
    client = touch(board, GUARDED)
    assert pager.completion() is not None
    board.ended("pager", FAILED)
    told = client.completion()
    assert told is not None
    assert told.registers[0] == 1


def test_any_other_fault_that_it_had_not_taken_is_the_clients_end(board: Root) -> None:
    touch(board)
    board.ended("pager", FAILED)
    client = board.running("client")
    assert client.restarts == 1
    assert client.events[1].startswith(f"thread 0: no memory to read from at address {PAGED_ADDRESS:#x}")
    assert board.has_started("client")


@pytest.mark.parametrize("is_done", [False, True])
def test_later_faults_come_to_root(board: Root, is_done: bool) -> None:
    if is_done:
        board.supervisor.exited(board.running("pager").number, 0)
    else:
        board.ended("pager", SIGKILLED)
    assert board.running("client").life is Life.RUNNING
    touch(board)
    told = at_root(board)
    assert told is not None
    assert told.label == FaultLabel.VM_FAULT
    assert told.badge == badge_of(Kind.FAULT, board.running("client").number)


def test_so_they_do_in_the_clients_next_life(board: Root) -> None:
    board.ended("pager", SIGKILLED)
    board.ended("client", FAILED)
    assert board.running("client").restarts == 1
    touch(board)
    told = at_root(board)
    assert told is not None
    assert told.badge == badge_of(Kind.FAULT, board.running("client").number)


def test_who_called_the_dead_pager_is_told(board: Root) -> None:
    other = board.act_for("other")
    assert other.syscall(Syscall.CALL, SERVED, label=1) is None
    board.ended("pager", FAILED)
    told = other.completion()
    assert told is not None
    assert told.label == Outcome.SERVER_DIED


def test_a_pager_that_is_started_again_is_told_the_faults_again(board: Root) -> None:
    board.ended("pager", SIGKILLED)  # for good: its description says never
    running = board.running("pager")
    board.supervisor._restart(running)
    pager = listen(board)
    touch(board)
    told = pager.completion()
    assert told is not None
    assert told.badge == badge(board)
    assert at_root(board) is None


def test_a_fault_that_nobody_had_taken_waits_for_a_pager_that_is_started_again() -> None:
    pager = task("pager", provides=(Provide("pager", PAGER_INTERFACE),), restart=Restart.ALWAYS)
    with root(pager, task("client", pager="pager", paged=1 << 16), check=False) as board:
        board.supervisor.start_all()
        client = touch(board)
        board.ended("pager", SIGKILLED)
        assert client.completion() is None
        taken = board.act_for("pager").syscall(Syscall.RECV, SERVED, reply=Slot.REPLY)
        assert taken is not None
        assert (taken.badge, taken.label) == (badge(board), FaultLabel.VM_FAULT)


def test_ends_and_take_overs_cost_root_nothing(board: Root) -> None:
    board.ended("pager", SIGKILLED)
    board.ended("client", FAILED)
    free, memory = board.authority.slots.free_count, board.authority.statistics()
    board.supervisor._restart(board.running("pager"))
    touch(board, GUARDED)
    board.ended("pager", SIGKILLED)
    board.ended("client", FAILED)
    assert board.authority.slots.free_count == free
    assert board.authority.statistics() == memory
