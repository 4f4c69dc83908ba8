"""The end of many mappings: a part in each transaction, and nothing is told of what is gone with its process."""

from __future__ import annotations

import pytest

from kerneld import caps, derive, mappings, mdb
from kerneld.kernel import Kernel
from kerneld.outbox import Message, Tell
from kerneld.records import OUTBOX_ENTRIES, Slot, TcbSlot, ThreadState
from kerneld.work import WORK_UNITS
from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, ObjectType, Rights, Syscall
from tests.harness import THREAD_CNODE_BITS, Machine, Thread
from tests.mapping_scene import BASE, PAGE, MappingScene

CNODE = InitialSlot.CNODE
GUARD = abi.cnode_cap_data(0, abi.WORD_BITS - THREAD_CNODE_BITS)
MANY = 5 * WORK_UNITS


def map_copies(scene: MappingScene, count: int, space: int | None = None) -> int:
    """Map as many copies of one page's capability, all in one CNode, which is the result; the first is the page's."""
    machine = scene.machine
    core, ram = machine.kernel.core, machine.ram
    bits = count.bit_length()
    source, table = machine.slot(scene.frame()), machine.retype(ObjectType.CNODE, bits)
    for number in range(count):
        slot = Slot(ram, machine.slot(table).object + number * Slot.SIZE)
        with ram.transaction():
            mdb.insert(core, derive.derive_cap(source, caps.read(source)), source, slot)
            mappings.map_frame(core, slot, scene.record(space), BASE + number * PAGE, Rights.READ, 0)
        machine.kernel.outbox.clear()
    return table


class Watched:
    """What the transactions of a system call do: carried out one by one."""

    def __init__(self, machine: Machine, thread: Thread) -> None:
        self.machine = machine
        self.thread = thread
        self.tells: list[Message] = []
        self.most_tells = 0
        self.most_stores = 0
        self.transactions = 0

    def call(self, cptr: int, label: Label, words: tuple[int, ...], roots: tuple[int, ...] = ()) -> None:
        info = abi.message_info(label, len(words), len(roots))
        self.thread.submit(Syscall.CALL, cptr, info, words, caps=roots)
        assert self.machine.kernel.take(self.thread.tcb)
        self._look()
        while self.machine.kernel.continue_one():
            self._look()

    def _look(self) -> None:
        told = list(self.machine.kernel.outbox)
        self.tells += told
        self.most_tells = max(self.most_tells, len(told))
        self.most_stores = max(self.most_stores, self.machine.ram.stores)
        self.transactions += 1
        self.machine.settle()

    def kinds(self) -> list[Tell]:
        return [each.kind for each in self.tells if each.kind is not Tell.DELIVER]


def delete(watched: Watched, slot: int) -> None:
    watched.call(CNODE, Label.CNODE_DELETE, (slot, abi.WORD_BITS), (CNODE,))


@pytest.mark.parametrize("count", [MANY, pytest.param(10_000, id="ten-thousand")])
def test_the_end_of_a_vspace_is_done_in_pieces(count: int) -> None:
    big = count > MANY
    machine = Machine(check=not big, ram_bytes=(256 if big else 16) << 20)
    machine.check = False
    scene = MappingScene(machine, 25 if big else 20)
    map_copies(scene, count)
    machine.check = not big
    watched = Watched(machine, machine.root)
    delete(watched, scene.space)
    assert watched.transactions >= count // WORK_UNITS
    assert set(watched.kinds()) == {Tell.VSPACE_GONE}
    assert watched.most_tells < 4
    assert watched.most_stores < 4000
    machine.assert_invariants()


def test_a_revoke_of_many_mapped_frames_is_done_in_pieces() -> None:
    machine = Machine(check=False, ram_bytes=16 << 20)
    scene = MappingScene(machine, 20)
    memory = machine.retype(ObjectType.UNTYPED, 20)
    first = machine.retype(ObjectType.FRAME, 12, 200, untyped=memory)
    for number in range(200):
        scene.map(first + number, BASE + number * PAGE)
    watched = Watched(machine, machine.root)
    watched.call(CNODE, Label.CNODE_REVOKE, (memory, abi.WORD_BITS), (CNODE,))
    kinds = watched.kinds()
    assert kinds.count(Tell.UNMAP) == kinds.count(Tell.FRAME_GONE) == 200
    assert watched.transactions >= 200 // WORK_UNITS
    assert watched.most_tells < OUTBOX_ENTRIES // 4
    assert [each.detail for each in watched.tells if each.kind is Tell.DELIVER] == [1]
    machine.assert_invariants()


