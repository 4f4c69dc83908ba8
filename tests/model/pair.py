"""The kernel and the specification side by side: every system call is carried out by both, and the results compared.

The set-up is made through the same door, so it is compared as well. Only the addresses of the machine's first objects
are taken from the kernel.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence

from kerneld import layout
from kerneld.records import TcbSlot
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights, Syscall
from tests import harness
from tests.harness import Machine
from tests.model import comparison
from tests.model.capability import NEW_RIGHTS, Capability, Kind
from tests.model.checkpoint import Checkpoint
from tests.model.derivation import Mapped, Place
from tests.model.specification import Specification
from tests.model.system import TCB_SLOTS, Completion, SchedContext, State, Submission, System, Thread


class Pair:
    """Both of them.

    Attributes:
        machine: the kernel, with threads that act by hand. specification: what it should do.
    """

    def __init__(self) -> None:
        self.machine = Machine(layout.MINIMUM_RAM, check=False, vspace_bits=abi.VSPACE_MIN_BITS)
        self.specification = Specification(_booted(self.machine))
        words = (ObjectType.REPLY, 0, 0, 0, self.machine.root.reply, 1)
        call = _invocation(self.machine.untyped, Label.UNTYPED_RETYPE, words, (InitialSlot.CNODE,))
        self.specification.syscall(self.machine.root.tcb.address, call)
        self.check()

    @property
    def system(self) -> System:
        return self.specification.system

    def spec_thread(self, thread: harness.Thread) -> Thread:
        return self.system.threads[thread.tcb.address]

    # --- one step of both

    def syscall(self, thread: harness.Thread, call: Submission) -> list[Completion]:
        """Carry out one system call; returns what the thread itself sees of its end."""
        if not call.inline:
            thread.set_receive(*call.receive_path)
        words = (*call.words, *(0,) * abi.MESSAGE_MAX_LENGTH)[: max(len(call.words), len(call.message))]
        caps = (*call.caps, 0, 0, 0)[: max(len(call.caps), len(call.extra_caps))]
        arguments = {"caps": caps, "reply": call.reply, "dest": call.dest, "inline": call.inline}
        thread.submit(call.op, call.cptr, call.info, words, **arguments)  # type: ignore[arg-type]
        self.machine.run()
        return self._compare(thread, self.specification.syscall(thread.tcb.address, call))

    def cancel(self, thread: harness.Thread) -> list[Completion]:
        """End the thread's own blocked system call."""
        thread.submit(Syscall.CANCEL)
        self.machine.run()
        return self._compare(thread, self.specification.cancel(thread.tcb.address))

    def pass_time(self, microseconds: int) -> None:
        """More than the longest period; nobody uses a processor meanwhile."""
        self.machine.pass_time(microseconds)
        self._compare(self.machine.root, self.specification.pass_time())

    def _compare(self, thread: harness.Thread, seen: list[tuple[int, Completion]]) -> list[Completion]:
        expected: dict[int, list[Completion]] = {}
        for address, completion in seen:
            expected.setdefault(address, []).append(completion)
        for address, other in list(self.machine.threads.items()):
            for completion in expected.pop(address, []):
                _compare_completion(other.completion(), completion)
            extra = other.completion()
            assert extra is None, f"the kernel completes a system call that does not end: {extra}"
        assert not expected, f"completions of threads that the kernel has ended: {expected}"
        self.check()
        return [completion for address, completion in seen if address == thread.tcb.address]

    def check(self) -> None:
        """Kernel and specification agree on everything but what the next one looks at."""
        found = comparison.differences(self.machine.ram, self.system)
        assert not found, "\n".join(found)

    def check_descendants(self) -> None:
        """The kernel, walking on from each capability, finds exactly those that are derived from it."""
        found = comparison.derivation_differences(self.machine.ram, self.system)
        assert not found, "\n".join(found)

    # --- short forms

    def invoke(
        self, thread: harness.Thread, cptr: int, label: int, words: Sequence[int] = (), caps: Sequence[int] = ()
    ) -> tuple[int, tuple[int, ...]] | None:
        """Call a kernel object: its answer's label and words. None if the call does not end."""
        done = self.syscall(thread, _invocation(cptr, label, words, caps))
        if not done:
            return None
        words = (*done[0].registers, *done[0].more)
        return abi.info_label(done[0].info), words[: abi.info_length(done[0].info)]

    def must(
        self, thread: harness.Thread, cptr: int, label: Label, words: Sequence[int] = (), caps: Sequence[int] = ()
    ) -> None:
        """An invocation that works."""
        answer = self.invoke(thread, cptr, label, words, caps)
        assert answer is not None, f"{label.name} does not end"
        assert answer[0] == 0, f"{label.name} was refused: {answer}"

    def retype(self, object_type: ObjectType, slot: int, size_bits: int = 0, count: int = 1) -> int:
        """Make objects into slots of the initial task's CNode; returns the first."""
        words = (object_type, size_bits, 0, 0, slot, count)
        self.must(self.machine.root, self.machine.untyped, Label.UNTYPED_RETYPE, words, [InitialSlot.CNODE])
        return slot

    def grant(self, node: int, index: int, depth: int, source: int, badge: int = 0, rights: int = 15) -> None:
        """Mint a capability of the initial task's CNode into another CNode."""
        words = (index, depth, source, abi.WORD_BITS, rights, badge)
        label, sent = (Label.CNODE_MINT, words) if badge else (Label.CNODE_COPY, words[:5])
        self.must(self.machine.root, node, label, sent, [InitialSlot.CNODE])

    def place(self, slot: int) -> Place:
        """A slot of the initial task's CNode."""
        return Place(self.machine.root.tcb.slot(TcbSlot.CSPACE).object, slot)

    def address(self, slot: int) -> int:
        """Of the object that a capability there names; 0 if there is none."""
        held = self.system.held(self.place(slot))
        return 0 if held is None else held.address

    def adopt(self, tcb_slot: int) -> harness.Thread:
        """Let the harness act for a thread that has been configured."""
        root = self.machine.root
        tcb = type(root.tcb)(self.machine.ram, self.machine.slot(tcb_slot).object)
        thread = harness.Thread(self.machine, tcb, tcb_slot, 0, 0, 0)
        self.machine.threads[tcb.address] = thread
        return thread


