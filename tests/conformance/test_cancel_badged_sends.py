"""CNode_CancelBadgedSends: who is thrown out of the queue, and what becomes of it (manual 4.2.4)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py.abi import Error, InitialSlot, Label, ObjectType, Rights, Syscall
from tests.conformance.scenes import ENDPOINT, FREE, UNKNOWN_SYSCALL, got, next_fault, receive, send, senders
from tests.harness import THREAD_CNODE_BITS, Machine, Thread

CNODE = InitialSlot.CNODE


def cancel(machine: Machine, slot: int) -> int:
    return machine.root.invoke(CNODE, Label.CNODE_CANCEL_BADGED_SENDS, (slot, 64))[0]


def waiting(machine: Machine, badges: tuple[int, ...]) -> tuple[int, list[Thread]]:
    """Senders with these badges that wait at an endpoint."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    threads = [senders(machine, endpoint, (80,), badge)[0] for badge in badges]
    for thread, badge in zip(threads, badges, strict=True):
        assert send(thread, (badge,)) is None
    return endpoint, threads


def served(machine: Machine, endpoint: int) -> list[int]:
    """Badges of the messages that are still there."""
    badges = []
    while (done := got(next_fault(machine, endpoint))).badge:
        badges.append(done.badge)
    return badges


def drop(machine: Machine, thread: Thread) -> None:
    machine.root.call(thread.cnode, Label.CNODE_DELETE, (ENDPOINT, THREAD_CNODE_BITS))


def test_CANCEL_BADGED_SENDS0001_that_badge_alone(machine: Machine) -> None:
    """Senders with the badge are thrown out and those with other badges stay."""
    endpoint, threads = waiting(machine, (5, 6, 5, 7))
    canceller = machine.copy(endpoint, badge=5)
    drop(machine, threads[0])
    drop(machine, threads[2])
    assert cancel(machine, canceller) == Error.NO_ERROR
    assert served(machine, endpoint) == [6, 7]


def test_CANCEL_BADGED_SENDS0002_capability_gone(machine: Machine) -> None:
    """A thrown-out caller carries its Call out again, and finds its capability gone: InvalidCapability(0)."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    sender = senders(machine, endpoint, (80,), 5)[0]
    canceller = machine.copy(endpoint, badge=5)
    machine.grant(sender, canceller, FREE)
    assert sender.syscall(Syscall.CALL, FREE) is None
    machine.root.call(sender.cnode, Label.CNODE_DELETE, (FREE, THREAD_CNODE_BITS))
    assert cancel(machine, canceller) == Error.NO_ERROR
    done = got(sender.completion())
    assert (done.label, done.words) == (Error.INVALID_CAPABILITY, (0,))


def test_CANCEL_BADGED_SENDS0003_sender_with_capability_waits_again(machine: Machine) -> None:
    """A thrown-out sender that still has its capability sends again, behind those who waited."""
    endpoint, threads = waiting(machine, (5, 6))
    assert cancel(machine, machine.copy(endpoint, badge=5)) == Error.NO_ERROR
    assert threads[0].state is ThreadState.BLOCKED_ON_SEND
    assert served(machine, endpoint) == [6, 5]


def test_CANCEL_BADGED_SENDS0004_badge_zero(machine: Machine) -> None:
    """By an unbadged capability nothing is cancelled, and that is no error."""
    endpoint, threads = waiting(machine, (5, 6))
    assert cancel(machine, endpoint) == Error.NO_ERROR
    assert served(machine, endpoint) == [5, 6]
    assert len(threads) == 2


@pytest.mark.parametrize("missing", [Rights.READ, Rights.WRITE, Rights.GRANT, Rights.GRANT_REPLY])
def test_CANCEL_BADGED_SENDS0005_all_rights(machine: Machine, missing: Rights) -> None:
    """The capability needs all four rights, else IllegalOperation."""
    endpoint, _ = waiting(machine, (5,))
    assert cancel(machine, machine.copy(endpoint, Rights.ALL & ~missing, 5)) == Error.ILLEGAL_OPERATION
    assert served(machine, endpoint) == [5]


@pytest.mark.parametrize("object_type", [ObjectType.NOTIFICATION, ObjectType.TCB, None])
def test_CANCEL_BADGED_SENDS0006_endpoints_alone(machine: Machine, object_type: ObjectType | None) -> None:
    """Other capabilities and empty slots are refused with IllegalOperation."""
    slot = machine.new_slots() if object_type is None else machine.retype(object_type)
    assert cancel(machine, slot) == Error.ILLEGAL_OPERATION


def test_CANCEL_BADGED_SENDS0007_receivers_stay(machine: Machine) -> None:
    """Waiting receivers are not concerned."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    receiver = senders(machine, endpoint, (80,), 5)[0]
    assert receive(receiver) is None
    assert cancel(machine, machine.copy(endpoint, badge=5)) == Error.NO_ERROR
    assert receiver.state is ThreadState.BLOCKED_ON_RECEIVE


def test_CANCEL_BADGED_SENDS0008_faulting_thread_stops(machine: Machine) -> None:
    """A thread whose fault message waits with that badge becomes Inactive."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    handler = machine.copy(endpoint, badge=5)
    thread = machine.thread("faulter", fault_endpoint=handler)
    assert thread.syscall(UNKNOWN_SYSCALL) is None
    assert thread.state is ThreadState.BLOCKED_ON_SEND
    assert cancel(machine, handler) == Error.NO_ERROR
    assert thread.state is ThreadState.INACTIVE
    assert served(machine, endpoint) == []
