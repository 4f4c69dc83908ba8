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
from servers.root.main import with_outlived
from servers.root.running_task import THREAD_SHIFT, Kind, Life, RunningTask, badge_of
from servers.root.supervisor import MOST_RESTARTS
from tests.harness import Thread
from tests.unit.servers.root_board import Root, root, task

FAILED, SIGKILLED = 3 << 8, 9  # wait statuses
SERVED = 16  # first slot that a task is given: the pager's endpoint, the other's connection
PAGER_INTERFACE = "libsel4py.interfaces.pager:PagerStatistics"
GUARDED = int(PageFault.USER | PageFault.GUARDED)
PLAIN = int(PageFault.USER)
THREADS = 2
EIGHT = 8


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


def touch(board: Root, kind: int = PLAIN, client: Thread | None = None) -> Thread:
    """The client's first thread touches memory that is not there."""
    client = client or board.act_for("client")
    assert client.syscall(Syscall.FAULT, words=(PAGED_ADDRESS, 0x77, kind)) is None
    return client


def listen(board: Root) -> Thread:
    """The pager waits for a message."""
    pager = board.act_for("pager")
    assert pager.syscall(Syscall.RECV, SERVED, reply=Slot.REPLY) is None
    return pager


def tries_again(client: Thread) -> None:
    """The instruction of a thread that had faulted is carried out once more."""
    told = client.completion()
    assert told is not None
    assert told.registers[0] == 0
    assert client.state is ThreadState.RUNNING


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


def test_what_a_pager_is_about_to_pass_on_is_void_when_its_task_is_ended(board: Root) -> None:
    """Else the next life would be ended for it; and the pager, which waits for a hearing, would not hear of the end."""
    (paged,) = board.running("pager").environment.paged.values()
    slot = paged.supervisors[badge(board, 1)]
    before = board.held("pager")[slot]
    pager = board.act_for("pager")
    assert pager.syscall(Syscall.SEND, slot, label=int(FaultLabel.USER_EXCEPTION)) is None
    board.supervisor.kill(board.running("client"))
    assert pager.completion() is not None
    assert at_root(board) is None
    assert board.held("pager")[slot] == before
    assert pager.syscall(Syscall.SEND, slot, label=int(FaultLabel.USER_EXCEPTION)) is None
    assert at_root(board) is not None


