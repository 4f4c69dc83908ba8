"""What the tests of error codes need: for each method a call that works, and ways to spoil it.

`Stock` holds one of each thing, as slots of the initial task's CNode. `WORKING` has for each label the capability,
words and extra capabilities of a call that succeeds. A `Refusal` changes some of these arguments by position, and says
which error must come. A name (a string) as an argument stands for that slot of the stock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, ObjectType, Rights
from tests.conformance.scenes import SCHED_CONTROL
from tests.harness import Machine, Thread

Value = int | str
Payload = tuple[int, ...]
MAPPED_ADDRESS = abi.MAPPING_BASE + (1 << 29)  # where the stock's mapped frame is
UNRESOLVED = 1 << 60  # no slot of the initial task's CNode: its guard is 52 zero bits
FREE_ADDRESS = abi.MAPPING_BASE + (1 << 30)  # nothing is mapped there, nor behind it
GUARD_PAYLOAD = (abi.LookupFailureKind.GUARD_MISMATCH, 64, 0, 64 - abi.INITIAL_CNODE_BITS)


@dataclass(frozen=True, slots=True)
class Working:
    cptr: Value
    words: tuple[Value, ...] = ()
    caps: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A spoilt call: new ``words`` and ``caps`` by position, another object, or the last of them dropped."""

    label: Label
    error: Error
    payload: Payload = ()
    words: Mapping[int, Value] = field(default_factory=dict)
    caps: Mapping[int, Value] = field(default_factory=dict)
    cptr: Value | None = None
    drop_words: int = 0
    drop_caps: int = 0

    def __str__(self) -> str:
        changes = [f"w{number}={value}" for number, value in self.words.items()]
        changes += [f"c{number}={value}" for number, value in self.caps.items()]
        return "-".join([self.label.name, self.error.name, *changes])


