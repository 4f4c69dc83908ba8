"""A machine without processes: the pure kernel on anonymous memory, and threads that act by hand.

A thread here is nobody's process: the test writes entries to its trap frame as the task's C code would, and reads its
completions. The harness does the host's part: it runs the kernel until nothing is left to do, carries out the outbox,
and checks the invariants after every transaction.

    machine = Machine()
    endpoint = machine.retype(ObjectType.ENDPOINT)
    server = machine.thread("server")
    machine.grant(server, endpoint, 1)
    server.syscall(Syscall.RECV, 1, reply=server.reply)      # None: it blocks
    machine.root.call(endpoint, label=7, words=(1, 2))
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hw import ring
from hw.clock import ManualClock
from hw.ram import Interrupted, Ram
from kerneld import _fastpath, budgets, fast_survey, invariants, layout, scheduler
from kerneld.boot import BootParameters, DeviceRegion, boot
from kerneld.core import IoPorts
from kerneld.kernel import Kernel
from kerneld.outbox import Message, Tell
from kerneld.records import SchedContext, Slot, Tcb, TcbSlot, ThreadState
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights, Status, Syscall

DEFAULT_RAM: Final = 8 << 20
THREAD_CNODE_BITS: Final = 8
# Fixed slots of a thread's CNode. Tests take the others.
OWN_TCB: Final = 250
OWN_CNODE: Final = 251
OWN_SCHED_CONTEXT: Final = 252
OWN_REPLY: Final = 253


class Refused(AssertionError):
    """An invocation that the test expects to work was refused."""

    def __init__(self, label: Label, error: abi.Error, words: tuple[int, ...]) -> None:
        super().__init__(f"{label.name} was refused: {error.name} {words}")
        self.error = error
        self.words = words


@dataclass(frozen=True, slots=True)
class Completion:
    """What a thread finds in its completion ring and message area."""

    status: Status
    badge: int
    info: int
    words: tuple[int, ...]  # as many as the info word says
    registers: tuple[int, int, int, int]
    caps_or_badges: tuple[int, int, int]
    tag: int

    @property
    def label(self) -> int:
        return abi.info_label(self.info)


@dataclass(slots=True)
class Thread:
    """One thread: its TCB, and where the initial task has the capabilities that it was made from.

    Attributes:
        tcb: the record. cap, cnode, sched_context: slots of the initial task's CNode.
        reply: address of a reply object in the thread's own capability space.
    """

    machine: Machine
    tcb: Tcb
    cap: int
    cnode: int
    sched_context: int
    reply: int
    expected: int = 0  # completions read

    @property
    def state(self) -> ThreadState:
        return ThreadState(self.tcb.state)

    def submit(
        self,
        op: int,
        cptr: int = 0,
        info: int = 0,
        words: Sequence[int] = (),
        *,
        caps: Sequence[int] = (),
        reply: int = 0,
        dest: int = 0,
        tag: int = 0,
        inline: bool = False,
    ) -> None:
        """Write one entry to the submission ring. Nothing runs yet."""
        machine, frame = self.machine, self.tcb.trap_frame
        registers = (*words[:4], 0, 0, 0, 0)[:4]
        more, cap_words = tuple(words[4:]), tuple(caps)
        flags = abi.EntryFlags.HAS_TAIL
        tail_words: tuple[int, ...] = (0, 0, 0, 0)
        tail_caps: tuple[int, ...] = (0, 0)
        if inline:
            flags |= abi.EntryFlags.INLINE
            tail_words = (*more, 0, 0, 0, 0)[:4]
            tail_caps = (*cap_words, 0, 0)[:2]
        else:
            machine.poke_words(frame + abi.IPC_MESSAGE + 4 * abi.WORD_BYTES, more)
            machine.poke_words(frame + abi.IPC_CAPS_OR_BADGES, cap_words)
        (produced,) = struct.unpack("<I", machine.ram.read(frame + abi.SUBMIT_PRODUCED, 4))
        at = produced % abi.RING_ENTRIES * abi.RING_ENTRY_BYTES
        entry = struct.pack("<iI7Q", op, flags, cptr, info, *registers, tag)
        machine.ram.poke(frame + abi.SUBMIT_RING + at, entry)
        machine.poke_words(frame + abi.SUBMIT_TAILS + at, (reply, dest, *tail_words, *tail_caps))
        machine.ram.poke(frame + abi.SUBMIT_PRODUCED, struct.pack("<I", produced + 1 & 0xFFFFFFFF))

    def syscall(
        self,
        op: int,
        cptr: int = 0,
        info: int | None = None,
        words: Sequence[int] = (),
        *,
        label: int = 0,
        caps: Sequence[int] = (),
        reply: int = 0,
        dest: int = 0,
        tag: int = 0,
        inline: bool = False,
    ) -> Completion | None:
        """Carry out one system call. None if it does not complete (it blocks, or the thread faults)."""
        if info is None:
            info = abi.message_info(label, len(words), len(caps))
        self.submit(op, cptr, info, words, caps=caps, reply=reply, dest=dest, tag=tag, inline=inline)
        self.machine.run()
        return self.completion()

    def invoke(
        self, cptr: int, label: int = 0, words: Sequence[int] = (), caps: Sequence[int] = ()
    ) -> tuple[int, tuple[int, ...]]:
        """Call; returns the reply's label (an error code, from a kernel object) and words."""
        done = self.syscall(Syscall.CALL, cptr, words=words, label=label, caps=caps)
        assert done is not None, f"the call did not complete; the thread is {self.state.name}"
        return done.label, done.words

    def call(self, cptr: int, label: Label, words: Sequence[int] = (), caps: Sequence[int] = ()) -> tuple[int, ...]:
        """Invoke a kernel object, which must work; returns the reply's words."""
        error, results = self.invoke(cptr, label, words, caps)
        if error:
            raise Refused(label, abi.Error(error), results)
        return results

    def completion(self) -> Completion | None:
        """The next completion that the thread has not read, if there is one."""
        ram, frame = self.machine.ram, self.tcb.trap_frame
        if not frame or ring.produced(ram, frame) == self.expected & 0xFFFFFFFF:
            return None
        at = frame + abi.COMPLETE_RING + self.expected % abi.RING_ENTRIES * abi.RING_ENTRY_BYTES
        status, _, badge, info, m0, m1, m2, m3, tag = struct.unpack("<iI7Q", ram.read(at, abi.RING_ENTRY_BYTES))
        self.expected += 1
        ram.poke(frame + abi.COMPLETE_CONSUMED, struct.pack("<I", self.expected & 0xFFFFFFFF))
        length = abi.info_length(info)
        more = ram.words(frame + abi.IPC_MESSAGE + 32, length - 4) if length > 4 else ()
        badges = ram.words(frame + abi.IPC_CAPS_OR_BADGES, 3)
        registers = (m0, m1, m2, m3)
        return Completion(
            Status(status), badge, info, (*registers[:length], *more), registers, (badges[0], badges[1], badges[2]), tag
        )

    def set_receive(self, cnode: int, index: int, depth: int) -> None:
        """Where a received capability goes."""
        self.machine.poke_words(self.tcb.trap_frame + abi.IPC_RECEIVE_CNODE, (cnode, index, depth))