def test_mappings_may_change_while_their_space_ends() -> None:
    """The memory is somebody's until the last piece: who shares the capability may still unmap, map and copy."""
    machine = Machine(check=False, ram_bytes=16 << 20)
    scene = MappingScene(machine, 20)
    map_copies(scene, MANY)
    machine.check = True
    other = machine.thread("other")
    machine.grant(other, scene.frame(), 1)
    machine.root.submit(
        Syscall.CALL, CNODE, abi.message_info(Label.CNODE_DELETE, 2, 1), (scene.space, 64), caps=[CNODE]
    )
    assert machine.kernel.take(machine.root.tcb)
    machine.settle()
    assert 0 < scene.record().mapping_count < MANY
    with machine.ram.transaction():
        slot = machine.slot(scene.space)
        core = machine.kernel.core
        place = Slot(machine.ram, machine.slot(other.cnode).object + 2 * Slot.SIZE)
        mdb.insert(core, derive.derive_cap(slot, caps.read(slot)), slot, place)
    record = scene.record()
    left = record.mapping_count
    assert machine.kernel.continue_one()
    machine.settle()
    assert record.mapping_count == left  # it is not the last capability any more
    done = machine.root.completion()
    assert done is not None
    assert not machine.slot(scene.space).word0
    assert other.invoke(1, Label.FRAME_MAP, (BASE + (1 << 30), 3, 0), [2])[0] == Error.NO_ERROR
    other.call(250 + 1, Label.CNODE_DELETE, (2, THREAD_CNODE_BITS), [251])
    machine.run()
    assert record.mapping_count == 0


# --- with a process


class Tenant:
    """A thread alone in a VSpace of its own, whose one other capability the initial task has."""

    def __init__(self, count: int = MANY) -> None:
        self.machine = Machine(check=False, ram_bytes=16 << 20)
        self.scene = MappingScene(self.machine, 20)
        self.thread = self.machine.thread("tenant", start=False)
        words = (GUARD, 0, self.thread.tcb.trap_frame)
        frame = next(
            number
            for number in range(self.machine.next_slot)
            if self.machine.slot(number).object == self.thread.tcb.trap_frame
        )
        self.machine.root.call(
            self.thread.cap, Label.TCB_CONFIGURE, words, [self.thread.cnode, self.scene.space, frame]
        )
        self.machine.root.call(self.thread.cap, Label.TCB_RESUME)
        self.record = self.scene.record()
        map_copies(self.scene, count)
        self.machine.check = True
        self.machine.settle()
        self.machine.tells.clear()

    @property
    def slot(self) -> Slot:
        return self.thread.tcb.slot(TcbSlot.VSPACE)


def test_a_process_ends_before_it_loses_its_memory() -> None:
    tenant = Tenant()
    machine = tenant.machine
    machine.delete(tenant.scene.space)
    assert tenant.record.mapping_count == MANY
    machine.root.call(tenant.thread.cnode, Label.CNODE_DELETE, (250, THREAD_CNODE_BITS))
    watched = Watched(machine, machine.root)
    delete(watched, tenant.thread.cap)
    kinds = watched.kinds()
    assert kinds[:2] == [Tell.KILL, Tell.VSPACE_GONE]
    assert Tell.UNMAP not in kinds
    assert tenant.record.mapping_count == 0


@pytest.mark.parametrize("by", ["itself", "another"])
def test_a_process_that_goes_on_elsewhere_loses_its_memory_first(by: str) -> None:
    tenant = Tenant()
    machine, thread = tenant.machine, tenant.thread
    machine.delete(tenant.scene.space)
    other = machine.retype(ObjectType.VSPACE, 12)
    caller, cap, cnode = machine.root, thread.cap, thread.cnode
    if by == "itself":
        machine.grant(thread, other, 10)
        caller, cap, cnode, other = thread, 250, 251, 10
    watched = Watched(machine, caller)
    watched.call(cap, Label.TCB_SET_SPACE, (GUARD, 0), (0, cnode, other))
    kinds = [kind for kind in watched.kinds() if kind in (Tell.UNMAP, Tell.KILL, Tell.VSPACE_GONE, Tell.START)]
    assert kinds.count(Tell.UNMAP) == MANY
    assert sorted(kinds[MANY:]) == sorted([Tell.VSPACE_GONE, Tell.KILL, Tell.START])
    assert thread.tcb.slot(TcbSlot.VSPACE).object != tenant.record.address
    assert tenant.record.mapping_count == 0


