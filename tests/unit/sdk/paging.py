"""A pager on the pure kernel: the test acts for it, and lets threads with spaces of their own fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kerneld import mapping_table
from kerneld.failures import Fault
from kerneld.faults import raise_fault
from kerneld.records import CapType, ThreadState
from kerneld.records import VSpace as VSpaceRecord
from libsel4py import CNode, Endpoint, Frame, Notification, Reply, Untyped, VSpace
from libsel4py.abi import WORD_BITS, InitialSlot, Label, ObjectType, PageFault, Syscall, cnode_cap_data, message_info
from libsel4py.environment import SIGNAL_BADGE, Environment
from libsel4py.pager import Pager
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.loop import PagerLoop
from libsel4py.pagers.regions import Space
from libsel4py.task import Task
from tests.harness import OWN_REPLY, THREAD_CNODE_BITS, Machine, Thread
from tests.unit.sdk.kernel_cpu import Bench, bench

BASE = 0x1000_0000_0000
PAGE = 4096
POOL_BITS = 20
SLOTS = 1500
GUARD = cnode_cap_data(0, WORD_BITS - THREAD_CNODE_BITS)
_SUPERVISED = 50


class KernelContents:
    """What the machine's frames hold."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def read(self, frame: Frame, length: int) -> bytes:
        return bytes(self._machine.ram.read(frame.get_address(), length))

    def write(self, frame: Frame, data: bytes, at: int = 0, /) -> None:
        self._machine.ram.poke(frame.get_address() + at, data)

    def forget(self, frame: Frame) -> None:
        """Nothing stands between."""


class Clock:
    """Seconds, as the test says."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Client:
    """A thread whose faults come to the pager, in a space of its own or in that of the thread that it is ``beside``."""

    def __init__(self, board: PagingBoard, name: str, badge: int, beside: Client | None = None) -> None:
        machine = board.machine
        self._board, self._machine, self.badge = board, machine, badge
        self.vspace = beside.vspace if beside is not None else VSpace(machine.retype(ObjectType.VSPACE, 16))
        faults = machine.copy(board.endpoint.cptr, badge=badge)
        self.thread: Thread = machine.thread(name, fault_endpoint=faults, start=False)
        roots = [faults, self.thread.cnode, self.vspace.cptr]
        machine.root.call(self.thread.cap, Label.TCB_SET_SPACE, (GUARD, 0), roots)
        machine.root.call(self.thread.cap, Label.TCB_RESUME)
        self.space: Space = beside.space if beside is not None else board.pager.add_space(self.vspace, name)
        board.pager.add_thread(self.space, badge, board.supervisor_of(badge))

    def fault(self, address: int, *, write: bool = False, guarded: bool = False, fetch: bool = False) -> None:
        """Let the thread touch an address that it may not."""
        kind = PageFault.WRITE * write | PageFault.GUARDED * guarded | PageFault.FETCH * fetch
        self.thread.submit(Syscall.FAULT, info=message_info(0, 3), words=(address, 0x1234, int(kind)))
        self._machine.run()

    def raise_fault(self, fault: Fault) -> None:
        machine = self._machine
        with machine.ram.transaction():
            raise_fault(machine.kernel.core, self.thread.tcb, fault)
        machine.settle()
        machine.run()

    def ends(self, status: int = 0) -> None:
        """The thread's process ends."""
        self._machine.died(self.thread, status)

    def touch(self, address: int, *, write: bool = False) -> bool:
        """What an instruction does: it goes on if the mapping allows, else it faults, until it does or is stopped."""
        for _ in range(3):
            if self.may(address, write=write):
                return True
            self.fault(address, write=write)
            if self.thread.completion() is None:  # else the kernel itself said that it is there
                self._board.step()
                self.thread.completion()
            if self.stopped:
                return False
        raise AssertionError("the instruction faults again and again")

    def may(self, address: int, *, write: bool = False) -> bool:
        """Whether the kernel's table lets an instruction through."""
        rights = self.rights(address)
        return bool(rights & (1 if write else 2))

    def rights(self, address: int) -> int:
        record = VSpaceRecord(self._machine.ram, self._machine.slot(self.vspace.cptr).object)
        mapping = mapping_table.find(record, address)
        return 0 if mapping is None else mapping.rights

    def physical(self, address: int) -> int:
        record = VSpaceRecord(self._machine.ram, self._machine.slot(self.vspace.cptr).object)
        mapping = mapping_table.find(record, address)
        assert mapping is not None, f"nothing is mapped at {address:#x}"
        slot = type(self._machine.slot(0))(self._machine.ram, mapping.slot)
        assert slot.cap_type == CapType.FRAME
        return int(slot.object) + address - mapping.address

    def read(self, address: int, length: int) -> bytes:
        """What the thread reads. It faults as often as need be."""
        assert self.touch(address), f"{address:#x} cannot be read"
        return bytes(self._machine.ram.read(self.physical(address), length))

    def write(self, address: int, data: bytes) -> None:
        assert self.touch(address, write=True), f"{address:#x} cannot be written"
        self._machine.ram.poke(self.physical(address), data)

    @property
    def waits(self) -> bool:
        """Whether the thread waits for the answer to its fault."""
        return self.thread.state in (ThreadState.BLOCKED_ON_REPLY, ThreadState.BLOCKED_ON_SEND)

    @property
    def stopped(self) -> bool:
        return self.thread.state is ThreadState.INACTIVE or self.waits


