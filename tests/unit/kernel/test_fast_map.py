"""Map by the fast path: what it takes on. The harness carries each out by the slow path as well, and compares RAM."""

from __future__ import annotations

import os
import random
import socket
import struct
from array import array

import pytest

from hw.ram import Interrupted
from kerneld import _fastpath, mapping_table
from kerneld.host.completions import Completions
from kerneld.host.control import MESSAGE, NO_SOCKET
from kerneld.kernel import Kernel
from kerneld.outbox import Message, Tell
from kerneld.records import Slot
from libsel4py import abi
from libsel4py.abi import ControlOp, Error, InitialSlot, Label, Rights, Syscall, VmAttributes
from tests.harness import Machine, TwinKernel, take_fast_after_each_store
from tests.mapping_scene import BASE, PAGE, READ_WRITE, MappingScene

ADDRESS = BASE + (1 << 30)
COUNT = 124  # what a table of a page has room for


def taken_by(scene: MappingScene, frame: int, address: int, rights: int = READ_WRITE) -> tuple[Error, int]:
    """The answer to a Map, and how many system calls of it the fast path has carried out."""
    before = TwinKernel.fast_takes
    error, _ = scene.map(frame, address, rights)
    return error, TwinKernel.fast_takes - before


ORDERS = [
    list(range(COUNT)),
    list(reversed(range(COUNT))),
    *(random.Random(seed).sample(range(COUNT), COUNT) for seed in range(4)),
]


@pytest.mark.parametrize("order", ORDERS)
def test_each_place_of_the_tree(order: list[int]) -> None:
    """From the first mapping to a full table, and again after some have gone: nodes are used again."""
    scene = MappingScene()
    frames = {number: scene.frame() for number in order}
    for number in order:
        assert taken_by(scene, frames[number], BASE + number * PAGE) == (Error.NO_ERROR, 1)
    assert [mapping.address for mapping in scene.table()] == [BASE + number * PAGE for number in range(COUNT)]
    gone = order[::3]
    for number in gone:
        scene.unmap(frames[number])
    for number in reversed(gone):
        assert taken_by(scene, frames[number], BASE + number * PAGE, Rights.READ) == (Error.NO_ERROR, 1)
    assert {each.rights for each in scene.table() if each.address == BASE + gone[0] * PAGE} == {Rights.READ}


@pytest.mark.parametrize("rights", range(8))
@pytest.mark.parametrize("attributes", [0, VmAttributes.WRITE_COMBINING, ~0 & abi.WORD_MASK])
def test_rights_and_attributes(rights: int, attributes: int) -> None:
    scene = MappingScene()
    before = TwinKernel.fast_takes
    assert scene.map(scene.frame(), BASE, rights, attributes)[0] == Error.NO_ERROR
    assert TwinKernel.fast_takes == before + 1
    (mapping,) = scene.table()
    assert (mapping.rights, mapping.attributes) == (rights & 3 if rights & Rights.READ else 0, attributes & 7)


def test_large_frames_and_what_lies_around_them() -> None:
    scene = MappingScene()
    bits = 14
    size = 1 << bits
    large, small = scene.frame(bits), scene.frame()
    at = BASE + size
    assert taken_by(scene, large, at) == (Error.NO_ERROR, 1)
    for taken in (at, at + PAGE, at + size - PAGE):
        assert taken_by(scene, small, taken) == (Error.DELETE_FIRST, 0)
    assert taken_by(scene, small, at - PAGE) == (Error.NO_ERROR, 1)
    assert taken_by(scene, scene.frame(), at + size) == (Error.NO_ERROR, 1)
    assert taken_by(scene, scene.frame(bits), BASE) == (Error.DELETE_FIRST, 0)


