"""Addresses for mappings: no overlap, aligned, deterministic, all of them back in the end."""

from __future__ import annotations

import random
import threading
import time

import pytest

from libsel4py import abi
from libsel4py.lowlevel.vspace import BOOT_INFO, AddressAllocator, OutOfAddresses

PAGE = 4096


def test_addresses_lie_where_the_kernel_maps_and_not_over_boot_info() -> None:
    addresses = AddressAllocator()
    found = [addresses.allocate(PAGE) for _ in range(100)]
    assert min(found) == abi.MAPPING_BASE + len(BOOT_INFO)
    assert max(found) < abi.MAPPING_END
    assert AddressAllocator().allocate(PAGE) == found[0]  # the same answers each time


@pytest.mark.parametrize("size", [1, PAGE, PAGE + 1, 5 << 20, 1 << 30, 3 << 30])
def test_a_range_is_aligned_to_its_size_rounded_up(size: int) -> None:
    addresses = AddressAllocator()
    addresses.allocate(1)
    assert addresses.allocate(size) % max(1 << (size - 1).bit_length(), PAGE) == 0


def test_random_use_never_overlaps_and_comes_back_whole() -> None:
    chooser = random.Random(3)
    base, end = 5 * PAGE, 1000 * PAGE  # an awkward range
    addresses = AddressAllocator(base, end, ())
    pages: set[int] = set()
    held: dict[int, range] = {}
    for _ in range(3000):
        match chooser.random():
            case kind if kind < 0.4 and held:
                address = chooser.choice(list(held))
                addresses.free(address)
                pages -= set(held.pop(address))
            case kind if kind < 0.6:
                first, count = chooser.randrange(5, 1000), chooser.randint(1, 9)
                wanted = range(first, first + count)
                if first + count <= 1000 and not pages & set(wanted):
                    addresses.reserve(first * PAGE, count * PAGE)
                    held[first * PAGE] = wanted
                    pages |= set(wanted)
                else:
                    with pytest.raises(ValueError, match=r"in use already|is not in"):
                        addresses.reserve(first * PAGE, count * PAGE)
            case _:
                count = chooser.choice([1, 1, 2, 3, 8, 20])
                rounded = 1 << (count - 1).bit_length()
                fits = [
                    start
                    for start in range(0, 1000, rounded)
                    if start >= 5 and start + rounded <= 1000 and not pages & set(range(start, start + rounded))
                ]
                if fits:
                    address = addresses.allocate(count * PAGE)
                    assert address == fits[0] * PAGE
                    held[address] = range(address // PAGE, address // PAGE + rounded)
                    pages |= set(held[address])
                else:
                    with pytest.raises(OutOfAddresses, match="free addresses in a row"):
                        addresses.allocate(count * PAGE)
        assert addresses.free_bytes == (995 - len(pages)) * PAGE
        found = addresses.statistics()
        largest = max(
            (bits for bits in range(10) for start in range(0, 1000, 1 << bits) if _is_free(pages, start, 1 << bits)),
            default=None,
        )
        assert found.largest_free_bytes == (0 if largest is None else PAGE << largest)
        assert (found.total_bytes, found.free_bytes, found.ranges) == (995 * PAGE, addresses.free_bytes, len(held))
    for address in held:
        addresses.free(address)
    assert addresses.allocate(256 * PAGE) == 256 * PAGE
    assert addresses.free_bytes == (995 - 256) * PAGE


def _is_free(pages: set[int], start: int, count: int) -> bool:
    return start >= 5 and start + count <= 1000 and pages.isdisjoint(range(start, start + count))


def test_what_was_not_given_out_cannot_be_freed() -> None:
    addresses = AddressAllocator()
    taken = addresses.allocate(3 * PAGE)
    with pytest.raises(ValueError, match="not the first address"):
        addresses.free(taken + PAGE)
    addresses.free(taken)
    with pytest.raises(ValueError, match="freed already"):
        addresses.free(taken)


@pytest.mark.parametrize(("address", "size"), [(abi.MAPPING_BASE + 1, PAGE), (abi.MAPPING_BASE + PAGE, 0)])
def test_ranges_that_are_no_pages_are_refused(address: int, size: int) -> None:
    with pytest.raises(ValueError, match="no whole pages"):
        AddressAllocator().reserve(address, size)
    with pytest.raises(ValueError, match="ask for 1 or more"):
        AddressAllocator().allocate(0)
    with pytest.raises(ValueError, match="no range of whole pages"):
        AddressAllocator(1, PAGE)


def test_a_refused_reservation_takes_nothing() -> None:
    addresses = AddressAllocator()
    with pytest.raises(ValueError, match="in use already"):
        addresses.reserve(abi.MAPPING_BASE - PAGE + len(BOOT_INFO), 8 * PAGE)
    assert addresses.allocate(PAGE) == abi.MAPPING_BASE + len(BOOT_INFO)


def test_many_ranges_cost_no_more_each_than_few() -> None:
    """10,000 mappings of one task: a step that walked all of them would take a hundred times as long."""

    def seconds(count: int) -> float:
        addresses = AddressAllocator()
        start = time.process_time()
        held = [addresses.allocate(PAGE) for _ in range(count)]
        for address in held[::2] + held[1::2]:
            addresses.free(address)
        return (time.process_time() - start) / count

    seconds(1000)
    assert seconds(50_000) < 10 * seconds(500)


def test_threads_share_it() -> None:
    addresses = AddressAllocator()
    found: list[int] = []

    def work() -> None:
        for _ in range(500):
            address = addresses.allocate(PAGE)
            addresses.free(address)
            found.append(addresses.allocate(2 * PAGE))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 4000
