"""Processes that have frames mapped, for tests: the host's part is real, and the test is each process's keeper."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import mmap
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Final

from hw.machine import create_ram
from hw.ram import Ram
from kerneld import _fastpath, mapping_table
from kerneld.fastpath import make_layout
from kerneld.host.control import MESSAGE
from kerneld.host.fd_store import FdStore, Inheritance, Kept
from kerneld.host.mappings import Mappings
from kerneld.host.process import Phase, Process, Thread
from kerneld.mapping_table import Mapping
from kerneld.outbox import Tell
from kerneld.records import KernelRecord, Slot, Tcb, VSpace
from libsel4py import abi
from libsel4py.abi import ControlOp, MapFlags, Rights

RAM_BYTES: Final = 64 << 20
PAGE: Final = 4096
KERNEL: Final = 0x20_0000  # where this RAM's kernel record lies
SLOT: Final = 0x3000
SPACE_BITS: Final = 14
MAPPER: Final = 0x2000  # the TCB of a task that maps for others
BASE: Final = abi.MAPPING_BASE
READ, WRITE, BOTH = Rights.READ, Rights.WRITE, Rights.READ | Rights.WRITE


@dataclass
class Order:
    """A message that is not answered. ``descriptor``: -1 of an UNMAP."""

    op: ControlOp
    sequence: int
    address: int
    size: int
    rights: int
    descriptor: int
    quiet: bool = False


class Task:
    """A process. It reads what it is told, and obeys when it is told to; what it has mapped stays to be looked at.

    Attributes:
        kept: every descriptor that it was ever handed, as a hostile one keeps them.
    """

    def __init__(self, scene: Scene, live: bool = True) -> None:
        self.ended: list[str] = []
        self.told: list[int] = []
        vspace = 0x100000 + PAGE * len(scene.tasks)
        self.process = Process(
            vspace, "task", "image", 1, scene.loop, self._refused, lambda process, count: self.told.append(count)
        )
        self.process.threads.append(Thread(Tcb(scene.ram, 0x2000), self.process, 0, 0, -1))
        self._scene = scene
        self.end = socket.socket(fileno=os.dup(self.process.control_fd))
        self.process.release_control_end()
        self.end.setblocking(False)
        self.maps: dict[int, mmap.mmap] = {}
        self.kept: list[int] = []
        if live:
            self.live()

    def live(self) -> None:
        self.process.phase = Phase.LIVE
        self.process.map_mail.open()

    def _refused(self, process: Process, what: str) -> None:
        self.ended.append(what)
        self.kill()

    def kill(self) -> None:
        """As `Processes` does it."""
        self.process.kill()
        self._scene.mappings.ends(self.process)

    def read(self) -> list[Order]:
        """What it was told since the last look."""
        found: list[Order] = []
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.end, abi.CONTROL_BYTES, 4, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            if not data:
                return found
            op, sequence, _, _, address, size, rights, flags, *_ = MESSAGE.unpack(data)
            self.kept += descriptors
            descriptor = descriptors[0] if descriptors else -1
            quiet = op == ControlOp.MAP and bool(flags & MapFlags.QUIET)
            found.append(Order(ControlOp(op), sequence, address, size, rights, descriptor, quiet))

    def told_ops(self) -> list[str]:
        """The names of what it was told since the last look, obeyed and answered."""
        orders = self.read()
        for order in orders:
            self.obey(order)
        return [order.op.name for order in orders]

    def obey(self, order: Order, error: int = 0) -> None:
        if order.op == ControlOp.MAP:
            protection = mmap.PROT_READ | (mmap.PROT_WRITE if order.rights & WRITE else 0)
            self.maps[order.address] = mmap.mmap(order.descriptor, order.size, mmap.MAP_SHARED, protection)
        else:
            self.maps.pop(order.address, None)
        self.answer(order, error)

    def answer(self, order: Order, error: int = 0) -> None:
        self.end.send(MESSAGE.pack(ControlOp.DONE, order.sequence, 0, 0, error, *(0,) * 5))

    @property
    def has_lost_all(self) -> bool:
        """Whether nothing that it was ever handed has memory any more."""
        return not any(os.fstat(each).st_size for each in self.kept)

    def close(self) -> None:
        self.process.close()
        self.end.close()
        for descriptor in self.kept:
            os.close(descriptor)


class Scene:
    """RAM, and what processes have of it mapped. ``devices_from``: of `FrameMemory`."""

    def __init__(self, devices_from: int | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.ram_fd = create_ram(RAM_BYTES, "test")
        self._window = mmap.mmap(self.ram_fd, RAM_BYTES)
        self.ram = Ram(self._window, 0x1000, 0x1000)
        self.mappings = Mappings(self.ram, self.ram_fd, FdStore(None, self.loop), self.loop, devices_from)
        self.tasks: list[Task] = []

    def task(self, live: bool = True) -> Task:
        self.tasks.append(Task(self, live))
        return self.tasks[-1]

    def map(self, task: Task, page: int, rights: int, frame: int, size: int = PAGE) -> None:
        self.mappings.map(task.process, BASE + page * PAGE, rights, frame, size)

    def map_fast(self, task: Task, page: int, rights: int, frame: int, size: int = PAGE) -> bool:
        """As `map`, by the fast path behind a Map of another task's. False, and nothing was done, where it leaves it.

        It is not noted yet (`FirstMaps.note`).
        """
        first_maps = self.mappings.first_maps
        shared, noted = first_maps.shared, len(first_maps.notes)
        where, more = BASE + page * PAGE | rights, frame | size.bit_length() - 1
        handed = shared is not None and hand(self.ram, (task.process.vspace, where, more), shared)
        assert len(first_maps.notes) == noted + handed
        return handed

    def unmap(self, task: Task, page: int) -> None:
        self.mappings.unmap(task.process, BASE + page * PAGE)

    async def settled(self, mappings: Mappings | None = None) -> None:
        """What was lost so far is taken away. ``mappings``: those of the next kernel."""
        done = asyncio.Event()
        if (mappings or self.mappings).wait(None, done.set):
            await done.wait()

    @contextlib.contextmanager
    def next_kernel(self, task: Task, address: int, frame: int, size: int) -> Iterator[Mappings]:
        """The mappings of a kernel that is started again when a task has one frame mapped, to read and write, and the
        frame has memory of its own."""
        space = VSpace(self.ram, task.process.vspace)
        with self.ram.transaction():
            space.size_bits = SPACE_BITS
            slot = Slot(self.ram, SLOT)
            slot.object = frame
            mapping = Mapping(address, size.bit_length() - 1, BOTH, abi.VmAttributes.DEFAULT, slot.address)
            mapping_table.insert(space, mapping)
        (descriptor,) = (each for at, each, _ in self.mappings.own_memory() if at == frame)
        mappings = Mappings(self.ram, self.ram_fd, FdStore(None, self.loop), self.loop)
        mappings.restore_memory(Inheritance([Kept(f"frame:{frame:x}", size, os.dup(descriptor))]))
        with contextlib.closing(mappings):
            yield mappings

    def close(self) -> None:
        for task in self.tasks:
            task.close()
        self.mappings.close()
        os.close(self.ram_fd)


def hand(ram: Ram, told: tuple[int, int, int], shared: tuple[object, ...]) -> bool:
    """Have the fast path carry out a tell MAP (its subject, detail and more) of a task that maps for another."""
    kernel = KernelRecord(ram, KERNEL)
    tells = struct.pack("<8Q", Tell.MAP, *told, Tell.DELIVER, MAPPER, 0, 0)
    ram.poke(kernel.address + KernelRecord.OUTBOX, tells)
    ram.poke(kernel.address + KernelRecord.outbox_length.offset, struct.pack("<Q", 2))
    return _fastpath.hand(ram, make_layout(kernel), shared)


async def turn() -> None:
    """Let the host's part have its turns: chores, and sockets that can be read."""
    for _ in range(4):
        await asyncio.sleep(0)


def in_scene(work: Callable[[Scene], Awaitable[None]], devices_from: int | None = None) -> None:
    """Run a test, and see that it leaves no descriptor."""
    gc.collect()  # the windows of tests before
    before = _descriptors()

    async def within() -> None:
        scene = Scene(devices_from)
        try:
            await work(scene)
        finally:
            scene.close()

    asyncio.run(asyncio.wait_for(within(), 60))
    gc.collect()  # what is mapped has a descriptor of its own
    after = _descriptors()
    assert after == before


def _descriptors() -> list[str]:
    """What each descriptor of this process is."""
    found = []
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/self/fd/{each}").split(":")[0])
    return sorted(found)
