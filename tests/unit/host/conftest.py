"""A real zygote, and what it needs."""

from __future__ import annotations

import asyncio
import gc
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from kerneld.host.zygote_link import StartRequest, ZygoteLink
from libsel4py import abi

ROOT = Path(__file__).resolve().parents[3]
BEHAVIOUR = "tests.system.images.behaviour"
BROKEN = "tests.system.images.broken"
BROKEN_AT_LENGTH = "tests.system.images.broken_at_length"
PRELOADED = (BEHAVIOUR, BROKEN, BROKEN_AT_LENGTH)
SECONDS = 30


class Nursery:
    """A zygote's other end; `pid` is the zygote's. `ended` maps process numbers to wait statuses, `tried` to forbidden
    calls.
    """

    def __init__(self, channel: socket.socket, logs: Path, pid: int) -> None:
        self.pid = pid
        self.logs = logs
        self.ended: dict[int, int] = {}
        self.tried: dict[int, str] = {}
        self.lost = asyncio.Event()
        self.controls: dict[int, socket.socket] = {}
        self._changed = asyncio.Event()
        self._numbers: dict[int, int] = {}  # pids, by what they were asked for with
        self.link = ZygoteLink(channel, asyncio.get_running_loop(), self._exited, self.lost.set)

    def _exited(self, number: int, status: int, tried: str) -> None:
        self.ended[self._numbers[number]] = status
        if tried:
            self.tried[self._numbers[number]] = tried
        self.link.forget(number)
        self._changed.set()

    async def start(self, *arguments: int, name: str = "task", image: str = BEHAVIOUR) -> tuple[int, int]:
        """Start a process; its number and pidfd. Raises RuntimeError if the zygote could not."""
        started: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
        frame = os.memfd_create("frame")
        os.ftruncate(frame, 1 << abi.TRAP_FRAME_BITS)
        doorbell = os.eventfd(0)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
        number = len(self._numbers) + 1
        self._numbers[number] = 0

        def begun(pid: int, pidfd: int) -> None:
            self._numbers[number] = pid  # at once: its end may be told with its start
            started.set_result((pid, pidfd))

        request = StartRequest(number, image, 0, name, words, 1 << 26, frame, doorbell, theirs.fileno())
        self.link.start(
            request,
            begun,
            lambda error: started.set_exception(RuntimeError(error)),
        )
        os.close(frame)
        os.close(doorbell)
        theirs.close()
        lost = asyncio.ensure_future(self.lost.wait())
        try:
            await asyncio.wait({started, lost}, return_when=asyncio.FIRST_COMPLETED)
            assert started.done(), f"the zygote has ended: {(self.logs / 'zygote-output').read_text()}"
            result = started.result()
        except (AssertionError, RuntimeError):
            ours.close()
            raise
        finally:
            lost.cancel()
        self.controls[result[0]] = ours
        return result

    async def wait(self, pid: int, pidfd: int) -> int:
        """The wait status of a process; closes its pidfd."""
        while pid not in self.ended:
            self._changed.clear()
            await self._changed.wait()
        os.close(pidfd)
        self.controls.pop(pid).close()
        return self.ended[pid]

    async def run(self, *arguments: int, **options: str) -> int:
        """The exit code of a process that was started and waited for (minus a signal's number)."""
        pid, pidfd = await self.start(*arguments, **options)
        return os.waitstatus_to_exitcode(await self.wait(pid, pidfd))

    def log(self, name: str = "task") -> str:
        return (self.logs / f"{name}.log").read_text()


@pytest.fixture(autouse=True)
def collected() -> None:
    """What tests before have left does not end while a test counts descriptors."""
    gc.collect()


Work = Callable[[Nursery], Awaitable[None]]


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Callable[[Work], None]]:
    """Runs a coroutine with a zygote, and checks that nothing is left of it."""
    before = len(os.listdir("/proc/self/fd"))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    arguments = ["--fd", str(theirs.fileno()), "--log-folder", str(tmp_path), "--parent", str(os.getpid())]
    with open(tmp_path / "zygote-output", "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "kerneld.host.zygote", *arguments, "--preload", ",".join(PRELOADED)],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            stdout=output,
            stderr=output,
        )
    theirs.close()

    def run(work: Work) -> None:
        async def within() -> None:
            zygote = Nursery(ours, tmp_path, process.pid)
            try:
                await work(zygote)
            finally:
                zygote.link.close()
                for control in zygote.controls.values():
                    control.close()

        asyncio.run(asyncio.wait_for(within(), SECONDS))

    try:
        yield run
        process.wait(SECONDS)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        ours.close()
    assert len(os.listdir("/proc/self/fd")) == before


def has_ended(pidfd: int) -> bool:
    """Waits for a process's end, whoever reaps it."""
    ready, _, _ = select.select([pidfd], [], [], SECONDS)
    return bool(ready)


def kill(pidfd: int) -> None:
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
