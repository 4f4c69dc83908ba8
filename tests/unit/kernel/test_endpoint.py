"""Endpoint queues: order, polling, reply objects that are in use, and what ends a wait (seL4 Reference Manual 4)."""

import random
from itertools import pairwise

import pytest

from kerneld.objects import endpoint
from kerneld.records import EndpointState, Tcb, ThreadState
from libsel4py.abi import Error, FaultLabel, InitialSlot, Label, LookupFailureKind, ObjectType, Rights, Syscall
from tests.harness import OWN_REPLY, Thread

from .scene import ENDPOINT, OTHER, Scene, call, message, receive, reply_object, send

NOWHERE = 1 << 60  # an address that no thread's guard matches


def test_senders_are_served_by_priority_and_in_turn_within_one() -> None:
    scene = Scene()
    server = scene.thread("server")
    for number, priority in enumerate((10, 30, 20, 30, 10, 20)):
        send(scene.thread(f"client{number}", priority=priority), (priority, number))
    order = [message(receive(server))[2] for _ in range(6)]
    assert order == [(30, 1), (30, 3), (20, 2), (20, 5), (10, 0), (10, 4)]


def test_receivers_are_served_by_priority_and_in_turn_within_one() -> None:
    scene = Scene()
    client = scene.thread("client")
    servers = [scene.thread(f"server{number}", priority=priority) for number, priority in enumerate((5, 9, 5, 9))]
    for server in servers:
        receive(server)
    for word in range(4):
        send(client, (word,))
    assert [message(servers[number].completion())[2] for number in (1, 3, 0, 2)] == [(0,), (1,), (2,), (3,)]


@pytest.mark.parametrize(("priority", "order"), [(50, [1, 0, 2]), (25, [0, 1, 2]), (5, [0, 2, 1]), (10, [0, 2, 1])])
def test_a_changed_priority_moves_a_waiting_sender(priority: int, order: list[int]) -> None:
    scene = Scene()
    server = scene.thread("server")
    clients = [scene.thread(f"client{number}", priority=30 - 10 * number) for number in range(3)]
    for number, client in enumerate(clients):
        send(client, (number,))
    scene.machine.root.call(clients[1].cap, Label.TCB_SET_PRIORITY, (priority,), [InitialSlot.TCB])
    assert [message(receive(server))[2][0] for _ in range(3)] == order


def test_a_changed_priority_of_the_only_waiter_leaves_it_waiting() -> None:
    scene = Scene()
    server = scene.thread("server")
    receive(server)
    scene.machine.root.call(server.cap, Label.TCB_SET_PRIORITY, (7,), [InitialSlot.TCB])
    assert (server.state, scene.endpoint_record().state) == (ThreadState.BLOCKED_ON_RECEIVE, EndpointState.RECEIVE)
    assert server.tcb.priority == 7


@pytest.mark.parametrize("op", [Syscall.NB_RECV, Syscall.NB_WAIT])
def test_polling_an_idle_endpoint_leaves_the_message_registers(op: Syscall) -> None:
    scene = Scene()
    server = scene.thread("server")
    done = server.syscall(op, ENDPOINT, words=(1, 2, 3), label=4, reply=OWN_REPLY)
    assert message(done) == (0, 4, (1, 2, 3))
    assert reply_object(scene, server).tcb is None


def test_polling_takes_a_waiting_message() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client", badge=6)
    call(client, (1,))
    assert message(server.syscall(Syscall.NB_RECV, ENDPOINT, reply=OWN_REPLY)) == (6, 0, (1,))
    assert client.state is ThreadState.BLOCKED_ON_REPLY


def test_a_reply_object_in_use_is_taken_from_the_caller_that_waits_by_it() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    receive(server)
    call(client)
    server.completion()
    assert receive(server) is None
    assert client.state is ThreadState.INACTIVE
    assert client.tcb.reply is None
    assert reply_object(scene, server).tcb == server.tcb


def test_a_reply_object_in_use_is_taken_from_the_receiver_that_brought_it() -> None:
    scene = Scene()
    first, second = scene.thread("first"), scene.thread("second")
    shared = scene.machine.retype(ObjectType.REPLY)
    for thread in (first, second):
        scene.machine.grant(thread, shared, OTHER)
        assert thread.syscall(Syscall.RECV, ENDPOINT, reply=OTHER) is None
    assert (first.state, second.state) == (ThreadState.INACTIVE, ThreadState.BLOCKED_ON_RECEIVE)
    scene.resume(first)
    assert (first.state, second.state) == (ThreadState.BLOCKED_ON_RECEIVE, ThreadState.INACTIVE)


