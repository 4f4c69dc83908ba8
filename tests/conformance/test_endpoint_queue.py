"""Endpoint queues: by priority, first come first served within one (MCS), and how threads leave them."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py.abi import InitialSlot, Label, ObjectType, Syscall
from tests.conformance.scenes import ENDPOINT, got, receive, send, senders
from tests.harness import Machine, Thread


def set_priority(machine: Machine, thread: Thread, priority: int) -> None:
    machine.root.call(thread.cap, Label.TCB_SET_PRIORITY, (priority,), [InitialSlot.TCB])


def queue_up(machine: Machine, priorities: tuple[int, ...]) -> tuple[int, list[Thread]]:
    """Senders that wait at an endpoint, queued in this order; each one's word is its number."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    threads = senders(machine, endpoint, priorities)
    for number, thread in enumerate(threads):
        assert send(thread, (number,)) is None
    return endpoint, threads


def take_all(machine: Machine, endpoint: int, count: int) -> list[int]:
    """The words of the messages in the order in which they come."""
    return [got(machine.root.syscall(Syscall.RECV, endpoint, reply=machine.root.reply)).words[0] for _ in range(count)]


def receivers(machine: Machine, priorities: tuple[int, ...]) -> tuple[int, list[Thread]]:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    threads = senders(machine, endpoint, priorities)
    for thread in threads:
        assert receive(thread) is None
    return endpoint, threads


def give_all(machine: Machine, endpoint: int, threads: list[Thread]) -> list[int]:
    """The numbers of the receivers in the order in which they are served."""
    order = []
    for _ in threads:
        got(send(machine.root, cptr=endpoint))
        order += [number for number, thread in enumerate(threads) if thread.completion() is not None]
    return order


def test_EPQUEUE0001_senders_by_priority(machine: Machine) -> None:
    """Waiting senders are served by priority, highest first."""
    endpoint, _ = queue_up(machine, (50, 90, 70, 100))
    assert take_all(machine, endpoint, 4) == [3, 1, 2, 0]


def test_EPQUEUE0002_senders_first_come(machine: Machine) -> None:
    """Waiting senders of one priority are served in the order in which they came."""
    endpoint, _ = queue_up(machine, (80, 80, 90, 80, 90))
    assert take_all(machine, endpoint, 5) == [2, 4, 0, 1, 3]


def test_EPQUEUE0003_receivers_by_priority(machine: Machine) -> None:
    """Waiting receivers are served by priority, highest first."""
    endpoint, threads = receivers(machine, (50, 90, 70, 100))
    assert give_all(machine, endpoint, threads) == [3, 1, 2, 0]


def test_EPQUEUE0004_receivers_first_come(machine: Machine) -> None:
    """Waiting receivers of one priority are served in the order in which they came."""
    endpoint, threads = receivers(machine, (80, 80, 90, 80))
    assert give_all(machine, endpoint, threads) == [2, 0, 1, 3]


@pytest.mark.parametrize(("priority", "order"), [(95, [1, 0, 2]), (65, [0, 2, 1]), (90, [0, 1, 2]), (70, [0, 2, 1])])
def test_EPQUEUE0005_priority_change_requeues(machine: Machine, priority: int, order: list[int]) -> None:
    """A waiting sender whose priority changes moves to its new place, behind those of the same priority."""
    endpoint, threads = queue_up(machine, (90, 80, 70))
    set_priority(machine, threads[1], priority)
    assert take_all(machine, endpoint, 3) == order


def test_EPQUEUE0006_priority_change_requeues_receiver(machine: Machine) -> None:
    """A waiting receiver whose priority changes moves to its new place."""
    endpoint, threads = receivers(machine, (90, 80, 70))
    set_priority(machine, threads[2], 100)
    assert give_all(machine, endpoint, threads) == [2, 0, 1]


def test_EPQUEUE0007_suspended_thread_leaves(machine: Machine) -> None:
    """A suspended thread leaves the queue; the others keep their order."""
    endpoint, threads = queue_up(machine, (80, 80, 80))
    machine.root.call(threads[1].cap, Label.TCB_SUSPEND)
    assert threads[1].state is ThreadState.INACTIVE
    assert take_all(machine, endpoint, 2) == [0, 2]


@pytest.mark.parametrize("position", [0, 1, 2])
def test_EPQUEUE0008_deleted_thread_leaves(machine: Machine, position: int) -> None:
    """A deleted thread leaves the queue, from any place in it."""
    endpoint, threads = queue_up(machine, (80, 80, 80))
    victim = threads[position]
    machine.revoke(victim.cap)
    machine.delete(victim.cap)
    assert take_all(machine, endpoint, 2) == [number for number in range(3) if number != position]


def test_EPQUEUE0009_idle_again(machine: Machine) -> None:
    """An endpoint whose last receiver left can be sent on: the sender waits."""
    endpoint, threads = receivers(machine, (80,))
    machine.root.call(threads[0].cap, Label.TCB_SUSPEND)
    sender = senders(machine, endpoint, (70,))[0]
    assert send(sender, (5,)) is None
    assert sender.state is ThreadState.BLOCKED_ON_SEND
    assert take_all(machine, endpoint, 1) == [5]


def test_EPQUEUE0010_capability_moves_while_waiting(machine: Machine) -> None:
    """A waiting sender stays in the queue when the capability that it sent by is deleted, and its badge stays."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    sender = senders(machine, endpoint, (80,), badge=9)[0]
    assert send(sender, (1,)) is None
    machine.root.call(sender.cnode, Label.CNODE_DELETE, (ENDPOINT, 8))
    done = got(machine.root.syscall(Syscall.RECV, endpoint, reply=machine.root.reply))
    assert (done.badge, done.words) == (9, (1,))
