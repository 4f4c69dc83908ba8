"""The memory of the user network's connections costs the host what is on its way, and little for each free slot."""

from __future__ import annotations

import os

from hw.devices.user_network.connection_memory import (
    MEMORY_BYTES,
    OUR_FIRST,
    RING_BYTES,
    SLOTS,
    STATE,
    THEIR_FIRST,
    ConnectionMemory,
    create_memory,
)


def test_the_memory_of_long_streams_goes_back_to_the_host() -> None:
    descriptor = create_memory()
    memory = ConnectionMemory(descriptor)
    slot = memory.take()
    assert slot is not None
    slot.to_guest.put(5, bytes(range(1, 251)) * 5000)
    assert slot.to_guest.part(5 + RING_BYTES, 2) == slot.to_guest.part(5, 2)
    assert os.fstat(descriptor).st_blocks * 512 >= RING_BYTES
    memory.give_back(slot, 1 << 30, 0)
    assert os.fstat(descriptor).st_blocks * 512 < RING_BYTES // 2
    assert [memory.take() is None for _ in range(SLOTS + 1)] == [False] * SLOTS + [True]
    assert os.fstat(descriptor).st_size == MEMORY_BYTES
    os.close(descriptor)


def test_short_connections_one_after_the_other_cost_what_one_does() -> None:
    """Wherever their sequence numbers begin."""
    descriptor = create_memory()
    memory = ConnectionMemory(descriptor)
    for number in range(64):
        slot = memory.take()
        assert slot is not None
        first = number * 7 * (RING_BYTES // 64) - 100 & 0xFFFF_FFFF
        slot.words[OUR_FIRST] = slot.words[THEIR_FIRST] = first
        for ring in (slot.to_guest, slot.to_host):
            ring.put(first, bytes(range(250)) * 80)
            assert ring.part(first + 250, 20000)[:250] == bytes(range(250))
        memory.give_back(slot, 20000, 20000)
    assert os.fstat(descriptor).st_blocks * 512 < RING_BYTES // 2
    os.close(descriptor)


def test_what_a_life_had_no_time_to_give_back_the_next_one_does() -> None:
    descriptor = create_memory()
    memory = ConnectionMemory(descriptor)
    slots = [memory.take() for _ in range(2)]
    for slot in slots:
        assert slot is not None
        slot.words[STATE] = 4
        slot.to_guest.put(0, bytes(range(1, 251)) * 4000)
    assert slots[0] is not None
    slots[0].words[STATE] = 0
    (left,) = ConnectionMemory(descriptor).used()
    assert os.fstat(descriptor).st_blocks * 512 < 2 * RING_BYTES
    assert left.to_guest.part(0, 250) == bytes(range(1, 251))
    os.close(descriptor)
