"""An initial task that starts children as its description says, and ends with 0 if all went as it should.

The children run boot image 1, `behaviour`. Their deaths come as faults to this task's endpoint, badge = child's number.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from libsel4py import abi
from libsel4py.abi import ExceptionNumber, FaultLabel, InitialSlot, ObjectType
from libsel4py.capabilities import TCB, CNode, Endpoint, Frame, Reply, SchedContext, SchedControl, VSpace
from libsel4py.lowlevel import bootinfo
from libsel4py.lowlevel.cspace import SlotAllocator
from libsel4py.lowlevel.syscalls import Message, Received
from libsel4py.lowlevel.untyped import UntypedAllocator
from tests.system.images import behaviour

VSPACE_BITS = 24
BUDGET_US = 10_000
SUCCESSION = 400  # more than a control socket has room for
SUCCEEDED = "all threads have had their time"


@dataclass(frozen=True)
class Child:
    tcb: TCB
    vspace: VSpace
    frame: Frame
    context: SchedContext

    def start(self, *arguments: int) -> None:
        registers = [0] * abi.REGISTERS
        registers[abi.REG_RIP] = 1
        for register, value in zip(abi.ARGUMENT_REGISTERS, arguments, strict=False):
            registers[register] = value
        self.tcb.write_registers(1, registers)


class Parent:
    """Makes children, and hears of their deaths."""

    def __init__(self, info: bootinfo.BootInfo) -> None:
        self.cnode = CNode(InitialSlot.CNODE)
        self.slots = SlotAllocator(info.empty.start, len(info.empty))
        self.memory = UntypedAllocator(self.cnode, self.slots)
        for described in info.untyped:
            self.memory.add(described.untyped, described.size_bits)
        self._sched_control = SchedControl(info.sched_control.start)
        self._endpoint = self.make(ObjectType.ENDPOINT)
        self._reply = Reply(self.make(ObjectType.REPLY))
        self._children = 0

    def make(self, object_type: ObjectType, size_bits: int = 0) -> int:
        return self.memory.allocate(object_type, size_bits).start

    def child(self, vspace: VSpace | None = None) -> Child:
        """A child that has not run: in a process of its own, or a thread in that of another one."""
        self._children += 1
        tcb = TCB(self.make(ObjectType.TCB))
        frame = Frame(self.make(ObjectType.FRAME, abi.TRAP_FRAME_BITS))
        space = vspace or VSpace(self.make(ObjectType.VSPACE, VSPACE_BITS))
        context = SchedContext(self.make(ObjectType.SCHED_CONTEXT, 8))
        fault = self.slots.allocate()
        self.cnode.mint(fault, self.cnode, self._endpoint, self._children)
        self._sched_control.configure_flags(context, BUDGET_US, BUDGET_US)
        tcb.configure(self.cnode, 0, space, 0, 0x20_0000_0000, frame)
        tcb.set_sched_params(TCB(InitialSlot.TCB), 100, 100, context, Endpoint(fault))
        return Child(tcb, space, frame, context)

    def set_priority(self, child: Child, priority: int) -> None:
        child.tcb.set_priority(TCB(InitialSlot.TCB), priority)

    def give(self, child: Child, budget_us: int, period_us: int, badge: int = 0, *, extra: int = 8) -> None:
        """Hold a child to a budget, in two refills and ``extra`` ones."""
        self._sched_control.configure_flags(child.context, budget_us, period_us, extra, badge)

    def address(self, badge: int) -> int:
        """A capability of the endpoint on which this task hears of faults."""
        slot = self.slots.allocate()
        self.cnode.mint(slot, self.cnode, self._endpoint, badge)
        return slot

    def receive(self, timeout: float | None = None) -> Received:
        """The next message or fault; `answer` ends it."""
        return Endpoint(self._endpoint).recv(self._reply, timeout)

    def answer(self, label: int = 0, *words: int) -> None:
        self._reply.send(Message(label, words))

    def wait_fault(self) -> tuple[int, int, tuple[int, ...]]:
        """The next fault: child number, label, words."""
        message: Received = Endpoint(self._endpoint).recv(self._reply)
        return message.badge, message.label, message.words

    def wait_death(self) -> tuple[int, int]:
        """The next fault, which is a death: child number and wait status."""
        number, label, words = self.wait_fault()
        assert (label, words[3]) == (FaultLabel.USER_EXCEPTION, ExceptionNumber.DEATH), words
        return number, words[4]

    def free(self, child: Child) -> None:
        for slot in (child.tcb.cptr, child.frame.cptr):
            self.memory.free(slot)


def restart(parent: Parent) -> None:
    """One TCB, several lives."""
    child = parent.child()
    for status in (0, 5, 200):
        child.start(behaviour.RETURN, status)
        assert parent.wait_death() == (1, status << 8)
    child.start(behaviour.SEGFAULT)
    assert parent.wait_death() == (1, 11)


def replace(parent: Parent) -> None:
    """A TCB is deleted while its process runs, and its memory is used for the next one at once."""
    for number in range(1, 6):
        child = parent.child()
        child.start(behaviour.WAIT)
        parent.free(child)
        again = parent.child()
        again.start(behaviour.RETURN, number)
        assert parent.wait_death() == (2 * number, number << 8)
        parent.free(again)


def threads(parent: Parent) -> None:
    """Three threads of one process: two end by themselves, the process ends with the first one."""
    first = parent.child()
    first.start(behaviour.WAIT)
    for number in (2, 3):
        thread = parent.child(first.vspace)
        thread.start(behaviour.RETURN, 40 + number)
        assert parent.wait_death() == (number, (40 + number) << 8)
        thread.start(behaviour.RETURN, 50 + number)
        assert parent.wait_death() == (number, (50 + number) << 8)


def succession(parent: Parent) -> None:
    """A process goes on while one thread of its follows the other; ends with 42 where it is killed then."""
    first = parent.child()
    first.start(behaviour.WAIT)
    thread = parent.child(first.vspace)
    for _ in range(SUCCESSION):
        thread.start(behaviour.RETURN)
        assert parent.wait_death() == (2, 0)
    print(SUCCEEDED, flush=True)
    raise SystemExit(42 if parent.wait_death()[1] == 9 else 1)


def suspend(parent: Parent) -> None:
    """A suspended process stays suspended, and goes on when it is resumed."""
    child = parent.child()
    child.start(behaviour.COUNT, 200_000)
    child.tcb.suspend()
    child.tcb.resume()
    assert parent.wait_death() == (1, 0)


def clocks(parent: Parent) -> None:
    """Two threads of one process, one waiting and one busy: each is charged what it has used itself."""
    waiting = parent.child()
    waiting.start(behaviour.WAIT)
    busy = parent.child(waiting.vspace)
    busy.start(behaviour.FLOOD)
    while not busy.context.consumed():
        pass
    waiting.context.consumed()
    used = 0
    while used < 200_000:
        used += busy.context.consumed()
    assert waiting.context.consumed() < used // 10


def wait(parent: Parent) -> None:
    """A child that waits, and a parent that tells of its death by ending with 42."""
    parent.child().start(behaviour.WAIT)
    _, status = parent.wait_death()
    raise SystemExit(42 if status == 9 else 1)


def many(parent: Parent) -> None:
    """A hundred lives of ten children."""
    children = [parent.child() for _ in range(10)]
    for child in children:
        child.start(behaviour.RETURN, 7)
    for life in range(100):
        number, status = parent.wait_death()
        assert status == 7 << 8
        if life < 90:
            children[number - 1].start(behaviour.RETURN, 7)


def hostile(parent: Parent) -> None:
    """Beside tasks that trap, ring and scribble without end, one that works comes to its end."""
    parent.child().start(behaviour.SCRIBBLE)
    number, label, words = parent.wait_fault()
    assert (number, label, words[3]) == (1, FaultLabel.USER_EXCEPTION, ExceptionNumber.RING_OVERRUN)
    for what in (behaviour.FLOOD, behaviour.FLOOD, behaviour.RING_BELL):
        parent.child().start(what)
    parent.child().start(behaviour.WORK, 2000)
    assert parent.wait_death() == (5, 0)


SCENES = (restart, replace, threads, succession, suspend, clocks, wait, many, hostile)


def main(boot_info_address: int, *_: int) -> None:
    info = bootinfo.parse(ctypes.string_at(boot_info_address, 1 << abi.BOOT_INFO_FRAME_BITS))
    parent = Parent(info)
    scenes = {scene.__name__: scene for scene in SCENES}
    scenes[info.system_description.decode()](parent)
