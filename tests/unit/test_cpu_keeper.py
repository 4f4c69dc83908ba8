"""The keeper: threads, mappings, and the end of the control socket. Parking: test_cpu_park.py."""

import contextlib
import errno
import itertools
import os
import socket
import sys
import threading
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from tests.unit.cpu_peer import FRAME_BYTES, Peer, Task, next_entry, running, start, wait_forever

CALL, RECV, EXIT = abi.Syscall.CALL, abi.Syscall.RECV, abi.Syscall.EXIT
THREAD, PARK, UNPARK, MAP, UNMAP = (abi.ControlOp(number) for number in range(1, 6))
WRITE, READ = abi.Rights.WRITE, abi.Rights.READ
ADDRESS = 0x10_0000_0000
EXIT_DROPPED = 113


def test_a_thread_runs_its_entry_and_tells_its_end() -> None:
    def entry(thread: int, image: int, *arguments: int) -> int:
        return sum(cpu.trap(CALL, thread, image, *arguments[:4])[3:]) + arguments[5]

    def first() -> Any:
        cpu.set_thread_entry(entry)
        return wait_forever()

    with running(first, with_keeper=True) as (peer, task), contextlib.closing(Peer()) as other:
        waiting = next_entry(peer, task)
        assert start(task, other, 3, 10, 20, 30, 40, 50, 60) == 0
        assert {str(task.pid), str(task.answered)} < set(os.listdir(f"/proc/{task.pid}/task"))
        assert task.answered != task.pid
        call = next_entry(other, task)
        assert call[2:8] == (3, 5, 10, 20, 30, 40)
        other.echo(call)
        ended = next_entry(other, task)
        assert (ended.op, ended.mr0) == (EXIT, 160)
        peer.echo(waiting)
        task.result()


def deep(_thread: int, _image: int, depth: int, *_rest: int) -> None:
    nest: list[Any] = []
    for _ in range(depth):
        nest = [nest]
    repr(nest)


def fail(*_arguments: int) -> None:
    raise ValueError("as ordered")


def leave(*_arguments: int) -> None:
    sys.exit(7)


@pytest.mark.parametrize(("entry", "status"), [(deep, 1), (fail, 1), (leave, 7)])
def test_an_exception_ends_the_thread_alone(entry: Any, status: int) -> None:
    def first() -> Any:
        with open(os.memfd_create("stderr"), "w+") as sys.stderr:
            cpu.set_thread_entry(entry)
            wait_forever()
            sys.stderr.seek(0)
            return sys.stderr.read()

    with running(first, with_keeper=True) as (peer, task), contextlib.closing(Peer()) as other:
        waiting = next_entry(peer, task)
        assert start(task, other, 1, 100_000) == 0
        ended = next_entry(other, task)
        assert (ended.op, ended.mr0) == (EXIT, status)
        peer.echo(waiting)
        text = task.result()
        assert ("Traceback" in text) == (status == 1)


def test_threads_trap_side_by_side() -> None:
    def entry(thread: int, *_: int) -> int:
        return sum(cpu.trap(CALL, i, 0, thread, 0, 0, 0)[3] for i in range(300))

    def first() -> Any:
        cpu.set_thread_entry(entry)
        return wait_forever()

    def serve(other: Peer, task: Task, ends: list[int]) -> None:
        while (call := next_entry(other, task)).op != EXIT:
            other.echo(call)
        ends.append(call.mr0)

    with running(first, with_keeper=True) as (peer, task), contextlib.ExitStack() as stack:
        waiting = next_entry(peer, task)
        others = [stack.enter_context(contextlib.closing(Peer())) for _ in range(3)]
        ends: list[int] = []
        servers = [threading.Thread(target=serve, args=(other, task, ends)) for other in others]
        for number, (other, server) in enumerate(zip(others, servers, strict=True)):
            assert start(task, other, number + 1) == 0
            server.start()
        for server in servers:
            server.join()
        assert sorted(ends) == [300, 600, 900]
        peer.echo(waiting)
        task.result()


def test_a_thread_is_refused_with_a_reason() -> None:
    def first() -> Any:
        wait_forever()
        cpu.set_thread_entry(lambda *_: cpu.trap(RECV, 0, 0, 0, 0, 0, 0)[0])
        return wait_forever()

    with running(first, with_keeper=True) as (peer, task), contextlib.closing(Peer()) as other:
        waiting = next_entry(peer, task)
        assert start(task, other, 1) == errno.ENOEXEC
        peer.echo(waiting)
        waiting = next_entry(peer, task)
        assert start(task, other, 0) == errno.EEXIST
        assert task.ask(THREAD, 1, 0, (), (other.frame_fd,)) == errno.EINVAL
        short = os.memfd_create("short")
        assert task.ask(THREAD, 1, 0, (), (short, other.doorbell)) == errno.EINVAL
        os.close(short)
        for wrong in (0, abi.ControlOp.DONE, 99):
            assert task.ask(wrong) == errno.EINVAL
        peer.echo(waiting)
        task.result()


def test_started_and_ended_threads_leave_nothing() -> None:
    def first() -> Any:
        cpu.set_thread_entry(lambda *_: None)
        wait_forever()
        before = len(os.listdir("/proc/self/fd"))
        wait_forever()
        return len(os.listdir("/proc/self/fd")) - before

    with running(first, with_keeper=True) as (peer, task):
        numbers = itertools.count(1)
        for _ in range(2):
            waiting = next_entry(peer, task)
            for number in itertools.islice(numbers, abi.CONTROL_THREADS + 10):
                with contextlib.closing(Peer()) as other:
                    while (error := start(task, other, number)) == errno.EAGAIN:
                        os.sched_yield()
                    assert error == 0
                    assert next_entry(other, task).op == EXIT
            peer.echo(waiting)
        assert task.result() <= 1  # the last thread may be about to close its doorbell


