"""Reply objects: who waits at them, who may use them, what their reuse and end mean (manual 4.2.3, MCS)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py.abi import FaultLabel, Label, LookupFailureKind, ObjectType, Syscall
from tests.conformance.scenes import (
    ENDPOINT,
    FREE,
    Pair,
    answer,
    call,
    faulting,
    got,
    held_by,
    next_fault,
    pair,
    receive,
    senders,
)
from tests.harness import OWN_REPLY, Machine, Thread


@pytest.fixture
def scene(machine: Machine) -> Pair:
    return pair(machine)


def called(scene: Pair) -> None:
    """The client waits for the server's reply."""
    assert receive(scene.server) is None
    assert call(scene.client, (1,)) is None
    got(scene.server.completion())


def second_reply(scene: Pair, thread: Thread) -> int:
    """A second reply object, in the thread's slot FREE."""
    slot = scene.machine.retype(ObjectType.REPLY)
    scene.machine.grant(thread, slot, FREE)
    return slot


def test_REPLY0001_answers_the_caller(scene: Pair) -> None:
    """A Send by the reply capability answers the caller and does not block."""
    called(scene)
    answer(scene.server, (5, 6), label=3)
    done = got(scene.client.completion())
    assert (done.label, done.words) == (3, (5, 6))


def test_REPLY0002_once(scene: Pair) -> None:
    """A reply object answers once: a second reply goes nowhere, and is no error."""
    called(scene)
    answer(scene.server, (5,))
    answer(scene.server, (6,))
    assert got(scene.client.completion()).words == (5,)
    assert scene.client.completion() is None


def test_REPLY0003_unused(scene: Pair) -> None:
    """Replying by an object that nobody waits at does nothing."""
    answer(scene.server, (5,))
    assert scene.client.completion() is None


def test_REPLY0004_while_receiving(scene: Pair) -> None:
    """Replying by an object that a receiver brought to its Recv does nothing: the receiver goes on waiting."""
    helper = scene.machine.thread("helper")
    scene.machine.root.call(helper.cnode, Label.CNODE_COPY, (FREE, 8, OWN_REPLY, 8, 15), [scene.server.cnode])
    assert receive(scene.server) is None
    got(helper.syscall(Syscall.SEND, FREE, words=(5,)))
    assert scene.server.state is ThreadState.BLOCKED_ON_RECEIVE
    assert call(scene.client, (6,)) is None
    assert got(scene.server.completion()).words == (6,)


def test_REPLY0005_reuse_stops_the_caller(scene: Pair) -> None:
    """A Recv with a reply object at which a caller waits stops that caller for good."""
    called(scene)
    assert receive(scene.server) is None
    assert scene.client.state is ThreadState.INACTIVE
    answer_to = senders(scene.machine, scene.endpoint, (80,))[0]
    assert call(answer_to) is None
    got(scene.server.completion())
    answer(scene.server, (9,))
    assert got(answer_to.completion()).words == (9,)
    assert scene.client.completion() is None


def test_REPLY0006_reuse_stops_the_receiver(scene: Pair) -> None:
    """A Recv with a reply object that another receiver has brought along stops that receiver."""
    machine = scene.machine
    assert receive(scene.server) is None
    other = senders(machine, scene.endpoint, (80,))[0]
    machine.root.call(other.cnode, Label.CNODE_COPY, (FREE, 8, OWN_REPLY, 8, 15), [scene.server.cnode])
    assert other.syscall(Syscall.RECV, ENDPOINT, reply=FREE) is None
    assert scene.server.state is ThreadState.INACTIVE
    assert call(scene.client, (4,)) is None
    assert got(other.completion()).words == (4,)


def test_REPLY0007_own_reuse_after_reply(scene: Pair) -> None:
    """The same reply object serves call after call."""
    for number in range(5):
        called(scene)
        answer(scene.server, (number,))
        assert got(scene.client.completion()).words == (number,)


def test_REPLY0008_two_objects_two_callers(scene: Pair) -> None:
    """With two reply objects a server holds two callers, and answers them in any order."""
    second_reply(scene, scene.server)
    other = senders(scene.machine, scene.endpoint, (80,))[0]
    called(scene)
    assert call(other, (2,)) is None
    assert got(scene.server.syscall(Syscall.RECV, ENDPOINT, reply=FREE)).words == (2,)
    answer(scene.server, (10,))
    assert got(scene.client.completion()).words == (10,)
    got(scene.server.syscall(Syscall.SEND, FREE, words=(20,)))
    assert got(other.completion()).words == (20,)


def test_REPLY0009_deleted_object(scene: Pair) -> None:
    """With the last capability of a reply object its caller stops for good."""
    second_reply(scene, scene.server)
    assert scene.server.syscall(Syscall.RECV, ENDPOINT, reply=FREE) is None
    assert call(scene.client) is None
    scene.machine.revoke(scene.machine.next_slot - 1)
    scene.machine.delete(scene.machine.next_slot - 1)
    assert scene.client.state is ThreadState.INACTIVE
    assert scene.client.completion() is None


def test_REPLY0010_deleted_while_receiving(scene: Pair) -> None:
    """With the last capability of a reply object the receiver that brought it along stops."""
    slot = second_reply(scene, scene.server)
    assert scene.server.syscall(Syscall.RECV, ENDPOINT, reply=FREE) is None
    scene.machine.revoke(slot)
    scene.machine.delete(slot)
    assert scene.server.state is ThreadState.INACTIVE


