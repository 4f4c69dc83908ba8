"""An initial task that maps frames into children, takes them away again, and looks at what the children can do then.

The children run boot image 1, `toucher`. Their faults and their results come to one endpoint, badge = child's number.
The scene is the system description's text; the image ends with 0 if all went as it should.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
from dataclasses import dataclass
from typing import Final

from libsel4py import abi
from libsel4py.abi import FaultLabel, InitialSlot, ObjectType, PageFault, Rights
from libsel4py.capabilities import TCB, CNode, Endpoint, Frame, Reply, SchedContext, SchedControl, Untyped, VSpace
from libsel4py.fault_reports import is_death
from libsel4py.lowlevel import bootinfo
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.cspace import SlotAllocator
from libsel4py.lowlevel.syscalls import Message, Received
from libsel4py.lowlevel.untyped import UntypedAllocator
from tests.system.images import toucher
from tests.system.images.toucher import ADD, ALARM, ARM, C_READ, C_WRITE, READ, RESULT, SWEEP, WRITE

BASE: Final = 0x2000_0000_0000
VSPACE_BITS: Final = 25
LARGE_VSPACE_BITS: Final = 26
BUDGET_US: Final = 10_000
INITIAL_GUARD: Final = abi.cnode_cap_data(0, abi.WORD_BITS - abi.INITIAL_CNODE_BITS)
PAGE_BITS: Final = 12
PAGE: Final = 1 << PAGE_BITS
READ_WRITE: Final = Rights.READ | Rights.WRITE
KEEPS_LOGS: Final = 3  # an exit status
IS_WRITE: Final = {READ: False, C_READ: False, WRITE: True, C_WRITE: True}
TOUCHED = {READ: 1, WRITE: 1, C_READ: PAGE, C_WRITE: PAGE}  # bytes


@dataclass(frozen=True)
class Child:
    """A thread that touches what it is told to. ``orders`` is its own endpoint."""

    number: int
    tcb: TCB
    vspace: VSpace
    orders: Endpoint

    def order(self, what: int, address: int, value: int = 0, *more: int) -> None:
        self.orders.send(Message(what, (address, value, *more)))


@dataclass(frozen=True)
class Home:
    """What a child has of its own: all of its objects are made of ``block``, its capabilities stand in ``table``.

    Slots 1 and 2 there are its two endpoints.
    """

    block: Untyped
    table: CNode
    radix: int


class Parent:
    def __init__(self, info: bootinfo.BootInfo) -> None:
        self.cnode = CNode(InitialSlot.CNODE)
        self.slots = SlotAllocator(info.empty.start, len(info.empty))
        self.memory = UntypedAllocator(self.cnode, self.slots)
        for described in info.untyped:
            self.memory.add(described.untyped, described.size_bits)
        self._sched_control = SchedControl(info.sched_control.start)
        self.endpoint = Endpoint(self.make(ObjectType.ENDPOINT))
        self.reply = Reply(self.make(ObjectType.REPLY))
        self._numbers = itertools.count(1)

    def make(self, object_type: ObjectType, size_bits: int = 0) -> int:
        return self.memory.allocate(object_type, size_bits).start

    def frame(self, size_bits: int = PAGE_BITS) -> Frame:
        return Frame(self.make(ObjectType.FRAME, size_bits))

    def copy(self, frame: Frame, rights: Rights = READ_WRITE) -> Frame:
        """A capability of its own to the same frame: each is mapped once."""
        slot = self.slots.allocate()
        self.cnode.mint(slot, self.cnode, frame.cptr, 0, rights=rights)
        return Frame(slot)

    def child(self, vspace: VSpace | None = None, vspace_bits: int = VSPACE_BITS, home: Home | None = None) -> Child:
        """A child that waits for orders: a process of its own, or a thread in that of another one."""
        number = next(self._numbers)

        def make(object_type: ObjectType, size_bits: int = 0) -> int:
            if home is None:
                return self.make(object_type, size_bits)
            home.block.retype(object_type, size_bits, self.cnode, slot := self.slots.allocate())
            return slot

        tcb = TCB(make(ObjectType.TCB))
        buffer = Frame(make(ObjectType.FRAME, abi.TRAP_FRAME_BITS))
        space = vspace or VSpace(make(ObjectType.VSPACE, vspace_bits))
        context = SchedContext(make(ObjectType.SCHED_CONTEXT, 8))
        orders = Endpoint(self.make(ObjectType.ENDPOINT))
        badged = self.slots.allocate()
        self.cnode.mint(badged, self.cnode, self.endpoint.cptr, number)
        self._sched_control.configure_flags(context, BUDGET_US, BUDGET_US)
        names: tuple[int, ...] = (orders.cptr, badged)
        if home is None:
            tcb.configure(self.cnode, INITIAL_GUARD, space, 0, 0x20_0000_0000, buffer)
        else:
            for slot, endpoint in enumerate(names, 1):
                home.table.copy(slot, self.cnode, endpoint, dest_depth=home.radix)
            names = (1, 2)
            guard = abi.cnode_cap_data(0, abi.WORD_BITS - home.radix)
            tcb.configure(home.table, guard, space, 0, 0x20_0000_0000, buffer)
        tcb.set_sched_params(TCB(InitialSlot.TCB), 100, 100, context, Endpoint(badged))
        registers = [0] * abi.REGISTERS
        registers[abi.REG_RIP] = 1
        for register, value in zip(abi.ARGUMENT_REGISTERS, names, strict=False):
            registers[register] = value
        tcb.write_registers(1, registers)
        return Child(number, tcb, space, orders)

    def name_slots(self, table: CNode, radix: int) -> range:
        """Addresses of another CNode's slots, which is put beside the initial one; that one's keep theirs."""
        root = CNode(self.make(ObjectType.CNODE, 1))
        beside = abi.WORD_BITS - 1
        for slot, inner, bits in ((0, self.cnode, abi.INITIAL_CNODE_BITS), (1, table, radix)):
            root.mint(slot, self.cnode, inner.cptr, abi.cnode_cap_data(0, beside - bits), dest_depth=1)
        TCB(InitialSlot.TCB).set_space(Endpoint(0), root, abi.cnode_cap_data(0, 0), VSpace(InitialSlot.VSPACE), 0)
        return range(1 << beside, (1 << beside) + (1 << radix))

    def next(self) -> Received:
        return self.endpoint.recv(self.reply)

    def result(self, child: Child) -> int:
        """What the child has read. It must not have faulted."""
        message = self.next()
        assert (message.badge, message.label) == (child.number, RESULT), message
        return message.words[0]

    def fault(self, child: Child, address: int, kind: PageFault, size: int = 1) -> None:
        """The child faults in this way at this address, or at one of ``size`` bytes: the order is memcpy's matter."""
        message = self.next()
        assert (message.badge, message.label) == (child.number, FaultLabel.VM_FAULT), message
        ip, at, prefetch, fsr = message.words
        assert at in range(address, address + size), hex(at)
        assert PageFault(fsr) == kind | PageFault.USER, PageFault(fsr)
        assert prefetch == bool(kind & PageFault.FETCH)
        assert ip, "no instruction pointer"

    def do(self, child: Child, what: int, address: int, value: int = 0) -> int:
        child.order(what, address, value)
        return self.result(child)


