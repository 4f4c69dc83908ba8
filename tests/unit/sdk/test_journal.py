"""A journal is whole at whatever store its writer was ended, and says so where its memory was damaged."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libsel4py.journal import LEAST_BYTES, CorruptJournal, Journal, JournalFull
from tests.unit.sdk.cut_memory import Cut, CutMemory

RECORDS = st.lists(st.tuples(st.booleans(), st.binary(max_size=900)), max_size=20)


def test_untouched_memory_is_an_empty_journal() -> None:
    assert Journal(CutMemory(LEAST_BYTES)).records == []


def test_what_was_appended_is_there_for_the_next_life() -> None:
    memory = CutMemory(LEAST_BYTES)
    journal = Journal(memory)
    for record in (b"one", b"", b"12345678", b"three"):
        journal.append(record)
    assert Journal(memory).records == [b"one", b"", b"12345678", b"three"]


def test_a_checkpoint_stands_in_the_place_of_all_before() -> None:
    memory = CutMemory(LEAST_BYTES)
    for number in range(5):
        Journal(memory).append(b"a record")
        Journal(memory).checkpoint(b"%d" % number)
        Journal(memory).append(b"behind")
        assert Journal(memory).records == [b"%d" % number, b"behind"]


def test_a_record_that_does_not_fit_changes_nothing() -> None:
    memory = CutMemory(LEAST_BYTES)
    journal = Journal(memory)
    journal.append(b"x" * 1500)
    before = bytes(memory.bytes)
    with pytest.raises(JournalFull, match="does not fit"):
        journal.append(b"y" * 800)
    with pytest.raises(JournalFull, match="a checkpoint of"):
        journal.checkpoint(b"y" * (journal.most_bytes + 1))
    assert memory.bytes == before
    journal.checkpoint(b"y" * journal.most_bytes)
    assert Journal(memory).records == [b"y" * journal.most_bytes]
    with pytest.raises(JournalFull):
        journal.append(b"")


def test_too_little_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="4096"):
        Journal(CutMemory(LEAST_BYTES - 8))


def write(journal: Journal, steps: list[tuple[bool, bytes]]) -> None:
    for checkpoint, record in steps:
        if checkpoint or not journal.has_room(len(record)):
            journal.checkpoint(record)
        else:
            journal.append(record)


def after(steps: list[tuple[bool, bytes]]) -> list[bytes]:
    """What a journal holds behind these steps, which all were done in one life."""
    memory = CutMemory(LEAST_BYTES)
    write(Journal(memory), steps)
    return Journal(memory).records


@settings(max_examples=15, deadline=None)
@given(RECORDS, st.tuples(st.booleans(), st.binary(max_size=200)))
def test_ended_at_any_store_the_last_step_was_done_or_not_done(
    steps: list[tuple[bool, bytes]], last: tuple[bool, bytes]
) -> None:
    memory = CutMemory(LEAST_BYTES)
    write(Journal(memory), steps)
    begun = bytes(memory.bytes)
    memory.stores = 0
    write(Journal(memory), [last])
    old, new = after(steps), after([*steps, last])
    for left in range(memory.stores):
        cut = CutMemory(LEAST_BYTES)
        cut.bytes[:] = begun
        cut.left = left
        with pytest.raises(Cut):
            write(Journal(cut), [last])
        cut.left = None
        next_life = Journal(cut)
        assert next_life.records == old, f"ended at store {left} of {memory.stores}"
        write(next_life, [last])  # and it goes on
        assert Journal(cut).records == new


@pytest.mark.parametrize("damaged", [0, 8, 32])  # the head, the number, a record
@pytest.mark.parametrize("checkpoints", [2, 3])
def test_what_was_there_before_the_damaged_area_does_not_come_back(checkpoints: int, damaged: int) -> None:
    memory = CutMemory(LEAST_BYTES)
    journal = Journal(memory)
    for _ in range(checkpoints):
        journal.checkpoint(b"state")
    memory.bytes[damaged + (LEAST_BYTES // 2 if checkpoints % 2 == 0 else 0)] ^= 3
    for left in range(4):
        cut = CutMemory(LEAST_BYTES)
        cut.bytes[:] = memory.bytes
        cut.left = left
        with pytest.raises(Cut):
            Journal.fresh(cut)
        cut.left = None
        with suppress(CorruptJournal):
            assert Journal(cut).records == [], f"ended at store {left}"


@settings(max_examples=100, deadline=None)
@given(RECORDS, st.integers(0, LEAST_BYTES - 1), st.integers(1, 255))
def test_a_changed_byte_is_found_or_is_in_what_nobody_reads(
    steps: list[tuple[bool, bytes]], place: int, change: int
) -> None:
    memory = CutMemory(LEAST_BYTES)
    write(Journal(memory), steps)
    before = Journal(memory).records
    memory.bytes[place] ^= change
    try:
        found = Journal(memory).records
    except CorruptJournal:
        assert Journal.fresh(memory).records == []
    else:
        assert found == before or before[: len(found)] == found  # a record's word that became 0 looks like the end
        assert found == before or change.bit_count() > 1


def several() -> CutMemory:
    """A journal of several records, with an older area."""
    memory = CutMemory(LEAST_BYTES)
    write(Journal(memory), [(True, b"older"), (True, b"state" * 20), (False, b""), (False, b"1"), (False, bytes(9))])
    return memory


def test_a_flipped_bit_loses_nothing_wherever_it_is() -> None:
    memory, mended = several(), 0
    before, wanted = bytes(memory.bytes), Journal(several()).records
    assert len(wanted) == 4
    for bit in range(8 * LEAST_BYTES):
        memory.bytes[bit >> 3] ^= 1 << (bit & 7)
        journal = Journal(memory)
        assert journal.records == wanted, f"bit {bit}"
        if journal.mended:
            mended += 1
            assert memory.bytes == before, f"bit {bit}"
        memory.bytes[:] = before
    assert mended == 8 * (2 * 16 + 4 * 16 + 100 + 0 + 1 + 9 + 8)  # heads, those of records, their bytes, and the end


def test_flipped_bits_are_flipped_back_of_each_record_and_head_one() -> None:
    memory, wanted = several(), Journal(several()).records
    half = LEAST_BYTES // 2
    for place in (0, half + 8, half + 35, half + 16 + 16 + 104 + 8):  # heads, bytes of a record, a word of the next
        memory.bytes[place] ^= 16
    journal = Journal(memory)
    assert (journal.records, journal.mended) == (wanted, 4)
    journal.append(b"more")
    assert Journal(memory).records == [*wanted, b"more"]


def test_ended_while_a_bit_is_flipped_back_the_next_life_does_it() -> None:
    begun, wanted = several(), Journal(several()).records
    for bit in range(0, 8 * LEAST_BYTES, 7):
        memory = CutMemory(LEAST_BYTES)
        memory.bytes[:] = begun.bytes
        memory.bytes[bit >> 3] ^= 1 << (bit & 7)
        memory.left = 0
        with suppress(Cut):
            Journal(memory)
        memory.left = None
        assert Journal(memory).records == wanted, f"bit {bit}"


@pytest.mark.parametrize("place", [0, LEAST_BYTES // 2 + 8, LEAST_BYTES // 2 + 35])
def test_two_flipped_bits_are_damage(place: int) -> None:
    memory = several()
    memory.bytes[place] ^= 0x11
    with pytest.raises(CorruptJournal):
        Journal(memory)


def test_memory_of_anything_else_is_no_journal() -> None:
    source = random.Random(1)
    for _ in range(200):
        memory = CutMemory(LEAST_BYTES)
        memory.bytes[:] = source.randbytes(LEAST_BYTES)
        with pytest.raises(CorruptJournal, match="no journal"):
            Journal(memory)
        assert Journal.fresh(memory).records == []
