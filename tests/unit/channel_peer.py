"""A channel between two real processes, with the kernel's part played by the test: `Pair`, and `serve_kernel`.

The page is made as the kernel's host part makes it, handed to both keepers, and taken away by truncation.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import struct
from collections.abc import Callable, Iterator
from typing import Any

from hw import cpu, ring
from libsel4py import abi
from libsel4py.abi import ChannelRole, ControlOp, Status, Syscall
from tests.unit.cpu_peer import TIMEOUT_MS, Entry, Peer, Task

ENDPOINT = 20  # the server's address of its endpoint
CALLED = 30  # a client's
REPLY = 5
NUMBER = 77
BADGE = 0xBAD6E


def make_page() -> int:
    """A sealed memfd with an idle channel."""
    page = os.memfd_create("channel", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(page, abi.CHANNEL_BYTES)
    for offset, word in abi.CHANNEL_UNUSED.items():
        os.pwrite(page, struct.pack("<I", word), offset)
    fcntl.fcntl(page, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return page


def read_word(page: int, offset: int) -> int:
    """A u32 of the page; 0 once it was taken away."""
    data = os.pread(page, 4, offset)
    return int.from_bytes(data, "little")


class Kernel:
    """The kernel's end of one task: it keeps a posted receive, answers polls with nothing, and cancels."""

    def __init__(self, peer: Peer, task: Task) -> None:
        self.peer = peer
        self.task = task
        self.posted: Entry | None = None
        self.entries: list[Entry] = []
        self.queued: list[tuple[int, int, tuple[int, ...]]] = []

    def send(self, badge: int, label: int, *words: int) -> None:
        """A message for the task: delivered to its posted receive, or kept, with a hint."""
        message = (badge, abi.message_info(label, len(words)), words)
        if self.posted is not None:
            posted, self.posted = self.posted, None
            self.peer.complete(posted.tag, Status.DONE, *message)
        else:
            self.queued.append(message)
            ring.hint(self.peer.ram, 0)

    def pump(self) -> None:
        """Serve what the task has submitted."""
        while (entry := self.peer.take()) is not None:
            self._serve(entry)

    def _serve(self, entry: Entry) -> None:
        self.entries.append(entry)
        match entry.op:
            case Syscall.NB_RECV | Syscall.NB_WAIT if not self.queued:
                self.peer.complete(entry.tag, Status.EMPTY)
            case Syscall.RECV | Syscall.WAIT | Syscall.REPLY_RECV if not self.queued:
                self.posted = entry
            case Syscall.NB_RECV | Syscall.NB_WAIT | Syscall.RECV | Syscall.WAIT | Syscall.REPLY_RECV:
                self.peer.complete(entry.tag, Status.DONE, *self.queued.pop(0))
            case Syscall.CANCEL:
                if self.posted is not None:
                    posted, self.posted = self.posted, None
                    self.peer.complete(posted.tag, Status.CANCELLED)
                self.peer.complete(entry.tag, Status.DONE)
            case _:
                self.peer.echo(entry)


class Pair:
    """A client and a server task and the channels between them. The test is the kernel of both."""

    def __init__(self) -> None:
        self.stack = contextlib.ExitStack()
        self.kernels: list[Kernel] = []
        self.pages: list[int] = []

    def task(self, function: Callable[[], Any]) -> Kernel:
        """Start a task with a keeper."""
        peer = Peer()
        self.stack.callback(peer.close)
        task = PlayedTask(peer, function, self)
        self.stack.callback(task.close)
        kernel = Kernel(peer, task)
        self.kernels.append(kernel)
        return kernel

    def connect(self, client: Kernel, *servers: Kernel, number: int = NUMBER, badge: int = BADGE) -> int:
        """Hand a new channel's page to both sides; the servers are listeners 1, 2, …."""
        page = make_page()
        self.pages.append(page)
        self.stack.callback(os.close, page)
        for listener, server in enumerate(servers, 1):
            assert not self.open(server, page, ChannelRole.SERVER, number, badge, listener)
        assert not self.open(client, page, ChannelRole.CLIENT, number, badge, 0)
        return page

    def open(self, kernel: Kernel, page: int, role: ChannelRole, number: int, badge: int, listener: int) -> int:
        """The keeper's errno; 0 for a task that did all that it had to, and ended, before its keeper had answered."""
        try:
            return kernel.task.ask(ControlOp.CHANNEL, words=(number, role, badge, listener), fds=(page,))
        except (struct.error, BrokenPipeError, ConnectionResetError):
            assert kernel.task.has_ended(TIMEOUT_MS)
            return 0

    def revoke(self, page: int, *kernels: Kernel, number: int = NUMBER) -> None:
        """Take the page away and tell these keepers."""
        os.ftruncate(page, 0)
        for kernel in kernels:
            self.tell(kernel, ControlOp.CHANNEL_CLOSE, number)

    def tell(self, kernel: Kernel, op: ControlOp, *words: int) -> None:
        """Send a control message to a task that may end of it before its keeper has answered."""
        if not kernel.task.has_ended(0):
            with contextlib.suppress(struct.error, BrokenPipeError, ConnectionResetError):
                kernel.task.ask(op, words=words)

    def serve_until(self, *ended: Kernel) -> None:
        """Play the kernel until these tasks have ended."""
        self.serve_until_ended(*(kernel.task for kernel in ended))

    def serve_until_ended(self, *tasks: Task) -> None:
        waiting = {task.pidfd for task in tasks}
        poll = select.poll()
        for kernel in self.kernels:
            poll.register(kernel.peer.doorbell, select.POLLIN)
        for descriptor in waiting:
            poll.register(descriptor, select.POLLIN)
        while waiting:
            self.pump()
            ready = poll.poll(TIMEOUT_MS)
            assert ready, "nothing happens for a minute"
            for descriptor, _ in ready:
                if descriptor in waiting:
                    waiting.discard(descriptor)
                    poll.unregister(descriptor)
                else:
                    os.eventfd_read(descriptor)

    def pump(self) -> None:
        for kernel in self.kernels:
            kernel.pump()


class PlayedTask(Task):
    """A task that has a kernel for as long as its result is waited for."""

    def __init__(self, peer: Peer, function: Callable[[], Any], scene: Pair) -> None:
        super().__init__(peer, function, with_keeper=True)
        self._scene = scene

    def result(self) -> Any:
        self._scene.serve_until_ended(self)
        return super().result()


@contextlib.contextmanager
def pair() -> Iterator[Pair]:
    """A `Pair`; its tasks, frames and pages are gone afterwards, whatever happened."""
    scene = Pair()
    with scene.stack:
        yield scene


def listen() -> None:
    cpu.channel_listen(ENDPOINT)


def bind(number: int = NUMBER, cptr: int = CALLED) -> None:
    cpu.channel_bind(cptr, number, 10_000_000_000)


def call(info: int, *words: int, cptr: int = CALLED, timeout_ns: int = -1) -> tuple[int, ...]:
    mr = (*words, 0, 0, 0, 0)
    return cpu.trap(Syscall.CALL, cptr, info, mr[0], mr[1], mr[2], mr[3], 0, 0, timeout_ns)


def receive() -> tuple[int, ...]:
    return cpu.trap(Syscall.RECV, ENDPOINT, 0, 0, 0, 0, 0, REPLY)


def reply_receive(info: int, *words: int, timeout_ns: int = -1) -> tuple[int, ...]:
    mr = (*words, 0, 0, 0, 0)
    return cpu.trap(Syscall.REPLY_RECV, ENDPOINT, info, mr[0], mr[1], mr[2], mr[3], REPLY, 0, timeout_ns)
