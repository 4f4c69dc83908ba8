"""Frame.map and unmap: order of checks, what the table and the capability say, and what the host is told."""

from __future__ import annotations

import pytest

from kerneld.boot import DeviceRegion
from kerneld.outbox import Tell
from libsel4py.abi import MAPPING_END, Error, InitialSlot, Label, ObjectType, Rights, VmAttributes
from tests.harness import Machine
from tests.mapping_scene import BASE, PAGE, READ_WRITE, ROOT_SPACE, MappingScene

NONE = (Error.NO_ERROR, ())
FAR = BASE + (1 << 30)


@pytest.fixture
def scene(machine: Machine) -> MappingScene:
    return MappingScene(machine)


def test_map_is_in_the_table_in_the_capability_and_told(scene: MappingScene) -> None:
    frame = scene.frame(13)
    assert scene.map(frame, BASE + 2 * PAGE, READ_WRITE, VmAttributes.CACHE_DISABLED) == NONE
    (mapping,) = scene.table()
    assert mapping == (BASE + 2 * PAGE, 13, READ_WRITE, VmAttributes.CACHE_DISABLED, scene.machine.slot(frame).address)
    cap = scene.cap(frame)
    assert (cap.mapped_space, cap.mapped_address, cap.is_mapped_by_io) == (
        scene.record().address,
        BASE + 2 * PAGE,
        False,
    )
    assert scene.new_tells() == [scene.tell(Tell.MAP, cap, BASE + 2 * PAGE, READ_WRITE)]


def test_unmap_undoes_it(scene: MappingScene) -> None:
    frame = scene.mapped()
    scene.new_tells()
    before = scene.cap(frame)
    scene.unmap(frame)
    assert scene.table() == []
    assert not scene.cap(frame).is_mapped
    assert scene.new_tells() == [scene.tell(Tell.UNMAP, before, BASE, READ_WRITE)]
    scene.unmap(frame)  # without a mapping nothing happens
    assert scene.new_tells() == []
    assert scene.map(frame, BASE + PAGE) == NONE


@pytest.mark.parametrize(
    ("held", "asked", "effective"),
    [
        (Rights.ALL, Rights.ALL, READ_WRITE),
        (READ_WRITE, Rights.READ, Rights.READ),
        (Rights.READ, READ_WRITE, Rights.READ),
        (Rights.WRITE, READ_WRITE, 0),
        (READ_WRITE, Rights.WRITE, 0),
        (READ_WRITE, 0, 0),
        (READ_WRITE, 1 << 63 | READ_WRITE, READ_WRITE),
    ],
)
def test_rights_are_those_of_the_capability_that_are_asked_for(
    scene: MappingScene, held: int, asked: int, effective: int
) -> None:
    frame = scene.machine.copy(scene.frame(), held)
    assert scene.map(frame, BASE, asked) == NONE
    assert [each.rights for each in scene.table()] == [effective]


def test_unknown_attributes_are_left_out(scene: MappingScene) -> None:
    scene.map(scene.frame(), BASE, READ_WRITE, (1 << 64) - 1)
    assert [each.attributes for each in scene.table()] == [7]


def test_again_at_the_same_address_gives_other_rights(scene: MappingScene) -> None:
    frame = scene.mapped(rights=Rights.READ)
    cap = scene.cap(frame)
    scene.new_tells()
    assert scene.map(frame, BASE, READ_WRITE, VmAttributes.WRITE_COMBINING) == NONE
    assert [(each.rights, each.attributes) for each in scene.table()] == [(READ_WRITE, VmAttributes.WRITE_COMBINING)]
    assert scene.new_tells() == [scene.tell(Tell.MAP, cap, BASE, READ_WRITE)]
    assert scene.map(frame, BASE, Rights.READ) == NONE
    assert scene.new_tells() == [
        scene.tell(Tell.UNMAP, cap, BASE, READ_WRITE),
        scene.tell(Tell.MAP, cap, BASE, Rights.READ),
    ]
    assert scene.cap(frame) == cap


def test_again_elsewhere_is_refused(scene: MappingScene) -> None:
    frame = scene.mapped()
    assert scene.map(frame, BASE + PAGE) == (Error.INVALID_ARGUMENT, (0,))
    assert scene.map(frame, BASE, space=ROOT_SPACE) == (Error.INVALID_CAPABILITY, (1,))
    other = scene.machine.copy(frame)
    assert scene.map(other, BASE + PAGE) == NONE
    assert scene.map(scene.machine.copy(frame), FAR, space=ROOT_SPACE) == NONE