@pytest.mark.parametrize(
    ("cptr", "reply", "rights", "address", "kind"),
    [
        (99, OWN_REPLY, Rights.ALL, 99, LookupFailureKind.MISSING_CAPABILITY),
        (ENDPOINT, OWN_REPLY, Rights.WRITE, ENDPOINT, LookupFailureKind.MISSING_CAPABILITY),
        (ENDPOINT, ENDPOINT, Rights.ALL, ENDPOINT, LookupFailureKind.MISSING_CAPABILITY),
        (ENDPOINT, NOWHERE, Rights.ALL, NOWHERE, LookupFailureKind.GUARD_MISMATCH),
        (NOWHERE, OWN_REPLY, Rights.ALL, NOWHERE, LookupFailureKind.GUARD_MISMATCH),
    ],
)
@pytest.mark.parametrize("op", [Syscall.RECV, Syscall.NB_RECV])
def test_a_receive_that_cannot_be_made_is_a_fault_in_the_receive_phase(
    op: Syscall, cptr: int, reply: int, rights: int, address: int, kind: LookupFailureKind
) -> None:
    scene = Scene()
    handler = scene.thread("handler")
    faults = scene.machine.copy(scene.endpoint)
    server = scene.thread("server", rights=rights, fault_endpoint=faults)
    assert server.syscall(op, cptr, reply=reply) is None
    _, label, words = message(receive(handler))
    assert (label, words[1:4]) == (FaultLabel.CAP_FAULT, (address, 1, kind))


def test_deleting_the_endpoint_lets_senders_try_again_and_be_refused() -> None:
    scene = Scene()
    caller, sender = scene.thread("caller"), scene.thread("sender")
    call(caller, (1,))
    send(sender, (1,))
    scene.machine.revoke(scene.endpoint)
    scene.machine.delete(scene.endpoint)
    assert message(caller.completion()) == (0, Error.INVALID_CAPABILITY, (0,))
    assert message(sender.completion()) == (0, 0, ())


def test_deleting_the_endpoint_ends_receives_and_frees_the_reply_object() -> None:
    scene = Scene()
    server = scene.thread("server")
    receive(server)
    held = reply_object(scene, server)
    scene.machine.revoke(scene.endpoint)
    scene.machine.delete(scene.endpoint)
    assert (server.state, held.tcb) == (ThreadState.INACTIVE, None)


def test_deleting_the_endpoint_stops_threads_whose_fault_waits_there() -> None:
    scene = Scene()
    faults = scene.machine.retype(ObjectType.ENDPOINT)
    client = scene.thread("client", fault_endpoint=faults)
    client.syscall(Syscall.SEND, NOWHERE)
    assert client.state is ThreadState.BLOCKED_ON_SEND
    scene.machine.revoke(faults)
    scene.machine.delete(faults)
    assert client.state is ThreadState.INACTIVE


def test_cancelling_badged_sends_spares_the_others() -> None:
    scene = Scene()
    badged = scene.machine.copy(scene.endpoint, badge=7)
    faults = scene.machine.copy(scene.endpoint, badge=7)
    clients = [scene.thread(f"client{number}", badge=badge) for number, badge in enumerate((7, 8, 7))]
    faulting = scene.thread("faulting", fault_endpoint=faults)
    for number, client in enumerate(clients):
        send(client, (number,))
    faulting.syscall(Syscall.SEND, NOWHERE)
    # the first sender's capability goes first: its send starts again and says nothing
    scene.machine.root.call(clients[0].cnode, Label.CNODE_DELETE, (ENDPOINT, 8))
    scene.machine.root.call(InitialSlot.CNODE, Label.CNODE_CANCEL_BADGED_SENDS, (badged, 64))
    assert [client.state for client in (*clients, faulting)] == [
        ThreadState.RUNNING,
        ThreadState.BLOCKED_ON_SEND,
        ThreadState.BLOCKED_ON_SEND,
        ThreadState.INACTIVE,
    ]
    server = scene.thread("server")
    assert [message(receive(server)) for _ in range(2)] == [(8, 0, (1,)), (7, 0, (2,))]


def test_cancelling_does_a_bounded_number_of_threads_at_a_time() -> None:
    scene = Scene(check=False)
    count = endpoint.CANCELLED_AT_ONCE + 3
    clients = [scene.thread(f"c{number}", badge=1) for number in range(count)]
    for client in clients:
        send(client)
    kernel = scene.machine.kernel
    record = scene.endpoint_record()
    with scene.machine.ram.transaction():
        assert not endpoint.cancel_badged_sends(kernel.core, record, 1)
    with scene.machine.ram.transaction():
        assert endpoint.cancel_badged_sends(kernel.core, record, 1)
    assert (record.head, record.state) == (None, EndpointState.IDLE)
    assert {client.state for client in clients} == {ThreadState.RESTART}
    kernel.core.touched.clear()


