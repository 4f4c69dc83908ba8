"""A device's registers in a VSpace's table: the host maps what lies before and behind them, and never them."""

from __future__ import annotations

from typing import Any, Final, cast
from unittest.mock import Mock

import pytest

from kerneld.host.former_mappings import FormerMappings
from kerneld.host.frame_memory import FrameMemory
from kerneld.host.frame_shares import FrameShares
from kerneld.host.intake import RIDE_ALONG_BITS, Intake
from kerneld.host.mappings import Mappings
from kerneld.host.process import Phase, Process
from kerneld.records import Slot
from libsel4py.abi import MAPPING_BASE, Error, ObjectType, Rights
from tests.harness import Machine
from tests.mapping_scene import PAGE, MappingScene
from tests.unit.kernel.test_register_access import MEMORY, PLACE, Device

READ: Final = Rights.READ
OTHER_SIZE: Final = RIDE_ALONG_BITS + 1  # does not ride along


class Recorder:
    """Stands for `Mappings`: what it is told, by address."""

    def __init__(self) -> None:
        self.ridden: dict[int, int] = {}
        self.mapped: dict[int, int] = {}

    def begins(self, process: Process) -> None:
        return None

    def ride(self, process: Process, address: int, frame: int, size: int) -> int:
        self.ridden[address] = frame
        return -1

    def map(self, process: Process, address: int, rights: int, frame: int, size: int) -> None:
        self.mapped[address] = frame


def process_of(scene: MappingScene) -> Any:
    return Mock(phase=Phase.LIVE, vspace=scene.record().address)


@pytest.fixture
def scene() -> MappingScene:
    """Registers first and between, and memory behind both."""
    machine = Machine(ports=Device(), devices=(MEMORY,))
    scene = MappingScene(machine, space_bits=14)
    registers = machine.retype(ObjectType.FRAME, 12, untyped=machine.untyped - 1)
    assert scene.map(registers, MAPPING_BASE) == (Error.NO_ERROR, ())
    assert scene.map(machine.copy(registers), MAPPING_BASE + 2 * PAGE, READ) == (Error.NO_ERROR, ())
    scene.mapped(MAPPING_BASE + PAGE, rights=READ)
    scene.mapped(MAPPING_BASE + (1 << OTHER_SIZE), OTHER_SIZE, READ)
    assert [each.is_registers for each in scene.table()] == [True, False, True, False]
    return scene


def frames(scene: MappingScene) -> dict[int, int]:
    """What the host maps: physical addresses by the address in the VSpace."""
    ram = scene.machine.ram
    return {each.address: Slot(ram, each.slot).object for each in scene.table() if not each.is_registers}


def test_a_process_that_starts_is_handed_memory_alone(scene: MappingScene) -> None:
    told, process = Recorder(), process_of(scene)
    intake = Intake(cast(Mappings, told), process, scene.record())
    assert [mapping.address for mapping, _ in intake.ride()] == [MAPPING_BASE + PAGE]
    while intake.step():
        continue
    assert told.ridden | told.mapped == frames(scene)
    assert PLACE not in (*told.ridden.values(), *told.mapped.values())


@pytest.mark.parametrize("owed", [False, True])
def test_a_kernel_that_is_started_again_finds_memory_alone(scene: MappingScene, owed: bool) -> None:
    held: dict[Any, dict[int, Any]] = {}
    uses: dict[int, Any] = {}
    memory = cast(FrameMemory, _NoMemory(scene.machine.ram))
    former = FormerMappings(memory, cast(Any, None), uses, held, cast(FrameShares, Mock()), lambda use, holding: None)
    process = process_of(scene)
    former.restore(process, owed)
    assert {address: use.address for address, use in held[process].items()} == frames(scene)
    assert PLACE not in uses


class _NoMemory:
    """Frames that have no memory of their own yet."""

    def __init__(self, ram: Any) -> None:
        self.ram = ram

    def __contains__(self, frame: int) -> bool:
        return False