class TwinKernel(Kernel):
    """A kernel that carries out again by the slow path what the fast path has done, and compares every stored word."""

    fast_takes = 0

    def take(self, tcb: Tcb) -> bool:
        assert self.fast_layout is not None
        try:
            if not _fastpath.take(self.ram, self.fast_layout, tcb.address):
                return self.take_slowly(tcb)
        except BaseException:
            self.ram.recover()
            raise
        TwinKernel.fast_takes += 1
        before = self._stored()
        fast = {address: self.ram.word(address) for address in before}
        for address, value in before.items():
            self.ram.poke(address, struct.pack("<Q", value))
        self.core.fast_layout = None
        assert self.take_slowly(tcb), "the slow path takes what the fast path takes"
        self.core.fast_layout = self.fast_layout
        before = self._stored() | before
        slow = {address: self.ram.word(address) for address in before}
        assert slow == before | fast, "the two paths leave different RAM"
        return True

    def _stored(self) -> dict[int, int]:
        """What each word that the last transaction stored to held before: the undo log keeps it until the next one."""
        count = self.ram.stores
        words = self.ram.words(layout.UNDO_LOG + 64, 2 * count)
        return dict(reversed(list(zip(words[::2], words[1::2], strict=True))))


@dataclass(slots=True)
class Machine:
    """A booted kernel and its threads.

    Attributes:
        check: whether the invariants are checked after every transaction.
        window: RAM's memory.
        root: the initial task. threads, ended: those with a process, and those whose process was ended, by TCB address.
        tells: everything the host was told but deliveries, in order. deliveries: those.
        clock, used: the time, and what each thread (TCB address) has used of a processor, in microseconds.
        alarms: when each scheduling context that is watched is to be looked at.
    """

    ram_bytes: int = DEFAULT_RAM
    check: bool = True
    ports: IoPorts | None = None
    devices: tuple[DeviceRegion, ...] = ()
    device_count: int = 2
    vspace_bits: int = 14
    description: bytes = b""
    cores: int = 0
    step_us: int = 0
    window: memoryview = field(init=False)
    ram: Ram = field(init=False)
    kernel: Kernel = field(init=False)
    root: Thread = field(init=False)
    threads: dict[int, Thread] = field(init=False, default_factory=dict)
    ended: dict[int, Thread] = field(init=False, default_factory=dict)
    tells: list[Message] = field(init=False, default_factory=list)
    deliveries: list[Message] = field(init=False, default_factory=list)
    next_slot: int = field(init=False)
    untyped: int = field(init=False)
    clock: ManualClock = field(init=False, default_factory=ManualClock)
    used: dict[int, int] = field(init=False, default_factory=dict)
    alarms: dict[int, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.window = memoryview(mmap.mmap(-1, self.ram_bytes))
        self.ram = Ram(self.window, layout.UNDO_LOG, layout.UNDO_LOG_BYTES)
        parameters = BootParameters(
            self.ram_bytes,
            description=self.description,
            cores=self.cores,
            step_us=self.step_us,
            devices=self.devices,
            device_count=self.device_count,
            vspace_bits=self.vspace_bits,
        )
        boot(self.ram, parameters)
        kind = TwinKernel if self.check and not self.cores else Kernel
        self.kernel = self.new_kernel(kind)
        tcb = self.kernel.core.kernel.initial_tcb
        assert tcb is not None
        self.root = Thread(self, tcb, InitialSlot.TCB, InitialSlot.CNODE, InitialSlot.SCHED_CONTEXT, 0)
        self.threads[tcb.address] = self.root
        info = self.boot_info()
        self.next_slot = info[abi.BOOT_INFO_EMPTY]
        self.untyped = info[abi.BOOT_INFO_UNTYPED] + len(self.devices)
        self.settle()
        self.root.reply = self.retype(ObjectType.REPLY)

    def new_kernel(self, kind: type[Kernel], *, fast_path: bool = True) -> Kernel:
        """A kernel on this RAM, by the test's clocks."""
        return kind(self.ram, self.ports, lambda address: self.used.get(address, 0), self.clock, fast_path)

    def boot_info(self) -> tuple[int, ...]:
        """BootInfo's fixed words."""
        return self.ram.words(self.slot(InitialSlot.BOOT_INFO_FRAME).object, abi.BOOT_INFO_EXTRA)

    def slot(self, number: int) -> Slot:
        """A slot of the initial task's CNode."""
        return Slot(self.ram, self.root.tcb.slot(TcbSlot.CSPACE).object + number * Slot.SIZE)

    def poke_words(self, address: int, words: Sequence[int]) -> None:
        self.ram.poke(address, struct.pack(f"<{len(words)}Q", *(word & abi.WORD_MASK for word in words)))

    # --- the host's part

    def run(self) -> None:
        """Let the kernel work until every submission is taken and nothing is left to continue."""
        busy = True
        while busy:
            busy = False
            for thread in list(self.threads.values()):
                while self.kernel.take(thread.tcb):
                    busy = True
                    self.settle()
            while self.kernel.continue_one():
                busy = True
                self.settle()

    def interrupt(self, line: int) -> None:
        """A device raises an interrupt line."""
        self.kernel.interrupt(line)
        self.settle()
        self.run()

    def pass_time(self, microseconds: int, *busy: Thread) -> None:
        """Let time pass. Threads that are busy use a processor each, whenever they may run."""
        end = self.clock() + microseconds
        while True:
            at = min((time for time in self.alarms.values() if time <= end), default=end)
            step = max(at - self.clock(), 0)
            self.clock.advance(step)
            for thread in busy:
                if scheduler.may_run(thread.tcb):
                    self.used[thread.tcb.address] = self.used.get(thread.tcb.address, 0) + step
            due = [context for context, time in self.alarms.items() if time <= self.clock()]
            if not due and self.clock() == end:
                return
            for context in due:
                del self.alarms[context]
                self.kernel.look_at_budget(context)
                self.settle()
            self.run()

    def died(self, thread: Thread, status: int) -> None:
        """The thread's process has ended."""
        self.kernel.died(thread.tcb, status)
        self.settle()
        self.run()

    def settle(self) -> None:
        """What follows every transaction: carry out what it tells, and check the invariants."""
        self.carry_out_tells()
        self.kernel.outbox.clear()
        self.kernel.core.service.end()
        if self.check:
            self.assert_invariants()

    def carry_out_tells(self) -> None:
        """Do what the outbox says, and leave it as it is."""
        for message in self.kernel.outbox:
            self._carry_out(message)

    def _carry_out(self, message: Message) -> None:
        tcb = Tcb(self.ram, message.subject)
        if message.kind is Tell.WATCH:
            context = SchedContext(self.ram, message.subject)
            self.alarms[message.subject] = budgets.due_us(self.kernel.core, context)
        elif message.kind is Tell.UNWATCH:
            self.alarms.pop(message.subject, None)
        if message.kind is Tell.DELIVER:
            self.deliveries.append(message)
            frame = tcb.trap_frame
            if frame:
                ring.set_consumed(self.ram, frame, tcb.consumed & 0xFFFFFFFF)
                ring.deliver(self.ram, frame, tcb.address + Tcb.TOLD, tcb.produced - 1 & 0xFFFFFFFF)
            return
        self.tells.append(message)
        if message.kind is Tell.HINT:
            ring.hint(self.ram, tcb.trap_frame)
        elif message.kind is Tell.START:
            self._start(tcb)
        elif message.kind is Tell.KILL:
            thread = self.threads.pop(message.subject, None)
            if thread is not None:
                self.ended[message.subject] = thread

    def _start(self, tcb: Tcb) -> None:
        """A new process begins with empty rings."""
        if tcb.address in self.ended:
            self.threads[tcb.address] = self.ended.pop(tcb.address)
        thread = self.threads.get(tcb.address)
        if thread is not None:
            thread.expected = 0
        if tcb.trap_frame:
            self.ram.poke(tcb.trap_frame + abi.TASK_LINE, bytes(128))

    def assert_invariants(self, *, by_reference: bool = False) -> None:
        """As a kernel that is started again does; or as `sel4py fsck` does, in some ten times as long."""
        violations = invariants.check(self.ram, None if by_reference else fast_survey.survey(self.ram))
        assert not violations, "\n".join(f"{item.name}: {item.detail} ({item.sentence})" for item in violations)

    def told(self, kind: Tell) -> list[Message]:
        """What the host was told of one kind."""
        return [message for message in self.tells if message.kind is kind]

    # --- what the initial task does for a test

    def new_slots(self, count: int = 1) -> int:
        """Reserve slots of the initial task's CNode; returns the first."""
        first = self.next_slot
        self.next_slot += count
        return first

    def retype(self, object_type: ObjectType, size_bits: int = 0, count: int = 1, untyped: int | None = None) -> int:
        """Make objects from the machine's memory; returns the first capability's slot."""
        first = self.new_slots(count)
        words = (object_type, size_bits, 0, 0, first, count)
        self.root.call(self.untyped if untyped is None else untyped, Label.UNTYPED_RETYPE, words, [InitialSlot.CNODE])
        return first

    def copy(self, source: int, rights: int = Rights.ALL, badge: int | None = None) -> int:
        """Copy (or mint) a capability inside the initial task's CNode; returns the slot."""
        return self._put(InitialSlot.CNODE, self.new_slots(), abi.WORD_BITS, source, rights, badge)

    def grant(self, thread: Thread, source: int, index: int, rights: int = Rights.ALL, badge: int | None = None) -> int:
        """Copy (or mint) a capability of the initial task's into a slot of the thread's CNode."""
        return self._put(thread.cnode, index, THREAD_CNODE_BITS, source, rights, badge)

    def _put(self, root: int, index: int, depth: int, source: int, rights: int, badge: int | None) -> int:
        words = (index, depth, source, abi.WORD_BITS, rights)
        if badge is None:
            self.root.call(root, Label.CNODE_COPY, words, [InitialSlot.CNODE])
        else:
            self.root.call(root, Label.CNODE_MINT, (*words, badge), [InitialSlot.CNODE])
        return index

    def delete(self, slot: int) -> None:
        self.root.call(InitialSlot.CNODE, Label.CNODE_DELETE, (slot, abi.WORD_BITS))

    def revoke(self, slot: int) -> None:
        self.root.call(InitialSlot.CNODE, Label.CNODE_REVOKE, (slot, abi.WORD_BITS))

    def thread(
        self,
        name: str,
        *,
        priority: int = 100,
        mcp: int = 100,
        passive: bool = False,
        fault_endpoint: int = 0,
        own_vspace: bool = False,
        start: bool = True,
    ) -> Thread:
        """A further thread with a CNode, a trap frame and a reply object, in the initial task's address space.

        Args:
            passive: it gets no scheduling context. fault_endpoint: slot of the initial task's, 0 for none.
            own_vspace: it gets an address space of its own. start: resume it.
        """
        cap = self.retype(ObjectType.TCB)
        cnode = self.retype(ObjectType.CNODE, THREAD_CNODE_BITS)
        frame = self.retype(ObjectType.FRAME, abi.TRAP_FRAME_BITS)
        reply = self.retype(ObjectType.REPLY)
        space = self.retype(ObjectType.VSPACE, abi.VSPACE_MIN_BITS) if own_vspace else InitialSlot.VSPACE
        context = 0 if passive else self.sched_context()
        tcb = Tcb(self.ram, self.slot(cap).object)
        thread = Thread(self, tcb, cap, cnode, context, OWN_REPLY)
        guard = abi.cnode_cap_data(0, abi.WORD_BITS - THREAD_CNODE_BITS)
        self.root.call(cap, Label.TCB_CONFIGURE, (guard, 0, self.slot(frame).object), [cnode, space, frame])
        self.root.call(cap, Label.TCB_SET_SCHED_PARAMS, (mcp, priority), [InitialSlot.TCB, context, fault_endpoint])
        with self.ram.transaction():
            tcb.ram.write(tcb.address + Tcb.NAME, name.encode()[:32].ljust(Tcb.NAME_BYTES, b"\0"))
        for source, index in ((cap, OWN_TCB), (cnode, OWN_CNODE), (reply, OWN_REPLY)):
            self.grant(thread, source, index)
        if context:
            self.grant(thread, context, OWN_SCHED_CONTEXT)
        self.threads[tcb.address] = thread
        if start:
            self.root.call(cap, Label.TCB_RESUME)
        return thread

    def sched_context(self, budget: int = 5000, period: int = 5000) -> int:
        """A configured scheduling context; times in microseconds."""
        context = self.retype(ObjectType.SCHED_CONTEXT, 8)
        words = (budget, period, 0, 0, 0)
        self.root.call(InitialSlot.FIRST_FREE, Label.SCHED_CONTROL_CONFIGURE_FLAGS, words, [context])
        return context


def take_fast_after_each_store(machine: Machine, tcb: Tcb) -> int:
    """Have the fast path take a thread's submission, interrupted at each of its stores first: RAM rolls back to where
    it began. Returns how many stores there are."""
    ram, layout_of = machine.ram, machine.kernel.fast_layout
    assert layout_of is not None
    log_end = layout.UNDO_LOG + layout.UNDO_LOG_BYTES
    before = ram.read(log_end, ram.size - log_end)
    interrupted = 0
    while True:
        ram.interrupt_at(interrupted, bool(interrupted % 2))
        try:
            assert _fastpath.take(ram, layout_of, tcb.address)
        except Interrupted:
            ram.recover()
            assert ram.read(log_end, ram.size - log_end) == before
            interrupted += 1
            continue
        ram.disarm()
        machine.settle()
        return interrupted