def test_what_is_refused_or_mapped_already_is_slow() -> None:
    scene = MappingScene()
    frame = scene.mapped()
    assert taken_by(scene, frame, BASE, Rights.READ) == (Error.NO_ERROR, 0)
    assert taken_by(scene, frame, BASE + PAGE) == (Error.INVALID_ARGUMENT, 0)
    other = scene.frame()
    assert taken_by(scene, other, BASE + 1) == (Error.ALIGNMENT_ERROR, 0)
    assert taken_by(scene, other, abi.MAPPING_END) == (Error.INVALID_ARGUMENT, 0)
    assert taken_by(scene, other, abi.MAPPING_BASE - PAGE) == (Error.INVALID_ARGUMENT, 0)
    root = scene.machine.root
    before = TwinKernel.fast_takes
    for target in (other, InitialSlot.TCB, InitialSlot.CNODE):  # none is a VSpace
        assert root.invoke(other, Label.FRAME_MAP, (BASE + PAGE, 3, 0), [target])[0] == Error.INVALID_CAPABILITY
    assert root.invoke(other, Label.FRAME_MAP, (BASE + PAGE, 3), [scene.space])[0] == Error.TRUNCATED_MESSAGE
    assert root.invoke(other, Label.FRAME_MAP, (BASE + PAGE, 3, 0))[0] == Error.TRUNCATED_MESSAGE
    assert TwinKernel.fast_takes == before
    for number in range(COUNT - 1):
        scene.mapped(BASE + (number + 1) * PAGE)
    assert taken_by(scene, other, BASE + COUNT * PAGE) == (Error.NOT_ENOUGH_MEMORY, 0)


def test_who_has_its_share_of_what_the_host_has_is_refused_by_the_slow_path() -> None:
    scene = MappingScene()
    frame, space, ram = scene.mapped(), scene.record(), scene.machine.ram
    scene.machine.kernel.limit(space.address, True)
    assert not space.limited  # nobody runs there
    with ram.transaction():
        space.limited = 1
    other = scene.frame()
    assert taken_by(scene, other, BASE + PAGE) == (Error.NOT_ENOUGH_MEMORY, 0)
    assert taken_by(scene, frame, BASE, Rights.READ) == (Error.NO_ERROR, 0)
    scene.machine.assert_invariants()
    scene.machine.kernel.limit(space.address, False)
    assert taken_by(scene, other, BASE + PAGE) == (Error.NO_ERROR, 1)


def test_in_a_batch_the_capability_comes_with_the_entry() -> None:
    scene = MappingScene()
    root, before = scene.machine.root, TwinKernel.fast_takes
    frame = scene.frame()
    info = abi.message_info(Label.FRAME_MAP, 3, 1)
    root.submit(Syscall.CALL, frame, info, (BASE, READ_WRITE, 0), caps=(scene.space,), inline=True)
    scene.machine.run()
    done = root.completion()
    assert done is not None
    assert (done.label, TwinKernel.fast_takes) == (0, before + 1)
    assert [mapping.address for mapping in scene.table()] == [BASE]


def test_every_store_can_be_interrupted() -> None:
    scene = MappingScene()
    for number in range(6):  # the seventh turns the tree
        scene.mapped(BASE + number * PAGE)
    machine, frame = scene.machine, scene.frame()
    root = machine.root
    machine.poke_words(root.tcb.trap_frame + abi.IPC_CAPS_OR_BADGES, (scene.space,))
    root.submit(Syscall.CALL, frame, abi.message_info(Label.FRAME_MAP, 3, 1), (BASE + 6 * PAGE, READ_WRITE, 0))
    assert take_fast_after_each_store(machine, root.tcb) > 20
    assert root.completion() is not None
    assert len(scene.table()) == 7
    assert mapping_table.find(scene.record(), BASE + 6 * PAGE) is not None


