"""What a thread waits for comes by a socket of its own, and it lays that itself; or the keeper, if there first."""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from libsel4py.abi import ControlOp, MapFlags, Rights
from tests.unit.cpu_peer import Peer, Task, next_entry, running, wait_forever
from tests.unit.fault_peer import BASE, PAGE, memory, next_fault, tell

BOTH = Rights.READ | Rights.WRITE
MESSAGE = struct.Struct("<4I6Q")


class Awake:
    """The kernel's end of that socket. Each mapping has its number among all."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            theirs.setblocking(False)
            assert task.ask(ControlOp.AWAKE, fds=(theirs.fileno(),)) == 0

    def map(self, number: int, address: int, content: bytes, size: int = PAGE) -> None:
        descriptor = memory(content)
        flags = MapFlags.REPLACE | MapFlags.QUIET
        data = MESSAGE.pack(ControlOp.MAP, 1000 + number, 0, 0, address, size, BOTH, flags, number, 0)
        socket.send_fds(self._ours, [data], [descriptor])
        os.close(descriptor)

    def close(self) -> None:
        self._ours.close()


def map_by_keeper(task: Task, number: int, address: int, content: bytes) -> None:
    descriptor = memory(content)
    assert task.ask(ControlOp.MAP, words=(address, PAGE, BOTH, MapFlags.REPLACE, number), fds=(descriptor,)) == 0
    os.close(descriptor)


def page(number: int) -> memoryview:
    return memoryview(cpu.Mapping(BASE + number * PAGE, PAGE, True))


@contextlib.contextmanager
def served(function: Callable[[], Any]) -> Iterator[tuple[Peer, Task, Awake]]:
    """A task that waits for nothing before the socket is there."""

    def run() -> Any:
        wait_forever()
        return function()

    with running(run, with_keeper=True) as (peer, task):
        entry = next_entry(peer, task)
        with contextlib.closing(Awake(task)) as awake:
            peer.echo(entry)
            yield peer, task, awake


def test_a_thread_lays_what_its_fault_was_answered_by() -> None:
    with served(lambda: page(0)[3] + page(1)[3]) as (peer, task, awake):
        for number in (1, 2):
            entry, fault = next_fault(peer, task)
            assert fault.address == BASE + (number - 1) * PAGE + 3
            awake.map(number, fault.address & -PAGE, bytes([0, 0, 0, 20 * number]))
            tell(peer, number)
            peer.complete(entry.tag)
        assert task.result() == 60


def test_all_that_was_told_is_laid_for_one_fault() -> None:
    with served(lambda: [page(number)[0] for number in range(20)]) as (peer, task, awake):
        entry, _ = next_fault(peer, task)
        for number in range(20):
            awake.map(number + 1, BASE + number * PAGE, bytes([number]))
        tell(peer, 20)
        peer.complete(entry.tag)
        assert task.result() == list(range(20))


def test_the_keeper_does_before_what_was_sent_before() -> None:
    with served(lambda: page(0)[0]) as (peer, task, awake):
        entry, _ = next_fault(peer, task)
        awake.map(1, BASE, b"\1")
        map_by_keeper(task, 2, BASE, b"\2")
        tell(peer, 2)
        peer.complete(entry.tag)
        assert task.result() == 2


def test_an_unmapping_ends_what_was_laid_before_it() -> None:
    def run() -> int:
        first = page(0)[0]
        wait_forever()
        return first + page(0)[0]

    with served(run) as (peer, task, awake):
        entry, _ = next_fault(peer, task)
        awake.map(1, BASE, b"\1")
        tell(peer, 1)
        peer.complete(entry.tag)
        entry = next_entry(peer, task)
        awake.map(2, BASE, b"\2")
        assert task.ask(ControlOp.UNMAP, words=(BASE, PAGE, 0, 0, 3)) == 0
        tell(peer, 3)
        peer.echo(entry)
        entry, _ = next_fault(peer, task)
        awake.map(4, BASE, b"\4")
        tell(peer, 4)
        peer.complete(entry.tag)
        assert task.result() == 5


def test_a_thread_waits_for_what_the_keeper_was_told_before() -> None:
    with served(lambda: page(0)[0] + page(1)[0]) as (peer, task, awake):
        entry, _ = next_fault(peer, task)
        awake.map(2, BASE, b"\2")
        tell(peer, 2)
        peer.complete(entry.tag)
        descriptor = memory(b"\1")
        # The task may have ended before the keeper answers.
        task.tell(ControlOp.MAP, words=(BASE + PAGE, PAGE, BOTH, MapFlags.REPLACE, 1), fds=(descriptor,))
        os.close(descriptor)
        assert task.result() == 3


def test_what_another_kernel_has_told_again_is_not_done_twice() -> None:
    with served(lambda: page(0)[0] + page(1)[0]) as (peer, task, awake):
        entry, _ = next_fault(peer, task)
        awake.map(1, BASE, b"\1")  # it dies before it says so in the frame
        map_by_keeper(task, 1, BASE, b"\1")
        map_by_keeper(task, 2, BASE, b"\2")
        awake.map(2, BASE, b"\3")
        awake.map(3, BASE + PAGE, b"\4")
        tell(peer, 3)
        peer.complete(entry.tag)
        assert task.result() == 6


def test_what_came_by_a_socket_before_is_laid() -> None:
    with served(lambda: page(0)[0] + page(1)[0]) as (peer, task, awake):
        entry, _ = next_fault(peer, task)
        awake.map(1, BASE, b"\1")
        awake.close()
        with contextlib.closing(Awake(task)) as second:
            second.map(2, BASE + PAGE, b"\2")
            tell(peer, 2)
            peer.complete(entry.tag)
            assert task.result() == 3


def test_what_cannot_be_laid_is_answered() -> None:
    with served(lambda: page(0)[0]) as (peer, task, awake):
        entry, _ = next_fault(peer, task)
        awake.map(1, BASE + 1, b"\1")
        awake.map(2, BASE, b"\2")
        tell(peer, 2)
        peer.complete(entry.tag)
        assert task.result() == 2
        answer = MESSAGE.unpack(task.control.recv(abi.CONTROL_BYTES))
        assert (answer[:2], answer[4]) == ((ControlOp.DONE, 1001), errno.EINVAL)


@pytest.mark.parametrize("op", [ControlOp.UNMAP, ControlOp.PARK, 99])
def test_only_mappings_come_by_it(op: int) -> None:
    with served(lambda: page(0)[0]) as (peer, task, awake):
        entry, _ = next_fault(peer, task)
        awake._ours.send(MESSAGE.pack(op, 1001, 0, 0, BASE, PAGE, 0, 0, 1, 0))
        awake.map(2, BASE, b"\2")
        tell(peer, 2)
        peer.complete(entry.tag)
        assert task.result() == 2
        answer = MESSAGE.unpack(task.control.recv(abi.CONTROL_BYTES))
        assert (answer[:2], answer[4]) == ((ControlOp.DONE, 1001), errno.EINVAL)


def test_it_takes_a_descriptor() -> None:
    with running(lambda: wait_forever() and 1, with_keeper=True) as (peer, task):
        entry = next_entry(peer, task)
        assert task.ask(ControlOp.AWAKE) == errno.EINVAL
        peer.echo(entry)
        task.result()
