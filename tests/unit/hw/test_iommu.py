"""What a device sees of RAM: translated, checked in its whole length, counted."""

from __future__ import annotations

import pytest

from hw._ram import load, store
from hw.iommu import MAX_TRANSFER, DmaFault, DmaPort, DmaStatistics, FaultKind, Iommu, Segment, Span
from hw.ram import Ram, RamError
from tests.unit.hw.conftest import LAYOUT, RAM_BYTES

PAGE = 4096
DEVICE, OTHER = 2, 3
# Address in DEVICE's IOSpace to (physical address, pages, readable, writable).
MAPPED = {
    0x10000: (0x9000, 1, True, True),
    0x11000: (0xC000, 2, True, True),  # its neighbour there is none in RAM
    0x20000: (0xA000, 1, True, False),
    0x21000: (0xB000, 1, False, True),
    0x22000: (0xB000, 1, True, True),
    0x30000: (RAM_BYTES - PAGE, 2, True, True),  # reaches past RAM: the kernel never says so
}


def translate(device: int, address: int) -> Span | None:
    if device != DEVICE:
        return None
    for first, (physical, pages, readable, writable) in MAPPED.items():
        if first <= address < first + pages * PAGE:
            into = address - first
            return Span(physical + into, pages * PAGE - into, readable, writable)
    return None


@pytest.fixture
def ram() -> Ram:
    return Ram(bytearray(RAM_BYTES), LAYOUT.log_address, LAYOUT.log_bytes)


@pytest.fixture
def iommu(ram: Ram) -> Iommu:
    made = Iommu(ram)
    made.use_translation(translate)
    return made


@pytest.fixture
def port(iommu: Iommu) -> DmaPort:
    return iommu.port(DEVICE)


def fault_of(port: DmaPort, address: int, size: int, *, write: bool) -> tuple[int, FaultKind]:
    with pytest.raises(DmaFault) as caught:
        port.write(address, b"x" * size) if write else port.read(address, size)
    return caught.value.address, caught.value.kind


def test_an_access_goes_where_the_mapping_says(ram: Ram, port: DmaPort) -> None:
    port.write(0x10010, b"frame")
    assert ram.read(0x9010, 5) == b"frame"
    assert port.read(0x10010, 5) == b"frame"


def test_an_access_crosses_into_the_next_mapping(ram: Ram, port: DmaPort) -> None:
    port.write(0x10FFE, b"abcd")
    assert ram.read(0x9FFE, 2) + ram.read(0xC000, 2) == b"abcd"
    assert port.read(0x10FFE, 4) == b"abcd"


def test_a_foreign_address_is_a_fault_and_no_byte_moves(ram: Ram, port: DmaPort) -> None:
    before = ram.read(0, RAM_BYTES)
    assert fault_of(port, 0x9000, 4, write=True) == (0x9000, FaultKind.NOT_MAPPED)
    assert fault_of(port, 0x12FFE, 4, write=True) == (0x13000, FaultKind.NOT_MAPPED)  # the first half is mapped
    assert fault_of(port, 0x20FFE, 4, write=True) == (0x20FFE, FaultKind.WRITE_DENIED)
    assert fault_of(port, 0x20FFE, 4, write=False) == (0x21000, FaultKind.READ_DENIED)
    assert fault_of(port, 1 << 64, 1, write=False) == (1 << 64, FaultKind.NOT_MAPPED)
    assert ram.read(0, RAM_BYTES) == before


def test_nothing_past_ram_is_touched(port: DmaPort) -> None:
    assert fault_of(port, 0x30000, 1, write=True) == (0x30000, FaultKind.NOT_MAPPED)


def test_a_port_is_its_device_s_alone(iommu: Iommu) -> None:
    assert fault_of(iommu.port(OTHER), 0x10000, 1, write=False) == (0x10000, FaultKind.NOT_MAPPED)


def test_without_a_translation_nothing_is_mapped(ram: Ram) -> None:
    assert fault_of(Iommu(ram).port(DEVICE), 0x10000, 1, write=False) == (0x10000, FaultKind.NOT_MAPPED)


def test_a_mapping_that_is_taken_away_is_gone_at_the_next_access(iommu: Iommu, port: DmaPort) -> None:
    assert port.read(0x10000, 1) == b"\0"
    iommu.use_translation(lambda device, address: None)
    assert fault_of(port, 0x10000, 1, write=False) == (0x10000, FaultKind.NOT_MAPPED)


def test_a_scatter_list_is_filled_in_order(ram: Ram, port: DmaPort) -> None:
    segments = [Segment(0x11000, 3), Segment(0x10000, 0), Segment(0x10FFF, 2), Segment(0x22000, 8)]
    assert port.scatter(segments, b"0123456") == 7
    assert ram.read(0xC001, 2) == b"12"
    assert ram.read(0x9FFF, 1) == b"3"
    assert ram.read(0xC000, 1) == b"4"  # what the list names twice is written twice
    assert ram.read(0xB000, 3) == b"56\0"
    assert port.gather(segments[:3]) == b"41234"
    assert port.scatter(segments[:1], bytearray(b"longer")) == 3


