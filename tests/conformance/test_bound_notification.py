"""Threads bound to a notification: one receive for messages and signals (manual 5.3; sel4test's BIND)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py import abi
from libsel4py.abi import Label, LookupFailureKind, ObjectType, Rights, Syscall
from tests.conformance.scenes import (
    ENDPOINT,
    FREE,
    NOTIFICATION,
    answer,
    bound,
    call,
    faulting,
    got,
    next_fault,
    pair,
    poll,
    receive,
    send,
    senders,
    signal,
)
from tests.harness import Machine


@pytest.fixture
def notification(machine: Machine) -> int:
    return machine.retype(ObjectType.NOTIFICATION)


def test_BIND0001_signal_ends_receive(machine: Machine, notification: int) -> None:
    """A signal ends the receive of the bound thread, which gets the badge and no message."""
    thread, _ = bound(machine, notification)
    assert thread.syscall(Syscall.RECV, ENDPOINT, abi.message_info(9, 1), (5,), reply=thread.reply) is None
    signal(machine, notification, 12)
    done = got(thread.completion())
    assert (done.badge, done.info, done.words) == (12, abi.message_info(9, 1), (5,))


def test_BIND0002_pending_during_reply(machine: Machine, notification: int) -> None:
    """While the bound thread waits for a reply a signal stays pending, and comes with its next receive."""
    thread, endpoint = bound(machine, notification)
    assert call(thread) is None
    signal(machine, notification, 12)
    assert thread.completion() is None
    server = machine.thread("server")
    machine.grant(server, endpoint, ENDPOINT)
    got(receive(server))
    signal(machine, notification, 1)
    assert thread.state is ThreadState.BLOCKED_ON_REPLY
    answer(server, (3,))
    assert got(thread.completion()).words == (3,)
    assert got(receive(thread)).badge == 13


def test_BIND0003_beats_queued_senders(machine: Machine, notification: int) -> None:
    """A pending signal comes before messages that wait."""
    thread, endpoint = bound(machine, notification)
    sender = senders(machine, endpoint, (80,), badge=77)[0]
    assert send(sender, (1,)) is None
    signal(machine, notification, 12)
    assert got(receive(thread)).badge == 12
    assert got(receive(thread)).badge == 77


def test_BIND0004_only_the_bound_thread_waits(machine: Machine, notification: int) -> None:
    """A bound notification can be waited on by its thread alone; others fault in the receive phase."""
    thread, _ = bound(machine, notification)
    other, handler = faulting(machine)
    machine.grant(other, notification, NOTIFICATION)
    assert other.syscall(Syscall.WAIT, NOTIFICATION) is None
    assert got(next_fault(machine, handler)).words[1:4] == (NOTIFICATION, 1, LookupFailureKind.MISSING_CAPABILITY)
    assert thread.syscall(Syscall.WAIT, NOTIFICATION) is None
    signal(machine, notification, 5)
    assert got(thread.completion()).badge == 5


def test_BIND0005_unbind(machine: Machine, notification: int) -> None:
    """After UnbindNotification signals do not end the thread's receives any more."""
    thread, _ = bound(machine, notification)
    assert receive(thread) is None
    machine.root.call(thread.cap, Label.TCB_UNBIND_NOTIFICATION)
    signal(machine, notification, 5)
    assert thread.state is ThreadState.BLOCKED_ON_RECEIVE
    assert poll(machine, notification) == 5


def test_BIND0006_deleted_notification(machine: Machine) -> None:
    """A notification that is deleted is unbound; the thread can be bound to another."""
    memory = machine.retype(ObjectType.UNTYPED, 6)
    thread, _ = bound(machine, machine.retype(ObjectType.NOTIFICATION, untyped=memory))
    assert receive(thread) is None
    machine.revoke(memory)
    assert thread.state is ThreadState.BLOCKED_ON_RECEIVE
    other = machine.retype(ObjectType.NOTIFICATION)
    machine.root.call(thread.cap, Label.TCB_BIND_NOTIFICATION, (), [other])
    signal(machine, other, 5)
    assert got(thread.completion()).badge == 5


def test_BIND0007_deleted_thread(machine: Machine, notification: int) -> None:
    """A thread that is deleted is unbound; the notification can be bound to another."""
    thread, _ = bound(machine, notification)
    machine.revoke(thread.cap)
    machine.delete(thread.cap)
    other, _ = bound(machine, notification)
    assert receive(other) is None
    signal(machine, notification, 5)
    assert got(other.completion()).badge == 5


def test_BIND0008_reply_object_is_free_again(machine: Machine, notification: int) -> None:
    """A receive that a signal ended leaves its reply object free for others."""
    thread, _ = bound(machine, notification)
    assert receive(thread) is None
    signal(machine, notification, 5)
    got(thread.completion())
    other = machine.thread("other")
    machine.grant(other, machine.retype(ObjectType.ENDPOINT), ENDPOINT)
    machine.root.call(other.cnode, Label.CNODE_COPY, (FREE, 8, thread.reply, 8, 15), [thread.cnode])
    assert other.syscall(Syscall.RECV, ENDPOINT, reply=FREE) is None
    assert thread.state is ThreadState.RUNNING


def test_BIND0009_other_waits_are_not_ended(machine: Machine, notification: int) -> None:
    """A signal does not end the bound thread's Wait on another notification, nor its Send."""
    thread, _ = bound(machine, notification)
    machine.grant(thread, machine.retype(ObjectType.NOTIFICATION), FREE)
    assert thread.syscall(Syscall.WAIT, FREE) is None
    signal(machine, notification, 5)
    assert thread.state is ThreadState.BLOCKED_ON_NOTIFICATION
    assert thread.completion() is None


def test_BIND0010_nonblocking_receive(machine: Machine, notification: int) -> None:
    """A non-blocking receive of the bound thread takes a pending signal as well."""
    thread, _ = bound(machine, notification)
    signal(machine, notification, 5)
    assert got(thread.syscall(Syscall.NB_RECV, ENDPOINT, reply=thread.reply)).badge == 5
    assert got(thread.syscall(Syscall.NB_RECV, ENDPOINT, reply=thread.reply)).badge == 0


@pytest.mark.parametrize("rights", range(16))
def test_BIND0011_needs_read(machine: Machine, notification: int, rights: int) -> None:
    """Binding needs Read on the notification: IllegalOperation without it."""
    thread = machine.thread("thread")
    limited = machine.copy(notification, rights)
    error, _ = machine.root.invoke(thread.cap, Label.TCB_BIND_NOTIFICATION, (), [limited])
    assert error == (0 if rights & Rights.READ else abi.Error.ILLEGAL_OPERATION)


def test_BIND0012_message_after_signal(machine: Machine, notification: int) -> None:
    """A bound server takes messages and signals by one receive, in turn."""
    scene = pair(machine, badge=8)
    machine.root.call(scene.server.cap, Label.TCB_BIND_NOTIFICATION, (), [notification])
    assert receive(scene.server) is None
    assert call(scene.client, (1,)) is None
    assert got(scene.server.completion()).badge == 8
    signal(machine, notification, 16)
    done = scene.server.syscall(Syscall.REPLY_RECV, ENDPOINT, words=(2,), reply=scene.server.reply)
    assert got(done).badge == 16
    assert got(scene.client.completion()).words == (2,)