class PagingBoard:
    """A machine, a pager that the initial task runs, and a supervisor's endpoint behind it."""

    def __init__(self, made: Bench, pool_bits: int = POOL_BITS, caches: int = 0, takes_over: int = 0) -> None:
        self.machine = machine = made.machine
        self.bench = made
        self.cnode = CNode(InitialSlot.CNODE)
        self.task = Task(Environment("pager", first_free_slot=machine.new_slots(SLOTS), free_slots=SLOTS))
        self.slots, self.memory = self.task.slots, self.task.memory
        self.memory.add(Untyped(machine.retype(ObjectType.UNTYPED, pool_bits)), pool_bits)
        self.frames = Frames(self.cnode, self.slots, self.memory, KernelContents(machine))
        self.endpoint = Endpoint(machine.retype(ObjectType.ENDPOINT))
        self.supervisor = Endpoint(machine.retype(ObjectType.ENDPOINT))
        self.notification = Notification(machine.retype(ObjectType.NOTIFICATION))
        self.wake = Notification(machine.copy(self.notification.cptr, badge=SIGNAL_BADGE | 1))
        machine.root.call(InitialSlot.TCB, Label.TCB_BIND_NOTIFICATION, (), [self.notification.cptr])
        self.clock = Clock()
        self.ended: list[str] = []
        self.pager = Pager(
            self.frames,
            self.wake,
            patience=5.0,
            clock=self.clock,
            ended=lambda space: self.ended.append(space.name),
            caches=caches,
            takes_over=takes_over,
        )
        self.loop = PagerLoop(self.pager, self.endpoint, self._new_reply)
        self._badges = 0
        self._overseer = machine.thread("overseer")
        machine.grant(self._overseer, self.supervisor.cptr, _SUPERVISED)

    def listen(self) -> None:
        """Let the supervisor wait for what the pager passes on."""
        self._overseer.submit(Syscall.RECV, _SUPERVISED, reply=OWN_REPLY)
        self.machine.run()

    def heard(self) -> tuple[int, int, tuple[int, ...]] | None:
        """Badge, label and words of what the supervisor was told since `listen`."""
        done = self._overseer.completion()
        return None if done is None else (done.badge - 1000, done.label, done.words)

    def _new_reply(self) -> Reply:
        return Reply(self.memory.allocate(ObjectType.REPLY).start)

    def supervisor_of(self, badge: int) -> Endpoint:
        return Endpoint(self.machine.copy(self.supervisor.cptr, badge=badge + 1000))

    def client(self, name: str = "client", beside: Client | None = None) -> Client:
        self._badges += 1
        return Client(self, name, self._badges, beside)

    def step(self) -> None:
        """Let the pager take one message, and answer it."""
        answer = self.loop._step(None)
        if answer is not None:
            self.loop._reply.send(answer)


@contextmanager
def paging_board(pool_bits: int = POOL_BITS, *, caches: int = 0, takes_over: int = 0) -> Iterator[PagingBoard]:
    with bench(Machine()) as made:
        yield PagingBoard(made, pool_bits, caches, takes_over)
