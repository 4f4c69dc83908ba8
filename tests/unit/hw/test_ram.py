"""RAM: windows, typed views, the undo log, and what happens when a transaction is interrupted at any store."""

from __future__ import annotations

import mmap
import struct

import pytest

from hw.ram import Bits, Interrupted, Ram, RamError, Record, Ref, Word

LOG, LOG_BYTES, DATA = 0, 4096, 8192


class Node(Record):
    """A record as the kernel declares them."""

    __slots__ = ()
    value = Word(0)
    low = Bits(8, 0, 4)
    high = Bits(8, 60, 4)
    next: Ref[Node] = Ref(16, lambda: Node, ~31 & (1 << 64) - 1)
    flags = Bits(16, 0, 5)


def store_all(ram: Ram, values: tuple[int, ...]) -> None:
    """One store each to the same word."""
    for value in values:
        ram.set_word(DATA, value)


@pytest.fixture
def ram() -> Ram:
    return Ram(bytearray(1 << 16), LOG, LOG_BYTES)


@pytest.fixture
def node(ram: Ram) -> Node:
    return Node(ram, DATA)


def test_fields_read_back_what_was_stored(ram: Ram, node: Node) -> None:
    other = Node(ram, DATA + 64)
    with ram.transaction():
        node.value = (1 << 64) - 1
        node.low, node.high = 5, 15
        node.next = other
        node.flags = 31
    assert (node.value, node.low, node.high, node.flags) == ((1 << 64) - 1, 5, 15, 31)
    assert node.next == other
    assert ram.words(DATA, 3) == ((1 << 64) - 1, 15 << 60 | 5, DATA + 64 | 31)
    with ram.transaction():
        node.next = None
    assert node.next is None
    assert node.flags == 31


def test_a_view_is_an_address_and_nothing_else(ram: Ram, node: Node) -> None:
    same = Node(ram, DATA)
    with ram.transaction():
        node.value = 7
    assert same.value == 7
    assert same == node
    assert hash(same) == hash(node)
    assert Node(ram, DATA + 8) != node
    assert repr(node) == f"<Node at {DATA:#x}>"
    assert node.ram is ram


def test_fields_refuse_what_does_not_fit(ram: Ram, node: Node) -> None:
    with ram.transaction():
        for name, value in (("low", 16), ("flags", 32)):
            with pytest.raises(OverflowError):
                setattr(node, name, value)
        with pytest.raises(OverflowError):
            node.value = 1 << 64
        with pytest.raises(OverflowError):
            node.next = Node(ram, DATA + 1)
        with pytest.raises(TypeError):
            node.next = Record(ram, DATA)  # type: ignore[assignment]  # that is what is tried
    assert ram.words(DATA, 3) == (0, 0, 0)


def test_declarations_are_checked() -> None:
    for shift, width in ((0, 0), (60, 5), (64, 1)):
        with pytest.raises(ValueError, match="one word"):
            Bits(0, shift, width)


def test_stores_outside_of_a_transaction_are_refused(ram: Ram, node: Node) -> None:
    with pytest.raises(RamError, match="inside a transaction"):
        node.value = 1
    with pytest.raises(RamError, match="inside a transaction"):
        ram.set_word(DATA, 1)
    with pytest.raises(RamError, match="no transaction"):
        ram.commit()
    assert node.value == 0


def test_transactions_do_not_nest(ram: Ram) -> None:
    with ram.transaction(), pytest.raises(RamError, match="already open"):
        ram.begin()


@pytest.mark.parametrize("address", [-1, 1 << 16, (1 << 16) - 7, 1 << 63, 4])
def test_addresses_outside_of_ram_or_between_words_are_refused(ram: Ram, address: int) -> None:
    with ram.transaction(), pytest.raises((RamError, OverflowError)):
        ram.set_word(address, 1)
    with pytest.raises((RamError, OverflowError)):
        ram.word(address)
    with pytest.raises((RamError, OverflowError)):
        ram.read(address, 1 << 17)


def test_an_exception_rolls_back(ram: Ram, node: Node) -> None:
    with ram.transaction():
        node.value = 1

    def fail() -> None:
        with ram.transaction():
            node.value = 2
            node.low = 3
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (node.value, node.low) == (1, 0)
    assert ram.committed == 1


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("store", range(4))
def test_interrupted_at_any_store_ram_is_as_before(ram: Ram, node: Node, store: int, after: bool) -> None:
    with ram.transaction():
        node.value, node.low = 10, 1
    before = ram.read(DATA, 64)
    ram.begin()
    ram.interrupt_at(store, after)
    with pytest.raises(Interrupted):
        store_all(ram, (11, 12, 13, 14))
    ram.disarm()
    assert ram.stores == store + 1
    assert ram.recover() == store + 1
    assert ram.read(DATA, 64) == before


def test_another_ram_over_the_same_memory_rolls_back_what_a_killed_one_left() -> None:
    """As a restarted kernel does: the log is in the memory, not in the process."""
    memory = mmap.mmap(-1, 1 << 16)
    first = Ram(memory, LOG, LOG_BYTES)
    with first.transaction():
        first.set_word(DATA, 1)
    first.begin()
    first.set_word(DATA, 2)
    first.set_word(DATA + 8, 3)
    second = Ram(memory, LOG, LOG_BYTES)
    with pytest.raises(RamError, match="rolled back first"):
        second.begin()
    assert second.recover() == 2
    assert second.words(DATA, 2) == (1, 0)
    assert second.recover() == 0


def test_a_store_of_the_same_value_is_not_logged(ram: Ram, node: Node) -> None:
    with ram.transaction():
        node.value = 0
        assert ram.stores == 0
        node.value = 1
        assert ram.stores == 1


def test_a_transaction_of_unbounded_work_is_refused_whole(ram: Ram) -> None:
    with pytest.raises(RamError, match="unbounded work"), ram.transaction():
        ram.write(DATA, struct.pack("<1000Q", *range(1, 1001)))
    assert not any(ram.read(DATA, 8000))


def test_a_damaged_log_writes_nothing_outside_of_ram() -> None:
    memory = bytearray(1 << 16)
    struct.pack_into("<Q", memory, LOG, 1 << 40)
    ram = Ram(memory, LOG, LOG_BYTES)
    with pytest.raises(RamError, match="log"):
        ram.recover()
    struct.pack_into("<Q", memory, LOG, 1)
    struct.pack_into("<QQ", memory, LOG + 64, 1 << 50, 7)
    with pytest.raises(RamError, match="outside"):
        ram.recover()


def test_zero_gives_whole_pages_back_and_no_byte_more() -> None:
    memory = mmap.mmap(-1, 1 << 20)
    ram = Ram(memory, LOG, LOG_BYTES)
    ram.poke(DATA, b"\xff" * (1 << 19))
    ram.zero(DATA + 100, (1 << 19) - 300)
    assert ram.read(DATA, 101) == b"\xff" * 100 + b"\0"
    assert ram.read(DATA + (1 << 19) - 201, 201) == b"\0" + b"\xff" * 200
    assert not any(ram.read(DATA + 100, (1 << 19) - 300))


def test_words_and_bytes_are_copies(ram: Ram) -> None:
    with ram.transaction():
        ram.write(DATA, struct.pack("<3Q", 1, 2, 3))
    copied = ram.words(DATA, 3)
    ram.poke(DATA, b"\xff" * 24)
    assert copied == (1, 2, 3)
    with ram.transaction(), pytest.raises(RamError, match="whole words"):
        ram.write(DATA, b"1234567")
