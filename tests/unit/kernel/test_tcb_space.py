"""The capabilities inside a TCB: Configure, SetSpace, SetIPCBuffer, SetTimeoutEndpoint (seL4 Reference Manual 6.1)."""

import pytest

from kerneld.boot import DeviceRegion
from kerneld.outbox import Tell
from kerneld.records import CapType, ProcessState, TcbSlot, ThreadState, VSpace
from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, ObjectType, Rights, Syscall
from tests.harness import OWN_TCB, THREAD_CNODE_BITS, Machine, Thread

from .scene import OTHER, Scene, message, receive

GUARD = abi.cnode_cap_data(0, abi.WORD_BITS - THREAD_CNODE_BITS)
VSPACE = InitialSlot.VSPACE
FRAME_BYTES = 1 << abi.TRAP_FRAME_BITS
CONFIGURE, SET_SPACE = Label.TCB_CONFIGURE, Label.TCB_SET_SPACE
SET_BUFFER, SET_TIMEOUT = Label.TCB_SET_IPC_BUFFER, Label.TCB_SET_TIMEOUT_ENDPOINT


def bare_thread() -> tuple[Machine, int]:
    """A TCB that holds nothing."""
    machine = Machine()
    return machine, machine.retype(ObjectType.TCB)


def threads_of(machine: Machine, vspace: int) -> list[int]:
    at = VSpace(machine.ram, machine.slot(vspace).object).threads
    found = []
    while at is not None:
        found.append(at.address)
        at = at.vspace_next
    return found


def test_a_handler_needs_write_and_a_way_to_be_replied_to() -> None:
    machine, tcb = bare_thread()
    endpoint, notification = machine.retype(ObjectType.ENDPOINT), machine.retype(ObjectType.NOTIFICATION)
    assert machine.root.invoke(tcb, SET_TIMEOUT) == (Error.TRUNCATED_MESSAGE, ())
    assert machine.root.invoke(tcb, SET_TIMEOUT, (), [notification]) == (Error.INVALID_CAPABILITY, (1,))
    for rights in range(16):
        able = bool(rights & Rights.WRITE and rights & (Rights.GRANT | Rights.GRANT_REPLY))
        handler = machine.copy(endpoint, rights)
        expected = (0, ()) if able else (Error.INVALID_CAPABILITY, (1,))
        assert machine.root.invoke(tcb, SET_TIMEOUT, (), [handler]) == expected
    machine.root.call(tcb, SET_TIMEOUT, (), [InitialSlot.NULL])


def test_a_handler_is_a_copy_of_the_capability_with_its_badge() -> None:
    machine, tcb = bare_thread()
    endpoint = machine.retype(ObjectType.ENDPOINT)
    badged = machine.copy(endpoint, badge=9)
    machine.root.call(tcb, SET_TIMEOUT, (), [badged])
    thread = Thread(machine, machine.kernel.core.tcb(machine.slot(tcb).object), tcb, 0, 0, 0)
    slot = thread.tcb.slot(TcbSlot.TIMEOUT_HANDLER)
    assert (slot.cap_type, slot.word1) == (CapType.ENDPOINT, 9)
    machine.root.call(tcb, SET_TIMEOUT, (), [InitialSlot.NULL])
    assert slot.cap_type == CapType.NULL
    machine.root.call(tcb, SET_TIMEOUT, (), [badged])
    machine.revoke(endpoint)
    assert slot.cap_type == CapType.NULL


