"""What the rules of the state machine choose from: addresses of slots, rights, badges, messages, types.

Most choices work, some nearly, some not at all. Numbers of slots are those of `world.py`.
"""

from __future__ import annotations

from hypothesis import strategies as st

from libsel4py import abi
from libsel4py.abi import InitialSlot, ObjectType, Rights
from tests.model.world import FIRST_OWNED, WINDOW, WINDOW_SLOTS, WORKER_BITS, WORKERS, Worker

Address = tuple[int, int, int]  # CNode's cptr, index, depth
NODES = FIRST_OWNED + 12


def window(number: int) -> Address:
    return (InitialSlot.CNODE, WINDOW + number, abi.WORD_BITS)


# --- what the manager addresses

windows = st.integers(0, WINDOW_SLOTS - 1).map(window)
node_slots = st.tuples(
    st.integers(NODES, NODES + len(WORKERS) - 1), st.integers(0, (1 << WORKER_BITS) - 1), st.just(WORKER_BITS)
)
nested = st.tuples(
    st.integers(WINDOW, WINDOW + WINDOW_SLOTS - 1), st.integers(0, 5), st.sampled_from((1, 2, 2, 3, 0, 65, 64))
)
owned = st.integers(FIRST_OWNED, FIRST_OWNED + 18).map(lambda slot: (InitialSlot.CNODE, slot, abi.WORD_BITS))
replies = st.integers(FIRST_OWNED + 32, FIRST_OWNED + 42).map(lambda slot: (InitialSlot.CNODE, slot, abi.WORD_BITS))
wrong = st.tuples(
    st.integers(0, 5), st.sampled_from((0, 130, 1 << 20, abi.WORD_MASK)), st.sampled_from((0, 4, 63, 64, 65))
)
free_slots = st.tuples(st.integers(NODES, NODES + len(WORKERS) - 1), st.integers(10, 14), st.just(WORKER_BITS))
destinations = st.one_of(windows, windows, windows, free_slots, free_slots, nested, wrong)
sources = st.one_of(windows, windows, owned, node_slots, nested, wrong)
# --- what a worker addresses
own_slots = st.tuples(st.just(int(Worker.CNODE)), st.integers(0, 15), st.just(WORKER_BITS))
own_wrong = st.tuples(st.integers(0, 20), st.integers(0, 40), st.integers(0, 66))
own = st.one_of(own_slots, own_slots, own_slots, own_wrong)

rights = st.sampled_from((Rights.ALL, Rights.ALL, Rights.READ, Rights.WRITE, Rights.WRITE | Rights.GRANT, 0, 8, 9))
badges = st.sampled_from((0, 1, 2, 5, abi.cnode_cap_data(1, 1), abi.cnode_cap_data(0, 62), abi.WORD_MASK))
actors = st.integers(0, len(WORKERS) - 1)
ways = st.sampled_from((Worker.ENDPOINT, Worker.ENDPOINT, Worker.OTHER, Worker.OTHER, Worker.SERVER, 10))
places = st.sampled_from((Worker.SERVER, Worker.SERVER, Worker.OTHER_SERVER, Worker.ENDPOINT, Worker.FAULTS, 10))
bells = st.sampled_from((Worker.NOTIFICATION,) * 4 + (10, 11))
reply_slots = st.sampled_from((Worker.REPLY,) * 6 + (10, 99))
pointers = st.one_of(ways, bells, st.integers(0, 17), st.sampled_from((1 << 60, abi.WORD_MASK)))
receive_paths = st.one_of(st.tuples(st.just(int(Worker.CNODE)), st.integers(10, 14), st.just(WORKER_BITS)), own_wrong)
# A label may be a method's where the message meets another object than an endpoint: 2 would be TCB_ReadRegisters, whose
# registers the specification does not have. The last one is no object's.
contents = st.tuples(
    st.sampled_from((0, 1, 0x7FF)),
    st.lists(st.integers(0, 300), max_size=6).map(tuple),
    st.lists(st.integers(0, 16), max_size=3).map(tuple),
    st.booleans(),
)
Contents = tuple[int, tuple[int, ...], tuple[int, ...], bool]
TYPES = st.sampled_from(
    (
        (ObjectType.ENDPOINT, 0),
        (ObjectType.NOTIFICATION, 0),
        (ObjectType.REPLY, 0),
        (ObjectType.TCB, 0),
        (ObjectType.CNODE, 1),
        (ObjectType.CNODE, 2),
        (ObjectType.SCHED_CONTEXT, 8),
        (ObjectType.UNTYPED, 12),
        (ObjectType.UNTYPED, 6),
        (ObjectType.FRAME, 12),
        (ObjectType.VSPACE, 12),
        (ObjectType.CHANNEL, 0),
        (ObjectType.IO_SPACE, 12),
        (ObjectType.DEATH_NOTICE, 0),
    )
)