def rights(parent: Parent) -> None:
    """Rights of the mapping and of the capability, against each kind of access; a fault is resolved by a remap."""
    child = parent.child()
    addresses = itertools.count(BASE, PAGE)
    for of_cap, asked, access in itertools.product(
        (READ_WRITE, Rights.READ, Rights.WRITE, Rights.NONE), (READ_WRITE, Rights.READ), (READ, C_READ, WRITE, C_WRITE)
    ):
        given = of_cap & asked
        address = next(addresses)
        master = parent.frame()
        frame = parent.copy(master, of_cap)
        frame.map(address, asked, 0, vspace=child.vspace)
        allowed = Rights.READ in given and (Rights.WRITE in given or not IS_WRITE[access])
        child.order(access, address, 7)
        if not allowed:
            kind = PageFault.WRITE if IS_WRITE[access] else PageFault.NONE
            parent.fault(child, address, kind | PageFault.PRESENT, TOUCHED[access])
            frame.unmap()
            master.map(address, READ_WRITE, 0, vspace=child.vspace)
            parent.reply.send(Message())
        parent.result(child)
        assert parent.do(child, READ, address) == (7 if IS_WRITE[access] else 0)


def sharing(parent: Parent) -> None:
    """Two processes see one frame; one dies, one loses it, and the other keeps all that was written."""
    first, second, third = parent.child(), parent.child(), parent.child()
    frame = parent.frame()
    copies = [parent.copy(frame) for _ in range(3)]
    for copy, child in zip(copies, (first, second, third), strict=True):
        copy.map(BASE, READ_WRITE, 0, vspace=child.vspace)
    parent.do(first, C_WRITE, BASE, 1)
    assert parent.do(second, C_READ, BASE) == 1
    parent.do(second, WRITE, BASE + 5, 6)
    parent.memory.free(first.tcb.cptr)
    assert parent.do(third, READ, BASE + 5) == 6
    copies[1].unmap()
    assert parent.do(third, READ, BASE + 5) == 6
    parent.do(third, WRITE, BASE, 3)
    second.order(READ, BASE)
    parent.fault(second, BASE, PageFault.NONE)
    copies[1].map(BASE, Rights.READ, 0, vspace=second.vspace)
    parent.reply.send(Message())
    assert parent.result(second) == 3


def counting(parent: Parent) -> None:
    """One process counts in a frame while another loses it and gets it back, again and again: no count is lost."""
    counter, other = parent.child(), parent.child()
    frame = parent.frame()
    theirs, ours = parent.copy(frame), parent.copy(frame)
    theirs.map(BASE, READ_WRITE, 0, vspace=counter.vspace)
    rounds, counts = 40, 20_000
    for turn in range(rounds):
        counter.order(ADD, BASE, counts)
        ours.map(BASE, READ_WRITE, 0, vspace=other.vspace)
        ours.unmap()
        assert parent.result(counter) == (turn + 1) * counts