def test_REPLY0011_delegated(scene: Pair) -> None:
    """Whoever holds a capability to the reply object can answer."""
    machine = scene.machine
    helper = machine.thread("helper")
    machine.root.call(helper.cnode, Label.CNODE_COPY, (FREE, 8, OWN_REPLY, 8, 15), [scene.server.cnode])
    called(scene)
    got(helper.syscall(Syscall.SEND, FREE, words=(8,)))
    assert got(scene.client.completion()).words == (8,)


def test_REPLY0012_receiver_without_object(scene: Pair) -> None:
    """A Call taken by a Wait, which brings no reply object, is delivered, and its caller stops for good."""
    assert scene.server.syscall(Syscall.WAIT, ENDPOINT) is None
    assert call(scene.client, (7,)) is None
    assert got(scene.server.completion()).words == (7,)
    assert scene.client.state is ThreadState.INACTIVE


def test_REPLY0013_queued_call_without_object(scene: Pair) -> None:
    """A queued Call taken by a Wait stops its caller as well."""
    assert call(scene.client, (7,)) is None
    assert got(scene.server.syscall(Syscall.WAIT, ENDPOINT)).words == (7,)
    assert scene.client.state is ThreadState.INACTIVE


@pytest.mark.parametrize(("cptr", "kind"), [(1 << 60, LookupFailureKind.GUARD_MISMATCH), (FREE, 2), (ENDPOINT, 2)])
def test_REPLY0014_bad_reply_address(machine: Machine, cptr: int, kind: int) -> None:
    """A Recv on an endpoint without a valid reply capability faults in the receive phase, at the reply's address."""
    thread, handler = faulting(machine)
    machine.grant(thread, machine.retype(ObjectType.ENDPOINT), ENDPOINT)
    assert thread.syscall(Syscall.RECV, ENDPOINT, reply=cptr) is None
    fault = got(next_fault(machine, handler))
    assert fault.label == FaultLabel.CAP_FAULT
    assert fault.words[1:4] == (cptr, 1, kind)


def test_REPLY0015_suspended_caller(scene: Pair) -> None:
    """A caller that is suspended while it waits leaves the reply object, which then answers nobody."""
    called(scene)
    scene.machine.root.call(scene.client.cap, Label.TCB_SUSPEND)
    answer(scene.server, (5,))
    assert scene.client.state is ThreadState.INACTIVE
    assert scene.client.completion() is None


def test_REPLY0016_resumed_caller_calls_again(scene: Pair) -> None:
    """A caller that is suspended and resumed sends its call again."""
    called(scene)
    scene.machine.root.call(scene.client.cap, Label.TCB_SUSPEND)
    scene.machine.root.call(scene.client.cap, Label.TCB_RESUME)
    assert scene.client.state is ThreadState.BLOCKED_ON_SEND
    scene.machine.run()
    assert got(receive(scene.server)).words == (1,)
    answer(scene.server, (2,))
    assert got(scene.client.completion()).words == (2,)


def test_REPLY0017_call_on_a_reply(scene: Pair) -> None:
    """A Call by a reply capability answers the caller, and the kernel answers the Call with nothing."""
    called(scene)
    done = got(scene.server.syscall(Syscall.CALL, OWN_REPLY, words=(5,)))
    assert (done.label, done.words) == (0, ())
    assert got(scene.client.completion()).words == (5,)


def test_REPLY0018_nested_calls(machine: Machine) -> None:
    """Calls nest: each server calls the next, and the replies come back in turn."""
    endpoints = [machine.retype(ObjectType.ENDPOINT) for _ in range(3)]
    threads = [machine.thread(f"level{number}") for number in range(4)]
    for number, endpoint in enumerate(endpoints):
        machine.grant(threads[number], endpoint, ENDPOINT)
        machine.grant(threads[number + 1], endpoint, FREE)
        assert threads[number + 1].syscall(Syscall.RECV, FREE, reply=OWN_REPLY) is None
    for number in range(3):
        assert call(threads[number], (number,)) is None
        assert got(threads[number + 1].completion()).words == (number,)
    for number in (3, 2, 1):
        answer(threads[number], (number * 10,))
        assert got(threads[number - 1].completion()).words == (number * 10,)


def test_REPLY0019_reply_recv_without_caller(scene: Pair) -> None:
    """ReplyRecv with a reply object that nobody waits at just receives."""
    assert scene.server.syscall(Syscall.REPLY_RECV, ENDPOINT, words=(1,), reply=OWN_REPLY) is None
    assert call(scene.client, (2,)) is None
    assert got(scene.server.completion()).words == (2,)


def test_REPLY0020_deleted_caller(scene: Pair) -> None:
    """A caller that is deleted while it waits leaves the reply object free for the next call."""
    called(scene)
    scene.machine.revoke(scene.client.cap)
    scene.machine.delete(scene.client.cap)
    answer(scene.server)
    other = senders(scene.machine, scene.endpoint, (80,))[0]
    assert receive(scene.server) is None
    assert call(other, (3,)) is None
    answer(scene.server, (4,))
    assert got(other.completion()).words == (4,)


def test_REPLY0021_moved_capability(scene: Pair) -> None:
    """Moving the reply capability while a caller waits does not disturb the call."""
    called(scene)
    cnode = scene.server.cnode
    scene.machine.root.call(cnode, Label.CNODE_MOVE, (FREE, 8, OWN_REPLY, 8), [cnode])
    assert held_by(scene.server, OWN_REPLY).is_null
    got(scene.server.syscall(Syscall.SEND, FREE, words=(6,)))
    assert got(scene.client.completion()).words == (6,)
