"""A process's end is heard of before it is reaped; and what a task writes there itself costs it the hint."""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import hw.cpu
from hw.ram import Ram
from hw.window import map_fixed
from kerneld.host import death_hints
from kerneld.host.death_hints import MOST_CHANGES, DeathHints
from kerneld.host.linux import runs_no_more, tells_wait_status, wait_status_of_ending
from libsel4py.abi import DEATH_WORD, TRAP_FRAME_BITS

HOLDS = 0x8000_0000  # FUTEX_WAITERS
FRAME = 1 << TRAP_FRAME_BITS
CAP_SYS_PTRACE = 1 << 19
FUTEX_WAKE = 1
NO_CALL = 9999
SYS_FUTEX = {"x86_64": 202, "aarch64": 98}[os.uname().machine]
libc = ctypes.CDLL(None)


class Frames:
    """RAM, in which each trap frame is a memfd of its own, laid over the window; and who waits for their words."""

    def __init__(self) -> None:
        self.heard = asyncio.Queue[int]()
        self._base = os.memfd_create("ram")
        os.ftruncate(self._base, 4 * FRAME)
        self.ram = Ram(mmap.mmap(self._base, 4 * FRAME), 3 * FRAME, FRAME)
        self.hints = DeathHints(self.ram, asyncio.get_running_loop(), self.heard.put_nowait)
        self.files: list[int] = []

    def frame(self) -> tuple[int, int]:
        """A new one's physical address, and its memfd."""
        made, address = os.memfd_create("frame"), FRAME * len(self.files)
        os.ftruncate(made, FRAME)
        map_fixed(self.ram, address, FRAME, made, 0)
        self.files.append(made)
        return address, made

    def destroyed(self, address: int) -> None:
        """The frame's memory goes from everybody, as `FrameMemory.gone` has it."""
        map_fixed(self.ram, address, FRAME, self._base, address)
        os.ftruncate(self.files[address // FRAME], 0)

    def close(self) -> None:
        self.hints.close()
        for each in (*self.files, self._base):
            os.close(each)


def with_frames(work: Callable[[Frames], Awaitable[None]]) -> None:
    async def within() -> None:
        frames = Frames()
        try:
            await asyncio.wait_for(work(frames), 20)
        finally:
            frames.close()

    asyncio.run(within())


def wake(at: ctypes.c_uint32) -> int:
    """Wakes one who sleeps on a word; how many there were."""
    woken: int = libc.syscall(SYS_FUTEX, ctypes.byref(at), FUTEX_WAKE, 1, None, None, 0)
    return woken


def word(of: int) -> int:
    return int.from_bytes(os.pread(of, 4, DEATH_WORD), "little")


def attached(own: int) -> int:
    """A process with this trap frame, which waits; its pid."""
    ready, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        ours, _theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        hw.cpu.attach(os.dup(own), os.eventfd(0), ours.detach())
        os.write(tell, b"x")
        while True:
            signal.pause()
    os.close(tell)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    return pid


def test_a_killed_process_is_heard_of_and_not_reaped() -> None:
    async def work(frames: Frames) -> None:
        address, own = frames.frame()
        frames.hints.watch(7, address)
        pid = attached(own)
        assert word(own) == HOLDS | pid
        assert frames.heard.empty()
        os.kill(pid, signal.SIGKILL)
        assert await frames.heard.get() == 7
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        assert runs_no_more(pid)
        assert wait_status_of_ending(pid) in (0, signal.SIGKILL)  # 0: the host tells it to some only
        os.waitpid(pid, 0)
        assert wait_status_of_ending(pid) is None

    with_frames(work)


def test_how_a_process_ends_is_known_once_it_has_no_memory() -> None:
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(tell)
        os.read(told, 1)
        os._exit(3)
    os.close(told)
    try:
        assert wait_status_of_ending(pid) is None
        assert tells_wait_status(pid)  # it hides nothing from its user
    finally:
        os.close(tell)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        status, known = wait_status_of_ending(pid), tells_wait_status(pid)
        os.waitpid(pid, 0)
    assert status is not None
    assert os.waitstatus_to_exitcode(status) == 3
    assert known is None


def test_how_a_process_ends_that_hides_its_memory_is_told_to_few() -> None:
    told, tell = os.pipe()
    heard, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(tell)
        hw.cpu.hide_memory()
        os.write(say, b"x")
        os.read(told, 1)
        os._exit(3)
    assert os.read(heard, 1) == b"x"
    effective = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    assert tells_wait_status(pid) == bool(int(effective.split()[1], 16) & CAP_SYS_PTRACE)
    for descriptor in (told, tell, heard, say):
        os.close(descriptor)
    os.waitpid(pid, 0)


def test_a_frame_that_is_destroyed_harms_nobody() -> None:
    """Another's hint comes as ever, and nothing is held of the frame's memory."""

    async def work(frames: Frames) -> None:
        (lost, _), (address, own) = frames.frame(), frames.frame()
        frames.hints.watch(1, lost)
        frames.hints.watch(2, address)
        frames.destroyed(lost)
        frames.hints.watch(3, lost)  # has all of them looked at
        pid = attached(own)
        os.kill(pid, signal.SIGKILL)
        assert await frames.heard.get() == 2
        assert frames.heard.empty()
        os.waitpid(pid, 0)

    with_frames(work)


def test_a_word_that_changes_all_the_time_is_looked_at_no_more() -> None:
    """The loop is told once, and asks Linux; another's hint comes as ever."""

    async def work(frames: Frames) -> None:
        (lying, file), (honest, own) = frames.frame(), frames.frame()
        frames.hints.watch(1, lying)
        frames.hints.watch(2, honest)
        value = 0
        while frames.heard.empty():
            value += 1
            os.pwrite(file, value.to_bytes(4, "little"), DEATH_WORD)
            frames.hints.watch(3, honest)  # has all of them looked at
            frames.hints.forget(3)
            await asyncio.sleep(0)
        assert value > MOST_CHANGES
        assert await frames.heard.get() == 1
        pid = attached(own)
        os.kill(pid, signal.SIGKILL)
        assert await frames.heard.get() == 2
        os.waitpid(pid, 0)

    with_frames(work)


def test_a_word_by_which_it_is_woken_all_the_time_is_looked_at_no_more() -> None:
    """As one that changes: what a task writes there, or that it writes nothing, keeps the kernel busy a few times."""

    async def work(frames: Frames) -> None:
        (lying, file), (honest, own) = frames.frame(), frames.frame()
        frames.hints.watch(1, lying)
        frames.hints.watch(2, honest)
        woken = 0
        with mmap.mmap(file, FRAME) as seen:
            at = ctypes.c_uint32.from_buffer(seen, DEATH_WORD)
            while frames.heard.empty():
                woken += wake(at)
                await asyncio.sleep(0)
            del at
        assert woken > MOST_CHANGES
        assert await frames.heard.get() == 1
        pid = attached(own)
        os.kill(pid, signal.SIGKILL)
        assert await frames.heard.get() == 2
        os.waitpid(pid, 0)

    with_frames(work)


def test_where_the_host_cannot_wait_for_several_words_it_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(death_hints, "_SYS_FUTEX_WAITV", NO_CALL)
    own = ctypes.c_uint32(0)
    sleeper = threading.Thread(target=death_hints._wait, args=(0, ctypes.addressof(own), []))
    sleeper.start()
    woken = 0
    while sleeper.is_alive():
        woken += wake(own)
    sleeper.join()
    assert woken == 1


def test_what_is_forgotten_is_not_told() -> None:
    async def work(frames: Frames) -> None:
        (first, own), (second, other) = frames.frame(), frames.frame()
        frames.hints.watch(1, first)
        frames.hints.forget(1)
        frames.hints.forget(1)
        frames.hints.watch(2, second)
        for file in (own, other):
            pid = attached(file)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        assert await frames.heard.get() == 2
        assert frames.heard.empty()

    with_frames(work)