def restarted(parent: Parent) -> None:
    """A thread's new life finds what is mapped in its VSpace."""
    child, frame = parent.child(), parent.frame()
    frame.map(BASE, READ_WRITE, 0, vspace=child.vspace)
    parent.do(child, WRITE, BASE, 8)
    child.order(READ, 0)  # its own bug
    message = parent.next()
    assert message.label == FaultLabel.USER_EXCEPTION, message
    child.tcb.resume()
    assert parent.do(child, READ, BASE) == 8


def crowd(parent: Parent) -> None:
    """Eight threads of one process fault at once, on pages of their own and on one that they share."""
    first = parent.child()
    threads = [first, *(parent.child(first.vspace) for _ in range(7))]
    by_number = {child.number: child for child in threads}
    for address_of in (lambda child: BASE + child.number * PAGE, lambda child: BASE):
        for child in threads:
            child.order(C_WRITE, address_of(child), child.number)
        mapped: set[int] = set()
        results = 0
        while results < len(threads):
            message = parent.next()
            if message.label == RESULT:
                results += 1
                continue
            assert message.label == FaultLabel.VM_FAULT
            address = message.words[1] & -PAGE
            assert address == address_of(by_number[message.badge])
            if address not in mapped:
                mapped.add(address)
                parent.frame().map(address, READ_WRITE, 0, vspace=first.vspace)
            parent.reply.send(Message())
        for child in threads:
            assert parent.do(child, READ, address_of(child)) in by_number


def many(parent: Parent) -> None:
    """10,000 frames in one task; the revocation of their memory takes all of them, and each later access faults."""
    count = 10_000
    child = parent.child(vspace_bits=LARGE_VSPACE_BITS)
    block = Untyped(parent.make(ObjectType.UNTYPED, (count * PAGE - 1).bit_length()))
    radix = (count - 1).bit_length()
    table = CNode(parent.make(ObjectType.CNODE, radix))
    names = parent.name_slots(table, radix)

    def fill() -> None:
        for first in range(0, count, abi.RETYPE_MAX_OBJECTS):
            block.retype(ObjectType.FRAME, PAGE_BITS, table, first, min(abi.RETYPE_MAX_OBJECTS, count - first))

    fill()
    for first in range(0, count, 64):
        with Batch() as batch:
            for number in range(first, min(first + 64, count)):
                batch.queue(Frame(names[number]).map, BASE + number * PAGE, READ_WRITE, 0, vspace=child.vspace)
    for number in (0, 1, 4999, count - 1):
        parent.do(child, WRITE, BASE + number * PAGE, 1)
    parent.cnode.revoke(block.cptr)
    fill()
    child.order(SWEEP, BASE, count)
    for number in range(count):
        parent.fault(child, BASE + number * PAGE, PageFault.NONE)
        Frame(names[number]).map(BASE + number * PAGE, READ_WRITE, 0, vspace=child.vspace)
        parent.reply.send(Message())
    assert parent.result(child) == 0


def nested(parent: Parent) -> None:
    """A fault's own resolution is disturbed: by another fault, by a wild pointer, by what is there; and others go on.

    It ends with `KEEPS_LOGS`, so that what the processes have said can be read.
    """
    other = parent.child()
    for inner in (BASE + PAGE, 8, BASE + 2 * PAGE):
        child, outer_reply, own_reply = parent.child(), parent.reply, Reply(parent.make(ObjectType.REPLY))
        alarm = parent.child(child.vspace)
        parent.frame().map(BASE + 2 * PAGE, READ_WRITE, 0, vspace=child.vspace)
        parent.do(child, ARM, inner)
        child.order(C_WRITE, BASE, 4)
        parent.fault(child, BASE, PageFault.WRITE, PAGE)
        parent.reply = own_reply  # the child's fault waits on the other one
        alarm.order(ALARM, 0)
        if inner == BASE + 2 * PAGE:
            parent.result(alarm)
            parent.frame().map(BASE, READ_WRITE, 0, vspace=child.vspace)
            outer_reply.send(Message())
            parent.result(child)
            assert parent.do(child, READ, BASE) == 4
        else:
            ended: set[int] = set()  # both are of one process; the second one may have answered before
            while ended != {child.number, alarm.number}:
                message = parent.next()
                assert message.label == RESULT or is_death(message.label, message.words), message
                ended |= {message.badge} if message.label != RESULT else set()
        other.order(READ, inner | BASE)
        parent.fault(other, inner | BASE, PageFault.NONE)
        parent.frame().map((inner | BASE) & -PAGE, READ_WRITE, 0, vspace=other.vspace)
        parent.reply.send(Message())
        assert parent.result(other) == 0
    sys.exit(KEEPS_LOGS)


SCENES = (rights, sharing, counting, restarted, crowd, many)  # and `nested`, which ends in its own way


def main(boot_info_address: int, *_: int) -> None:
    info = bootinfo.parse(ctypes.string_at(boot_info_address, 1 << abi.BOOT_INFO_FRAME_BITS))
    scenes = {scene.__name__: scene for scene in (*SCENES, nested)}
    scenes[info.system_description.decode()](Parent(info))


__all__ = ["main", "toucher"]
