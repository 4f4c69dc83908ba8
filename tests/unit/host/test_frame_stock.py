"""Memory that is made ahead for small frames: what the monitor is told of it, and what a next kernel finds of it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import Iterator, Sequence

import pytest

from hw import fd_store as monitor
from kerneld.host import frame_stock
from kerneld.host.fd_store import FdStore, Inheritance, Kept
from kerneld.host.frame_stock import FIRST_MADE, MADE_TOGETHER, MOST_MADE, SIZE, TABLE, FrameStock, Stocked, key

FRAME = 0x7000


class Store(FdStore):
    """Tells the monitor's half in the same process, and counts its messages."""

    def __init__(self, kept: monitor.FdStore) -> None:
        super().__init__(None, asyncio.new_event_loop())
        self.kept = kept
        self.messages = 0
        self.stack = contextlib.ExitStack()  # closes what a test's kernels have

    def stock(self) -> FrameStock:
        """A kernel's."""
        made = FrameStock(self)
        self.stack.callback(made.close)
        return made

    def take(self, stock: FrameStock) -> Stocked:
        taken = stock.take()
        self.stack.callback(os.close, taken.descriptor)
        return taken

    def restore(self, stock: FrameStock) -> list[tuple[int, Stocked]]:
        """What a next kernel finds."""
        found = stock.restore(inherited(self))
        for _, stocked in found:
            self.stack.callback(os.close, stocked.descriptor)
        return found

    def _send(self, message: dict[str, object], descriptors: Sequence[int] = ()) -> None:
        self.messages += 1
        self.kept.take(message, [os.dup(descriptor) for descriptor in descriptors])

    def drop(self, key: str) -> None:
        self._send({"op": "drop", "keys": [key]})


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store(monitor.FdStore())
    yield made
    made.stack.close()
    made.kept.close()
    made._loop.close()


def inherited(store: Store) -> Inheritance:
    entries = store.kept.kept.items()
    return Inheritance([Kept(key, each.note, os.dup(each.descriptor)) for key, each in entries])


def numbers(store: Store) -> set[str]:
    return set(store.kept.kept) - {TABLE}


def test_they_are_made_more_at_a_time_and_told_together(store: Store) -> None:
    stock = FrameStock(store)
    count = FIRST_MADE + 2 * FIRST_MADE + 4 * FIRST_MADE
    taken = [stock.take() for _ in range(count)]
    assert store.messages == 1 + 3  # the table, and each time one
    assert numbers(store) == {key(each.number) for each in taken}
    assert {os.fstat(each.descriptor).st_size for each in taken} == {SIZE}
    for _, descriptor in taken:
        os.close(descriptor)
    for _ in range(4 * MOST_MADE):
        os.close(stock.take().descriptor)
    assert len(numbers(store)) <= count + 5 * MOST_MADE  # they do not go on doubling
    stock.close()


def test_to_give_one_away_tells_nobody_and_the_next_kernel_knows(store: Store) -> None:
    stock = store.stock()
    number, descriptor = store.take(stock)
    before = store.messages
    os.pwrite(descriptor, b"kept", 0)
    stock.use(number, FRAME)
    assert store.messages == before
    after = store.stock()
    ((address, (again, descriptor)),) = store.restore(after)
    assert (address, again, os.pread(descriptor, 4, 0)) == (FRAME, number, b"kept")
    assert store.take(after).number != number
    assert store.messages == before  # what was left is used first


def test_bytes_that_became_no_frame_s_are_nobody_s(store: Store) -> None:
    number, descriptor = store.take(store.stock())
    os.pwrite(descriptor, b"lost", 0)
    ((address, stocked),) = store.restore(store.stock())
    assert (address, stocked.number) == (0, number)


def test_a_number_is_used_again_and_its_word_says_nothing_before(store: Store) -> None:
    stock = store.stock()
    taken = [store.take(stock) for _ in range(FIRST_MADE)]
    stock.use(taken[0].number, FRAME)
    store.drop(key(taken[0].number))
    stock.free(taken[0].number)
    assert taken[0].number in {store.take(stock).number for _ in range(2 * FIRST_MADE)}
    assert store.restore(store.stock()) == []


def test_a_word_without_a_memfd_means_nothing(store: Store) -> None:
    stock = store.stock()
    number = store.take(stock).number
    stock.use(number, FRAME)
    store.drop(key(number))  # killed before the word was cleared
    after = store.stock()
    assert store.restore(after) == []
    while key(number) not in store.kept.kept:
        store.take(after)
    assert store.restore(store.stock()) == []


def test_where_the_host_has_few_left_those_are_made(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    next_two = [os.dup(0), os.dup(0)]
    for each in next_two:
        os.close(each)
    monkeypatch.setattr(frame_stock, "below_for_frames", lambda: next_two[1] + 1)
    stock = FrameStock(store)
    before = len(os.listdir("/proc/self/fd"))
    taken = [stock.take(), stock.take()]
    monkeypatch.setattr(frame_stock, "below_for_frames", lambda: 0)
    with pytest.raises(OSError, match="not for frames") as refused:
        stock.take()
    assert refused.value.errno == errno.EMFILE
    assert len(numbers(store)) == 2
    for _, descriptor in taken:
        os.close(descriptor)
    assert len(os.listdir("/proc/self/fd")) == before + 2 * 2  # the monitor's two, and the table's two
    stock.close()


def test_in_the_place_of_those_that_were_taken_others_are_made_when_there_is_time(store: Store) -> None:
    stock = store.stock()
    assert not stock.make_ahead()  # nobody has taken any
    taken = [store.take(stock) for _ in range(FIRST_MADE)]
    before = store.messages
    made = 0
    while stock.make_ahead():
        made += MADE_TOGETHER
    assert (made, store.messages) == (4 * FIRST_MADE, before)
    assert numbers(store) == {key(each.number) for each in taken}
    assert stock.descriptors == made + 1
    further = {store.take(stock).number for _ in range(made)}
    assert store.messages == before + 1  # told together, before the first was taken
    assert further.isdisjoint({each.number for each in taken})
    assert numbers(store) == {key(number) for number in further} | {key(each.number) for each in taken}


def test_no_more_are_made_ahead_than_a_message_holds_before_they_are_told(store: Store) -> None:
    stock = store.stock()
    for _ in range(4 * MOST_MADE):
        store.take(stock)
    untold = 0
    while stock.make_ahead():
        untold = stock.descriptors - 1 + 4 * MOST_MADE - len(numbers(store))
        assert untold < MOST_MADE
    assert stock.descriptors == 2 * MOST_MADE + 1


def test_what_is_made_ahead_and_not_told_goes_with_the_kernel(store: Store) -> None:
    before = len(os.listdir("/proc/self/fd"))
    stock = FrameStock(store)
    os.close(stock.take().descriptor)
    while stock.make_ahead():
        continue
    stock.close()
    assert len(os.listdir("/proc/self/fd")) == before + FIRST_MADE + 2  # the monitor's, and the table's two
    assert store.restore(store.stock()) == []


def test_where_the_host_has_none_left_none_is_made_ahead(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = store.stock()
    store.take(stock)
    monkeypatch.setattr(frame_stock, "below_for_frames", lambda: 0)
    assert not stock.make_ahead()
    for _ in range(FIRST_MADE - 1):
        store.take(stock)
    monkeypatch.undo()
    store.take(stock)
    assert stock.make_ahead()