def peek_and_poke() -> Any:
    """Obeys the frame's calls: badge = address; info 1 = write. Ends at badge 0."""
    import ctypes

    cpu_word = cpu.trap(CALL, 0, 0, 0, 0, 0, 0)
    while cpu_word[1]:
        cell = ctypes.c_uint64.from_address(cpu_word[1])
        if cpu_word[2]:
            cell.value = cpu_word[3]
        cpu_word = cpu.trap(CALL, cell.value, 0, 0, 0, 0, 0)


def test_memory_is_mapped_replaced_and_taken_away() -> None:
    memory = [os.memfd_create(name) for name in ("one", "two")]
    for number, fd in enumerate(memory):
        os.ftruncate(fd, 8192)
        os.pwrite(fd, (number + 1).to_bytes(8, "little"), 4096)
    with running(peek_and_poke, with_keeper=True) as (peer, task):
        entry = next_entry(peer, task)

        def touch(address: int, write: int | None = None) -> int:
            nonlocal entry
            peer.complete(entry.tag, badge=address, info=write is not None, mrs=(write or 0,))
            entry = next_entry(peer, task)
            return entry.cptr

        assert task.ask(MAP, words=(ADDRESS, 8192, READ | WRITE), fds=(memory[0],)) == 0
        assert touch(ADDRESS + 4096) == 1
        assert touch(ADDRESS, 99) == 99
        assert os.pread(memory[0], 1, 0) == b"c"
        assert task.ask(MAP, words=(ADDRESS, 8192, READ), fds=(memory[1],)) == errno.EEXIST
        assert touch(ADDRESS) == 99
        assert task.ask(MAP, words=(ADDRESS, 8192, READ, abi.MapFlags.REPLACE), fds=(memory[1],)) == 0
        assert touch(ADDRESS + 4096) == 2
        assert task.ask(UNMAP, words=(ADDRESS, 8192, 0, abi.MapFlags.RESERVE)) == 0
        assert task.ask(MAP, words=(ADDRESS, 8192, READ), fds=(memory[0],)) == errno.EEXIST
        assert task.ask(UNMAP, words=(ADDRESS, 8192)) == 0
        assert task.ask(MAP, words=(ADDRESS, 8192, READ), fds=(memory[0],)) == 0
        assert touch(ADDRESS) == 99
        assert task.ask(MAP, words=(ADDRESS + 1, 8192, READ), fds=(memory[0],)) == errno.EINVAL
        assert task.ask(MAP, words=(ADDRESS, 8192, READ)) == errno.EINVAL
        peer.complete(entry.tag)
        task.result()
    for fd in memory:
        os.close(fd)


def test_a_quiet_mapping_is_answered_where_it_fails_alone() -> None:
    """`Task.ask` sees that the first answer is that to its own request."""
    flags = abi.MapFlags.REPLACE | abi.MapFlags.QUIET

    with running(wait_forever, with_keeper=True) as (peer, task):
        waiting = next_entry(peer, task)
        for _ in range(3):
            task.tell(MAP, words=(ADDRESS, FRAME_BYTES, READ, flags), fds=(peer.frame_fd,))
        assert task.ask(MAP, words=(ADDRESS, FRAME_BYTES, READ), fds=(peer.frame_fd,)) == errno.EEXIST
        assert task.ask(MAP, words=(ADDRESS + 1, FRAME_BYTES, READ, flags), fds=(peer.frame_fd,)) == errno.EINVAL
        assert task.ask(UNMAP, words=(ADDRESS, FRAME_BYTES, 0, flags)) == 0
        peer.echo(waiting)
        task.result()


def test_the_keeper_closes_what_it_is_sent() -> None:
    def first() -> Any:
        wait_forever()
        before = sorted(os.listdir("/proc/self/fd"))
        wait_forever()
        return before == sorted(os.listdir("/proc/self/fd"))

    with running(first, with_keeper=True) as (peer, task):
        peer.echo(next_entry(peer, task))
        waiting = next_entry(peer, task)
        for _ in range(100):
            task.ask(MAP, words=(ADDRESS, FRAME_BYTES, READ, abi.MapFlags.REPLACE), fds=(peer.frame_fd,))
            task.ask(99, fds=(peer.frame_fd,) * 3)
            task.ask(MAP, fds=(peer.frame_fd,) * 4)
        peer.echo(waiting)
        assert task.result()


def test_the_end_of_the_control_socket_ends_the_process() -> None:
    with running(wait_forever, with_keeper=True) as (peer, task):
        next_entry(peer, task)
        task.control.shutdown(socket.SHUT_RDWR)
        assert os.waitstatus_to_exitcode(task.reap()) == EXIT_DROPPED


def test_a_thread_that_is_asked_for_twice_is_started_once() -> None:
    """A kernel that is started again does not know what came of the last one's request."""

    def first() -> None:
        cpu.set_thread_entry(lambda *_: None)
        wait_forever()

    with running(first, with_keeper=True) as (peer, task), contextlib.closing(Peer()) as other:
        waiting = next_entry(peer, task)
        assert start(task, other, 3) == 0
        assert next_entry(other, task).op == EXIT
        assert start(task, other, 3) == errno.EEXIST
        assert start(task, other, 2) == errno.EEXIST
        peer.echo(waiting)
