"""A kernel is killed before each thing that it does at the host, while a frame moves: the next one finds each byte.

The store's messages go to the monitor's half at once, and the process's death is an exception: what it had mapped and
opened is left, as the host would take it back, and a new window is made from what the monitor has kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import mmap
import os
import random
import socket
from array import array
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import Final

import pytest

from hw import fd_store as monitor
from hw.machine import create_ram
from hw.ram import Ram
from hw.window import discard
from kerneld.host import frame_memory, frame_stock
from kerneld.host.control import NO_SOCKET
from kerneld.host.fd_store import FdStore, Inheritance, Kept
from kerneld.host.frame_memory import CHUNK, FrameMemory, withdraw_some
from libsel4py import abi
from tests.unit.host.keepers import BASE, BOTH, hand

RAM_BYTES: Final = 16 << 20
FRAME: Final = 4 << 20
VSPACE: Final = 0x3000
SIZES: Final = (4096, 3 * CHUNK)
CALLS: Final = ("pwrite", "lseek", "ftruncate")


class Killed(Exception):
    """The process has ended."""


class Executioner:
    """Kills before the n-th thing that is done; 0 for never."""

    def __init__(self) -> None:
        self.at = self.done = 0

    def arm(self, at: int) -> None:
        self.at, self.done = at, 0

    def step(self) -> None:
        self.done += 1
        if self.done == self.at:
            raise Killed

    def wrapped(self, function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            self.step()
            return function(*arguments)

        return call


class Store(FdStore):
    """Tells the monitor's half in the same process."""

    def __init__(self, executioner: Executioner, kept: monitor.FdStore) -> None:
        super().__init__(None, asyncio.new_event_loop())
        self._executioner = executioner
        self._kept = kept

    def _send(self, message: dict[str, object], descriptors: Sequence[int] = ()) -> None:
        self._executioner.step()
        self._kept.take(message, [os.dup(descriptor) for descriptor in descriptors])

    def drop(self, key: str) -> None:
        self._send({"op": "drop", "keys": [key]})

    def close(self) -> None:
        self._loop.close()


class Life:
    """One kernel's part, from a window of its own to its end."""

    def __init__(
        self, ram_fd: int, executioner: Executioner, kept: monitor.FdStore, devices_from: int = RAM_BYTES
    ) -> None:
        self._window = mmap.mmap(ram_fd, RAM_BYTES)
        self.ram = Ram(self._window, 0x1000, 0x1000)
        self.store = Store(executioner, kept)
        self.memory = FrameMemory(self.ram, ram_fd, self.store, self._withdraw, devices_from)
        entries = [Kept(key, entry.note, _dup(entry.descriptor)) for key, entry in kept.kept.items()]
        self.memory.restore(Inheritance(entries))

    def _withdraw(self, descriptor: int, key: str, done: Callable[[], None]) -> None:
        while withdraw_some(descriptor):
            continue
        self.store.drop(key)
        os.close(descriptor)
        done()

    def move(self, size: int, to_own: bool) -> None:
        move = self.memory.move(FRAME, size, to_own)
        while move.step():
            # Devices go on: what they store to what has moved is to be found afterwards.
            self.ram.poke(FRAME + 64, move.at.to_bytes(8, "little"))

    def end(self) -> None:
        self.memory.close()
        self.store.close()


def _dup(descriptor: int) -> int:
    return os.dup(descriptor) if descriptor >= 0 else -1


@pytest.fixture
def executioner(monkeypatch: pytest.MonkeyPatch) -> Executioner:
    found = Executioner()
    host = ModuleType("os")
    host.__dict__.update(os.__dict__)
    for name in CALLS:
        setattr(host, name, found.wrapped(getattr(os, name)))
    monkeypatch.setattr(frame_memory, "os", host)
    monkeypatch.setattr(frame_stock, "os", host)
    used = frame_stock.FrameStock.use
    monkeypatch.setattr(frame_stock.FrameStock, "use", found.wrapped(used))
    monkeypatch.setattr(frame_stock.FrameStock, "free", found.wrapped(frame_stock.FrameStock.free))
    for name in ("map_fixed", "discard"):
        monkeypatch.setattr(frame_memory, name, found.wrapped(getattr(frame_memory, name)))
    return found


@pytest.fixture
def ram_fd() -> Iterator[int]:
    """Closes what the killed kernels had open, too, as their processes' ends would."""
    before = set(os.listdir("/proc/self/fd"))
    descriptor = create_ram(RAM_BYTES, "test")
    yield descriptor
    gc.collect()
    os.close(descriptor)
    for left in set(os.listdir("/proc/self/fd")) - before:
        with contextlib.suppress(OSError):  # the listing's own
            os.close(int(left))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("steps", [(True,), (True, True), (True, False), (True, True, False)])
