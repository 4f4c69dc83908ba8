"""One or more situations for every invocation and system call, each just before it is made.

A scenario gets a fresh stage, sets up what it needs, and returns the system call. The crash tests interrupt it at each
store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Syscall
from tests.harness import OWN_REPLY, THREAD_CNODE_BITS, Machine, Thread

ENDPOINT, RECEIVER, NOTIFICATION = 1, 2, 3  # slots of each thread of the stage
MANY: Final = 70  # more than the units of work of one transaction


@dataclass(slots=True)
class Stage:
    """A machine with a client and a server that share an endpoint and a notification; all are slots of the root's."""

    machine: Machine
    client: Thread
    server: Thread
    endpoint: int
    notification: int

    @property
    def root(self) -> Thread:
        return self.machine.root

    @classmethod
    def new(cls, machine: Machine) -> Stage:
        endpoint = machine.retype(ObjectType.ENDPOINT)
        notification = machine.retype(ObjectType.NOTIFICATION)
        threads = []
        for name in ("client", "server"):
            thread = machine.thread(name, fault_endpoint=machine.copy(endpoint, badge=99))
            machine.grant(thread, endpoint, ENDPOINT, badge=7)
            machine.grant(thread, endpoint, RECEIVER, abi.Rights.READ)
            machine.grant(thread, notification, NOTIFICATION, badge=4)
            threads.append(thread)
        return cls(machine, threads[0], threads[1], endpoint, notification)


@dataclass(frozen=True, slots=True)
class Trap:
    """A system call that is about to be made."""

    thread: Thread
    op: int = Syscall.CALL
    cptr: int = 0
    label: int = 0
    words: tuple[int, ...] = ()
    caps: tuple[int, ...] = ()
    reply: int = 0
    dest: int = 0
    reuses: int = 0  # slot of untyped memory that is zeroed for new use
    error: abi.Error = abi.Error.NO_ERROR  # that an invocation of the root's ends with

    def submit(self) -> None:
        info = abi.message_info(self.label, len(self.words), len(self.caps))
        self.thread.submit(self.op, self.cptr, info, self.words, caps=self.caps, reply=self.reply, dest=self.dest)


Prepare = Callable[[Stage], Trap]


@dataclass(frozen=True, slots=True)
class Scenario:
    name: str
    covers: Label | Syscall
    prepare: Prepare


@dataclass(slots=True)
class Table:
    rows: list[Scenario] = field(default_factory=list)

    def of(self, covers: Label | Syscall) -> Callable[[Prepare], Prepare]:
        """Decorator: the function prepares this invocation or system call."""

        def add(prepare: Prepare) -> Prepare:
            self.rows.append(Scenario(prepare.__name__, covers, prepare))
            return prepare

        return add


TABLE: Final = Table()
CNODE: Final = InitialSlot.CNODE


def invocation(stage: Stage, cptr: int, label: Label, words: tuple[int, ...] = (), caps: tuple[int, ...] = ()) -> Trap:
    """A call of the root's."""
    return Trap(stage.root, Syscall.CALL, cptr, label, words, caps)


def at(slot: int) -> tuple[int, int]:
    """(index, depth) of a slot of the root's."""
    return (slot, abi.WORD_BITS)


def waiting_server(stage: Stage, *, passive: bool = False) -> None:
    """The server waits for a message; without processor time of its own if ``passive``."""
    assert stage.server.syscall(Syscall.RECV, RECEIVER, reply=OWN_REPLY) is None
    if passive:
        stage.root.call(stage.server.sched_context, Label.SCHED_CONTEXT_UNBIND)


def calling_client(stage: Stage, words: tuple[int, ...] = (1, 2)) -> None:
    assert stage.client.syscall(Syscall.CALL, ENDPOINT, words=words) is None


def served_client(stage: Stage, *, passive: bool = False) -> None:
    """The server has the client's call."""
    waiting_server(stage, passive=passive)
    calling_client(stage)
    assert stage.server.completion() is not None


