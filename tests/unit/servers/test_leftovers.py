"""What a task's life leaves behind, on the pure kernel: its successor finds what it found, its callers are told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kerneld.records import Endpoint, ThreadState
from libsel4py import abi
from libsel4py.abi import CapType, Error, ObjectType, Status, Syscall
from libsel4py.description import Assigned, Provide, Restart, Use
from libsel4py.environment import Slot
from libsel4py.wire import Outcome
from servers.root.running_task import Life
from servers.root.supervisor import MOST_RESTARTS
from tests.unit.servers.root_board import PING, SCREEN, Root, root, task

FAILED, SIGKILLED = 3 << 8, 9  # wait statuses
SERVED, CONNECTION = 16, 16  # slots of the first thing that a task is given


@pytest.fixture(params=[False, True], ids=["started", "stood by"])
def board(request: pytest.FixtureRequest) -> Iterator[Root]:
    server = task("server", provides=(Provide("one", PING),), restart=Restart.ALWAYS, standby=request.param)
    client = task("client", uses=(Use("a", "server", "one", PING, 7),), restart=Restart.ALWAYS)
    with root(server, client) as made:
        made.supervisor.start_all()
        made.lives.standbys.make_all()
        yield made


def test_the_successor_finds_what_its_predecessor_found(board: Root) -> None:
    before = board.held("server")
    server = board.act_for("server")
    words = (ObjectType.REPLY, 0, 0, 0, 40, 3)
    server.call(Slot.POOL, abi.Label.UNTYPED_RETYPE, words, [Slot.CNODE])
    server.call(Slot.CNODE, abi.Label.CNODE_COPY, (50, 64, SERVED, 64, 15), [Slot.CNODE])
    server.call(Slot.CNODE, abi.Label.CNODE_DELETE, (Slot.TCB, 64))
    server.call(Slot.CNODE, abi.Label.CNODE_COPY, (Slot.TCB, 64, SERVED, 64, 15), [Slot.CNODE])
    assert len(board.held("server")) == len(before) + 4
    free = board.authority.slots.free_count
    board.ended("server", SIGKILLED)
    after = board.held("server")
    assert {slot: (cap.type, cap.rights) for slot, cap in after.items()} == {
        slot: (cap.type, cap.rights) for slot, cap in before.items()
    }
    size = (ObjectType.UNTYPED, 13, 0, 0, 40, 2)
    board.act_for("server").call(Slot.POOL, abi.Label.UNTYPED_RETYPE, size, [Slot.CNODE])  # all of it is free
    assert after[Slot.TCB].object == board.tcb("server").address
    assert board.authority.slots.free_count == free


def test_its_state_and_what_it_keeps_there_outlive_it() -> None:
    keeper = task("keeper", provides=(Provide("one", PING),), restart=Restart.ALWAYS, state=4096, state_slots=3)
    with root(keeper) as board:
        board.supervisor.start_all()
        environment = board.running("keeper").environment
        state, first = environment.state, environment.first_state_slot
        assert (environment.state_bytes, environment.state_slots) == (4096, 3)
        assert environment.first_free_slot == first + 3
        before = board.held("keeper")
        assert before[state].type == CapType.FRAME
        board.machine.ram.poke(before[state].object, b"kept")
        for slot in (first + 2, environment.first_free_slot):
            board.act_for("keeper").call(Slot.CNODE, abi.Label.CNODE_COPY, (slot, 64, SERVED, 64, 15), [Slot.CNODE])
        board.ended("keeper", SIGKILLED)
        after = board.held("keeper")
        assert set(after) == {*before, first + 2}
        assert after[state].object == before[state].object
        assert board.machine.ram.read(before[state].object, 4) == b"kept"


@pytest.mark.parametrize("how", ["used", "kept", "moved", "deleted"])
def test_a_driver_s_next_life_has_all_of_its_device_s_memory_whatever_the_last_one_did_with_it(how: str) -> None:
    driver = task("driver", devices=(Assigned("s", "screen0"),), restart=Restart.ALWAYS, state_slots=2)
    with root(driver, devices=(SCREEN,)) as board:
        board.supervisor.start_all()
        environment, before = board.running("driver").environment, board.held("driver")
        memory, kept = environment.devices["s"].memory, environment.first_state_slot
        acting = board.act_for("driver")
        words = (ObjectType.FRAME, 13, 0, 0, kept if how == "kept" else environment.first_free_slot, 2)
        acting.call(memory, abi.Label.UNTYPED_RETYPE, words, [Slot.CNODE])
        if how == "moved":
            acting.call(Slot.CNODE, abi.Label.CNODE_MOVE, (kept, 64, memory, 64), [Slot.CNODE])
            acting.call(Slot.CNODE, abi.Label.CNODE_COPY, (memory, 64, Slot.NOTIFICATION, 64, 15), [Slot.CNODE])
        if how == "deleted":
            acting.call(Slot.CNODE, abi.Label.CNODE_DELETE, (memory, 64))
        board.ended("driver", SIGKILLED)
        after = board.held("driver")
        assert {slot: (cap.type, cap.object) for slot, cap in after.items() if slot not in (Slot.TCB, Slot.POOL)} == {
            slot: (cap.type, cap.object) for slot, cap in before.items() if slot not in (Slot.TCB, Slot.POOL)
        }
        assert after[memory].is_device
        size = SCREEN.memory.bit_length() - 1
        whole = (ObjectType.FRAME, size, 0, 0, environment.first_free_slot, 1)
        board.act_for("driver").call(memory, abi.Label.UNTYPED_RETYPE, whole, [Slot.CNODE])
        assert board.held("driver")[environment.first_free_slot].object == before[memory].object


@pytest.mark.parametrize("how", ["ended", "killed", "done"])
def test_what_a_task_had_made_goes_with_it_also_if_it_is_not_started_again(how: str) -> None:
    """It may have been lent to a server, which sees by this that its client is dead."""
    with root(task("it"), check=False) as board:
        board.supervisor.start_all()
        before = board.held("it")
        words = (ObjectType.NOTIFICATION, 0, 0, 0, 40, 3)
        board.act_for("it").call(Slot.POOL, abi.Label.UNTYPED_RETYPE, words, [Slot.CNODE])
        assert len(board.held("it")) == len(before) + 3
        running = board.running("it")
        if how == "ended":
            board.ended("it", FAILED)
        elif how == "killed":
            board.supervisor.kill(running)
        else:
            board.supervisor.exited(running.number, 0)
        assert board.held("it").keys() == before.keys()


def test_the_channels_of_a_client_end_with_it(board: Root) -> None:
    """They were paid from its pool, which is whole again for its next life."""
    server, client = board.act_for("server"), board.act_for("client")
    listening = server.syscall(Syscall.LISTEN, SERVED)
    assert listening is not None
    assert listening.label == abi.Error.NO_ERROR
    client.call(Slot.POOL, abi.Label.UNTYPED_RETYPE, (ObjectType.CHANNEL, 0, 0, 0, 40, 1), [Slot.CNODE])
    client.call(40, abi.Label.CHANNEL_CONNECT, (), [CONNECTION])
    endpoint = Endpoint(board.machine.ram, board.held("server")[SERVED].object)
    assert endpoint.channel_count == 1
    board.ended("client", SIGKILLED)
    assert endpoint.channel_count == 0
    again = board.act_for("client")
    again.call(Slot.POOL, abi.Label.UNTYPED_RETYPE, (ObjectType.CHANNEL, 0, 0, 0, 40, 1), [Slot.CNODE])
    again.call(40, abi.Label.CHANNEL_CONNECT, (), [CONNECTION])
    assert endpoint.channel_count == 1


def test_the_channels_to_a_server_go_on_to_its_next_life(board: Root) -> None:
    server, client = board.act_for("server"), board.act_for("client")
    assert server.syscall(Syscall.LISTEN, SERVED) is not None
    client.call(Slot.POOL, abi.Label.UNTYPED_RETYPE, (ObjectType.CHANNEL, 0, 0, 0, 40, 1), [Slot.CNODE])
    client.call(40, abi.Label.CHANNEL_CONNECT, (), [CONNECTION])
    board.ended("server", SIGKILLED)
    endpoint = Endpoint(board.machine.ram, board.held("server")[SERVED].object)
    assert endpoint.channel_count == 1
    again = board.act_for("server").syscall(Syscall.LISTEN, SERVED)
    assert again is not None
    assert again.label == abi.Error.NO_ERROR


def test_restarts_cost_root_nothing(board: Root) -> None:
    board.ended("server", FAILED)
    free, memory = board.authority.slots.free_count, board.authority.statistics()
    for _ in range(3):
        board.ended("server", FAILED)
    assert board.authority.slots.free_count == free
    assert board.authority.statistics() == memory


def test_a_caller_whose_request_was_taken_hears_that_the_server_died(board: Root) -> None:
    server, client = board.act_for("server"), board.act_for("client")
    assert server.syscall(Syscall.RECV, SERVED, reply=Slot.REPLY) is None
    assert client.syscall(Syscall.CALL, CONNECTION, label=1) is None
    assert server.completion() is not None
    board.ended("server", SIGKILLED)
    told = client.completion()
    assert told is not None
    assert (told.status, told.label) == (Status.DONE, Outcome.SERVER_DIED)


def test_so_does_one_whose_reply_was_deferred_and_also_if_nothing_is_started_again(board: Root) -> None:
    """A deferred reply is an object of the server's pool: the kernel would stop its caller for ever with it."""
    server, client = board.act_for("server"), board.act_for("client")
    server.call(Slot.POOL, abi.Label.UNTYPED_RETYPE, (ObjectType.REPLY, 0, 0, 0, 60, 1), [Slot.CNODE])
    assert server.syscall(Syscall.RECV, SERVED, reply=60) is None
    assert client.syscall(Syscall.CALL, CONNECTION, label=1) is None
    board.supervisor.exited(board.running("server").number, 0)
    told = client.completion()
    assert told is not None
    assert told.label == Outcome.SERVER_DIED
    assert client.state is ThreadState.RUNNING


