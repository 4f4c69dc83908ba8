"""A device's registers in a task's address space: nothing is mapped at the host, and each access is the device's."""

from __future__ import annotations

import pytest

from kerneld import explain
from kerneld.boot import DeviceRegion
from libsel4py import abi
from libsel4py.abi import Error, FaultAnswer, FaultLabel, InitialSlot, Label, ObjectType, PageFault, Rights, Syscall
from tests.harness import Completion, Machine, TwinKernel
from tests.mapping_scene import PAGE, READ_WRITE, MappingScene

from .scene import Scene, message, receive

BASE = abi.MAPPING_BASE + (1 << 30)
PLACE = 0xFE00_0000
IP = 0x7F00_1234
NONE, PRESENT, WRITE, USER, FETCH, GUARDED = PageFault.NONE, *PageFault
MEMORY = DeviceRegion(PLACE, 13)  # registers, and a page of memory behind them


class Device:
    """Remembers what was stored, and gives what is asked for: its address and width."""

    doorbells = latches = ()

    def __init__(self) -> None:
        self.stored: list[tuple[int, int, int]] = []
        self.loaded: list[tuple[int, int]] = []

    def read(self, port: int, width: int) -> int:
        raise NotImplementedError

    def write(self, port: int, width: int, value: int) -> None:
        raise NotImplementedError

    def has_registers(self, address: int) -> bool:
        return address == PLACE

    def load(self, address: int, width: int) -> int:
        self.loaded.append((address, width))
        return address << 8 | width

    def store(self, address: int, width: int, value: int) -> None:
        self.stored.append((address, width, value))


class Board:
    """A driver whose memory faults a handler is told of, and the frames of its device's memory."""

    def __init__(self) -> None:
        self.device = Device()
        self.machine = Machine(ports=self.device, devices=(MEMORY,))
        self.scene = Scene(machine=self.machine)
        self.memory = MappingScene(self.machine)
        self.handler = self.scene.thread("handler")
        badged = self.machine.copy(self.scene.endpoint, badge=5)
        self.driver = self.scene.thread("driver", fault_endpoint=badged)
        assert receive(self.handler) is None
        self.registers = self.machine.retype(ObjectType.FRAME, 12, 2, untyped=self.machine.untyped - 1)
        self.pixels = self.registers + 1

    def map(self, frame: int, address: int = BASE, rights: int = READ_WRITE) -> None:
        assert self.memory.map(frame, address, rights, space=InitialSlot.VSPACE) == (Error.NO_ERROR, ())

    def access(self, offset: int, width: int, value: int | None = None, kind: int = NONE) -> Completion | None:
        """A load, or a store of a value."""
        kind |= NONE if value is None else WRITE
        words = (BASE + offset, IP, kind, width << abi.ACCESS_WIDTH_SHIFT | (value or 0))
        return self.driver.syscall(Syscall.FAULT, words=words)

    def told(self) -> tuple[int, ...]:
        """The words of the fault message that the handler has got."""
        badge, label, words = message(self.handler.completion())
        assert (badge, label) == (5, FaultLabel.VM_FAULT)
        return words


@pytest.fixture
def board() -> Board:
    return Board()


def done(value: int) -> tuple[int, int, int, int]:
    return (FaultAnswer.DONE, value, 0, 0)


def answered(completion: Completion | None) -> tuple[int, ...]:
    assert completion is not None
    assert (completion.status, completion.badge, completion.info) == (abi.Status.DONE, 0, 0)
    return completion.registers


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("offset", [0, 4, 0x100, PAGE - 4])
def test_a_load_and_a_store_are_the_device_s(board: Board, offset: int, width: int) -> None:
    board.map(board.registers)
    at = PLACE + offset
    assert answered(board.access(offset, width)) == done(at << 8 | width)
    assert answered(board.access(offset, width, 0x7F)) == done(0)
    assert answered(board.access(offset, width, kind=GUARDED)) == done(at << 8 | width)
    assert (board.device.loaded, board.device.stored) == ([(at, width)] * 2, [(at, width, 0x7F)])