def test_configure_checks_in_order() -> None:
    machine, tcb = bare_thread()
    root = machine.root
    untyped = machine.retype(ObjectType.UNTYPED, 15)
    endpoint = machine.retype(ObjectType.ENDPOINT, untyped=untyped)
    cnode = machine.retype(ObjectType.CNODE, THREAD_CNODE_BITS)
    frame, small = machine.retype(ObjectType.FRAME, abi.TRAP_FRAME_BITS), machine.retype(ObjectType.FRAME, 12)
    readable = machine.copy(frame, Rights.READ)

    def refused(words: tuple[int, ...], *caps: int) -> tuple[int, tuple[int, ...]]:
        return root.invoke(tcb, CONFIGURE, words, caps)

    assert refused((0, 0), cnode, VSPACE, frame) == (Error.TRUNCATED_MESSAGE, ())
    assert refused((0, 0, 0), cnode, VSPACE) == (Error.TRUNCATED_MESSAGE, ())
    assert refused((0, 0, 1), endpoint, endpoint, untyped) == (Error.REVOKE_FIRST, ())
    assert refused((0, 0, 4096), endpoint, endpoint, frame) == (Error.ALIGNMENT_ERROR, ())
    assert refused((0, 0, FRAME_BYTES), cnode, VSPACE, endpoint) == (Error.ILLEGAL_OPERATION, ())
    assert refused((0, 0, FRAME_BYTES), cnode, VSPACE, small) == (Error.ILLEGAL_OPERATION, ())
    assert refused((0, 0, FRAME_BYTES), cnode, VSPACE, readable) == (Error.ILLEGAL_OPERATION, ())
    assert refused((0, 0, 0), untyped, VSPACE, frame) == (Error.REVOKE_FIRST, ())
    assert refused((0, 0, 0), endpoint, VSPACE, frame) == (Error.ILLEGAL_OPERATION, ())
    assert refused((abi.cnode_cap_data(0, 63), 0, 0), cnode, VSPACE, frame) == (Error.ILLEGAL_OPERATION, ())
    assert refused((GUARD, 0, 0), cnode, untyped, frame) == (Error.REVOKE_FIRST, ())
    assert refused((GUARD, 0, 0), cnode, cnode, frame) == (Error.ILLEGAL_OPERATION, ())
    assert refused((GUARD, 0, 0), cnode, VSPACE, frame) == (0, ())
    record = machine.kernel.core.tcb(machine.slot(tcb).object)
    assert record.trap_frame == 0
    assert threads_of(machine, VSPACE) == [record.address, machine.root.tcb.address]
    assert not machine.told(Tell.TRAP_FRAME)


def test_a_device_frame_is_no_trap_frame() -> None:
    machine = Machine(devices=(DeviceRegion(1 << 32, 16),))
    device = machine.untyped - 1
    frame = machine.retype(ObjectType.FRAME, abi.TRAP_FRAME_BITS, untyped=device)
    tcb = machine.retype(ObjectType.TCB)
    assert machine.root.invoke(tcb, SET_BUFFER, (FRAME_BYTES,), [frame]) == (Error.ILLEGAL_OPERATION, ())


def test_a_large_frame_is_no_trap_frame() -> None:
    """Its bytes are moved at once when a thread starts with it."""
    machine = Machine(ram_bytes=32 << 20)
    tcb = machine.retype(ObjectType.TCB)
    fits, large = machine.retype(ObjectType.FRAME, 21), machine.retype(ObjectType.FRAME, 22)
    assert machine.root.invoke(tcb, SET_BUFFER, (FRAME_BYTES,), [large]) == (Error.ILLEGAL_OPERATION, ())
    assert machine.root.invoke(tcb, SET_BUFFER, (FRAME_BYTES,), [fits]) == (Error.NO_ERROR, ())


def test_set_space_checks_the_handler_last() -> None:
    machine, tcb = bare_thread()
    cnode = machine.retype(ObjectType.CNODE, THREAD_CNODE_BITS)
    endpoint = machine.retype(ObjectType.ENDPOINT)
    invoke = machine.root.invoke
    assert invoke(tcb, SET_SPACE, (0,), [endpoint, cnode, VSPACE]) == (Error.TRUNCATED_MESSAGE, ())
    assert invoke(tcb, SET_SPACE, (0, 0), [endpoint, cnode]) == (Error.TRUNCATED_MESSAGE, ())
    assert invoke(tcb, SET_SPACE, (0, 0), [cnode, VSPACE, VSPACE]) == (Error.ILLEGAL_OPERATION, ())
    assert invoke(tcb, SET_SPACE, (0, 0), [cnode, cnode, cnode]) == (Error.ILLEGAL_OPERATION, ())
    assert invoke(tcb, SET_SPACE, (0, 0), [cnode, cnode, VSPACE]) == (Error.INVALID_CAPABILITY, (1,))
    machine.root.call(tcb, SET_SPACE, (GUARD, 0), [endpoint, cnode, VSPACE])
    record = machine.kernel.core.tcb(machine.slot(tcb).object)
    kinds = [record.slot(index).cap_type for index in TcbSlot]
    assert kinds == [CapType.CNODE, CapType.VSPACE, CapType.NULL, CapType.ENDPOINT, CapType.NULL, CapType.NULL]
    assert (record.slot(TcbSlot.CSPACE).word0 >> 46) & 63 == abi.WORD_BITS - THREAD_CNODE_BITS


def test_a_thread_that_holds_the_last_capability_of_its_cspace_keeps_it() -> None:
    machine = Machine()
    thread = machine.thread("thread")
    for slot in (250, 251, 252, 253):
        machine.root.call(thread.cnode, Label.CNODE_DELETE, (slot, THREAD_CNODE_BITS))
    other = machine.retype(ObjectType.CNODE, THREAD_CNODE_BITS)
    machine.delete(thread.cnode)
    words = (GUARD, 0, 0)
    assert machine.root.invoke(thread.cap, CONFIGURE, words, [other, VSPACE, 0]) == (Error.ILLEGAL_OPERATION, ())


