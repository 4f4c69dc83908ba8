"""Interrupts, I/O ports, frames, and what the initial task starts with (manual 5.2, 8.2, 9)."""

from __future__ import annotations

from itertools import pairwise

import pytest

from kerneld.boot import DeviceRegion
from kerneld.records import CapType, ThreadState
from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, ObjectType, Rights, Syscall
from tests.conformance.scenes import SCHED_CONTROL, got, held, is_empty, poll, send
from tests.harness import Machine

CNODE = InitialSlot.CNODE
LINE = 9


@pytest.fixture
def notification(machine: Machine) -> int:
    return machine.retype(ObjectType.NOTIFICATION)


def handler_for(machine: Machine, line: int = LINE) -> int:
    slot = machine.new_slots()
    machine.root.call(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, (line, slot, 64), [CNODE])
    return slot


def connected(machine: Machine, notification: int, badge: int = 4) -> int:
    """A handler whose line signals the notification with the badge."""
    handler = handler_for(machine)
    badged = machine.copy(notification, Rights.WRITE, badge)
    machine.root.call(handler, Label.IRQ_HANDLER_SET_NOTIFICATION, (), [badged])
    return handler


def ports(machine: Machine, first: int, last: int) -> tuple[int, int]:
    """Returns the error of Issue and the destination slot."""
    slot = machine.new_slots()
    words = (first, last, slot, 64)
    error, _ = machine.root.invoke(InitialSlot.IO_PORT_CONTROL, Label.IO_PORT_CONTROL_ISSUE, words, [CNODE])
    return error, slot


def test_IRQ0001_signals(machine: Machine, notification: int) -> None:
    """An interrupt signals the notification that was set, with the badge of the capability that was set."""
    connected(machine, notification, badge=12)
    machine.interrupt(LINE)
    assert poll(machine, notification) == 12


def test_IRQ0002_wakes(machine: Machine, notification: int) -> None:
    """An interrupt wakes the thread that waits for it."""
    connected(machine, notification)
    driver = machine.thread("driver")
    machine.grant(driver, notification, 1)
    assert driver.syscall(Syscall.WAIT, 1) is None
    machine.interrupt(LINE)
    assert got(driver.completion()).badge == 4


def test_IRQ0003_masked_until_acknowledged(machine: Machine, notification: int) -> None:
    """After an interrupt the line is masked until Ack: no second signal comes before."""
    handler = connected(machine, notification)
    machine.interrupt(LINE)
    assert poll(machine, notification) == 4
    machine.interrupt(LINE)
    assert poll(machine, notification) == 0
    machine.root.call(handler, Label.IRQ_HANDLER_ACK)
    machine.interrupt(LINE)
    assert poll(machine, notification) == 4


def test_IRQ0004_clear(machine: Machine, notification: int) -> None:
    """After Clear interrupts of the line signal nothing."""
    handler = connected(machine, notification)
    machine.root.call(handler, Label.IRQ_HANDLER_CLEAR)
    machine.interrupt(LINE)
    assert poll(machine, notification) == 0


def test_IRQ0005_set_again(machine: Machine, notification: int) -> None:
    """SetNotification replaces the notification that was set before."""
    handler = connected(machine, notification)
    other = machine.retype(ObjectType.NOTIFICATION)
    machine.root.call(handler, Label.IRQ_HANDLER_SET_NOTIFICATION, (), [machine.copy(other, badge=8)])
    machine.interrupt(LINE)
    assert (poll(machine, notification), poll(machine, other)) == (0, 8)


def test_IRQ0006_copy_is_installed(machine: Machine, notification: int) -> None:
    """The handler keeps a copy of the capability: deleting the one it was set from changes nothing."""
    handler = handler_for(machine)
    badged = machine.copy(notification, badge=3)
    machine.root.call(handler, Label.IRQ_HANDLER_SET_NOTIFICATION, (), [badged])
    machine.delete(badged)
    machine.interrupt(LINE)
    assert poll(machine, notification) == 3


def test_IRQ0007_one_handler_a_line(machine: Machine) -> None:
    """A line's handler is given out once: RevokeFirst until its last capability is deleted."""
    handler = handler_for(machine)
    words = (LINE, machine.new_slots(), 64)
    assert machine.root.invoke(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, words, [CNODE])[0] == Error.REVOKE_FIRST
    copy = machine.copy(handler)
    machine.delete(handler)
    assert machine.root.invoke(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, words, [CNODE])[0] == Error.REVOKE_FIRST
    machine.delete(copy)
    assert machine.root.invoke(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, words, [CNODE])[0] == Error.NO_ERROR


def test_IRQ0008_deleted_handler(machine: Machine, notification: int) -> None:
    """With the last capability of the handler the line signals nothing any more."""
    machine.delete(connected(machine, notification))
    machine.interrupt(LINE)
    assert poll(machine, notification) == 0