@pytest.mark.parametrize("slot", [0, InitialSlot.CNODE, InitialSlot.BOOT_INFO_FRAME, 4000])
def test_what_is_no_vspace_is_refused(scene: MappingScene, slot: int) -> None:
    assert scene.map(scene.frame(), BASE, space=slot) == (Error.INVALID_CAPABILITY, (1,))


@pytest.mark.parametrize("address", [0, BASE - PAGE, MAPPING_END, MAPPING_END - PAGE, 1 << 47, (1 << 64) - 2 * PAGE])
def test_an_address_outside_is_refused(scene: MappingScene, address: int) -> None:
    assert scene.map(scene.frame(13), address) == (Error.INVALID_ARGUMENT, (0,))


def test_the_last_address_is_inside(scene: MappingScene) -> None:
    assert scene.map(scene.frame(13), MAPPING_END - 2 * PAGE) == NONE


@pytest.mark.parametrize("address", [BASE + 1, BASE + PAGE, BASE + 3 * PAGE])
def test_an_address_is_a_multiple_of_the_size(scene: MappingScene, address: int) -> None:
    assert scene.map(scene.frame(13), address) == (Error.ALIGNMENT_ERROR, ())


def test_what_is_taken_is_refused(scene: MappingScene) -> None:
    scene.mapped(BASE + 2 * PAGE)
    assert scene.map(scene.frame(13), BASE + 2 * PAGE) == (Error.DELETE_FIRST, ())
    assert scene.map(scene.frame(14), BASE) == (Error.DELETE_FIRST, ())
    assert scene.map(scene.frame(12), BASE + 2 * PAGE) == (Error.DELETE_FIRST, ())
    assert scene.map(scene.frame(13), BASE) == NONE


def test_a_short_message_is_refused(scene: MappingScene) -> None:
    frame, root = scene.frame(), scene.machine.root
    assert root.invoke(frame, Label.FRAME_MAP, (BASE, 3), [scene.space])[0] == Error.TRUNCATED_MESSAGE
    assert root.invoke(frame, Label.FRAME_MAP, (BASE, 3, 0))[0] == Error.TRUNCATED_MESSAGE


def test_a_full_table_is_refused_until_one_goes(machine: Machine) -> None:
    machine.check = False
    scene = MappingScene(machine)
    room = scene.record().mapping_capacity
    first = scene.frame(count=100)
    second = scene.frame(count=room - 99)
    frames = [*range(first, first + 100), *range(second, second + room - 99)]
    for number, frame in enumerate(frames[:-1]):
        assert scene.map(frame, BASE + number * PAGE) == NONE
    assert scene.map(frames[-1], BASE + room * PAGE) == (Error.NOT_ENOUGH_MEMORY, (0,))
    assert scene.map(frames[0], BASE, Rights.READ) == NONE  # again at the same address takes no room
    scene.unmap(frames[3])
    assert scene.map(frames[-1], BASE + room * PAGE) == NONE
    machine.assert_invariants()


def test_a_device_frame_is_mapped_likewise() -> None:
    scene = MappingScene(Machine(devices=(DeviceRegion(1 << 32, 13),)))
    frame = scene.machine.retype(ObjectType.FRAME, 13, untyped=scene.machine.untyped - 1)
    assert scene.map(frame, BASE) == NONE
    assert scene.new_tells() == [scene.tell(Tell.MAP, scene.cap(frame), BASE, READ_WRITE)]
    scene.machine.delete(frame)
    assert scene.table() == []


# --- the capability goes


def test_a_mapping_goes_with_its_capability(scene: MappingScene) -> None:
    frame = scene.frame()
    copy = scene.machine.copy(frame)
    scene.map(frame, BASE)
    scene.map(copy, BASE + PAGE, Rights.READ)
    cap = scene.cap(frame)
    scene.new_tells()
    scene.machine.delete(copy)
    assert [each.address for each in scene.table()] == [BASE]
    assert scene.new_tells() == [scene.tell(Tell.UNMAP, cap, BASE + PAGE, Rights.READ)]
    scene.machine.delete(frame)
    assert scene.table() == []


def test_the_host_hears_of_the_mapping_before_the_frame_is_gone(scene: MappingScene) -> None:
    frame = scene.mapped()
    scene.machine.tells.clear()
    scene.machine.delete(frame)
    assert [each.kind for each in scene.machine.tells] == [Tell.UNMAP, Tell.FRAME_GONE]


def test_a_revoke_ends_the_mappings_of_all_copies(scene: MappingScene) -> None:
    memory = scene.machine.retype(ObjectType.UNTYPED, 16)
    frame = scene.machine.retype(ObjectType.FRAME, 12, untyped=memory)
    for number in range(3):
        scene.map(scene.machine.copy(frame), BASE + number * PAGE)
    scene.map(scene.machine.copy(frame), FAR, space=ROOT_SPACE)
    scene.machine.revoke(memory)
    assert scene.table() == []
    assert len(scene.table(ROOT_SPACE)) == 1  # BootInfo