def test_the_host_is_told_of_no_mapping_of_registers(board: Board) -> None:
    before = TwinKernel.fast_takes
    board.memory.new_tells()
    board.map(board.registers)
    assert TwinKernel.fast_takes == before, "the fast path tells the host"
    board.map(board.registers, rights=Rights.READ)
    board.memory.unmap(board.registers)
    board.map(board.registers)
    board.machine.root.call(InitialSlot.CNODE, Label.CNODE_DELETE, (board.registers, abi.WORD_BITS))
    assert board.memory.new_tells() == []
    board.map(board.pixels)
    assert [each.more & -PAGE for each in board.memory.new_tells()] == [PLACE + PAGE]


def test_a_store_has_as_many_bytes_as_it_says(board: Board) -> None:
    """What a task says of its access is its own word: it reaches the device cut to what a register takes."""
    board.map(board.registers)
    board.access(8, 1, 0xFFFFFF41)
    board.access(8, 2, 0xFFFF4142)
    assert board.device.stored == [(PLACE + 8, 1, 0x41), (PLACE + 8, 2, 0x4142)]


@pytest.mark.parametrize("kind", [NONE, WRITE])
@pytest.mark.parametrize(
    ("offset", "width"), [(0, 0), (0, 3), (0, 8), (0, 255), (0, 1 << 31), (2, 4), (1, 2), (4095, 2)]
)
def test_what_is_no_access_to_a_register_is_a_fault(board: Board, offset: int, width: int, kind: PageFault) -> None:
    board.map(board.registers)
    assert board.access(offset, width, 5 if kind else None) is None
    assert board.told() == (IP, BASE + offset, 0, kind | PRESENT | USER)
    assert board.device.loaded == board.device.stored == []
    assert "plain load or store of 1, 2 or 4 aligned bytes" in explain.last_refusal(
        board.machine.kernel.core, board.driver.tcb
    )


def test_a_mapping_s_rights_hold(board: Board) -> None:
    board.map(board.registers, rights=Rights.READ)
    assert answered(board.access(0, 4)) == done(PLACE << 8 | 4)
    assert board.access(0, 4, 1) is None
    assert board.told() == (IP, BASE, 0, WRITE | PRESENT | USER)
    assert board.device.stored == []


def test_registers_are_not_run(board: Board) -> None:
    board.map(board.registers)
    assert board.access(0, 4, kind=FETCH) is None
    assert board.told() == (IP, BASE, 1, FETCH | PRESENT | USER)
    assert board.device.loaded == []


@pytest.mark.parametrize("way", ["unmap", "delete", "revoke", "less"])
def test_without_the_mapping_nothing_is_accessed(board: Board, way: str) -> None:
    board.map(board.registers)
    match way:
        case "unmap":
            board.memory.unmap(board.registers)
        case "delete":
            board.machine.root.call(InitialSlot.CNODE, Label.CNODE_DELETE, (board.registers, abi.WORD_BITS))
        case "revoke":
            words = (board.machine.untyped - 1, abi.WORD_BITS)
            board.machine.root.call(InitialSlot.CNODE, Label.CNODE_REVOKE, words)
        case "less":
            board.map(board.registers, rights=0)
    assert board.access(0, 4) is None
    assert board.told() == (IP, BASE, 0, USER | (PRESENT if way == "less" else NONE))
    assert board.device.loaded == []


def test_memory_behind_registers_is_memory(board: Board) -> None:
    """The access may be tried again: the host maps it."""
    board.map(board.pixels)
    assert answered(board.access(0, 4)) == (FaultAnswer.AGAIN, 0, 0, 0)
    assert answered(board.access(0, 4, 1)) == (FaultAnswer.AGAIN, 0, 0, 0)
    assert board.device.loaded == board.device.stored == []


def test_two_tasks_may_have_them(board: Board) -> None:
    copy = board.machine.copy(board.registers, Rights.READ)
    board.map(board.registers)
    assert board.memory.map(copy, BASE) == (Error.NO_ERROR, ())
    (mapping,) = board.memory.table()
    assert (mapping.rights, mapping.is_registers) == (Rights.READ, True)
    assert answered(board.access(0, 4, 9)) == done(0)