def test_a_pager_that_fills_its_slots_meanwhile_holds_nobody_up(
    board: Root, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It runs on while root ends its task."""
    objects = board.running("pager").objects
    (paged,) = board.running("pager").environment.paged.values()
    slot, bits, choose = paged.supervisors[badge(board, 1)], objects.cnode_bits, board.lives.standbys.choose

    def fill(running: RunningTask) -> bool:
        objects.cnode.copy(slot, objects.cnode, SERVED, dest_depth=bits, src_depth=bits)
        return choose(running)

    monkeypatch.setattr(board.lives.standbys, "choose", fill)
    board.supervisor.kill(board.running("client"))
    assert board.has_started("client")
    assert f"pager is not given back its slot {slot}" in caplog.text


def test_a_guarded_access_that_the_dead_pager_had_not_taken_fails(board: Root) -> None:
    client = touch(board, GUARDED)
    board.ended("pager", FAILED)
    told = client.completion()
    assert told is not None
    assert told.registers[0] == 1
    assert client.state is ThreadState.RUNNING
    assert board.running("client").restarts == 0


@pytest.mark.parametrize("kind", [GUARDED, PLAIN])
def test_one_that_it_had_taken_is_tried_again_and_told_to_root(board: Root, kind: int) -> None:
    pager = listen(board)
    client = touch(board, kind)
    assert pager.completion() is not None
    board.ended("pager", FAILED)
    tries_again(client)
    assert at_root(board) is None
    touch(board, kind, client)
    told = at_root(board)
    assert told is not None
    assert (told.label, told.badge) == (FaultLabel.VM_FAULT, badge_of(Kind.FAULT, board.running("client").number))


def test_a_fault_that_a_pager_that_is_gone_does_not_answer_says_so(board: Root) -> None:
    board.ended("pager", FAILED)
    board.fault("client", FaultLabel.VM_FAULT, (0x77, PAGED_ADDRESS, 0, PLAIN))
    running = board.running("client")
    assert running.last_cause.endswith("instruction 0x77; its pager, pager, does not run")
    assert running.restarts == 1
    board.fault("client", FaultLabel.UNKNOWN_SYSCALL, (0,) * 19)
    assert running.last_cause == "thread 0: unknown system call"


def test_any_other_fault_that_it_had_not_taken_is_the_clients_end(board: Root) -> None:
    touch(board)
    board.ended("pager", FAILED)
    client = board.running("client")
    assert client.restarts == 1
    assert client.events[1].startswith(f"thread 0: no memory to read from at address {PAGED_ADDRESS:#x}")
    assert client.events[1].endswith("its pager, pager, does not run")
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


@pytest.fixture
def lasting() -> Iterator[Root]:
    """A pager with a successor, and a task with eight threads. The pager has as many reply objects."""
    provides = (Provide("pager", PAGER_INTERFACE),)
    pager = task("pager", provides=provides, restart=Restart.ALWAYS, spare_replies=EIGHT - 1)
    client = task("client", pager="pager", paged=1 << 16, threads=EIGHT - 1, restart=Restart.ON_FAILURE)
    other = task("other", uses=(Use("pager", "pager", "pager", PAGER_INTERFACE, 7),))
    with root(pager, client, other, check=False) as made:
        made.supervisor.start_all()
        yield made


def take_all(board: Root, clients: list[Thread] | None = None) -> tuple[Thread, list[Thread]]:
    """All threads of the client fault, and the pager takes each with a reply object of its own."""
    pager = board.act_for("pager")
    replies = (Slot.REPLY, *board.running("pager").environment.spare_replies)
    clients = clients or [board.act_for("client", number) for number in range(EIGHT)]
    for number, (reply, client) in enumerate(zip(replies, clients, strict=True)):
        assert client.syscall(Syscall.FAULT, words=(PAGED_ADDRESS + (number << 12), 0x77, PLAIN)) is None
        taken = pager.syscall(Syscall.RECV, SERVED, reply=reply)
        assert taken is not None
        assert taken.badge == badge(board, number)
    assert all(client.state is ThreadState.BLOCKED_ON_REPLY for client in clients)
    return pager, clients


def test_all_whose_faults_a_pager_had_taken_try_again_and_its_successor_is_told(lasting: Root) -> None:
    _, clients = take_all(lasting)
    lasting.ended("pager", SIGKILLED)
    successor = lasting.act_for("pager")
    for number, client in enumerate(clients):
        tries_again(client)
        assert client.syscall(Syscall.FAULT, words=(PAGED_ADDRESS + (number << 12), 0x77, PLAIN)) is None
        told = successor.syscall(Syscall.RECV, SERVED, reply=Slot.REPLY)
        assert told is not None
        assert (told.badge, told.label) == (badge(lasting, number), FaultLabel.VM_FAULT)
    assert lasting.running("client").restarts == 0


def test_one_that_was_suspended_meanwhile_stays_so(lasting: Root) -> None:
    _, clients = take_all(lasting)
    lasting.running("client").objects.threads[3].tcb.suspend()
    lasting.ended("pager", SIGKILLED)
    assert clients[3].state is ThreadState.INACTIVE
    assert clients[3].completion() is None
    for client in (*clients[:3], *clients[4:]):
        tries_again(client)


def test_one_that_the_pager_had_refused_stays_stopped(lasting: Root) -> None:
    pager, clients = take_all(lasting)
    assert pager.syscall(Syscall.REPLY_RECV, SERVED, label=1, reply=Slot.REPLY) is None
    lasting.ended("pager", SIGKILLED)
    assert clients[0].state is ThreadState.INACTIVE
    assert clients[0].completion() is None


def test_another_fault_that_it_had_taken_is_its_tasks_end_and_a_call_ends_as_before(lasting: Root) -> None:
    pager, client, other = (lasting.act_for(name) for name in ("pager", "client", "other"))
    assert client.syscall(-1000) is None
    assert pager.syscall(Syscall.RECV, SERVED, reply=Slot.REPLY) is not None
    assert other.syscall(Syscall.CALL, SERVED, label=1) is None
    spare = lasting.running("pager").environment.spare_replies[0]
    assert pager.syscall(Syscall.RECV, SERVED, reply=spare) is not None
    lasting.ended("pager", SIGKILLED)
    assert list(lasting.running("client").events)[1:] == ["thread 0: unknown system call", "started again (1)"]
    told = other.completion()
    assert told is not None
    assert told.label == Outcome.SERVER_DIED


def take_end(board: Root, thread: int = 0, status: int = SIGKILLED) -> None:
    """The pager receives that a thread of the client's has ended, and does nothing about it."""
    board.machine.died(board.act_for("client", thread), status)
    taken = board.act_for("pager").syscall(Syscall.RECV, SERVED, reply=Slot.REPLY)
    assert taken is not None
    assert (taken.badge, taken.label) == (badge(board, thread), FaultLabel.USER_EXCEPTION)


def test_the_end_of_a_task_that_its_pager_had_taken_and_not_passed_on_is_told_by_root(lasting: Root) -> None:
    take_end(lasting)
    lasting.ended("pager", SIGKILLED)
    client = lasting.running("client")
    assert (client.life, client.restarts) == (Life.RUNNING, 1)
    assert list(client.events)[1:] == ["ended with status 137", "started again (1)"]
    assert lasting.has_started("client")
    assert outlived(lasting) == {"client": ()}
    assert at_root(lasting) is None


def test_it_is_told_once(lasting: Root) -> None:
    take_end(lasting)
    lasting.ended("pager", SIGKILLED)
    lasting.ended("pager", SIGKILLED)
    assert lasting.running("client").restarts == 1


def test_a_further_threads_end_counts_as_it_does_elsewhere(lasting: Root) -> None:
    take_end(lasting, thread=3, status=0)
    lasting.ended("pager", SIGKILLED)
    assert lasting.running("client").restarts == 0
    take_end(lasting, thread=4, status=FAILED)
    lasting.ended("pager", SIGKILLED)
    assert lasting.running("client").restarts == 1


def test_what_the_pager_had_passed_on_is_told_no_more(lasting: Root) -> None:
    take_end(lasting)
    lasting.ended("client", SIGKILLED)
    lasting.ended("pager", SIGKILLED)
    assert lasting.running("client").restarts == 1


def test_an_end_of_a_life_that_is_over_by_then_is_not_told(board: Root) -> None:
    """The pager is away for a while, and the client was started again by order meanwhile."""
    take_end(board)
    pager = board.running("pager")
    board.lives.end(pager)
    board.supervisor.kill(board.running("client"))
    board.lives.start_again(pager)
    assert board.running("client").restarts == 1


def test_a_pager_that_has_not_begun_yet_is_not_waited_for(lasting: Root, caplog: pytest.LogCaptureFixture) -> None:
    """It hears who runs when it asks, and of ends from then on."""
    take_end(lasting)
    lasting.ended("pager", SIGKILLED)
    assert lasting.running("client").restarts == 1
    assert "does not listen" not in caplog.text
    outlived(lasting)
    lasting.supervisor.kill(lasting.running("client"))
    assert "does not listen" in caplog.text


@pytest.mark.parametrize("is_done", [False, True])
def test_an_end_that_a_pager_without_a_successor_had_taken_is_told(board: Root, is_done: bool) -> None:
    take_end(board)
    if is_done:
        board.supervisor.exited(board.running("pager").number, 0)
    else:
        board.ended("pager", SIGKILLED)
    client = board.running("client")
    assert (client.life, client.restarts) == (Life.RUNNING, 1)
    assert client.events[1] == "ended with status 137"


def test_a_pager_that_is_given_up_leaves_nobody_waiting(lasting: Root) -> None:
    """It dies of each fault: its clients try again as often as it is started again, and then root is told."""
    clients: list[Thread] = []
    for _ in range(MOST_RESTARTS):
        _, clients = take_all(lasting, clients)
        lasting.ended("pager", SIGKILLED)
        for client in clients:
            tries_again(client)
    take_all(lasting, clients)
    lasting.ended("pager", SIGKILLED)
    assert lasting.running("pager").life is Life.DEAD
    for client in clients:
        tries_again(client)
    assert clients[0].syscall(Syscall.FAULT, words=(PAGED_ADDRESS, 0x77, PLAIN)) is None
    told = at_root(lasting)
    assert told is not None
    assert (told.label, told.badge) == (FaultLabel.VM_FAULT, badge_of(Kind.FAULT, lasting.running("client").number))


def test_a_pager_whose_thread_has_faulted_and_that_is_left_answers_nobody_any_more(board: Root) -> None:
    pager = listen(board)
    client = touch(board)
    assert pager.completion() is not None
    board.fault("pager", FaultLabel.UNKNOWN_SYSCALL, (0,) * 19)
    assert board.running("pager").life is Life.FAULTED
    tries_again(client)
    touch(board, client=client)
    told = at_root(board)
    assert told is not None
    assert told.badge == badge_of(Kind.FAULT, board.running("client").number)


def outlived(board: Root) -> dict[str, tuple[int, ...]]:
    """What the pager is told when it asks who it is."""
    running = board.running("pager")
    environment = with_outlived(running.environment, board.lives.outlived(running))
    return {name: paged.outlived for name, paged in environment.paged.items()}


def test_a_pager_is_told_who_has_outlived_a_former_life_of_it(lasting: Root) -> None:
    assert outlived(lasting) == {"client": ()}
    lasting.running("client").objects.threads[3].tcb.suspend()
    lasting.ended("pager", SIGKILLED)
    assert outlived(lasting) == {"client": tuple(badge(lasting, number) for number in range(EIGHT) if number != 3)}
    lasting.ended("pager", SIGKILLED)
    assert len(outlived(lasting)["client"]) == EIGHT - 1
    lasting.ended("client", FAILED)
    assert lasting.running("client").restarts == 1
    assert outlived(lasting) == {"client": ()}


def test_who_begins_while_its_pager_is_away_has_outlived_nothing(board: Root) -> None:
    board.ended("pager", SIGKILLED)
    board.ended("client", FAILED)
    board.supervisor._restart(board.running("pager"))
    assert outlived(board) == {"client": ()}


def test_deaths_of_a_pager_cost_root_nothing(lasting: Root) -> None:
    _, clients = take_all(lasting)
    lasting.ended("pager", SIGKILLED)
    free, memory = lasting.authority.slots.free_count, lasting.authority.statistics()
    for client in clients:
        tries_again(client)
    take_all(lasting, clients)
    lasting.ended("pager", SIGKILLED)
    assert lasting.authority.slots.free_count == free
    assert lasting.authority.statistics() == memory


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
