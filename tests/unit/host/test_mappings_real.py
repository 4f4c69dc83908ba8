"""Real processes that have frames mapped: those that obey lose no store, and those that do not lose the memory.

The test is the kernel of each: it completes each FAULT once what was lost before is taken away, as `Completions` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import faulthandler
import mmap
import os
import signal
import socket
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from hw import cpu
from kerneld.host.control import MESSAGE
from kerneld.host.process import Process, Thread
from kerneld.records import Tcb
from libsel4py import abi
from libsel4py.abi import ControlOp, Rights, Syscall
from tests.unit.cpu_peer import Peer
from tests.unit.host.keepers import BASE, BOTH, PAGE, READ, Scene, Task, in_scene, turn

FRAME, SIGNS = 0x100000, 0x200000  # what is counted in; what processes tell each other by
LARGE, LARGE_SIZE = 32 << 20, 16 << 20
SECONDS: Final = 30


class Child:
    """A process that was forked to run a function, told that it begins at the physical address 0 by its trap frame."""

    def __init__(self, scene: Scene, function: Callable[[], int], obeys: bool = True) -> None:
        self.ended: list[str] = []
        self.peer = Peer()
        self.faults = 0
        self.process = Process(0x100000, "child", "image", 1, scene.loop, self._refused, self._told)
        self.process.threads.append(Thread(Tcb(scene.ram, 0x2000), self.process, 0, 0, -1))
        self._scene = scene
        self._status: int | None = None
        self._pid = os.fork()
        if not self._pid:
            _become(self.peer, self.process.control_fd, function, obeys)
        self.process.release_control_end()
        self._pidfd = os.pidfd_open(self._pid)
        self._exited = asyncio.Event()
        scene.loop.add_reader(self._pidfd, self._reap)
        scene.loop.add_reader(self.peer.doorbell, self._rung)
        self.process.started(self._pid, os.dup(self._pidfd))

    def map(self, page: int, rights: int, frame: int, size: int = PAGE) -> None:
        self._scene.mappings.map(self.process, BASE + page * PAGE, rights, frame, size)

    def unmap(self, page: int) -> None:
        self._scene.mappings.unmap(self.process, BASE + page * PAGE)

    async def wait(self) -> int:
        """Its exit status; minus the number of the signal that ended it."""
        await asyncio.wait_for(self._exited.wait(), SECONDS)
        assert self._status is not None
        return os.waitstatus_to_exitcode(self._status)

    def signal(self, number: signal.Signals) -> None:
        signal.pidfd_send_signal(self._pidfd, number)

    @property
    def states(self) -> list[str]:
        """Of each thread, as the host has it: "T" of one that is stopped."""
        found = Path(f"/proc/{self._pid}/task").glob("*/stat")
        return [each.read_text().rpartition(")")[2].split()[0] for each in found]

    def _told(self, process: Process, count: int) -> None:
        self.peer.memory[abi.MAPPINGS_TOLD : abi.MAPPINGS_TOLD + 4] = count.to_bytes(4, "little")

    def _refused(self, process: Process, what: str) -> None:
        self.ended.append(what)
        process.kill()
        self._scene.mappings.ends(process)

    def _rung(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.peer.doorbell)
        while (entry := self.peer.take()) is not None:
            assert entry.op == Syscall.FAULT
            self.faults += 1
            complete = partial(self.peer.complete, entry.tag)
            if not self._scene.mappings.wait(self.process, complete):
                complete()

    def _reap(self) -> None:
        self._scene.loop.remove_reader(self._pidfd)
        self._status = os.waitpid(self._pid, 0)[1]
        self.process.kill()
        self._scene.mappings.ends(self.process)
        self._exited.set()

    async def close(self) -> None:
        if self._status is None:
            self.signal(signal.SIGKILL)
            await self.wait()
        self._scene.loop.remove_reader(self.peer.doorbell)
        self.process.close()
        self.peer.close()
        os.close(self._pidfd)


def _become(peer: Peer, control: int, function: Callable[[], int], obeys: bool) -> None:
    status = 99
    faulthandler.disable()
    try:
        if obeys:
            cpu.attach(os.dup(peer.frame_fd), os.dup(peer.doorbell), os.dup(control))
            status = function()
        else:
            status = disobey(socket.socket(fileno=os.dup(control)))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def word(page: int, number: int = 0) -> ctypes.c_uint64:
    return ctypes.c_uint64.from_address(BASE + page * PAGE + 8 * number)


def count_until_told() -> int:
    """Count in the frame's first word; stop when the second is set, and say in the third how far one has come."""
    own = 0
    while not word(0, 1).value:
        word(0).value += 1
        own += 1
    word(0, 2).value = own
    return 0


