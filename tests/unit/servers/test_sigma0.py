"""sigma0 hands out each page once. What the kernel makes of its pool is asked of the pure kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from libsel4py import CNode, Frame, Untyped
from libsel4py.abi import InitialSlot, ObjectType
from libsel4py.interfaces.sigma0 import ANY_BASE, NOTHING, SIGMA0_LABEL, Sigma0
from libsel4py.lowlevel.cspace import SlotAllocator
from libsel4py.pagers.flexpages import Flexpage
from servers.sigma0.blocks import Blocks
from servers.sigma0.main import Main
from tests.harness import Machine
from tests.unit.sdk.kernel_cpu import bench

POOL_BITS = 16
PAGES = (1 << POOL_BITS) // 4096


@dataclass
class Caller:
    badge: int
    name: str = "client"


class Asked(Main):
    """sigma0 without a loop: the test says who calls."""

    caller = Caller(1)  # type: ignore[assignment]  # a property where there is a loop


@pytest.fixture
def sigma0() -> Iterator[Asked]:
    with bench(Machine()) as made:
        machine = made.machine
        untyped = Untyped(machine.retype(ObjectType.UNTYPED, POOL_BITS))
        slots = SlotAllocator(machine.new_slots(400), 400)
        asked = Asked()
        asked._blocks = Blocks(CNode(InitialSlot.CNODE), slots, untyped, POOL_BITS)
        asked._granted = {}
        yield asked


def _any(sigma0: Asked, bits: int = 12) -> tuple[int, Frame | None]:
    return sigma0.request(ANY_BASE << 10 | bits << 4 | 6, 0)


def test_its_label_is_l4s() -> None:
    assert Sigma0.interface_methods["request"].label == SIGMA0_LABEL == 0xFFFF_FFA0


def test_all_pages_together_are_the_pool(sigma0: Asked) -> None:
    found = [_any(sigma0) for _ in range(PAGES)]
    addresses = {Flexpage.of(word).base for word, _ in found}
    assert len(addresses) == PAGES
    assert max(addresses) - min(addresses) == (1 << POOL_BITS) - 4096
    for word, frame in found:
        assert frame is not None
        assert frame.get_address() == Flexpage.of(word).base
    assert _any(sigma0) == (NOTHING, None)
    assert sigma0._blocks.free_bytes == 0


def test_a_page_is_served_to_one_requester_and_to_that_again(sigma0: Asked) -> None:
    word, frame = _any(sigma0)
    assert sigma0.request(word, 0) == (word, frame)
    sigma0.caller = Caller(2)  # type: ignore[assignment]
    assert sigma0.request(word, 0) == (NOTHING, None)
    sigma0.caller = Caller(1)  # type: ignore[assignment]
    assert sigma0.request(word, 0) == (word, frame)


def test_a_page_by_its_address_and_none_that_overlaps_it(sigma0: Asked) -> None:
    first = Flexpage.of(_any(sigma0)[0]).base
    wanted = Flexpage(first + 0xA000, 13)
    word, frame = sigma0.request(wanted.word(), 0)
    assert frame is not None
    assert (Flexpage.of(word), frame.get_address()) == (wanted, first + 0xA000)
    assert sigma0.request(Flexpage(first + 0xB000, 12).word(), 0) == (NOTHING, None)
    assert sigma0.request(Flexpage(first, POOL_BITS).word(), 0) == (NOTHING, None)
    assert sigma0.request(Flexpage(first + 0x9000, 12).word(), 0)[1] is not None


@pytest.mark.parametrize(
    "word", [0, 11 << 4, 63 << 4 | ANY_BASE << 10, 0x400 | 12 << 4, 1 << 50 | 12 << 4, (1 << 64) - 1]
)
def test_what_is_no_page_of_its_is_refused(sigma0: Asked, word: int) -> None:
    assert sigma0.request(word, 0) == (NOTHING, None)
    assert _any(sigma0)[1] is not None
