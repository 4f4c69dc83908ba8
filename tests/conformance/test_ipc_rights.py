"""What each right of an endpoint, notification or reply capability allows (manual 3.1.4; sel4test's IPCRIGHTS)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py.abi import Error, FaultLabel, Label, LookupFailureKind, ObjectType, Rights, Syscall
from tests.conformance.scenes import (
    ENDPOINT,
    FREE,
    SECOND,
    answer,
    call,
    faulting,
    got,
    next_fault,
    pair,
    poll,
    receive,
    send,
)
from tests.harness import Machine

EVERY = range(16)
W, R, G, P = Rights.WRITE, Rights.READ, Rights.GRANT, Rights.GRANT_REPLY


def receive_fault(cptr: int) -> tuple[int, ...]:
    """A CAP_FAULT message of a receive that a capability does not allow, without the instruction pointer."""
    return (cptr, 1, LookupFailureKind.MISSING_CAPABILITY, 0)


@pytest.mark.parametrize("rights", EVERY)
def test_IPCRIGHTS0001_send_needs_write(machine: Machine, rights: int) -> None:
    """Send delivers with Write; without it nothing happens, and the sender goes on without an error."""
    scene = pair(machine, rights=rights)
    assert receive(scene.server) is None
    assert got(send(scene.client, (1,))).info == 0
    assert (scene.server.completion() is not None) == bool(rights & W)


@pytest.mark.parametrize("rights", EVERY)
def test_IPCRIGHTS0002_receive_needs_read(machine: Machine, rights: int) -> None:
    """Recv waits with Read; without it the thread faults in the receive phase."""
    thread, handler = faulting(machine)
    endpoint = machine.retype(ObjectType.ENDPOINT)
    machine.grant(thread, endpoint, ENDPOINT, rights)
    assert receive(thread) is None
    if rights & R:
        assert thread.state is ThreadState.BLOCKED_ON_RECEIVE
    else:
        fault = got(next_fault(machine, handler))
        assert fault.label == FaultLabel.CAP_FAULT
        assert fault.words[1:] == receive_fault(ENDPOINT)


@pytest.mark.parametrize("rights", EVERY)
def test_IPCRIGHTS0003_call(machine: Machine, rights: int) -> None:
    """Call needs Write, and Grant or GrantReply to be answered: without the latter the caller stops for good."""
    scene = pair(machine, rights=rights)
    assert receive(scene.server) is None
    done = call(scene.client, (1,))
    if not rights & W:
        assert (got(done).label, got(done).words) == (Error.INVALID_CAPABILITY, (0,))
        return
    assert got(scene.server.completion()).words == (1,)
    assert scene.client.state is (ThreadState.BLOCKED_ON_REPLY if rights & (G | P) else ThreadState.INACTIVE)
    answer(scene.server, (2,))
    assert (scene.client.completion() is not None) == bool(rights & (G | P))


@pytest.mark.parametrize("rights", [W, W | R])
def test_IPCRIGHTS0004_queued_call_without_grant(machine: Machine, rights: int) -> None:
    """A caller that waited in the queue without Grant or GrantReply stops as well, once its message is taken."""
    scene = pair(machine, rights=rights)
    assert call(scene.client, (1,)) is None
    assert got(receive(scene.server)).words == (1,)
    assert scene.client.state is ThreadState.INACTIVE


@pytest.mark.parametrize("rights", [W, W | P, W | G, W | G | P, Rights.ALL])
def test_IPCRIGHTS0005_grant_for_capabilities(machine: Machine, rights: int) -> None:
    """Capabilities go along by a capability with Grant; without it the words arrive and the capabilities do not."""
    scene = pair(machine, rights=rights)
    machine.grant(scene.client, machine.retype(ObjectType.REPLY), SECOND)
    scene.server.set_receive(251, FREE, 8)
    assert receive(scene.server) is None
    scene.client.syscall(Syscall.SEND, ENDPOINT, words=(6,), caps=[SECOND])
    done = got(scene.server.completion())
    assert done.words == (6,)
    assert done.info >> 7 & 3 == bool(rights & G)


@pytest.mark.parametrize("rights", [Rights.NONE, G, Rights.ALL])
def test_IPCRIGHTS0006_reply_grant(machine: Machine, rights: int) -> None:
    """A reply carries capabilities if the reply capability has Grant, and its words always."""
    scene = pair(machine)
    server, client = scene.server, scene.client
    machine.grant(server, machine.retype(ObjectType.TCB), SECOND)
    words = (FREE, 8, server.reply, 8, rights)
    machine.root.call(server.cnode, Label.CNODE_COPY, words, [server.cnode])
    client.set_receive(251, FREE, 8)
    assert receive(server) is None
    assert call(client) is None
    server.syscall(Syscall.SEND, FREE, words=(7,), caps=[SECOND])
    done = got(client.completion())
    assert done.words == (7,)
    assert done.info >> 7 & 3 == bool(rights & G)


@pytest.mark.parametrize("rights", EVERY)
def test_IPCRIGHTS0007_signal_needs_write(machine: Machine, rights: int) -> None:
    """Signalling needs Write: a Send without it does nothing, a Call without it gives InvalidCapability(0)."""
    notification = machine.retype(ObjectType.NOTIFICATION)
    thread = machine.thread("signaller")
    machine.grant(thread, notification, 1, rights, 3)
    got(send(thread, cptr=1))
    assert poll(machine, notification) == (3 if rights & W else 0)
    done = got(call(thread, cptr=1))
    assert (done.label, done.words) == ((0, ()) if rights & W else (Error.INVALID_CAPABILITY, (0,)))


@pytest.mark.parametrize("rights", EVERY)
def test_IPCRIGHTS0008_wait_needs_read(machine: Machine, rights: int) -> None:
    """Waiting on a notification needs Read: without it the thread faults in the receive phase."""
    thread, handler = faulting(machine)
    machine.grant(thread, machine.retype(ObjectType.NOTIFICATION), 1, rights)
    assert thread.syscall(Syscall.WAIT, 1) is None
    if rights & R:
        assert thread.state is ThreadState.BLOCKED_ON_NOTIFICATION
    else:
        assert got(next_fault(machine, handler)).words[1:] == receive_fault(1)


def test_IPCRIGHTS0009_rights_of_the_moment(machine: Machine) -> None:
    """A queued message keeps the rights of the capability that it was sent by, whatever becomes of that."""
    scene = pair(machine)
    machine.grant(scene.client, machine.retype(ObjectType.REPLY), SECOND)
    scene.server.set_receive(251, FREE, 8)
    assert scene.client.syscall(Syscall.SEND, ENDPOINT, words=(6,), caps=[SECOND]) is None
    machine.root.call(scene.client.cnode, Label.CNODE_DELETE, (ENDPOINT, 8))
    assert got(receive(scene.server)).info >> 7 & 3 == 1