def look_until_it_changes() -> int:
    """Wait for the first word to be set, and go on looking until another one is there."""
    while not (first := word(0).value):
        pass
    word(1).value = first
    while word(0).value == first:
        pass
    return 0


def make_writable() -> int:
    """The errno of what would make a mapping writable."""
    libc = ctypes.CDLL(None, use_errno=True)
    if word(0).value != 7:
        return 98
    refused = libc.mprotect(ctypes.c_void_p(BASE), PAGE, mmap.PROT_READ | mmap.PROT_WRITE)
    return ctypes.get_errno() if refused else 0


def disobey(control: socket.socket) -> int:
    """Map what comes in a place of one's own, and never let go of it: neither when told to, nor ever after."""
    data, descriptors, _, _ = socket.recv_fds(control, abi.CONTROL_BYTES, 4)
    op, sequence, _, _, _, size, *_ = MESSAGE.unpack(data)
    kept = mmap.mmap(descriptors[0], size)
    kept[:4] = b"mine"
    control.send(MESSAGE.pack(ControlOp.DONE, sequence, 0, 0, *(0,) * 6))
    while op != ControlOp.UNMAP:
        op, sequence, *_ = MESSAGE.unpack(control.recv(abi.CONTROL_BYTES))
        control.send(MESSAGE.pack(ControlOp.DONE, sequence, 0, 0, *(0,) * 6))
    while True:  # until it is gone
        kept[:4] = b"mine"


