"""Data spaces of a device's memory, on the pure kernel: one behind the other, and all of it again at their end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kerneld import caps
from kerneld.boot import DeviceRegion
from libsel4py.abi import InitialSlot
from libsel4py.capabilities import Frame
from libsel4py.dataspace import DataSpace
from libsel4py.environment import Device, Environment
from libsel4py.errors import NotEnoughMemory
from libsel4py.lowlevel.cspace import SlotAllocator
from libsel4py.task import Task, as_task
from tests.harness import Machine
from tests.unit.sdk.kernel_cpu import FREE_SLOTS, ROOT_CNODE, Bench, bench

MEMORY = DeviceRegion(0xFE00_0000, 15)


class Board:
    def __init__(self, made: Bench) -> None:
        self.machine = made.machine
        self.task = Task(Environment("driver"))
        self.task.cnode = ROOT_CNODE
        self.task.slots = SlotAllocator(*FREE_SLOTS)
        self.device = Device(memory=self.machine.untyped - 1, memory_bytes=1 << MEMORY.size_bits)

    def places(self, frames: tuple[Frame, ...]) -> list[tuple[int, int]]:
        """Of each frame, where in the device's memory it is, and its bytes."""
        found = [caps.read(self.machine.slot(frame.cptr)) for frame in frames]
        assert all(cap.frame_is_device for cap in found)
        return [(cap.object - MEMORY.address, 1 << cap.frame_size_bits) for cap in found]


@pytest.fixture
def board() -> Iterator[Board]:
    with bench(Machine(devices=(MEMORY,))) as made:
        board = Board(made)
        with as_task(board.task):
            yield board


def test_one_follows_another_and_after_the_last_s_end_they_begin_anew(board: Board) -> None:
    free = board.task.slots.free_count
    most = DataSpace.of_device(board.device, (1 << 15) - 4096)
    assert board.places(most.frames) == [(0, 0x4000), (0x4000, 0x2000), (0x6000, 0x1000)]
    assert (most.size, most.frame_bytes) == (0x7000, (0x4000, 0x2000, 0x1000))
    last = DataSpace.of_device(board.device, 1)
    assert board.places(last.frames) == [(0x7000, 0x1000)]
    with pytest.raises(NotEnoughMemory):
        DataSpace.of_device(board.device, 4096)
    most.close()
    with pytest.raises(NotEnoughMemory):
        DataSpace.of_device(board.device, 4096)
    last.close()
    assert board.task.slots.free_count == free
    assert board.places(DataSpace.of_device(board.device, 4096).frames) == [(0, 0x1000)]


def test_what_does_not_fit_leaves_nothing(board: Board) -> None:
    free = board.task.slots.free_count
    with pytest.raises(NotEnoughMemory):
        DataSpace.of_device(board.device, (1 << 15) + 4096)
    assert board.task.slots.free_count == free
    for device, size in ((Device(), 4096), (board.device, 0)):
        with pytest.raises(ValueError, match="cannot have"):
            DataSpace.of_device(device, size)
    assert board.places(DataSpace.of_device(board.device, 1 << 15).frames) == [(0, 1 << 15)]


def test_who_made_it_can_take_it_back(board: Board) -> None:
    space = DataSpace.of_device(board.device, 4096)
    shared = space.share()
    copy = board.task.slots.allocate()
    ROOT_CNODE.copy(copy, ROOT_CNODE, shared.cptr)
    space.revoke()
    assert board.machine.slot(copy).word0 == 0
    assert board.machine.slot(InitialSlot.CNODE).word0
    assert board.places(space.frames) == [(0, 0x1000)]