def test_another_trap_frame_starts_the_rings_anew() -> None:
    scene = Scene()
    thread = scene.thread("thread")
    assert thread.syscall(Syscall.YIELD) is not None
    frame = scene.machine.retype(ObjectType.FRAME, abi.TRAP_FRAME_BITS)
    before = len(scene.machine.told(Tell.TRAP_FRAME))
    scene.machine.root.call(thread.cap, SET_BUFFER, (FRAME_BYTES,), [frame])
    assert (thread.tcb.consumed, thread.tcb.produced) == (0, 0)
    assert len(scene.machine.told(Tell.TRAP_FRAME)) == before + 1
    scene.machine.root.call(thread.cap, SET_BUFFER, (FRAME_BYTES,), [frame])
    assert len(scene.machine.told(Tell.TRAP_FRAME)) == before + 1
    thread.expected = 0
    assert thread.syscall(Syscall.YIELD) is not None
    scene.machine.root.call(thread.cap, SET_BUFFER, (0,), [frame])
    assert thread.tcb.trap_frame == 0


def test_a_thread_cannot_replace_the_trap_frame_that_it_calls_through() -> None:
    machine = Machine()
    thread = machine.thread("thread")
    machine.grant(thread, machine.retype(ObjectType.FRAME, abi.TRAP_FRAME_BITS), OTHER)
    assert thread.invoke(OWN_TCB, SET_BUFFER, (FRAME_BYTES,), [OTHER]) == (Error.ILLEGAL_OPERATION, ())
    assert thread.invoke(OWN_TCB, SET_BUFFER, (0,), [OTHER]) == (Error.ILLEGAL_OPERATION, ())
    assert thread.invoke(OWN_TCB, SET_BUFFER, (), [OTHER]) == (Error.TRUNCATED_MESSAGE, ())


@pytest.mark.parametrize("running", [False, True])
def test_another_address_space_ends_the_process_and_a_runnable_thread_starts_there(running: bool) -> None:
    machine = Machine()
    thread = machine.thread("thread", start=running)
    space = machine.retype(ObjectType.VSPACE, 12)
    old = machine.slot(VSPACE).object
    machine.root.call(thread.cap, SET_SPACE, (GUARD, 0), [InitialSlot.NULL, thread.cnode, VSPACE])
    assert not machine.told(Tell.KILL)
    machine.root.call(thread.cap, SET_SPACE, (GUARD, 0), [InitialSlot.NULL, thread.cnode, space])
    kills = [(tell.subject, tell.detail) for tell in machine.told(Tell.KILL)]
    assert kills == ([(thread.tcb.address, old)] if running else [])
    assert (threads_of(machine, space), thread.tcb.address in threads_of(machine, VSPACE)) == (
        [thread.tcb.address],
        False,
    )
    starts = [tell for tell in machine.told(Tell.START) if tell.subject == thread.tcb.address]
    assert len(starts) == (2 if running else 0)
    assert thread.tcb.process == (ProcessState.LIVE if running else ProcessState.NONE)


def test_destroying_the_address_space_stops_its_threads() -> None:
    machine = Machine()
    thread = machine.thread("thread", own_vspace=True)
    (space,) = [
        number
        for number in range(machine.next_slot)
        if machine.slot(number).word0 == thread.tcb.slot(TcbSlot.VSPACE).word0
    ]
    machine.revoke(space)
    machine.delete(space)
    assert (thread.state, thread.tcb.process) == (ThreadState.INACTIVE, ProcessState.NONE)
    assert thread.tcb.slot(TcbSlot.VSPACE).cap_type == CapType.NULL


def test_the_fault_endpoint_of_set_space_is_told_of_faults() -> None:
    scene = Scene()
    thread, handler = scene.thread("thread"), scene.thread("handler")
    assert receive(handler) is None
    scene.machine.root.call(thread.cap, SET_SPACE, (GUARD, 0), [scene.endpoint, thread.cnode, VSPACE])
    assert thread.syscall(Syscall.CALL, 1 << 60) is None
    badge, label, words = message(handler.completion())
    assert (badge, label, words[1]) == (0, abi.FaultLabel.CAP_FAULT, 1 << 60)


def test_the_host_hears_of_a_tcbs_end_after_exit_too(machine: Machine) -> None:
    """The process may live on, and must not be served by a record that has become another object's."""
    thread = machine.thread("task")
    thread.syscall(Syscall.EXIT)
    assert thread.tcb.process == ProcessState.NONE
    assert not machine.told(Tell.KILL)
    machine.revoke(thread.cap)
    machine.delete(thread.cap)
    assert [tell.subject for tell in machine.told(Tell.KILL)] == [thread.tcb.address]