async def until(condition: Callable[[], bool]) -> None:
    """Let the host's part and the processes go on until it holds."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0)

    await asyncio.wait_for(look(), SECONDS)


def with_children(work: Callable[[Scene, list[Child]], Awaitable[None]]) -> None:
    async def within(scene: Scene) -> None:
        children: list[Child] = []
        try:
            await work(scene, children)
        finally:
            for child in children:
                await child.close()

    in_scene(within)


def counted(scene: Scene, number: int = 0) -> int:
    return scene.ram.word(FRAME + 8 * number)


@pytest.mark.parametrize("losses", [100, pytest.param(300, marks=pytest.mark.slow)])
def test_no_store_is_lost_while_others_lose_the_frame_again_and_again(losses: int) -> None:
    async def work(scene: Scene, children: list[Child]) -> None:
        child = Child(scene, count_until_told)
        children.append(child)
        child.map(0, BOTH, FRAME)
        other = scene.task()
        await until(lambda: counted(scene) > 0)
        for number in range(losses):
            before = counted(scene)
            scene.map(other, 0, BOTH, FRAME)
            other.told_ops()
            scene.unmap(other, 0)
            if number % 10:  # otherwise it is waited for in vain
                other.told_ops()
            await scene.settled()
            other.told_ops()
            assert other.has_lost_all
            await until(lambda before=before: counted(scene) > before)  # type: ignore[misc]
            forget(other)
        scene.ram.poke(FRAME + 8, b"\1")
        assert await child.wait() == 0
        assert counted(scene) == counted(scene, 2) > losses
        assert not child.ended

    with_children(work)


def forget(task: Task) -> None:
    for descriptor in task.kept:
        os.close(descriptor)
    task.kept.clear()


def test_no_store_is_lost_in_a_large_frame_that_takes_long_to_move() -> None:
    async def work(scene: Scene, children: list[Child]) -> None:
        child = Child(scene, count_until_told)
        children.append(child)
        scene.ram.poke(LARGE, b"\0" * 4096 + b"x" * (LARGE_SIZE - 4096))
        child.map(0, BOTH, LARGE, LARGE_SIZE)
        other = scene.task()
        await until(lambda: scene.ram.word(LARGE) > 0)
        for _ in range(5):
            before = scene.ram.word(LARGE)
            scene.map(other, 0, BOTH, LARGE, LARGE_SIZE)
            assert other.told_ops() == ["MAP"]
            scene.unmap(other, 0)
            await scene.settled()
            other.told_ops()
            await until(lambda before=before: scene.ram.word(LARGE) > before)  # type: ignore[misc]
        scene.ram.poke(LARGE + 8, b"\1")
        assert await child.wait() == 0
        assert scene.ram.word(LARGE) == scene.ram.word(LARGE + 16)
        assert scene.ram.read(LARGE + LARGE_SIZE - 4, 4) == b"xxxx"

    with_children(work)


def test_a_process_that_keeps_what_it_was_to_give_back_meets_its_end_there() -> None:
    async def work(scene: Scene, children: list[Child]) -> None:
        child = Child(scene, lambda: 0, obeys=False)
        children.append(child)
        holder = scene.task()
        scene.map(holder, 0, BOTH, FRAME)
        holder.told_ops()
        child.map(0, BOTH, FRAME)
        await until(lambda: scene.ram.read(FRAME, 4) == b"mine")
        holder.maps[BASE][8:12] = b"kept"
        child.unmap(0)
        await turn()
        holder.told_ops()
        await scene.settled()
        assert holder.told_ops() == ["MAP"]
        assert await child.wait() == -signal.SIGBUS
        assert holder.maps[BASE][8:12] == b"kept"

    with_children(work)


def test_a_reader_goes_on_where_others_lose_the_frame() -> None:
    async def work(scene: Scene, children: list[Child]) -> None:
        child = Child(scene, look_until_it_changes)
        children.append(child)
        child.map(0, READ, FRAME)
        child.map(1, BOTH, SIGNS)
        scene.ram.poke(FRAME, b"\1")
        await until(lambda: scene.ram.word(SIGNS) == 1)
        other = scene.task()
        for _ in range(50):
            scene.map(other, 0, BOTH, FRAME)
            other.told_ops()
            scene.unmap(other, 0)
            await scene.settled()
            other.told_ops()
            forget(other)
        scene.ram.poke(FRAME, b"\2")
        assert await child.wait() == 0

    with_children(work)


def test_a_mapping_to_read_stays_one() -> None:
    async def work(scene: Scene, children: list[Child]) -> None:
        child = Child(scene, make_writable)
        children.append(child)
        scene.ram.poke(FRAME, b"\7")
        child.map(0, Rights.READ, FRAME)
        assert await child.wait() == errno.EACCES

    with_children(work)


def test_a_process_that_does_not_answer_is_stopped_and_goes_on() -> None:
    async def work(scene: Scene, children: list[Child]) -> None:
        child = Child(scene, count_until_told)
        children.append(child)
        scene.ram.poke(LARGE + 4096, b"x" * (LARGE_SIZE - 4096))
        child.map(0, BOTH, LARGE, LARGE_SIZE)
        other = scene.task()
        scene.map(other, 0, BOTH, LARGE, LARGE_SIZE)
        await until(lambda: scene.ram.word(LARGE) > 0)
        assert other.told_ops() == ["MAP"]
        child.signal(signal.SIGSTOP)  # by somebody else: it cannot answer, and the host does not know why
        await until(lambda: set(child.states) == {"T"})
        scene.unmap(other, 0)
        await until(lambda: child.process.is_stopped)
        await scene.settled()
        assert not child.process.is_stopped
        before = scene.ram.word(LARGE)
        await until(lambda: scene.ram.word(LARGE) > before)
        scene.ram.poke(LARGE + 8, b"\1")
        assert await child.wait() == 0
        assert scene.ram.word(LARGE) == scene.ram.word(LARGE + 16)

    with_children(work)


def test_two_thousand_mappings_are_there_when_they_are_touched(many_descriptors: None) -> None:
    count = 2000

    def touch_all() -> int:
        return 0 if all(word(page).value == page + 1 for page in range(count)) else 1

    async def work(scene: Scene, children: list[Child]) -> None:
        child = Child(scene, touch_all)
        children.append(child)
        for page in range(count):
            scene.ram.poke(FRAME + page * PAGE, (page + 1).to_bytes(8, "little"))
            child.map(page, READ, FRAME + page * PAGE)
        assert await child.wait() == 0
        assert not child.ended

    with_children(work)