def test_a_mapping_goes_with_the_cnode_that_its_capability_is_in(scene: MappingScene) -> None:
    machine = scene.machine
    table = machine.retype(ObjectType.CNODE, 2)
    frame = scene.mapped()
    machine.root.call(table, Label.CNODE_MOVE, (1, 2, frame, 64), [InitialSlot.CNODE])
    assert [each.slot for each in scene.table()] == [machine.slot(table).object + 32]
    machine.delete(table)
    assert scene.table() == []


def test_a_mapping_goes_with_a_cnode_inside_of_another(scene: MappingScene) -> None:
    """The inner CNode's zombie changes places with the mapped capability in its first slot, and waits there."""
    machine = scene.machine
    memory = machine.retype(ObjectType.UNTYPED, 12)
    outer, inner = (machine.retype(ObjectType.CNODE, 2, untyped=memory) for _ in range(2))
    frames = [scene.mapped(BASE + number * PAGE) for number in range(3)]
    for number, frame in enumerate(frames):
        machine.root.call(inner, Label.CNODE_MOVE, (number, 2, frame, 64), [InitialSlot.CNODE])
    machine.root.call(outer, Label.CNODE_MOVE, (3, 2, inner, 64), [InitialSlot.CNODE])
    scene.machine.tells.clear()
    machine.delete(outer)
    assert [each.address for each in scene.table()] == [BASE + PAGE, BASE + 2 * PAGE]
    machine.revoke(memory)
    assert scene.table() == []
    assert [each.kind for each in scene.new_tells()] == [Tell.UNMAP] * 3


# --- the capability moves


def test_a_mapping_follows_its_capability(scene: MappingScene) -> None:
    machine = scene.machine
    frame = scene.mapped()
    place = machine.new_slots()
    machine.root.call(InitialSlot.CNODE, Label.CNODE_MOVE, (place, 64, frame, 64), [InitialSlot.CNODE])
    assert [each.slot for each in scene.table()] == [machine.slot(place).address]
    machine.root.call(InitialSlot.CNODE, Label.CNODE_MUTATE, (frame, 64, place, 64, 5), [InitialSlot.CNODE])
    assert [each.slot for each in scene.table()] == [machine.slot(frame).address]


def test_mappings_follow_capabilities_that_change_places(scene: MappingScene) -> None:
    machine = scene.machine
    first, second = scene.mapped(BASE), scene.mapped(BASE + PAGE)
    words = (first, 64, 0, second, 64, 0, first, 64)
    machine.root.call(InitialSlot.CNODE, Label.CNODE_ROTATE, words, [InitialSlot.CNODE, InitialSlot.CNODE])
    slots = [machine.slot(second).address, machine.slot(first).address]
    assert [each.slot for each in scene.table()] == slots
    scene.unmap(first)
    assert [each.address for each in scene.table()] == [BASE]


def test_boot_info_is_mapped_like_any_other(machine: Machine) -> None:
    scene = MappingScene(machine)
    (mapping,) = scene.table(ROOT_SPACE)
    assert (mapping.address, mapping.rights) == (BASE, Rights.READ)
    assert mapping.slot == machine.slot(InitialSlot.BOOT_INFO_FRAME).address
    scene.unmap(InitialSlot.BOOT_INFO_FRAME)
    assert scene.table(ROOT_SPACE) == []


# --- completions that wait for the host


def test_what_takes_nothing_does_not_wait(scene: MappingScene) -> None:
    frame = scene.frame()
    scene.machine.deliveries.clear()
    for rights in (Rights.READ, READ_WRITE):
        scene.map(frame, BASE, rights)
    assert [each.detail for each in scene.machine.deliveries] == [0, 0]


@pytest.mark.parametrize("method", ["unmap", "map", "delete", "revoke"])
def test_what_may_take_memory_is_completed_when_it_is_gone(scene: MappingScene, method: str) -> None:
    frame = scene.mapped()
    machine = scene.machine
    machine.deliveries.clear()
    match method:
        case "unmap":
            scene.unmap(frame)
        case "map":
            scene.map(frame, BASE, Rights.READ)
        case "delete":
            machine.delete(frame)
        case _:
            machine.revoke(frame)
    machine.root.call(InitialSlot.TCB, Label.TCB_SET_NAME, (0, 0, 0, 0))
    assert [each.detail for each in machine.deliveries] == [1, 0]