def test_no_byte_is_lost_wherever_the_kernel_is_killed(
    executioner: Executioner, ram_fd: int, size: int, steps: Sequence[bool]
) -> None:
    """The last of the moves (True: to a memfd of its own) is broken off, perhaps what the next kernel does too."""
    data = random.Random(size).randbytes(size - 4096) + bytes(4096)
    killed = True
    at = 0
    while killed:
        at += 1
        executioner.arm(0)
        kept = monitor.FdStore()
        life = Life(ram_fd, executioner, kept)
        life.ram.poke(FRAME, data)
        for to_own in steps[:-1]:
            life.move(size, to_own)
        life.ram.poke(FRAME + 64, bytes(8))
        killed = _dies(executioner, at, partial(life.move, size, steps[-1]))
        stored = life.ram.read(FRAME + 64, 8)
        life.end()
        _dies(executioner, 1 + at // 2, partial(_live, ram_fd, executioner, kept))
        executioner.arm(0)
        last = Life(ram_fd, executioner, kept)
        assert last.ram.read(FRAME, 64) == data[:64], at
        assert last.ram.read(FRAME + 64, 8) == stored, at
        assert last.ram.read(FRAME + 72, size - 72) == data[72:], at
        assert not [key for key in kept.kept if key.startswith(("move", "gone"))], kept.kept
        if FRAME in last.memory:
            last.memory.gone(FRAME)
            assert last.ram.read(FRAME, size) == bytes(size), at
        last.end()
        kept.close()
    assert at > 3


@pytest.mark.parametrize("size", [*SIZES, 20 * CHUNK])
def test_a_device_keeps_what_a_frame_of_its_memory_held_wherever_the_kernel_is_killed(
    executioner: Executioner, ram_fd: int, size: int
) -> None:
    """The next kernel is told again that the frame is gone, and may be killed over that as well."""
    data = random.Random(size).randbytes(size - 4096) + bytes(4096)
    killed = True
    at = 0
    while killed:
        at += 1
        executioner.arm(0)
        kept = monitor.FdStore()
        life = Life(ram_fd, executioner, kept, FRAME)
        life.ram.poke(FRAME, data)
        life.move(size, True)
        life.ram.poke(FRAME + 64, data[64:72])
        killed = _dies(executioner, at, partial(life.memory.gone, FRAME))
        life.end()
        _dies(executioner, 1 + at // 2, partial(_gone_again, ram_fd, executioner, kept))
        executioner.arm(0)
        last = Life(ram_fd, executioner, kept, FRAME)
        last.memory.gone(FRAME)
        assert FRAME not in last.memory
        assert last.ram.read(FRAME, size) == data, at
        assert not [key for key in kept.kept if key.startswith(("frame", "move", "gone"))], kept.kept
        last.end()
        kept.close()
    assert at > 3


def _gone_again(ram_fd: int, executioner: Executioner, kept: monitor.FdStore) -> None:
    life = Life(ram_fd, executioner, kept, FRAME)
    try:
        life.memory.gone(FRAME)
    finally:
        life.end()


def _live(ram_fd: int, executioner: Executioner, kept: monitor.FdStore) -> None:
    Life(ram_fd, executioner, kept).end()


def _dies(executioner: Executioner, at: int, work: Callable[[], None]) -> bool:
    executioner.arm(at)
    try:
        work()
    except Killed:
        return True
    finally:
        executioner.arm(0)
    return False


def test_fresh_memory_is_a_frame_s_or_nobody_s_wherever_the_kernel_is_killed(
    executioner: Executioner, ram_fd: int
) -> None:
    beside = FRAME + 4096
    killed = True
    at = 0
    while killed:
        at += 1
        executioner.arm(0)
        kept = monitor.FdStore()
        discard(ram_fd, FRAME, 4 * 4096)
        life = Life(ram_fd, executioner, kept)
        life.ram.poke(beside, b"beside")
        killed = _dies(executioner, at, partial(_give, life.memory, FRAME))
        life.end()
        last = Life(ram_fd, executioner, kept)
        assert (last.ram.read(FRAME, 8), last.ram.read(beside, 6)) == (bytes(8), b"beside"), at
        if FRAME in last.memory:
            last.ram.poke(FRAME, b"stored")
            assert os.pread(last.memory.descriptor(FRAME, 4096), 6, 0) == b"stored", at
        assert killed or FRAME in last.memory
        _give(last.memory, FRAME + 3 * 4096)  # what is left of the stock is empty
        assert last.ram.read(FRAME + 3 * 4096, 8) == bytes(8)
        last.memory.gone(FRAME)
        last.memory.gone(FRAME + 3 * 4096)
        last.end()
        kept.close()
    assert at > 3


def test_what_is_stored_in_ram_moves_and_is_not_given_anew(executioner: Executioner, ram_fd: int) -> None:
    kept = monitor.FdStore()
    life = Life(ram_fd, executioner, kept)
    life.ram.poke(FRAME, b"kept")
    assert life.memory.give_fresh(FRAME, 4096) < 0
    assert life.memory.give_fresh(FRAME + 8192, 8192) < 0
    assert len(life.memory) == 0
    life.end()
    kept.close()


def _give(memory: FrameMemory, address: int) -> None:
    assert memory.give_fresh(address, 4096) >= 0


def test_what_the_fast_path_has_handed_is_the_frame_s_though_the_kernel_died_before_it_was_noted(
    executioner: Executioner, ram_fd: int
) -> None:
    kept = monitor.FdStore()
    life = Life(ram_fd, executioner, kept)
    _give(life.memory, FRAME)
    ours, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    notes: list[object] = []
    mail = array("Q", (1, ours.fileno(), 0, 0, 0, NO_SOCKET, 0, 0))
    second, third = FRAME + 4096, FRAME + 2 * 4096
    shared = ({VSPACE: mail}, notes, {}, *life.memory.shared())
    assert hand(life.ram, (VSPACE, BASE | BOTH, second | 12), shared)
    assert not hand(life.ram, (VSPACE, BASE + 4096 | BOTH, third | 12), shared), "there is no room for another"
    assert len(notes) == 1
    _, (handed,), _, _ = socket.recv_fds(keepers, abi.CONTROL_BYTES, 2)
    os.pwrite(handed, b"kept", 0)
    life.end()
    last = Life(ram_fd, executioner, kept)
    assert second in last.memory
    assert last.memory.give_fresh(second, 4096) < 0
    assert os.fstat(last.memory.descriptor(second, 4096)).st_ino == os.fstat(handed).st_ino
    assert last.ram.read(second, 4) == b"kept"
    assert third not in last.memory
    last.memory.gone(second)
    assert os.fstat(handed).st_size == 0
    last.end()
    ours.close()
    keepers.close()
    kept.close()
