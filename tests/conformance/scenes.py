"""The few situations that most conformance tests begin with.

A scene is made by ordinary invocations of the initial task. Threads get what they share in low slots of their own
CNode: `ENDPOINT` is slot 1. What a scene hands back are slots of the initial task's CNode and threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kerneld import caps
from kerneld.caps import Cap
from kerneld.records import CapType, SchedContext, Slot
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights, Syscall
from tests.harness import Completion, Machine, Thread

ENDPOINT: Final = 1
SECOND: Final = 2
FREE: Final = 40  # slots from here on are empty in every thread's CNode
SCHED_CONTROL: Final = int(InitialSlot.FIRST_FREE)
NOTIFICATION: Final = 5  # slot of a thread's CNode where a scene with a notification puts it
BAD: Final = 1 << 60  # an address that does not resolve in a thread's CNode: its guard is 56 zero bits
UNKNOWN_SYSCALL: Final = -1000


@dataclass(frozen=True, slots=True)
class Pair:
    """A client and a server that share an endpoint in slot ENDPOINT. ``endpoint``: its original, the initial task's."""

    machine: Machine
    endpoint: int
    client: Thread
    server: Thread


def pair(
    machine: Machine,
    *,
    rights: int = Rights.ALL,
    badge: int | None = None,
    client_priority: int = 100,
    server_priority: int = 100,
) -> Pair:
    """Args: rights, badge: of the client's capability."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    client = machine.thread("client", priority=client_priority, mcp=255)
    server = machine.thread("server", priority=server_priority, mcp=255)
    machine.grant(client, endpoint, ENDPOINT, rights, badge)
    machine.grant(server, endpoint, ENDPOINT)
    return Pair(machine, endpoint, client, server)


def senders(machine: Machine, endpoint: int, priorities: Sequence[int], badge: int = 0) -> list[Thread]:
    """Threads that can send on the endpoint; the n-th one's badge is ``badge`` + n, or none for badge 0."""
    threads = []
    for number, priority in enumerate(priorities):
        thread = machine.thread(f"sender{number}", priority=priority)
        machine.grant(thread, endpoint, ENDPOINT, badge=badge + number if badge else None)
        threads.append(thread)
    return threads


def passive_server(machine: Machine, endpoint: int, name: str = "server") -> Thread:
    """A thread that waits on the endpoint and has no scheduling context of its own."""
    server = machine.thread(name)
    machine.grant(server, endpoint, ENDPOINT)
    assert receive(server) is None
    machine.root.call(server.sched_context, Label.SCHED_CONTEXT_UNBIND)
    return server


def receive(thread: Thread, cptr: int = ENDPOINT) -> Completion | None:
    """Recv with the thread's own reply object."""
    return thread.syscall(Syscall.RECV, cptr, reply=thread.reply)


def send(thread: Thread, words: Sequence[int] = (), cptr: int = ENDPOINT, label: int = 0) -> Completion | None:
    return thread.syscall(Syscall.SEND, cptr, words=words, label=label)


def call(thread: Thread, words: Sequence[int] = (), cptr: int = ENDPOINT, label: int = 0) -> Completion | None:
    return thread.syscall(Syscall.CALL, cptr, words=words, label=label)


def answer(thread: Thread, words: Sequence[int] = (), label: int = 0) -> None:
    """Send by the thread's own reply object, which never blocks."""
    assert thread.syscall(Syscall.SEND, thread.reply, words=words, label=label) is not None


def got(completion: Completion | None) -> Completion:
    """The completion, which must be there."""
    assert completion is not None, "the system call has not completed"
    return completion


def poll(machine: Machine, notification: int) -> int:
    """What the notification has been signalled with, by the initial task's NBWait."""
    return got(machine.root.syscall(Syscall.NB_WAIT, notification)).badge


def signal(machine: Machine, notification: int, badge: int) -> None:
    got(send(machine.root, cptr=machine.copy(notification, badge=badge)))


def bound(machine: Machine, notification: int) -> tuple[Thread, int]:
    """A thread bound to the notification, and an endpoint in its slot ENDPOINT."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    thread = machine.thread("bound")
    machine.grant(thread, endpoint, ENDPOINT)
    machine.grant(thread, notification, NOTIFICATION)
    machine.root.call(thread.cap, Label.TCB_BIND_NOTIFICATION, (), [notification])
    return thread, endpoint


def suspend(thread: Thread) -> None:
    thread.machine.root.call(thread.cap, Label.TCB_SUSPEND)


def resume(thread: Thread) -> None:
    thread.machine.root.call(thread.cap, Label.TCB_RESUME)


def read_registers(thread: Thread, count: int = abi.REGISTERS, flags: int = 0) -> tuple[int, ...]:
    return thread.machine.root.call(thread.cap, Label.TCB_READ_REGISTERS, (flags, count))


def write_registers(thread: Thread, words: Sequence[int], flags: int = 0, count: int | None = None) -> None:
    """Args: count: as the invocation says it; the number of words, if it is not given."""
    arguments = (flags, len(words) if count is None else count, *words)
    thread.machine.root.call(thread.cap, Label.TCB_WRITE_REGISTERS, arguments)


def reply_to_fault(machine: Machine, words: Sequence[int] = (), label: int = 0) -> None:
    """The initial task's reply to the fault that it received last."""
    got(machine.root.syscall(Syscall.SEND, machine.root.reply, words=words, label=label))


def next_fault(machine: Machine, endpoint: int) -> Completion | None:
    """The next fault message at the endpoint, received by the initial task."""
    return machine.root.syscall(Syscall.NB_RECV, endpoint, reply=machine.root.reply)


def faulting(machine: Machine, badge: int | None = None, **options: bool) -> tuple[Thread, int]:
    """A thread whose fault handler is the initial task, and the endpoint it is told at."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    handler = endpoint if badge is None else machine.copy(endpoint, badge=badge)
    return machine.thread("faulter", fault_endpoint=handler, **options), endpoint


def set_root(machine: Machine, thread: Thread, cnode: int, guard: int, guard_size: int, handler: int) -> None:
    """Give the thread another root CNode, with this guard."""
    words = (abi.cnode_cap_data(guard, guard_size), 0)
    machine.root.call(thread.cap, Label.TCB_SET_SPACE, words, [handler, cnode, InitialSlot.VSPACE])


def held_by(thread: Thread, index: int) -> Cap:
    """The capability in a slot of the thread's CNode."""
    machine = thread.machine
    return caps.read(Slot(machine.ram, machine.slot(thread.cnode).object + index * Slot.SIZE))


def held(machine: Machine, slot: int) -> Cap:
    """The capability in a slot of the initial task's CNode."""
    return caps.read(machine.slot(slot))


def is_empty(machine: Machine, slot: int) -> bool:
    return held(machine, slot).type is CapType.NULL


def context_of(machine: Machine, slot: int) -> SchedContext:
    return SchedContext(machine.ram, machine.slot(slot).object)


def words_of(length: int, seed: int = 1) -> tuple[int, ...]:
    """A message of distinguishable 64-bit words."""
    return tuple((seed << 56 | number << 32 | number * 0x9E3779B1 & 0xFFFFFFFF) for number in range(length))