def test_a_thread_finds_its_arguments_until_its_own_spaces_change() -> None:
    """Work that is done in pieces comes first: the capability space changes in the last piece alone."""
    tenant = Tenant()
    machine, thread = tenant.machine, tenant.thread
    machine.delete(tenant.scene.space)
    machine.grant(thread, machine.retype(ObjectType.VSPACE, 12), 10)
    empty_node = machine.retype(ObjectType.CNODE, THREAD_CNODE_BITS)
    machine.grant(thread, empty_node, 11)
    watched = Watched(machine, thread)
    watched.call(250, Label.TCB_SET_SPACE, (GUARD, 0), (0, 11, 10))
    assert watched.transactions >= MANY // WORK_UNITS
    assert thread.tcb.slot(TcbSlot.CSPACE).object == machine.slot(empty_node).object
    assert thread.tcb.slot(TcbSlot.VSPACE).object != tenant.record.address
    assert not thread.tcb.fault_label


def tenant_of_memory() -> tuple[MappingScene, int, Thread]:
    """A thread in a VSpace with many mappings, and the untyped memory whose revocation ends that."""
    machine = Machine(check=False, ram_bytes=16 << 20)
    memory = machine.retype(ObjectType.UNTYPED, 21)
    scene = MappingScene(machine, 12)
    scene.space = machine.retype(ObjectType.VSPACE, 20, untyped=memory)
    thread = machine.thread("tenant", start=False)
    machine.root.call(thread.cap, Label.TCB_SET_SPACE, (GUARD, 0), [0, thread.cnode, scene.space])
    machine.root.call(thread.cap, Label.TCB_RESUME)
    map_copies(scene, MANY)
    machine.check = True
    machine.settle()
    machine.tells.clear()
    return scene, memory, thread


def test_the_last_capability_is_revoked_with_its_memory() -> None:
    """The thread's own capability is the last one: it is stopped in the first piece, once."""
    scene, memory, thread = tenant_of_memory()
    record = scene.record()
    watched = Watched(scene.machine, scene.machine.root)
    watched.call(CNODE, Label.CNODE_REVOKE, (memory, abi.WORD_BITS), (CNODE,))
    kinds = watched.kinds()
    assert kinds.count(Tell.KILL) == 1
    assert kinds.index(Tell.KILL) < kinds.index(Tell.VSPACE_GONE)
    assert Tell.UNMAP not in kinds
    assert record.mapping_count == 0
    assert thread.state is ThreadState.INACTIVE
    assert watched.transactions >= MANY // WORK_UNITS


def test_a_thread_that_is_started_between_two_pieces_ends_again() -> None:
    scene, memory, thread = tenant_of_memory()
    machine = scene.machine
    record = scene.record()
    helper = machine.thread("helper")
    machine.grant(helper, thread.cap, 1)
    info = abi.message_info(Label.CNODE_REVOKE, 2, 1)
    machine.root.submit(Syscall.CALL, CNODE, info, (memory, abi.WORD_BITS), caps=[CNODE])
    assert machine.kernel.take(machine.root.tcb)
    machine.settle()
    assert 0 < record.mapping_count < MANY
    helper.submit(Syscall.CALL, 1, abi.message_info(Label.TCB_RESUME))
    assert machine.kernel.take(helper.tcb)
    machine.settle()
    assert thread.state is ThreadState.RUNNING
    machine.run()
    kinds = [each.kind for each in machine.tells if each.subject == thread.tcb.address]
    assert kinds == [Tell.KILL, Tell.START, Tell.KILL]
    assert thread.state is ThreadState.INACTIVE
    assert record.mapping_count == 0


def test_a_thread_that_revokes_its_own_space_leaves_a_sound_machine() -> None:
    scene, memory, thread = tenant_of_memory()
    machine = scene.machine
    machine.grant(thread, CNODE, 30)
    info = abi.message_info(Label.CNODE_REVOKE, 2, 1)
    thread.submit(Syscall.CALL, 30, info, (memory, abi.WORD_BITS), caps=[30])
    machine.run()
    assert thread.state is ThreadState.INACTIVE
    machine.revoke(memory)
    assert scene.machine.slot(scene.space).word0 == 0


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_an_end_goes_on_after_the_kernel_was_killed(stop: int) -> None:
    """After any number of pieces a new kernel carries the system call on."""
    machine = Machine(check=False, ram_bytes=16 << 20)
    scene = MappingScene(machine, 20)
    map_copies(scene, MANY)
    machine.check = True
    record = scene.record()
    machine.root.submit(
        Syscall.CALL, CNODE, abi.message_info(Label.CNODE_DELETE, 2, 1), (scene.space, 64), caps=[CNODE]
    )
    assert machine.kernel.take(machine.root.tcb)
    machine.settle()
    for _ in range(stop):
        assert machine.kernel.continue_one()
        machine.settle()
    assert record.mapping_count
    machine.kernel = Kernel(machine.ram)
    machine.run()
    assert machine.root.completion() is not None
    assert record.mapping_count == 0