def test_the_machine_tells_the_mapping_before_the_completion() -> None:
    scene = MappingScene()
    frame = scene.frame()
    machine = scene.machine
    machine.poke_words(machine.root.tcb.trap_frame + abi.IPC_CAPS_OR_BADGES, (scene.space,))
    machine.root.submit(Syscall.CALL, frame, abi.message_info(Label.FRAME_MAP, 3, 1), (BASE, READ_WRITE, 0))
    assert machine.kernel.fast_layout is not None
    assert _fastpath.take(machine.ram, machine.kernel.fast_layout, machine.root.tcb.address)
    first, second = machine.kernel.outbox
    assert first == scene.tell(first.kind.MAP, scene.cap(frame), BASE, READ_WRITE)
    assert (second.kind, second.subject) == (second.kind.DELIVER, machine.root.tcb.address)
    machine.settle()
    assert machine.root.completion() is not None


# --- in the kernel's loop


def in_loop(scene: MappingScene, space: int) -> Machine:
    """The initial task maps a frame; the loop over rings takes that, and the host has not done its part yet."""
    serve(scene, space, None)
    assert [each.kind for each in scene.machine.kernel.outbox] == [Tell.MAP, Tell.DELIVER]
    return scene.machine


def serve(scene: MappingScene, space: int, hands: tuple[object, ...] | None) -> None:
    machine, frame = scene.machine, scene.frame()
    root = machine.root
    machine.poke_words(root.tcb.trap_frame + abi.IPC_CAPS_OR_BADGES, (space,))
    root.submit(Syscall.CALL, frame, abi.message_info(Label.FRAME_MAP, 3, 1), (ADDRESS, READ_WRITE, 0))
    rings = array("Q", (root.tcb.trap_frame, root.tcb.consumed, root.tcb.address, 0))
    assert machine.kernel.fast_layout is not None
    looks = array("Q", (0,))
    found, _, taken, _ = _fastpath.serve(machine.ram, machine.kernel.fast_layout, rings, 0, 0, looks, {}, hands)
    assert (found, taken, rings[1]) == (-1, 1, root.tcb.consumed)


def test_who_maps_for_another_process_goes_on_before_the_host_has_done_its_part() -> None:
    scene = MappingScene()
    machine = in_loop(scene, scene.space)
    assert machine.root.completion() is not None
    assert not machine.root.tcb.told_pending
    assert _fastpath.take(machine.ram, machine.kernel.fast_layout or b"", machine.root.tcb.address) is False


def test_who_maps_for_its_own_process_waits_for_the_host() -> None:
    machine = in_loop(MappingScene(), InitialSlot.VSPACE)
    assert machine.root.completion() is None
    assert machine.root.tcb.told_pending


@pytest.mark.parametrize("own", [False, True])
def test_the_host_s_part_of_a_simple_one_is_done_in_the_loop(own: bool) -> None:
    scene = MappingScene()
    machine, space = scene.machine, InitialSlot.VSPACE if own else scene.space
    vspace, trap_frame = machine.slot(space).object, machine.root.tcb.trap_frame
    ours, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    memory, ram = (os.memfd_create(name) for name in ("memory", "ram"))
    os.ftruncate(memory, PAGE)
    threads = (trap_frame, machine.root.tcb.address)
    mail = array("Q", (1, ours.fileno(), 7, 0, 41, NO_SOCKET, 0, 0, *threads))
    notes: list[tuple[int, int, int, int]] = []
    table = bytearray(8 * 4)
    serve(scene, space, ({vspace: mail}, notes, {}, [(3, memory)], memoryview(table), {}, {}, 1, ram))
    assert (len(machine.kernel.outbox), machine.kernel.outbox.done) == (0, 0)
    assert machine.root.completion() is not None
    assert machine.root.completion() is None
    assert not machine.root.tcb.told_pending
    (mapping,) = (each for each in scene.table(space) if each.address == ADDRESS)
    frame = Slot(machine.ram, mapping.slot).object
    assert notes == [(vspace, ADDRESS | READ_WRITE, frame | 12, 8)]
    assert memoryview(table).cast("Q").tolist() == [0, 0, 0, frame]
    assert list(mail) == [0, ours.fileno(), 8, 1, 42, NO_SOCKET, 0, 0, *threads]
    assert machine.ram.read(trap_frame + abi.MAPPINGS_TOLD, 4) == struct.pack("<I", 42)
    data, (handed,), _, _ = socket.recv_fds(keepers, abi.CONTROL_BYTES, 2)
    assert MESSAGE.unpack(data)[:2] == (ControlOp.MAP, 8)
    machine.ram.poke(frame, b"shown")
    assert os.pread(handed, 5, 0) == b"shown"
    machine.assert_invariants()
    for each in (memory, ram, handed):
        os.close(each)
    ours.close()
    keepers.close()