# --- Untyped and CNode


def _retype(kind: ObjectType, bits: int, count: int) -> Prepare:
    def prepare(stage: Stage) -> Trap:
        first = stage.machine.new_slots(count)
        words = (kind, bits, 0, 0, first, count)
        return invocation(stage, stage.machine.untyped, Label.UNTYPED_RETYPE, words, (CNODE,))

    prepare.__name__ = f"retype_{kind.name.lower()}"
    return prepare


for _kind, _bits, _count in (
    (ObjectType.UNTYPED, 12, 2),
    (ObjectType.TCB, 0, 2),
    (ObjectType.ENDPOINT, 0, 8),
    (ObjectType.NOTIFICATION, 0, 1),
    (ObjectType.CNODE, 4, 1),
    (ObjectType.SCHED_CONTEXT, 8, 1),
    (ObjectType.REPLY, 0, 1),
    (ObjectType.FRAME, 14, 1),
    (ObjectType.VSPACE, 12, 1),
    (ObjectType.CHANNEL, 0, 1),
    (ObjectType.DEATH_NOTICE, 0, 2),
):
    TABLE.of(Label.UNTYPED_RETYPE)(_retype(_kind, _bits, _count))


@TABLE.of(Label.UNTYPED_RETYPE)
def retype_of_used_memory(stage: Stage) -> Trap:
    pool = stage.machine.retype(ObjectType.UNTYPED, 13)
    made = stage.machine.retype(ObjectType.TCB, 0, 3, pool)
    stage.root.call(made, Label.TCB_WRITE_REGISTERS, (0, 8, 1, 2, 3, 4, 5, 6, 7, 8))
    for slot in range(made, made + 3):
        stage.machine.delete(slot)
    words = (ObjectType.ENDPOINT, 0, 0, 0, made, 2)
    return Trap(stage.root, Syscall.CALL, pool, Label.UNTYPED_RETYPE, words, (CNODE,), reuses=pool)


@TABLE.of(Label.UNTYPED_RETYPE)
def retype_refused(stage: Stage) -> Trap:
    words = (ObjectType.ENDPOINT, 0, 0, 0, InitialSlot.TCB, 1)
    error = abi.Error.DELETE_FIRST
    return Trap(stage.root, Syscall.CALL, stage.machine.untyped, Label.UNTYPED_RETYPE, words, (CNODE,), error=error)


@TABLE.of(Label.CNODE_COPY)
def copy(stage: Stage) -> Trap:
    words = (*at(stage.machine.new_slots()), *at(stage.endpoint), 3)
    return invocation(stage, CNODE, Label.CNODE_COPY, words, (CNODE,))


@TABLE.of(Label.CNODE_COPY)
def copy_untyped(stage: Stage) -> Trap:
    pool = stage.machine.retype(ObjectType.UNTYPED, 12)
    words = (*at(stage.machine.new_slots()), *at(pool), 15)
    return invocation(stage, CNODE, Label.CNODE_COPY, words, (CNODE,))


@TABLE.of(Label.CNODE_MINT)
def mint(stage: Stage) -> Trap:
    words = (*at(stage.machine.new_slots()), *at(stage.endpoint), 15, 42)
    return invocation(stage, CNODE, Label.CNODE_MINT, words, (CNODE,))


@TABLE.of(Label.CNODE_MOVE)
def move(stage: Stage) -> Trap:
    words = (*at(stage.machine.new_slots()), *at(stage.endpoint))
    return invocation(stage, CNODE, Label.CNODE_MOVE, words, (CNODE,))


@TABLE.of(Label.CNODE_MUTATE)
def mutate(stage: Stage) -> Trap:
    words = (*at(stage.machine.new_slots()), *at(stage.client.cnode), abi.cnode_cap_data(5, 4))
    return invocation(stage, CNODE, Label.CNODE_MUTATE, words, (CNODE,))