def test_IRQ0009_revoked_notification(machine: Machine, notification: int) -> None:
    """Revoking the notification takes it from the handler, which can be given another."""
    handler = connected(machine, notification)
    machine.revoke(notification)
    machine.interrupt(LINE)
    assert poll(machine, notification) == 0
    machine.root.call(handler, Label.IRQ_HANDLER_SET_NOTIFICATION, (), [machine.copy(notification, badge=2)])
    machine.root.call(handler, Label.IRQ_HANDLER_ACK)
    machine.interrupt(LINE)
    assert poll(machine, notification) == 2


def test_IRQ0010_lines_are_apart(machine: Machine, notification: int) -> None:
    """Interrupts of other lines, with a handler or without, do not signal this one's notification."""
    connected(machine, notification)
    handler_for(machine, 10)
    machine.interrupt(10)
    machine.interrupt(11)
    assert poll(machine, notification) == 0


def test_IOPORT0001_issue(machine: Machine) -> None:
    """Issue gives out a range of ports, up to all of them."""
    for first, last in ((0x3F8, 0x3FF), (0, 0), (0xFFFF, 0xFFFF)):
        error, slot = ports(machine, first, last)
        cap = held(machine, slot)
        assert (error, cap.first_port, cap.last_port) == (Error.NO_ERROR, first, last)


@pytest.mark.parametrize(
    ("first", "last"), [(0x100, 0x107), (0x0F8, 0x100), (0x107, 0x200), (0, 0xFFFF), (0x103, 0x103)]
)
def test_IOPORT0002_once(machine: Machine, first: int, last: int) -> None:
    """Ports are given out once: an overlapping range is refused with RevokeFirst until the first is deleted."""
    _, slot = ports(machine, 0x100, 0x107)
    assert ports(machine, first, last)[0] == Error.REVOKE_FIRST
    machine.delete(slot)
    assert ports(machine, first, last)[0] == Error.NO_ERROR


def test_IOPORT0003_revoke(machine: Machine) -> None:
    """Revoking IOPortControl deletes all ranges that it gave out."""
    slots = [ports(machine, first, first + 7)[1] for first in (0x100, 0x200)]
    machine.revoke(InitialSlot.IO_PORT_CONTROL)
    assert all(is_empty(machine, slot) for slot in slots)
    assert ports(machine, 0, 0xFFFF)[0] == Error.NO_ERROR


class Bus:
    """I/O ports that remember what is written."""

    doorbells = latches = ()

    def __init__(self) -> None:
        self.bytes: dict[int, int] = {}

    def read(self, port: int, width: int) -> int:
        return sum(self.bytes.get(port + number, 0) << 8 * number for number in range(width))

    def write(self, port: int, width: int, value: int) -> None:
        for number in range(width):
            self.bytes[port + number] = value >> 8 * number & 255


@pytest.mark.parametrize(
    ("write", "read", "bits"),
    [
        (Label.IO_PORT_OUT8, Label.IO_PORT_IN8, 8),
        (Label.IO_PORT_OUT16, Label.IO_PORT_IN16, 16),
        (Label.IO_PORT_OUT32, Label.IO_PORT_IN32, 32),
    ],
)
def test_IOPORT0004_access(write: Label, read: Label, bits: int) -> None:
    """Out writes the low 8, 16 or 32 bits of its data, and In reads them."""
    machine = Machine(ports=Bus())
    _, slot = ports(machine, 0x100, 0x10F)
    machine.root.call(slot, write, (0x104, abi.WORD_MASK - 0x0123456789ABCDEF))
    assert machine.root.call(slot, read, (0x104,)) == (abi.WORD_MASK - 0x0123456789ABCDEF & (1 << bits) - 1,)


def test_FRAME0001_address(machine: Machine) -> None:
    """GetAddress tells a frame's physical address."""
    frame = machine.retype(ObjectType.FRAME, 13)
    assert machine.root.call(frame, Label.FRAME_GET_ADDRESS) == (held(machine, frame).object,)


def test_BOOT0001_initial_capabilities() -> None:
    """The initial task has the manual's capabilities in the manual's slots; those without a counterpart are empty."""
    machine = Machine()
    expected = {
        InitialSlot.TCB: CapType.TCB,
        InitialSlot.CNODE: CapType.CNODE,
        InitialSlot.VSPACE: CapType.VSPACE,
        InitialSlot.IRQ_CONTROL: CapType.IRQ_CONTROL,
        InitialSlot.IO_PORT_CONTROL: CapType.IO_PORT_CONTROL,
        InitialSlot.IO_SPACE: CapType.IO_SPACE_CONTROL,
        InitialSlot.BOOT_INFO_FRAME: CapType.FRAME,
        InitialSlot.IPC_BUFFER: CapType.FRAME,
        InitialSlot.DOMAIN: CapType.DOMAIN,
        InitialSlot.SCHED_CONTEXT: CapType.SCHED_CONTEXT,
    }
    found = {slot: held(machine, slot).type for slot in range(InitialSlot.FIRST_FREE)}
    assert found == {slot: expected.get(InitialSlot(slot), CapType.NULL) for slot in found}
    assert held(machine, SCHED_CONTROL).type is CapType.SCHED_CONTROL