def test_the_loop_comes_back_after_some_whose_host_s_part_it_has_done() -> None:
    """Each takes as long as many other system calls, and others wait for the event loop meanwhile."""
    scene, many = MappingScene(), 32
    machine, root = scene.machine, scene.machine.root
    machine.check = False
    frames, vspace = scene.frame(count=many), machine.slot(scene.space).object
    ours, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ram, *memories = (os.memfd_create("memory") for _ in range(1 + many))
    for memory in memories:
        os.ftruncate(memory, PAGE)
    mail = array("Q", (many, ours.fileno(), 7, 0, 41, NO_SOCKET, 0, 0))
    for number in range(many):
        words = (ADDRESS + number * PAGE, READ_WRITE, 0)
        info = abi.message_info(Label.FRAME_MAP, 3, 1)
        root.submit(Syscall.CALL, frames + number, info, words, caps=(scene.space,), inline=True)
    rings = array("Q", (root.tcb.trap_frame, root.tcb.consumed, root.tcb.address, 0))
    notes: list[tuple[int, int, int, int]] = []
    table = memoryview(bytearray(8 * many))
    hands = ({vspace: mail}, notes, {}, list(enumerate(memories)), table, {}, {}, many, ram)
    assert machine.kernel.fast_layout is not None
    found, _, taken, _ = _fastpath.serve(
        machine.ram, machine.kernel.fast_layout, rings, 0, 0, array("Q", (0,)), {}, hands
    )
    assert (found, taken, len(notes)) == (-1, 29, 29)
    for each in (ram, *memories):
        os.close(each)
    ours.close()
    keepers.close()


def test_what_the_fast_path_takes_of_the_host_must_make_sense() -> None:
    with pytest.raises(TypeError):
        serve(MappingScene(), InitialSlot.VSPACE, ())


@pytest.mark.parametrize("own", [False, True])
def test_the_host_does_its_part_and_the_completion_comes_once(own: bool) -> None:
    scene = MappingScene()
    machine = in_loop(scene, InitialSlot.VSPACE if own else scene.space)
    done: list[Message] = []
    completions = Completions(machine.kernel, done.append, lambda tcb, then: False, lambda tcb: None)
    assert list(completions.publish()) == [machine.root.tcb.address]
    assert [each.kind for each in done] == [Tell.MAP]
    assert completions.others_told
    assert (len(machine.kernel.outbox), machine.kernel.outbox.done) == (0, 0)
    assert machine.root.completion() is not None
    assert machine.root.completion() is None
    assert not machine.root.tcb.told_pending
    assert list(completions.publish()) == []


@pytest.mark.parametrize("own", [False, True])
def test_a_kernel_killed_before_the_host_s_part_is_done_leaves_it_to_the_next(own: bool) -> None:
    scene = MappingScene()
    machine = in_loop(scene, InitialSlot.VSPACE if own else scene.space)

    def die(message: Message) -> None:
        raise Interrupted

    dying = Completions(machine.kernel, die, lambda tcb, then: False, lambda tcb: None)
    with pytest.raises(Interrupted):
        dying.publish()
    machine.kernel = machine.new_kernel(Kernel)
    done: list[Message] = []
    completions = Completions(machine.kernel, done.append, lambda tcb, then: False, lambda tcb: None)
    completions.publish()
    assert [each.kind for each in done] == [Tell.MAP]
    assert len(machine.kernel.outbox) == 0
    assert machine.root.completion() is not None
    assert machine.root.completion() is None
