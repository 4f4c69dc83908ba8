"""The monitor and its kernels where there are many descriptors: a frame that was handed out is one of each."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from hw.kernel_process import KernelProcess
from kerneld.host.fd_store import FdStore

HIGH = 1500  # above what select(2) takes


@pytest.fixture(autouse=True)
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * HIGH), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def high(descriptor: int) -> int:
    """The same under a high number. The one that was given is closed."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH)
    os.close(descriptor)
    return copy


def test_a_kernel_is_ended_whatever_its_descriptor_s_number() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        KernelProcess(process.pid, high(os.pidfd_open(process.pid)), ours).end()
        assert process.wait() == -signal.SIGKILL


class Crowded(socket.socket):
    """Somebody begins to read when it was full."""

    reader: threading.Thread

    def send(self, data: bytes) -> int:  # type: ignore[override]  # the store sends bytes
        try:
            return super().send(data)
        except BlockingIOError:
            self.reader.start()
            raise


def test_a_store_whose_socket_is_full_waits_whatever_that_socket_s_number() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = asyncio.new_event_loop()
    with theirs, Crowded(fileno=high(ours.detach())) as channel:
        store = FdStore(channel, loop)
        count = 0
        with contextlib.suppress(BlockingIOError):
            while socket.socket.send(channel, b"x"):
                count += 1
        channel.reader = threading.Thread(target=lambda: [theirs.recv(10) for _ in range(count)])
        store.note("key", 1)
        channel.reader.join()
        assert b"key" in theirs.recv(100)
    loop.close()
