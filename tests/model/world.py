"""The system that the model's tests begin with: a manager and four workers that share some capabilities.

Slots of the manager (the initial task) and of each worker stand here as constants; the tests use their numbers. The
manager alone can make objects; each worker has the CNode that it uses as its capability space.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights, Syscall
from tests import harness
from tests.model.pair import Origin, Pair
from tests.model.system import Submission

WORKER_BITS = 4
WORKER_GUARD = abi.cnode_cap_data(0, abi.WORD_BITS - WORKER_BITS)
WORKERS = ("ant", "bee", "cat", "dog")
PASSIVE = ("cat", "dog")  # they have served, and wait for the next call without time of their own
FIRST_OWNED = 64  # the manager's slots: objects
WINDOW = 128  # and its free ones, used by the rules
WINDOW_SLOTS = 6
CHANNELS = FIRST_OWNED + 44  # the workers', in slots of the manager's
PAGES = CHANNELS + 4  # frames, and a VSpace beside the manager's own
PAGE_COUNT = 4
SPACE = PAGES + PAGE_COUNT
NOTICES = SPACE + 1  # death notices
NOTICE_COUNT = 4
POOL_BITS = 15  # memory that the rules retype


class Worker(IntEnum):
    """Slots of a worker's CNode. Those without a name are free."""

    ENDPOINT = 1  # badged, all rights
    SERVER = 2  # the same endpoint: Read alone
    OTHER = 3  # another endpoint: Write and GrantReply
    NOTIFICATION = 4  # badged
    OTHER_SERVER = 9  # the other endpoint: Read alone
    REPLY = 5
    FAULTS = 6  # Read: where the workers' faults arrive
    TCB = 7  # the next worker's
    SCHED_CONTEXT = 8  # the next worker's
    CHANNEL = 14  # its own
    CNODE = 15


@dataclass(frozen=True, slots=True)
class Owned:
    """The manager's slots."""

    endpoint: int
    other: int
    faults: int
    notification: int
    second_notification: int
    context: int
    pool: int
    tcbs: tuple[int, ...]
    nodes: tuple[int, ...]
    contexts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class World:
    origin: Origin
    owned: Owned
    workers: tuple[harness.Thread, ...]


def build() -> World:
    """A manager and its workers; the last one has no fault handler."""
    pair = Pair()
    owned = _objects(pair)
    workers = tuple(_worker(pair, owned, number) for number in range(len(WORKERS)))
    for number in range(len(WORKERS)):
        _fill(pair, owned, number)
    for name, place in zip(PASSIVE, (Worker.SERVER, Worker.OTHER_SERVER), strict=True):
        number = WORKERS.index(name)
        pair.syscall(workers[number], Submission(Syscall.RECV, place, reply=Worker.REPLY))
        pair.must(pair.machine.root, owned.contexts[number], Label.SCHED_CONTEXT_UNBIND)
    pair.machine.assert_invariants()
    return World(Origin(pair), owned, workers)


def _objects(pair: Pair) -> Owned:
    count = len(WORKERS)
    slot = FIRST_OWNED
    endpoint = pair.retype(ObjectType.ENDPOINT, slot, count=3)
    notification = pair.retype(ObjectType.NOTIFICATION, slot + 3, count=2)
    context = pair.retype(ObjectType.SCHED_CONTEXT, slot + 5, 8)
    pool = pair.retype(ObjectType.UNTYPED, slot + 6, POOL_BITS)
    tcbs = pair.retype(ObjectType.TCB, slot + 8, count=count)
    nodes = pair.retype(ObjectType.CNODE, slot + 12, WORKER_BITS, count)
    contexts = pair.retype(ObjectType.SCHED_CONTEXT, slot + 16, 8, count)
    pair.retype(ObjectType.FRAME, PAGES, abi.FRAME_MIN_BITS, PAGE_COUNT)
    pair.retype(ObjectType.DEATH_NOTICE, NOTICES, count=NOTICE_COUNT)
    pair.retype(ObjectType.VSPACE, SPACE, abi.VSPACE_MIN_BITS)
    for each in (context, *range(contexts, contexts + count)):
        words = (5000, 5000, 0, 0, 0)
        pair.must(pair.machine.root, InitialSlot.FIRST_FREE, Label.SCHED_CONTROL_CONFIGURE_FLAGS, words, [each])
    return Owned(
        endpoint,
        endpoint + 1,
        endpoint + 2,
        notification,
        notification + 1,
        context,
        pool,
        tuple(range(tcbs, tcbs + count)),
        tuple(range(nodes, nodes + count)),
        tuple(range(contexts, contexts + count)),
    )


def _worker(pair: Pair, owned: Owned, number: int) -> harness.Thread:
    root, tcb, node = pair.machine.root, owned.tcbs[number], owned.nodes[number]
    frame = pair.retype(ObjectType.FRAME, FIRST_OWNED + 24 + number, abi.TRAP_FRAME_BITS)
    address = pair.machine.slot(frame).object
    pair.must(root, tcb, Label.TCB_CONFIGURE, (WORKER_GUARD, 0, address), [node, InitialSlot.VSPACE, frame])
    handler = 0 if number == len(WORKERS) - 1 else _handler(pair, owned, number)
    caps = [InitialSlot.TCB, owned.contexts[number], handler]
    pair.must(root, tcb, Label.TCB_SET_SCHED_PARAMS, (120, 100 + number), caps)
    thread = pair.adopt(tcb)
    pair.must(root, tcb, Label.TCB_RESUME)
    return thread


def _handler(pair: Pair, owned: Owned, number: int) -> int:
    slot = FIRST_OWNED + 32 + number
    rights = Rights.WRITE | Rights.GRANT
    pair.grant(InitialSlot.CNODE, slot, abi.WORD_BITS, owned.faults, 0x100 + number, rights)
    return slot


def _fill(pair: Pair, owned: Owned, number: int) -> None:
    node = owned.nodes[number]
    following = (number + 1) % len(WORKERS)
    reply = pair.retype(ObjectType.REPLY, FIRST_OWNED + 40 + number)
    channel = pair.retype(ObjectType.CHANNEL, CHANNELS + number)
    for index, source, badge, rights in (
        (Worker.ENDPOINT, owned.endpoint, 0x10 + number, Rights.ALL),
        (Worker.SERVER, owned.endpoint, 0, Rights.READ),
        (Worker.OTHER, owned.other, 0, Rights.WRITE | Rights.GRANT_REPLY),
        (Worker.OTHER_SERVER, owned.other, 0, Rights.READ),
        (Worker.NOTIFICATION, owned.notification, 1 << number, Rights.ALL),
        (Worker.REPLY, reply, 0, Rights.ALL),
        (Worker.FAULTS, owned.faults, 0, Rights.READ),
        (Worker.TCB, owned.tcbs[following], 0, Rights.ALL),
        (Worker.SCHED_CONTEXT, owned.contexts[following], 0, Rights.ALL),
        (Worker.CHANNEL, channel, 0, Rights.ALL),
        (Worker.CNODE, node, 0, Rights.ALL),
    ):
        pair.grant(node, index, WORKER_BITS, source, badge, rights)
