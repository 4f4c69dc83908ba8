"""Frames and address spaces: Page_Map, Page_Unmap, and what ends a mapping (manual, chapter 7; SEL4_API 2.7)."""

from __future__ import annotations

import pytest

from kerneld.outbox import Tell
from libsel4py import abi
from libsel4py.abi import MAPPING_BASE, MAPPING_END, Error, InitialSlot, Label, ObjectType, Rights
from tests.conformance.refusals import FREE_ADDRESS, MAPPED_ADDRESS, Refusal, Stock
from tests.harness import THREAD_CNODE_BITS, Machine
from tests.mapping_scene import BASE, PAGE, READ_WRITE, MappingScene

MAP = Label.FRAME_MAP
ADDRESS = 0
FRAME_BYTES = 1 << abi.TRAP_FRAME_BITS  # of the frame that is mapped in the tests of errors


@pytest.fixture
def scene(machine: Machine) -> MappingScene:
    return MappingScene(machine)


def access(scene: MappingScene) -> list[tuple[int, int]]:
    """Address and rights of each mapping."""
    return [(each.address, each.rights) for each in scene.table()]


def test_MAPPING0001_map(scene: MappingScene) -> None:
    """Map lets an address space see a frame at an address; the process is told."""
    frame = scene.mapped(BASE + PAGE)
    assert access(scene) == [(BASE + PAGE, READ_WRITE)]
    assert scene.new_tells() == [scene.tell(Tell.MAP, scene.cap(frame), BASE + PAGE, READ_WRITE)]


def test_MAPPING0002_unmap(scene: MappingScene) -> None:
    """Unmap ends the mapping; without one it does nothing, and it is no error."""
    frame = scene.mapped()
    scene.unmap(frame)
    scene.unmap(frame)
    assert access(scene) == []


@pytest.mark.parametrize("bits", [12, 13, 16, 20])
def test_MAPPING0003_sizes(scene: MappingScene, bits: int) -> None:
    """Frames of different sizes are mapped side by side, each at a multiple of its size."""
    scene.mapped(BASE, 12)
    scene.mapped(BASE + (1 << bits), bits)
    scene.mapped(BASE + (2 << bits), 12)
    assert len(scene.table()) == 3


@pytest.mark.parametrize("held", [Rights.READ | Rights.WRITE, Rights.READ, Rights.WRITE, 0])
@pytest.mark.parametrize("asked", [Rights.ALL, Rights.READ, Rights.WRITE, 0])
def test_MAPPING0004_rights(scene: MappingScene, held: int, asked: int) -> None:
    """A mapping has the rights that the capability has and the caller asks for; without Read it has none."""
    frame = scene.machine.copy(scene.frame(), held)
    scene.map(frame, BASE, asked)
    both = held & asked & READ_WRITE
    assert access(scene) == [(BASE, both if both & Rights.READ else 0)]


def test_MAPPING0005_remap(scene: MappingScene) -> None:
    """Map again by the same capability at the same address gives the mapping other rights."""
    frame = scene.mapped(rights=Rights.READ)
    for rights in (READ_WRITE, 0, Rights.READ):
        assert scene.map(frame, BASE, rights) == (Error.NO_ERROR, ())
        assert access(scene) == [(BASE, rights)]


def test_MAPPING0006_one_mapping_a_capability(scene: MappingScene) -> None:
    """One capability is mapped once; a copy of it is another one, and not mapped."""
    frame = scene.mapped()
    assert scene.map(frame, BASE + PAGE)[0] == Error.INVALID_ARGUMENT
    copy = scene.machine.copy(frame)
    scene.unmap(copy)
    assert access(scene) == [(BASE, READ_WRITE)]
    assert scene.map(copy, BASE + PAGE)[0] == Error.NO_ERROR
    assert len(scene.table()) == 2


def test_MAPPING0007_moved(scene: MappingScene) -> None:
    """A capability that is moved stays mapped, and can be unmapped from where it is."""
    machine = scene.machine
    frame, place = scene.mapped(), machine.new_slots()
    machine.root.call(InitialSlot.CNODE, Label.CNODE_MOVE, (place, 64, frame, 64), [InitialSlot.CNODE])
    assert access(scene) == [(BASE, READ_WRITE)]
    scene.unmap(place)
    assert access(scene) == []


def test_MAPPING0008_deleted(scene: MappingScene) -> None:
    """A mapping ends with its capability, though others to the same frame live on."""
    frame = scene.frame()
    copy = scene.machine.copy(frame)
    scene.map(frame, BASE)
    scene.map(copy, BASE + PAGE)
    scene.machine.delete(frame)
    assert access(scene) == [(BASE + PAGE, READ_WRITE)]


def test_MAPPING0009_revoked(scene: MappingScene) -> None:
    """Revoking a frame ends the mappings of all copies, in whatever address space, and not its own."""
    frame = scene.frame()
    scene.map(frame, BASE)
    for number, space in enumerate((scene.space, InitialSlot.VSPACE), 1):
        scene.map(scene.machine.copy(frame), FREE_ADDRESS + number * PAGE, space=space)
    scene.machine.revoke(frame)
    assert access(scene) == [(BASE, READ_WRITE)]
    assert [each.address for each in scene.table(InitialSlot.VSPACE)] == [abi.BOOT_INFO_ADDRESS]