class Stock:
    """One of each thing. ``free`` is an empty slot, ``parent`` untyped memory with children, ``small`` a 2^12 frame.
    ``mapped`` is one as well."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        machine.check = False  # these invocations are other tests' matter; the whole is checked below
        self._take_initial()
        self._make()
        self._issue()
        self.free = machine.new_slots(8)
        self.frame_address = machine.slot(self.frame).object
        machine.check = True
        machine.assert_invariants()

    def _take_initial(self) -> None:
        self.root = int(InitialSlot.CNODE)
        self.own_tcb = int(InitialSlot.TCB)
        self.own_context = int(InitialSlot.SCHED_CONTEXT)
        self.vspace = int(InitialSlot.VSPACE)
        self.irq_control = int(InitialSlot.IRQ_CONTROL)
        self.port_control = int(InitialSlot.IO_PORT_CONTROL)
        self.io_space_control = int(InitialSlot.IO_SPACE)
        self.domain = int(InitialSlot.DOMAIN)
        self.sched_control = SCHED_CONTROL
        self.null = int(InitialSlot.NULL)

    def _make(self) -> None:
        machine = self.machine
        self.endpoint = machine.retype(ObjectType.ENDPOINT)
        self.badged = machine.copy(self.endpoint, badge=5)
        self.no_grant = machine.copy(self.endpoint, Rights.WRITE | Rights.READ)
        self.notification = machine.retype(ObjectType.NOTIFICATION)
        self.write_only = machine.copy(self.notification, Rights.WRITE)
        self.read_only = machine.copy(self.notification, Rights.READ)
        self.tcb = machine.retype(ObjectType.TCB)
        self.reply = machine.retype(ObjectType.REPLY)
        self.cnode = machine.retype(ObjectType.CNODE, 4)
        self.notice = machine.retype(ObjectType.DEATH_NOTICE)
        self.watching = machine.retype(ObjectType.DEATH_NOTICE)
        watched = (self.reply, self.notification)
        machine.root.call(self.watching, Label.DEATH_NOTICE_WATCH, (), watched)
        self.frame = machine.retype(ObjectType.FRAME, abi.TRAP_FRAME_BITS)
        self.small = machine.retype(ObjectType.FRAME, abi.FRAME_MIN_BITS)
        self.other_vspace = machine.retype(ObjectType.VSPACE, abi.VSPACE_MIN_BITS)
        self.mapped = machine.retype(ObjectType.FRAME, abi.FRAME_MIN_BITS)
        words = (MAPPED_ADDRESS, Rights.ALL, 0)
        machine.root.call(self.mapped, Label.FRAME_MAP, words, [self.vspace])
        self.io_space = machine.retype(ObjectType.IO_SPACE, abi.IO_SPACE_MIN_BITS)
        machine.root.call(self.io_space_control, Label.IO_SPACE_CONTROL_ASSIGN, (0,), [self.io_space])
        self.other_io_space = machine.retype(ObjectType.IO_SPACE, abi.IO_SPACE_MIN_BITS)
        self.untyped = machine.retype(ObjectType.UNTYPED, 12)
        self.parent = machine.retype(ObjectType.UNTYPED, 8)
        machine.retype(ObjectType.REPLY, untyped=self.parent)
        self.context = machine.sched_context()
        self.unconfigured = machine.retype(ObjectType.SCHED_CONTEXT, 8)
        self.bound_thread: Thread = machine.thread("bound")
        self.thread = self.bound_thread.cap
        self.thread_context = self.bound_thread.sched_context

    def _issue(self) -> None:
        root = self.machine.root
        self.handler = self.machine.new_slots(2)
        self.ports = self.handler + 1
        root.call(self.irq_control, Label.IRQ_CONTROL_GET, (7, self.handler, 64), [self.root])
        root.call(self.port_control, Label.IO_PORT_CONTROL_ISSUE, (0x400, 0x407, self.ports, 64), [self.root])

    def resolve(self, value: Value) -> int:
        return int(getattr(self, value)) if isinstance(value, str) else int(value)

    def invoke(self, refusal: Refusal) -> tuple[int, Payload]:
        """Carry out the spoilt call."""
        working = WORKING[refusal.label]
        words = [self.resolve(refusal.words.get(number, value)) for number, value in enumerate(working.words)]
        caps = [self.resolve(refusal.caps.get(number, value)) for number, value in enumerate(working.caps)]
        cptr = self.resolve(working.cptr if refusal.cptr is None else refusal.cptr)
        words = words[: len(words) - refusal.drop_words]
        caps = caps[: len(caps) - refusal.drop_caps]
        return self.machine.root.invoke(cptr, refusal.label, words, caps)


_PORT = (0x402,)
_COPYING = ("free", 64, "endpoint", 64)
_ROTATING: tuple[Value, ...] = ("free", 64, 0, "tcb", 64, 0, "reply", 64)

WORKING: Mapping[Label, Working] = {
    Label.UNTYPED_RETYPE: Working("untyped", (ObjectType.REPLY, 0, 0, 0, "free", 1), ("root",)),
    Label.TCB_READ_REGISTERS: Working("thread", (0, 20)),
    Label.TCB_WRITE_REGISTERS: Working("thread", (0, 1, 5)),
    Label.TCB_COPY_REGISTERS: Working("thread", (0,), ("tcb",)),
    Label.TCB_CONFIGURE: Working("tcb", (0, 0, "frame_address"), ("cnode", "vspace", "frame")),
    Label.TCB_SET_PRIORITY: Working("thread", (5,), ("own_tcb",)),
    Label.TCB_SET_MC_PRIORITY: Working("thread", (5,), ("own_tcb",)),
    Label.TCB_SET_SCHED_PARAMS: Working("tcb", (5, 5), ("own_tcb", "context", "endpoint")),
    Label.TCB_SET_TIMEOUT_ENDPOINT: Working("thread", (), ("endpoint",)),
    Label.TCB_SET_IPC_BUFFER: Working("tcb", ("frame_address",), ("frame",)),
    Label.TCB_SET_SPACE: Working("tcb", (0, 0), ("endpoint", "cnode", "vspace")),
    Label.TCB_SUSPEND: Working("thread"),
    Label.TCB_RESUME: Working("thread"),
    Label.TCB_BIND_NOTIFICATION: Working("thread", (), ("notification",)),
    Label.TCB_SET_TLS_BASE: Working("thread", (1,)),
    Label.TCB_SET_FLAGS: Working("thread", (0, 0)),
    Label.CNODE_REVOKE: Working("root", ("free", 64)),
    Label.CNODE_DELETE: Working("root", ("free", 64)),
    Label.CNODE_CANCEL_BADGED_SENDS: Working("root", ("badged", 64)),
    Label.CNODE_COPY: Working("root", (*_COPYING, 15), ("root",)),
    Label.CNODE_MINT: Working("root", (*_COPYING, 15, 3), ("root",)),
    Label.CNODE_MOVE: Working("root", _COPYING, ("root",)),
    Label.CNODE_MUTATE: Working("root", ("free", 64, "cnode", 64, 0), ("root",)),
    Label.CNODE_ROTATE: Working("root", _ROTATING, ("root", "root")),
    Label.IRQ_CONTROL_GET: Working("irq_control", (3, "free", 64), ("root",)),
    Label.IRQ_HANDLER_ACK: Working("handler"),
    Label.IRQ_HANDLER_SET_NOTIFICATION: Working("handler", (), ("notification",)),
    Label.IRQ_HANDLER_CLEAR: Working("handler"),
    Label.DOMAIN_SET: Working("domain", (1,), ("thread",)),
    Label.DOMAIN_SCHEDULE_CONFIGURE: Working("domain", (1, 1, 100)),
    Label.DOMAIN_SCHEDULE_SET_START: Working("domain", (0,)),
    Label.SCHED_CONTROL_CONFIGURE_FLAGS: Working("sched_control", (5000, 10000, 0, 0, 0), ("context",)),
    Label.SCHED_CONTEXT_BIND: Working("context", (), ("tcb",)),
    Label.SCHED_CONTEXT_UNBIND: Working("thread_context"),
    Label.SCHED_CONTEXT_UNBIND_OBJECT: Working("thread_context", (), ("thread",)),
    Label.SCHED_CONTEXT_CONSUMED: Working("context"),
    Label.SCHED_CONTEXT_YIELD_TO: Working("thread_context"),
    Label.FRAME_MAP: Working("frame", (FREE_ADDRESS, Rights.READ | Rights.WRITE, 0), ("vspace",)),
    Label.FRAME_MAP_IO: Working("frame", (Rights.READ | Rights.WRITE, 1 << 20), ("io_space",)),
    Label.IO_SPACE_CONTROL_ASSIGN: Working("io_space_control", (1,), ("other_io_space",)),
    Label.DEATH_NOTICE_WATCH: Working("notice", (), ("endpoint", "notification")),
    Label.DEATH_NOTICE_WATCH_COPIES: Working("notice", (), ("endpoint", "notification")),
    Label.DEATH_NOTICE_CANCEL: Working("notice"),
    Label.DEATH_NOTICE_READ: Working("notice"),
    Label.FRAME_UNMAP: Working("frame"),
    Label.FRAME_GET_ADDRESS: Working("frame"),
    Label.IO_PORT_CONTROL_ISSUE: Working("port_control", (0x300, 0x307, "free", 64), ("root",)),
    Label.IO_PORT_IN8: Working("ports", _PORT),
    Label.IO_PORT_IN16: Working("ports", _PORT),
    Label.IO_PORT_IN32: Working("ports", _PORT),
    Label.IO_PORT_OUT8: Working("ports", (*_PORT, 1)),
    Label.IO_PORT_OUT16: Working("ports", (*_PORT, 1)),
    Label.IO_PORT_OUT32: Working("ports", (*_PORT, 1)),
}