def test_suspending_in_the_middle_of_a_queue_keeps_the_others_in_order() -> None:
    scene = Scene()
    server = scene.thread("server")
    clients = [scene.thread(f"client{number}") for number in range(4)]
    for number, client in enumerate(clients):
        send(client, (number,))
    for number in (1, 3, 0):
        scene.suspend(clients[number])
    assert [clients[number].state for number in (0, 1, 3)] == [ThreadState.INACTIVE] * 3
    assert message(receive(server)) == (0, 0, (2,))
    assert scene.endpoint_record().state == EndpointState.IDLE
    for number in (3, 0):
        scene.resume(clients[number])
    assert [message(receive(server))[2] for _ in range(2)] == [(3,), (0,)]


def test_a_double_call_sends_without_waiting_and_receives() -> None:
    scene = Scene()
    other = scene.machine.retype(ObjectType.ENDPOINT)
    first, second = scene.thread("first"), scene.thread("second")
    for thread in (first, second):
        scene.machine.grant(thread, other, OTHER)
    receive(first, OTHER)
    assert second.syscall(Syscall.NB_SEND_RECV, ENDPOINT, words=(1,), dest=OTHER, reply=OWN_REPLY) is None
    assert message(first.completion()) == (0, 0, (1,))
    assert second.state is ThreadState.BLOCKED_ON_RECEIVE
    assert first.syscall(Syscall.NB_SEND_WAIT, OTHER, words=(2,), dest=ENDPOINT) is None
    assert message(second.completion()) == (0, 0, (2,))


def test_the_first_phase_invokes_no_thread_and_says_nothing() -> None:
    scene = Scene()
    server = scene.thread("server")
    scene.machine.grant(server, server.cap, OTHER)
    info = Label.TCB_SUSPEND
    assert server.syscall(Syscall.NB_SEND_RECV, ENDPOINT, label=info, dest=OTHER, reply=OWN_REPLY) is None
    assert server.state is ThreadState.BLOCKED_ON_RECEIVE


def test_queue_links_are_gone_after_every_kind_of_end() -> None:
    scene = Scene()
    clients = [scene.thread(f"client{number}") for number in range(3)]
    for client in clients:
        send(client)
    for before, behind in pairwise(clients):
        assert (before.tcb.queue_next, behind.tcb.queue_prev) == (behind.tcb, before.tcb)
    scene.suspend(clients[1])
    assert (clients[0].tcb.queue_next, clients[2].tcb.queue_prev) == (clients[2].tcb, clients[0].tcb)
    assert (clients[1].tcb.queue_next, clients[1].tcb.queue_prev, clients[1].tcb.blocked_on) == (None, None, 0)


def test_a_place_is_found_by_a_step_for_each_priority_however_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene()
    clients = [scene.thread(f"client{number}", priority=10 + number % 3) for number in range(60)]
    for client in clients:
        send(client)
    urgent = scene.thread("urgent", priority=50)
    looked_at: list[Tcb] = []
    links = Tcb.queue_prev

    def look(tcb: Tcb) -> Tcb | None:
        looked_at.append(tcb)
        return links.__get__(tcb)

    monkeypatch.setattr(Tcb, "queue_prev", property(look, links.__set__))
    scene.machine.check = False
    send(urgent)
    assert len(looked_at) <= 3
    monkeypatch.undo()
    scene.machine.assert_invariants()


def test_waiting_threads_stay_in_order_whatever_comes_and_goes() -> None:
    chance = random.Random(3)
    scene = Scene()
    threads = [scene.thread(f"client{number}", priority=10 + number % 4) for number in range(12)]
    expected: list[Thread] = []
    for _ in range(300):
        thread = chance.choice(threads)
        if thread in expected:
            expected.remove(thread)
        if thread.state is not ThreadState.BLOCKED_ON_SEND:
            send(thread)
        elif chance.random() < 0.5:
            scene.suspend(thread)
            scene.resume(thread)
        else:
            priority = 10 + chance.randrange(4)
            scene.machine.root.call(thread.cap, Label.TCB_SET_PRIORITY, (priority,), [InitialSlot.TCB])
        above = [other for other in expected if other.tcb.priority >= thread.tcb.priority]
        expected.insert(len(above), thread)
        waiting, at = [], scene.endpoint_record().head
        while at is not None:
            waiting.append(at)
            at = at.queue_next
        assert waiting == [other.tcb for other in expected]