class Origin:
    """A set-up pair to begin from again and again."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.checkpoint = Checkpoint.of(pair.machine)
        self._system = pickle.dumps(pair.system)

    def begin(self, *, fast_path: bool = True) -> Pair:
        """The pair as it was, and nothing of what happened since."""
        self.checkpoint.restore(self.pair.machine, fast_path=fast_path)
        system = pickle.loads(self._system)
        assert isinstance(system, System)
        self.pair.specification = Specification(system)
        return self.pair


def _invocation(cptr: int, label: int, words: Sequence[int], caps: Sequence[int]) -> Submission:
    info = abi.message_info(label, len(words), len(caps))
    return Submission(Syscall.CALL, cptr, info, tuple(words), tuple(caps))


def _compare_completion(kernel: harness.Completion | None, spec: Completion) -> None:
    assert kernel is not None, f"the kernel does not complete a system call that ends: {spec}"
    assert (kernel.status, kernel.badge, kernel.info) == (spec.status, spec.badge, spec.info), (kernel, spec)
    assert kernel.registers == spec.registers, (kernel, spec)
    if spec.more:
        assert kernel.words[4:] == spec.more, (kernel, spec)
    if spec.badges is not None:
        assert kernel.caps_or_badges == spec.badges, (kernel, spec)


def _booted(machine: Machine) -> System:
    """The state that the boot protocol promises (seL4's MCS API)."""
    system = System()
    node = machine.root.tcb.slot(TcbSlot.CSPACE).object
    tcb = machine.root.tcb.address
    places = {number: Place(node, number) for number in range(machine.root.reply)}
    system.containers = {node: 1 << abi.INITIAL_CNODE_BITS, tcb: TCB_SLOTS}
    node_bits = abi.INITIAL_CNODE_BITS
    kinds = {
        InitialSlot.TCB: Capability(Kind.TCB, tcb),
        InitialSlot.CNODE: Capability(Kind.CNODE, node, node_bits, guard_size=abi.WORD_BITS - node_bits),
        InitialSlot.VSPACE: Capability(Kind.VSPACE, machine.slot(InitialSlot.VSPACE).object, abi.VSPACE_MIN_BITS),
        InitialSlot.IRQ_CONTROL: Capability(Kind.IRQ_CONTROL),
        InitialSlot.IO_PORT_CONTROL: Capability(Kind.IO_PORT_CONTROL),
        InitialSlot.IO_SPACE: Capability(Kind.IO_SPACE_CONTROL),
        InitialSlot.BOOT_INFO_FRAME: _frame(machine, InitialSlot.BOOT_INFO_FRAME, abi.BOOT_INFO_FRAME_BITS),
        InitialSlot.IPC_BUFFER: _frame(machine, InitialSlot.IPC_BUFFER, abi.TRAP_FRAME_BITS),
        InitialSlot.DOMAIN: Capability(Kind.DOMAIN),
        InitialSlot.SCHED_CONTEXT: Capability(Kind.SCHED_CONTEXT, machine.slot(InitialSlot.SCHED_CONTEXT).object, 8),
        InitialSlot.FIRST_FREE: Capability(Kind.SCHED_CONTROL),
    }
    for number, capability in kinds.items():
        system.tree.add_root(places[number], capability)
    info = machine.boot_info()
    for untyped in range(*info[abi.BOOT_INFO_UNTYPED : abi.BOOT_INFO_UNTYPED + 2]):
        at = abi.BOOT_INFO_UNTYPED_LIST + 2 * (untyped - info[abi.BOOT_INFO_UNTYPED])
        system.tree.add_root(places[untyped], Capability(Kind.UNTYPED, info[at], info[at + 1]))
    for index, slot in enumerate((InitialSlot.CNODE, InitialSlot.VSPACE, InitialSlot.IPC_BUFFER)):
        system.tree.copy(system.holding(places[slot]), Place(tcb, index), kinds[slot])
    space = kinds[InitialSlot.VSPACE].address
    system.holding(places[InitialSlot.BOOT_INFO_FRAME]).mapped = Mapped(space, abi.BOOT_INFO_ADDRESS, Rights.READ, 0)
    context = kinds[InitialSlot.SCHED_CONTEXT].address
    system.contexts[context] = SchedContext(8, tcb, configured=True)
    priority = abi.INITIAL_PRIORITY
    system.threads[tcb] = Thread(tcb, State.RUNNING, priority, priority, started=True, context=context)
    return system


def _frame(machine: Machine, slot: int, bits: int) -> Capability:
    return Capability(Kind.FRAME, machine.slot(slot).object, bits, NEW_RIGHTS[Kind.FRAME])