def test_a_scatter_list_with_one_bad_segment_moves_nothing(ram: Ram, port: DmaPort) -> None:
    with pytest.raises(DmaFault) as caught:
        port.scatter([Segment(0x10000, 2), Segment(0x20000, 2)], b"ab")  # the data would not even reach it
    assert (caught.value.address, caught.value.kind) == (0x20000, FaultKind.WRITE_DENIED)
    assert ram.read(0x9000, 2) == b"\0\0"


@pytest.mark.parametrize("size", [2, 4, 8])
def test_numbers_are_little_endian_and_aligned(ram: Ram, port: DmaPort, size: int) -> None:
    value = 0x0807060504030201 & (1 << 8 * size) - 1
    read, write = getattr(port, f"load{8 * size}"), getattr(port, f"store{8 * size}")
    ram.poke(0x9000, b"\xff" * 32)
    write(0x10008, value)
    assert ram.read(0x9007, size + 2) == b"\xff" + bytes(range(1, size + 1)) + b"\xff"
    assert read(0x10008) == value
    for access in (read, lambda address: write(address, 0)):
        with pytest.raises(DmaFault) as caught:
            access(0x10008 + size // 2)
        assert caught.value.kind is FaultKind.MISALIGNED
    with pytest.raises(DmaFault) as caught:
        write(0x20000, 1)
    assert caught.value.kind is FaultKind.WRITE_DENIED
    with pytest.raises(DmaFault) as caught:
        read(0x21000)
    assert caught.value.kind is FaultKind.READ_DENIED


def test_ensure_looks_and_moves_nothing(port: DmaPort) -> None:
    port.ensure(0x10000, 3 * PAGE, write=True)
    with pytest.raises(DmaFault):
        port.ensure(0x10000, 3 * PAGE + 1, write=True)


def test_a_transfer_has_a_limit(port: DmaPort) -> None:
    segments = [Segment(0x10000, 3 * PAGE)] * (MAX_TRANSFER // (3 * PAGE) + 1)
    with pytest.raises(DmaFault) as caught:
        port.gather(segments)
    assert caught.value.kind is FaultKind.TOO_LONG
    assert fault_of(port, 0x10000, MAX_TRANSFER + 1, write=True) == (0x10000, FaultKind.TOO_LONG)


def test_accesses_and_faults_are_counted_by_device(iommu: Iommu, port: DmaPort) -> None:
    port.write(0x10000, b"abc")
    port.store16(0x10000, 1)
    port.read(0x10000, 8)
    port.load32(0x10000)
    fault_of(port, 0, 1, write=True)
    assert iommu.statistics(DEVICE) == DmaStatistics(reads=2, read_bytes=12, writes=2, written_bytes=5, faults=1)
    assert iommu.statistics(OTHER) == DmaStatistics()
    last = iommu.last_faults[DEVICE]
    assert (last.device, last.address, last.kind) == (DEVICE, 0, FaultKind.NOT_MAPPED)
    assert str(last) == "device 2 at 0x0 of its IOSpace: NOT_MAPPED"


@pytest.mark.parametrize(("address", "size"), [(0x9001, 2), (0x9000, 3), (RAM_BYTES, 8), (1 << 63, 8)])
def test_ram_s_numbers_have_a_size_and_a_place(ram: Ram, address: int, size: int) -> None:
    with pytest.raises(RamError):
        load(ram, address, size)
    with pytest.raises(RamError):
        store(ram, address, size, 0)


class TestKeeping:
    """What a port may keep, it does not ask for again, and forgets when it is told to."""

    @pytest.fixture
    def asked(self, iommu: Iommu) -> list[int]:
        asked: list[int] = []

        def whole(device: int, address: int) -> Span | None:
            asked.append(address)
            span = translate(device, address)
            return None if span is None else span._replace(before=address % PAGE if address < 0x11000 else 0)

        iommu.use_translation(whole, keep=True)
        return asked

    def test_a_mapping_is_asked_for_once_in_all_its_length(self, ram: Ram, port: DmaPort, asked: list[int]) -> None:
        port.write(0x10010, b"one")
        port.write(0x10000, b"two")
        assert port.read(0x10FFE, 2) == bytes(2)
        assert (ram.read(0x9000, 3), ram.read(0x9010, 3)) == (b"two", b"one")
        assert asked == [0x10010]

    def test_it_ends_where_the_mapping_ends(self, port: DmaPort, asked: list[int]) -> None:
        port.read(0x10000, 1)
        port.read(0x10FFF, 2)
        assert asked == [0x10000, 0x11000]
        assert fault_of(port, 0x12FFF, 2, write=False)[0] == 0x13000

    def test_rights_are_kept_with_it(self, port: DmaPort, asked: list[int]) -> None:
        port.read(0x20000, 1)
        assert fault_of(port, 0x20000, 1, write=True) == (0x20000, FaultKind.WRITE_DENIED)
        port.write(0x21000, b"x")
        assert fault_of(port, 0x21000, 1, write=False) == (0x21000, FaultKind.READ_DENIED)

    def test_what_is_forgotten_is_gone(self, iommu: Iommu, port: DmaPort) -> None:
        gone = False
        iommu.use_translation(lambda device, address: None if gone else translate(device, address), keep=True)
        port.read(0x10000, 1)
        gone = True
        port.read(0x10000, 1)  # whoever says so has not said that it is over
        iommu.forget()
        assert fault_of(port, 0x10000, 1, write=False) == (0x10000, FaultKind.NOT_MAPPED)