def test_MAPPING0010_space_ends(scene: MappingScene) -> None:
    """With an address space its mappings end: the capabilities are there, not mapped, and can be mapped elsewhere."""
    frames = [scene.mapped(BASE + number * PAGE) for number in range(3)]
    other = scene.machine.retype(ObjectType.VSPACE, 12)
    scene.machine.delete(scene.space)
    assert not any(scene.cap(frame).is_mapped for frame in frames)
    assert scene.map(frames[0], BASE + PAGE, space=other)[0] == Error.NO_ERROR


def test_MAPPING0011_transferred(machine: Machine) -> None:
    """A frame capability that is sent to another task arrives unmapped, and the sender's stays mapped."""
    scene = MappingScene(machine)
    frame = scene.mapped()
    endpoint = machine.retype(ObjectType.ENDPOINT)
    receiver = machine.thread("receiver")
    machine.grant(receiver, endpoint, 1)
    receiver.set_receive(251, 20, THREAD_CNODE_BITS)
    assert receiver.syscall(abi.Syscall.RECV, 1, reply=receiver.reply) is None
    machine.root.syscall(abi.Syscall.SEND, endpoint, caps=[frame])
    assert receiver.completion() is not None
    machine.grant(receiver, scene.space, 21)
    assert receiver.invoke(20, MAP, (BASE, 3, 0), [21])[0] == Error.DELETE_FIRST
    assert receiver.invoke(20, MAP, (BASE + PAGE, 3, 0), [21])[0] == Error.NO_ERROR
    assert len(scene.table()) == 2


def check(stock: Stock, *refusals: Refusal) -> None:
    for refusal in refusals:
        assert stock.invoke(refusal) == (refusal.error, refusal.payload), str(refusal)


def test_ERRORS0110_map(machine: Machine) -> None:
    """Page_Map: every error with its payload."""
    stock = Stock(machine)
    check(
        stock,
        Refusal(MAP, Error.INVALID_CAPABILITY, (1,), caps={0: "cnode"}),
        Refusal(MAP, Error.INVALID_CAPABILITY, (1,), caps={0: "null"}),
        Refusal(MAP, Error.INVALID_CAPABILITY, (1,), {ADDRESS: MAPPED_ADDRESS}, {0: "other_vspace"}, "mapped"),
        Refusal(MAP, Error.INVALID_ARGUMENT, (0,), {ADDRESS: FREE_ADDRESS}, cptr="mapped"),
        Refusal(MAP, Error.INVALID_ARGUMENT, (0,), {ADDRESS: MAPPING_BASE - FRAME_BYTES}),
        Refusal(MAP, Error.INVALID_ARGUMENT, (0,), {ADDRESS: MAPPING_END}),
        Refusal(MAP, Error.INVALID_ARGUMENT, (0,), {ADDRESS: MAPPING_END - FRAME_BYTES + PAGE}),
        Refusal(MAP, Error.INVALID_ARGUMENT, (0,), {ADDRESS: (1 << 64) - FRAME_BYTES}),
        Refusal(MAP, Error.ALIGNMENT_ERROR, (), {ADDRESS: FREE_ADDRESS + PAGE}),
        Refusal(MAP, Error.ALIGNMENT_ERROR, (), {ADDRESS: FREE_ADDRESS + 8}),
        Refusal(MAP, Error.DELETE_FIRST, (), {ADDRESS: MAPPED_ADDRESS}),
        Refusal(MAP, Error.DELETE_FIRST, (), {ADDRESS: abi.BOOT_INFO_ADDRESS}),
    )


def test_ERRORS0111_map_order(machine: Machine) -> None:
    """Page_Map: the address space, then where it is mapped already, the range, the alignment, what is there."""
    stock = Stock(machine)
    check(
        stock,
        Refusal(MAP, Error.INVALID_CAPABILITY, (1,), {ADDRESS: 3}, {0: "cnode"}, "mapped"),
        Refusal(MAP, Error.INVALID_CAPABILITY, (1,), {ADDRESS: 3}, {0: "other_vspace"}, "mapped"),
        Refusal(MAP, Error.INVALID_ARGUMENT, (0,), {ADDRESS: FREE_ADDRESS + 8}, cptr="mapped"),
        Refusal(MAP, Error.INVALID_ARGUMENT, (0,), {ADDRESS: MAPPING_END + 8}),
        Refusal(MAP, Error.ALIGNMENT_ERROR, (), {ADDRESS: MAPPED_ADDRESS + 8}),
    )


def test_ERRORS0112_full_table(machine: Machine) -> None:
    """Page_Map into an address space whose table is full: NotEnoughMemory; nothing changes."""
    machine.check = False
    scene = MappingScene(machine)
    room = scene.record().mapping_capacity
    frames = [machine.retype(ObjectType.FRAME, 12) for _ in range(room + 1)]
    for number, frame in enumerate(frames[:-1]):
        scene.map(frame, BASE + number * PAGE)
    assert scene.map(frames[-1], BASE + room * PAGE) == (Error.NOT_ENOUGH_MEMORY, (0,))
    assert len(scene.table()) == room
    machine.assert_invariants()