def test_BOOT0002_initial_cnode(machine: Machine) -> None:
    """The initial CNode has 2^12 slots and resolves all 64 bits of an address."""
    cap = held(machine, CNODE)
    assert (cap.radix, cap.guard_size, cap.guard) == (abi.INITIAL_CNODE_BITS, 64 - abi.INITIAL_CNODE_BITS, 0)
    assert machine.boot_info()[abi.BOOT_INFO_CNODE_BITS] == abi.INITIAL_CNODE_BITS


def test_BOOT0003_initial_thread(machine: Machine) -> None:
    """The initial thread runs at priority 255 with MCP 255, on a round-robin context of 5 ms."""
    tcb = machine.root.tcb
    assert (tcb.state, tcb.priority, tcb.mcp, tcb.domain) == (ThreadState.RUNNING, 255, 255, 0)
    assert tcb.sched_context is not None
    assert tcb.sched_context.budget == 5000


def test_BOOT0004_untyped_list() -> None:
    """BootInfo lists each untyped capability with address, size and whether it is a device; they do not overlap."""
    device = DeviceRegion(0x1000_0000, 16)
    machine = Machine(devices=(device,))
    info = machine.boot_info()
    first, end = info[abi.BOOT_INFO_UNTYPED : abi.BOOT_INFO_UNTYPED + 2]
    regions = []
    for number, slot in enumerate(range(first, end)):
        address, word = info[abi.BOOT_INFO_UNTYPED_LIST + 2 * number :][:2]
        cap = held(machine, slot)
        assert (cap.object, cap.size_bits, cap.is_device) == (address, word & 255, bool(word >> 8))
        assert address % (1 << cap.size_bits) == 0
        regions.append((address, address + (1 << cap.size_bits)))
    assert (device.address, device.address + (1 << 16)) in regions
    regions.sort()
    assert all(left[1] <= right[0] for left, right in pairwise(regions))


def test_BOOT0005_empty_slots() -> None:
    """BootInfo's empty region names the slots behind the last capability, all empty, to the CNode's end."""
    machine = Machine()
    first, end = machine.boot_info()[abi.BOOT_INFO_EMPTY : abi.BOOT_INFO_EMPTY + 2]
    assert end == 1 << abi.INITIAL_CNODE_BITS
    taken = machine.root.reply  # the harness made one object
    assert all(is_empty(machine, slot) == (slot != taken) for slot in range(first, first + 50))
    assert not is_empty(machine, first - 1)


def test_BOOT0006_regions(machine: Machine) -> None:
    """BootInfo names node 0 of 1, the SchedControl region, the initial domain and the IPC buffer."""
    info = machine.boot_info()
    assert (info[abi.BOOT_INFO_NODE], info[abi.BOOT_INFO_NODES], info[abi.BOOT_INFO_DOMAIN]) == (0, 1, 0)
    start, end = info[abi.BOOT_INFO_SCHED_CONTROL : abi.BOOT_INFO_SCHED_CONTROL + 2]
    assert (start, end) == (SCHED_CONTROL, SCHED_CONTROL + 1)
    assert info[abi.BOOT_INFO_IPC_BUFFER] == held(machine, InitialSlot.IPC_BUFFER).object


def test_BOOT0007_extra_chunk() -> None:
    """Extra boot information is a chunk of id, size with its head, and payload."""
    description = b"{a system description}"
    machine = Machine(description=description)
    size = machine.boot_info()[abi.BOOT_INFO_EXTRA_BYTES]
    address = held(machine, InitialSlot.BOOT_INFO_FRAME).object + abi.BOOT_INFO_EXTRA * 8
    identity, length = machine.ram.words(address, 2)
    assert (identity, length) == (abi.BOOT_INFO_EXTRA_SYSTEM, 16 + len(description))
    assert machine.ram.read(address + 16, len(description)) == description
    assert size >= length


def test_BOOT0008_boot_info_stays(machine: Machine) -> None:
    """Making and revoking objects does not change BootInfo, which tells what the machine began with."""
    before = machine.boot_info()
    memory = machine.retype(ObjectType.UNTYPED, 12)
    machine.retype(ObjectType.NOTIFICATION, 0, 64, untyped=memory)
    send(machine.root, cptr=machine.next_slot - 1)
    machine.revoke(memory)
    assert machine.boot_info() == before
    machine.retype(ObjectType.UNTYPED, 12, untyped=memory)