def _rotate(stage: Stage, destination: int, pivot: int, source: int) -> Trap:
    words = (*at(destination), 0, *at(pivot), 0, *at(source))
    return invocation(stage, CNODE, Label.CNODE_ROTATE, words, (CNODE, CNODE))


@TABLE.of(Label.CNODE_ROTATE)
def rotate(stage: Stage) -> Trap:
    return _rotate(stage, stage.machine.new_slots(), stage.client.cap, stage.server.cap)


@TABLE.of(Label.CNODE_ROTATE)
def swap(stage: Stage) -> Trap:
    return _rotate(stage, stage.client.cap, stage.server.cnode, stage.client.cap)


@TABLE.of(Label.CNODE_DELETE)
def delete_copy(stage: Stage) -> Trap:
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(stage.machine.copy(stage.endpoint)))


@TABLE.of(Label.CNODE_DELETE)
def delete_node(stage: Stage) -> Trap:
    """A CNode that holds the last capabilities to others, and is longer than one transaction."""
    node = stage.machine.retype(ObjectType.CNODE, 7)
    for kind, index in ((ObjectType.CNODE, 3), (ObjectType.CNODE, 100), (ObjectType.TCB, 50)):
        made = stage.machine.retype(kind, 1)
        stage.root.call(node, Label.CNODE_MOVE, (index, 7, *at(made)), (CNODE,))
    for index in range(MANY):
        if index not in (3, 50):
            stage.root.call(node, Label.CNODE_COPY, (index, 7, *at(stage.endpoint), 15), (CNODE,))
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(node))


@TABLE.of(Label.CNODE_DELETE)
def delete_waiting_thread(stage: Stage) -> Trap:
    served_client(stage)
    stage.root.call(stage.client.cnode, Label.CNODE_DELETE, (250, THREAD_CNODE_BITS))
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(stage.client.cap))


@TABLE.of(Label.CNODE_DELETE)
def delete_reply(stage: Stage) -> Trap:
    """The last capability to the reply object that a client waits at."""
    served_client(stage, passive=True)
    slot = stage.machine.new_slots()
    words = (*at(slot), OWN_REPLY, THREAD_CNODE_BITS)
    stage.root.call(CNODE, Label.CNODE_MOVE, words, (stage.server.cnode,))
    stage.machine.revoke(slot - _distance_to_reply(stage, slot))
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(slot - _distance_to_reply(stage, slot)))


def _distance_to_reply(stage: Stage, slot: int) -> int:
    """How far before ``slot`` the root holds the first capability to the object that ``slot`` names, or named."""
    target = stage.machine.slot(slot)
    if not target.cap_type:
        return 0
    return next(n for n in range(1, slot) if stage.machine.slot(slot - n).word0 == target.word0)


@TABLE.of(Label.CNODE_REVOKE)
def revoke_endpoint(stage: Stage) -> Trap:
    calling_client(stage)
    return invocation(stage, CNODE, Label.CNODE_REVOKE, at(stage.endpoint))


@TABLE.of(Label.CNODE_REVOKE)
def revoke_many(stage: Stage) -> Trap:
    made = stage.machine.retype(ObjectType.ENDPOINT)
    for _ in range(MANY):
        stage.machine.copy(made)
    return invocation(stage, CNODE, Label.CNODE_REVOKE, at(made))


@TABLE.of(Label.CNODE_REVOKE)
def revoke_memory(stage: Stage) -> Trap:
    pool = stage.machine.retype(ObjectType.UNTYPED, 14)
    stage.machine.retype(ObjectType.NOTIFICATION, 0, 2, pool)
    stage.machine.retype(ObjectType.TCB, 0, 1, pool)
    return invocation(stage, CNODE, Label.CNODE_REVOKE, at(pool))


@TABLE.of(Label.CNODE_CANCEL_BADGED_SENDS)
def cancel_badged_sends(stage: Stage) -> Trap:
    calling_client(stage)
    badged = stage.machine.copy(stage.endpoint, badge=7)
    return invocation(stage, CNODE, Label.CNODE_CANCEL_BADGED_SENDS, at(badged))
