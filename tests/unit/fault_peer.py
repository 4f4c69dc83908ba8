"""A small pager for tests of faults: it takes a task's FAULT entries, maps pages by the control socket, and answers."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from libsel4py import abi
from libsel4py.abi import ControlOp, MapFlags, PageFault, Rights, Syscall
from tests.unit.cpu_peer import Entry, Peer, Task, next_entry, running, start

BASE = abi.MAPPING_BASE
PAGE = 1 << abi.FRAME_MIN_BITS
READ, WRITE = Rights.READ, Rights.WRITE
ENDED_BY_SIGNAL = 128


class Told(NamedTuple):
    """A FAULT entry."""

    address: int
    ip: int
    kind: PageFault

    @classmethod
    def of(cls, entry: Entry) -> Told:
        assert entry.op == Syscall.FAULT, entry
        return cls(entry.mr0, entry.mr1, PageFault(entry.mr2))


def memory(content: bytes = b"", size: int = PAGE) -> int:
    """A memfd that begins with these bytes."""
    fd = os.memfd_create("page")
    os.ftruncate(fd, size)
    os.pwrite(fd, content, 0)
    return fd


def map_page(task: Task, address: int, content: bytes = b"", rights: int = READ | WRITE, size: int = PAGE) -> None:
    """Map new memory and wait until it is there."""
    fd = memory(content, size)
    map_memory(task, address, fd, rights, size)
    os.close(fd)


def map_memory(task: Task, address: int, fd: int, rights: int = READ | WRITE, size: int = PAGE) -> None:
    assert task.ask(ControlOp.MAP, words=(address, size, rights, MapFlags.REPLACE), fds=(fd,)) == 0


def tell(peer: Peer, count: int) -> None:
    """Say in the frame how many MAP and UNMAP messages were sent to the process."""
    at = abi.MAPPINGS_TOLD
    peer.memory[at : at + 4] = count.to_bytes(4, "little")


def next_fault(peer: Peer, task: Task) -> tuple[Entry, Told]:
    entry = next_entry(peer, task)
    return entry, Told.of(entry)


def serve_pages(peer: Peer, task: Task, content: Callable[[int], bytes], rights: int = READ | WRITE) -> list[Told]:
    """Give each page that is asked for until the task ends; what was asked."""
    told = []
    while (entry := peer.wait_entry(task)) is not None:
        fault = Told.of(entry)
        told.append(fault)
        page = fault.address & -PAGE
        map_page(task, page, content(page), rights)
        peer.complete(entry.tag)
    return told


def run_threads(
    count: int, first: Callable[[], Any], serve: Callable[[Peer, Task], None], lock: threading.Lock
) -> None:
    """A task that runs ``first``, whose first system call waits until so many further threads of it have ended. Each is
    served by a thread of its own here; ``lock`` is held by whoever asks the keeper."""
    with running(first, with_keeper=True) as (peer, task), contextlib.ExitStack() as stack:
        waiting = next_entry(peer, task)
        others = [stack.enter_context(contextlib.closing(Peer())) for _ in range(count)]
        servers = [threading.Thread(target=serve, args=(other, task)) for other in others]
        for number, (other, server) in enumerate(zip(others, servers, strict=True)):
            with lock:
                assert start(task, other, number + 1) == 0
            server.start()
        for server in servers:
            server.join()
        peer.echo(waiting)
        task.result()


@contextlib.contextmanager
def logged(function: Callable[[], Any]) -> Iterator[tuple[Peer, Task, Callable[[], str]]]:
    """A task with a keeper, and what it has written to its stderr."""
    with tempfile.TemporaryFile() as log:

        def run() -> Any:
            os.dup2(log.fileno(), 2)
            return function()

        with running(run, with_keeper=True) as (peer, task):
            yield peer, task, lambda: os.pread(log.fileno(), 1 << 16, 0).decode()
