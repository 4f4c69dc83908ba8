"""System calls that do not block, and those of two phases (manual 2.2; SEL4_API 2.1)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py import abi
from libsel4py.abi import FaultLabel, InitialSlot, Label, LookupFailureKind, ObjectType, Syscall
from tests.conformance.scenes import (
    ENDPOINT,
    FREE,
    SCHED_CONTROL,
    Pair,
    call,
    faulting,
    got,
    held_by,
    next_fault,
    pair,
    poll,
    receive,
    send,
)
from tests.harness import OWN_CNODE, OWN_REPLY, OWN_SCHED_CONTEXT, OWN_TCB, Machine

NOTIFICATION = 5
NON_BLOCKING = [Syscall.NB_RECV, Syscall.NB_WAIT]
TWO_PHASE = [Syscall.NB_SEND_RECV, Syscall.NB_SEND_WAIT]


@pytest.fixture
def scene(machine: Machine) -> Pair:
    return pair(machine)


def test_NBSEND0001_dropped(scene: Pair) -> None:
    """NBSend to an endpoint where nobody waits goes on, and its message is gone."""
    got(scene.client.syscall(Syscall.NB_SEND, ENDPOINT, words=(1,)))
    assert receive(scene.server) is None


def test_NBSEND0002_delivered(scene: Pair) -> None:
    """NBSend to a waiting receiver delivers its message."""
    assert receive(scene.server) is None
    got(scene.client.syscall(Syscall.NB_SEND, ENDPOINT, words=(1, 2)))
    assert got(scene.server.completion()).words == (1, 2)


def test_NBSEND0003_behind_queued_senders(scene: Pair) -> None:
    """NBSend to an endpoint where senders wait is dropped; those stay."""
    other = scene.machine.thread("other")
    scene.machine.grant(other, scene.endpoint, ENDPOINT)
    assert send(other, (7,)) is None
    got(scene.client.syscall(Syscall.NB_SEND, ENDPOINT, words=(1,)))
    assert got(receive(scene.server)).words == (7,)
    assert receive(scene.server) is None


@pytest.mark.parametrize("cptr", [FREE, 1 << 60])
def test_NBSEND0004_bad_capability(machine: Machine, cptr: int) -> None:
    """NBSend by an address that does not resolve, or an empty slot, is silent: no error and no fault."""
    thread, handler = faulting(machine)
    assert got(thread.syscall(Syscall.NB_SEND, cptr, words=(1,))).info == 0
    assert got(next_fault(machine, handler)).badge == 0
    assert thread.state is ThreadState.RUNNING


def test_NBSEND0005_bad_extra_capability(scene: Pair) -> None:
    """NBSend with an extra capability that does not resolve is silent, and nothing is sent."""
    assert receive(scene.server) is None
    got(scene.client.syscall(Syscall.NB_SEND, ENDPOINT, words=(1,), caps=[1 << 60]))
    assert scene.server.completion() is None


def test_NBSEND0006_signal(machine: Machine) -> None:
    """NBSend on a notification signals it."""
    notification = machine.retype(ObjectType.NOTIFICATION)
    got(machine.root.syscall(Syscall.NB_SEND, machine.copy(notification, badge=3)))
    assert poll(machine, notification) == 3


@pytest.mark.parametrize("op", [Syscall.NB_SEND, Syscall.SEND])
def test_NBSEND0007_kernel_object(machine: Machine, op: int) -> None:
    """NBSend invokes a kernel object like Send, without an answer."""
    thread = machine.thread("thread")
    info = abi.message_info(Label.TCB_SUSPEND)
    assert got(machine.root.syscall(op, thread.cap, info)).info == 0
    assert thread.state is ThreadState.INACTIVE


@pytest.mark.parametrize("op", NON_BLOCKING)
def test_NBWAIT0001_nothing_there(scene: Pair, op: int) -> None:
    """NBRecv and NBWait at an idle endpoint give badge 0 and leave message info and registers alone."""
    info = abi.message_info(5, 4)
    done = got(scene.server.syscall(op, ENDPOINT, info, (1, 2, 3, 4), reply=OWN_REPLY))
    assert (done.badge, done.info, done.registers) == (0, info, (1, 2, 3, 4))


@pytest.mark.parametrize("op", NON_BLOCKING)
def test_NBWAIT0002_message_waits(machine: Machine, op: int) -> None:
    """NBRecv and NBWait take the message of a sender that waits."""
    scene = pair(machine, badge=6)
    assert send(scene.client, (1, 2)) is None
    done = got(scene.server.syscall(op, ENDPOINT, reply=OWN_REPLY))
    assert (done.badge, done.words) == (6, (1, 2))
    got(scene.client.completion())


def test_NBWAIT0003_call_waits(scene: Pair) -> None:
    """NBRecv takes a Call that waits, and its reply object answers it."""
    assert call(scene.client, (1,)) is None
    got(scene.server.syscall(Syscall.NB_RECV, ENDPOINT, reply=OWN_REPLY))
    got(scene.server.syscall(Syscall.SEND, OWN_REPLY, words=(2,)))
    assert got(scene.client.completion()).words == (2,)


def test_NBWAIT0004_other_receivers_wait(scene: Pair) -> None:
    """NBRecv where other receivers wait finds nothing and leaves them alone."""
    assert receive(scene.server) is None
    assert got(scene.client.syscall(Syscall.NB_RECV, ENDPOINT, reply=OWN_REPLY)).badge == 0
    assert scene.server.state is ThreadState.BLOCKED_ON_RECEIVE


@pytest.mark.parametrize("op", NON_BLOCKING)
def test_NBWAIT0005_notification(machine: Machine, op: int) -> None:
    """NBRecv and NBWait on a notification take its word, or give 0 at once."""
    notification = machine.retype(ObjectType.NOTIFICATION)
    assert got(machine.root.syscall(op, notification)).badge == 0
    send(machine.root, cptr=machine.copy(notification, badge=3))
    assert got(machine.root.syscall(op, notification)).badge == 3


@pytest.mark.parametrize("op", [*NON_BLOCKING, Syscall.WAIT, Syscall.RECV])
@pytest.mark.parametrize("cptr", [FREE, OWN_TCB])
def test_NBWAIT0006_not_receivable(machine: Machine, op: int, cptr: int) -> None:
    """Receiving by an empty slot or another kind of capability faults in the receive phase, blocking or not."""
    thread, handler = faulting(machine)
    assert thread.syscall(op, cptr, reply=OWN_REPLY) is None
    fault = got(next_fault(machine, handler))
    assert fault.label == FaultLabel.CAP_FAULT
    assert fault.words[1:] == (cptr, 1, LookupFailureKind.MISSING_CAPABILITY, 0)


def test_NBWAIT0007_used_reply_object(scene: Pair) -> None:
    """An NBRecv that finds nothing has stopped the caller that waited at its reply object all the same."""
    assert receive(scene.server) is None
    assert call(scene.client) is None
    got(scene.server.completion())
    assert got(scene.server.syscall(Syscall.NB_RECV, ENDPOINT, reply=OWN_REPLY)).badge == 0
    assert scene.client.state is ThreadState.INACTIVE


@pytest.mark.parametrize("op", TWO_PHASE)
def test_TWOPHASE0001_send_then_receive(scene: Pair, op: int) -> None:
    """NBSendRecv and NBSendWait send, and then wait at another endpoint or notification."""
    machine = scene.machine
    notification = machine.retype(ObjectType.NOTIFICATION)
    machine.grant(scene.client, notification, NOTIFICATION)
    assert receive(scene.server) is None
    assert scene.client.syscall(op, NOTIFICATION, words=(4,), dest=ENDPOINT, reply=OWN_REPLY) is None
    assert got(scene.server.completion()).words == (4,)
    assert scene.client.state is ThreadState.BLOCKED_ON_NOTIFICATION
    send(machine.root, cptr=machine.copy(notification, badge=9))
    assert got(scene.client.completion()).badge == 9


@pytest.mark.parametrize("op", TWO_PHASE)
@pytest.mark.parametrize("dest", [ENDPOINT, FREE, 1 << 60])
def test_TWOPHASE0002_first_phase_is_silent(scene: Pair, op: int, dest: int) -> None:
    """A first phase that reaches nobody, or does not resolve, is silent: the second goes on."""
    machine = scene.machine
    notification = machine.retype(ObjectType.NOTIFICATION)
    machine.grant(scene.client, notification, NOTIFICATION)
    send(machine.root, cptr=machine.copy(notification, badge=9))
    assert got(scene.client.syscall(op, NOTIFICATION, words=(4,), dest=dest, reply=OWN_REPLY)).badge == 9


@pytest.mark.parametrize(
    ("cptr", "label", "words", "caps"),
    [
        (OWN_TCB, Label.TCB_SET_TLS_BASE, (0x77,), ()),
        (OWN_CNODE, Label.CNODE_COPY, (FREE, 8, OWN_REPLY, 8, 15), (OWN_CNODE,)),
        (OWN_SCHED_CONTEXT, Label.SCHED_CONTEXT_CONSUMED, (), ()),
        (10, Label.SCHED_CONTROL_CONFIGURE_FLAGS, (777, 777, 0, 0, 0), (OWN_SCHED_CONTEXT,)),
        (11, Label.DOMAIN_SET, (1,), (OWN_TCB,)),
    ],
)
@pytest.mark.parametrize("op", TWO_PHASE)
def test_TWOPHASE0003_not_in_the_first_phase(
    machine: Machine, op: int, cptr: int, label: int, words: tuple[int, ...], caps: tuple[int, ...]
) -> None:
    """TCB, CNode, SchedContext, SchedControl and Domain cannot be invoked in a first phase; the error is swallowed."""
    scene = pair(machine)
    thread = scene.client
    machine.grant(thread, SCHED_CONTROL, 10)
    machine.grant(thread, InitialSlot.DOMAIN, 11)
    assert thread.tcb.sched_context is not None
    context = thread.tcb.sched_context
    with machine.ram.transaction():
        context.consumed = 4
    thread.syscall(op, ENDPOINT, words=words, label=label, caps=caps, dest=cptr, reply=OWN_REPLY)
    assert thread.state is ThreadState.BLOCKED_ON_RECEIVE
    assert machine.ram.word(thread.tcb.address + thread.tcb.REGISTERS + 8 * 18) == 0
    assert held_by(thread, FREE).is_null
    assert (context.consumed, context.budget, thread.tcb.domain) == (4, 5000, 0)


@pytest.mark.parametrize("op", TWO_PHASE)
def test_TWOPHASE0004_signal_first(scene: Pair, op: int) -> None:
    """The first phase may signal a notification."""
    machine = scene.machine
    notification = machine.retype(ObjectType.NOTIFICATION)
    machine.grant(scene.client, notification, NOTIFICATION, badge=2)
    assert scene.client.syscall(op, ENDPOINT, dest=NOTIFICATION, reply=OWN_REPLY) is None
    assert poll(machine, notification) == 2


def test_TWOPHASE0005_retype_first(machine: Machine) -> None:
    """The first phase may invoke untyped memory and interrupt handlers."""
    scene = pair(machine)
    memory = machine.retype(ObjectType.UNTYPED, 8)
    machine.grant(scene.client, memory, 10)
    words = (ObjectType.REPLY, 0, 0, 0, FREE, 1)
    scene.client.syscall(
        Syscall.NB_SEND_RECV,
        ENDPOINT,
        words=words,
        label=Label.UNTYPED_RETYPE,
        caps=[OWN_CNODE],
        dest=10,
        reply=OWN_REPLY,
    )
    assert not held_by(scene.client, FREE).is_null


@pytest.mark.parametrize("op", TWO_PHASE)
def test_TWOPHASE0006_reply_first(scene: Pair, op: int) -> None:
    """The first phase may answer a caller."""
    assert receive(scene.server) is None
    assert call(scene.client) is None
    got(scene.server.completion())
    assert scene.server.syscall(op, ENDPOINT, words=(6,), dest=OWN_REPLY, reply=OWN_REPLY) is None
    assert got(scene.client.completion()).words == (6,)


def test_TWOPHASE0007_receive_phase_faults(machine: Machine) -> None:
    """When the second phase faults the first has happened."""
    thread, handler = faulting(machine)
    notification = machine.retype(ObjectType.NOTIFICATION)
    machine.grant(thread, notification, NOTIFICATION, badge=2)
    assert thread.syscall(Syscall.NB_SEND_WAIT, FREE, dest=NOTIFICATION) is None
    assert poll(machine, notification) == 2
    assert got(next_fault(machine, handler)).words[1:3] == (FREE, 1)


def test_TWOPHASE0008_wait_brings_no_reply_object(scene: Pair) -> None:
    """NBSendWait receives without a reply object: a Call that it takes stops its caller."""
    assert call(scene.client, (1,)) is None
    assert got(scene.server.syscall(Syscall.NB_SEND_WAIT, ENDPOINT, dest=FREE, reply=OWN_REPLY)).words == (1,)
    assert scene.client.state is ThreadState.INACTIVE


def test_YIELD0001_completes(machine: Machine) -> None:
    """Yield needs no capability and ends without a result."""
    thread = machine.thread("thread")
    done = got(thread.syscall(Syscall.YIELD))
    assert (done.badge, done.info) == (0, 0)