def test_all_callers_are_told_and_then_its_slots_are_cleared_by_one_batch(board: Root) -> None:
    """Among more reply objects than a trap answers."""
    server, client = board.act_for("server"), board.act_for("client")
    server.call(Slot.POOL, abi.Label.UNTYPED_RETYPE, (ObjectType.REPLY, 0, 0, 0, 60, 40), [Slot.CNODE])
    before, free = board.held("server"), board.authority.slots.free_count
    assert server.syscall(Syscall.RECV, SERVED, reply=99) is None
    assert client.syscall(Syscall.CALL, CONNECTION, label=1) is None
    board.ended("server", SIGKILLED)
    told = client.completion()
    assert told is not None
    assert (told.status, told.label) == (Status.DONE, Outcome.SERVER_DIED)
    assert board.held("server").keys() == before.keys() - set(range(60, 100))
    assert board.authority.slots.free_count == free


def test_a_request_that_nobody_had_taken_waits_for_the_successor(board: Root) -> None:
    client = board.act_for("client")
    assert client.syscall(Syscall.CALL, CONNECTION, label=9) is None
    board.ended("server", SIGKILLED)
    assert client.completion() is None
    taken = board.act_for("server").syscall(Syscall.RECV, SERVED, reply=Slot.REPLY)
    assert taken is not None
    assert (taken.badge, taken.label) == (7, 9)


