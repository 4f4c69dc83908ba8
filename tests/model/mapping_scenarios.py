"""Scenarios of mappings: made, changed, moved and ended, one and many. They join the table of `scenarios.py`."""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights
from tests.harness import THREAD_CNODE_BITS
from tests.model.scenarios import CNODE, MANY, TABLE, Stage, Trap, at, invocation

PAGE = 4096
BASE = abi.MAPPING_BASE + (1 << 30)
READ_WRITE = Rights.READ | Rights.WRITE


def map_pages(stage: Stage, count: int, space: int = InitialSlot.VSPACE) -> int:
    """New frames, mapped in rising order; the first one's slot."""
    first = stage.machine.retype(ObjectType.FRAME, abi.FRAME_MIN_BITS, count)
    for number in range(count):
        stage.root.call(first + number, Label.FRAME_MAP, (BASE + number * PAGE, READ_WRITE, 0), (space,))
    return first


def new_space(stage: Stage) -> int:
    return stage.machine.retype(ObjectType.VSPACE, abi.VSPACE_MIN_BITS)


@TABLE.of(Label.FRAME_MAP)
def map_and_turn(stage: Stage) -> Trap:
    """The table's tree turns about, up to its root."""
    map_pages(stage, 6)
    frame = stage.machine.retype(ObjectType.FRAME, abi.FRAME_MIN_BITS)
    return invocation(stage, frame, Label.FRAME_MAP, (BASE + 6 * PAGE, READ_WRITE, 0), (InitialSlot.VSPACE,))


@TABLE.of(Label.FRAME_MAP)
def map_with_fewer_rights(stage: Stage) -> Trap:
    frame = map_pages(stage, 1)
    return invocation(stage, frame, Label.FRAME_MAP, (BASE, Rights.READ, 2), (InitialSlot.VSPACE,))


@TABLE.of(Label.FRAME_UNMAP)
def unmap_from_the_middle(stage: Stage) -> Trap:
    """The next mapping takes the place of the one that goes."""
    frame = map_pages(stage, 7)
    return invocation(stage, frame + 3, Label.FRAME_UNMAP)


@TABLE.of(Label.FRAME_UNMAP)
def unmap_the_last(stage: Stage) -> Trap:
    space = new_space(stage)
    return invocation(stage, map_pages(stage, 1, space), Label.FRAME_UNMAP)


@TABLE.of(Label.CNODE_MOVE)
def move_a_mapped_frame(stage: Stage) -> Trap:
    frame = map_pages(stage, 3)
    words = (*at(stage.machine.new_slots()), *at(frame + 1))
    return invocation(stage, CNODE, Label.CNODE_MOVE, words, (CNODE,))


@TABLE.of(Label.CNODE_ROTATE)
def swap_mapped_frames(stage: Stage) -> Trap:
    frame = map_pages(stage, 3)
    words = (*at(frame), 0, *at(frame + 1), 0, *at(frame))
    return invocation(stage, CNODE, Label.CNODE_ROTATE, words, (CNODE, CNODE))


@TABLE.of(Label.CNODE_DELETE)
def delete_a_mapped_frame(stage: Stage) -> Trap:
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(map_pages(stage, 3)))


@TABLE.of(Label.CNODE_DELETE)
def delete_a_space_with_mappings(stage: Stage) -> Trap:
    space = new_space(stage)
    map_pages(stage, MANY, space)
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(space))


@TABLE.of(Label.CNODE_REVOKE)
def revoke_mapped_copies(stage: Stage) -> Trap:
    frame = map_pages(stage, 1)
    for number in range(1, 4):
        copy = stage.machine.copy(frame)
        stage.root.call(copy, Label.FRAME_MAP, (BASE + number * PAGE, READ_WRITE, 0), (InitialSlot.VSPACE,))
    return invocation(stage, CNODE, Label.CNODE_REVOKE, at(frame))


@TABLE.of(Label.TCB_SET_SPACE)
def leave_the_last_space_with_mappings(stage: Stage) -> Trap:
    """The thread's own capability to it is the last one."""
    space, other = new_space(stage), new_space(stage)
    map_pages(stage, MANY, space)
    words = (abi.cnode_cap_data(0, abi.WORD_BITS - THREAD_CNODE_BITS), 0)
    stage.root.call(stage.client.cap, Label.TCB_SET_SPACE, words, (0, stage.client.cnode, space))
    stage.machine.delete(space)
    return invocation(stage, stage.client.cap, Label.TCB_SET_SPACE, words, (0, stage.client.cnode, other))


@TABLE.of(Label.CNODE_DELETE)
def delete_the_last_thread_of_a_space(stage: Stage) -> Trap:
    space = new_space(stage)
    map_pages(stage, MANY, space)
    words = (abi.cnode_cap_data(0, abi.WORD_BITS - THREAD_CNODE_BITS), 0)
    stage.root.call(stage.client.cap, Label.TCB_SET_SPACE, words, (0, stage.client.cnode, space))
    stage.machine.delete(space)
    stage.root.call(stage.client.cnode, Label.CNODE_DELETE, (250, THREAD_CNODE_BITS))
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(stage.client.cap))


def new_io_space(stage: Stage, mapped: int = 0) -> tuple[int, int]:
    """Slots of an IOSpace, which is device 0's, and of the first of the frames that are mapped there."""
    space = stage.machine.retype(ObjectType.IO_SPACE, abi.IO_SPACE_MIN_BITS)
    stage.root.call(InitialSlot.IO_SPACE, Label.IO_SPACE_CONTROL_ASSIGN, (0,), (space,))
    frame = stage.machine.retype(ObjectType.FRAME, abi.FRAME_MIN_BITS, mapped + 1)
    for number in range(mapped):
        stage.root.call(frame + number, Label.FRAME_MAP_IO, (READ_WRITE, number * PAGE), (space,))
    return space, frame


@TABLE.of(Label.IO_SPACE_CONTROL_ASSIGN)
def assign_an_io_space(stage: Stage) -> Trap:
    space = stage.machine.retype(ObjectType.IO_SPACE, abi.IO_SPACE_MIN_BITS)
    return invocation(stage, InitialSlot.IO_SPACE, Label.IO_SPACE_CONTROL_ASSIGN, (1,), (space,))


@TABLE.of(Label.FRAME_MAP_IO)
def map_for_a_device(stage: Stage) -> Trap:
    space, frame = new_io_space(stage, 6)
    return invocation(stage, frame + 6, Label.FRAME_MAP_IO, (READ_WRITE, 6 * PAGE), (space,))


@TABLE.of(Label.FRAME_UNMAP)
def unmap_from_a_device(stage: Stage) -> Trap:
    _, frame = new_io_space(stage, 3)
    return invocation(stage, frame + 1, Label.FRAME_UNMAP)


@TABLE.of(Label.CNODE_DELETE)
def delete_an_io_space_with_mappings(stage: Stage) -> Trap:
    space, _ = new_io_space(stage, MANY)
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(space))


@TABLE.of(Label.CNODE_DELETE)
def delete_a_frame_that_a_device_sees(stage: Stage) -> Trap:
    _, frame = new_io_space(stage, 3)
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(frame))