# --- a server that is not started again


def given_up(board: Root, name: str = "server") -> None:
    for _ in range(MOST_RESTARTS + 1):
        board.ended(name, SIGKILLED)
    assert board.running(name).is_over


def test_who_waits_at_its_endpoint_is_told_and_so_is_who_calls_later(board: Root) -> None:
    client = board.act_for("client")
    assert client.syscall(Syscall.CALL, CONNECTION, label=1) is None  # nobody takes it
    given_up(board)
    told = client.completion()
    assert told is not None
    assert (told.status, told.label) == (Status.DONE, Outcome.SERVER_DIED)
    later = client.syscall(Syscall.CALL, CONNECTION, label=1)
    assert later is not None
    assert later.label == Error.INVALID_CAPABILITY


def test_started_after_all_it_is_called_by_the_same_slots_but_not_by_those_that_were_used_otherwise(
    board: Root,
) -> None:
    before = {name: board.held(name) for name in ("server", "client")}
    memory, free = board.authority.statistics(), board.authority.slots.free_count
    given_up(board)
    assert CONNECTION not in board.held("client")
    board.ended("client", SIGKILLED)  # its next life is given what there is
    assert len(board.held("client")) == len(before["client"]) - 1
    board.supervisor.kill(board.running("server"))
    for name, held in before.items():
        now = board.held(name)
        assert {slot: (cap.type, cap.rights) for slot, cap in now.items()} == {
            slot: (cap.type, cap.rights) for slot, cap in held.items()
        }
    assert board.held("client")[CONNECTION].badge == before["client"][CONNECTION].badge
    server, client = board.act_for("server"), board.act_for("client")
    assert client.syscall(Syscall.CALL, CONNECTION, label=1) is None
    taken = server.syscall(Syscall.RECV, SERVED, reply=Slot.REPLY)
    assert taken is not None
    assert taken.badge == 7
    assert (board.authority.statistics(), board.authority.slots.free_count) == (memory, free)
    given_up(board)
    assert client.completion() is not None
    client.call(Slot.CNODE, abi.Label.CNODE_COPY, (CONNECTION, 64, Slot.TCB, 64, 15), [Slot.CNODE])
    board.supervisor.kill(board.running("server"))
    assert board.held("client")[CONNECTION].type == CapType.TCB


def test_it_is_known_after_a_resume(board: Root) -> None:
    given_up(board)
    board.resume()  # as for who has been told of no end: here its thread stands as it did
    assert board.held("client")[CONNECTION].type == CapType.ENDPOINT


def test_who_calls_what_was_stopped_by_order_waits_until_another_one_starts_it(board: Root) -> None:
    client = board.act_for("client")
    assert client.syscall(Syscall.CALL, CONNECTION, label=1) is None
    server = board.running("server")
    board.lives.end(server)
    server.life = Life.DEAD
    board.lives.leave(server, by_order=True)
    assert client.completion() is None
    board.lives.start_again(server)
    assert board.act_for("server").syscall(Syscall.RECV, SERVED, reply=Slot.REPLY) is not None
