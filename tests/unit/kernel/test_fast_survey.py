"""The survey by C finds what the one in Python finds; no predicate is said to hold where Python finds damage."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hw.ram import Ram
from kerneld import fast_survey, invariants, layout
from kerneld.survey import survey
from libsel4py import abi
from tests.unit.kernel import (
    test_channel_invariants,
    test_invariants,
    test_notice_invariants,
)
from tests.unit.kernel.test_channel_invariants import Connected
from tests.unit.kernel.test_invariants import Busy
from tests.unit.kernel.test_notice_invariants import Watched

BY_C: Final = {
    *("cap-type", "cap-object", "free-index", "bound", "interrupts", "io-ports", "notice-target"),
    *("order-linked", "order-acyclic", "object-together", "inside-parent", "disjoint"),
}
MACHINES: Final[tuple[Callable[[], Any], ...]] = (Busy, Connected, Watched)
DAMAGE: Final = [
    *((Busy, damage, name) for damage, name in test_invariants.DAMAGE.items()),
    *((Connected, damage, name) for damage, name in test_channel_invariants.DAMAGE.items()),
    *(
        (Watched, damage, name)
        for damage, name in test_notice_invariants.DAMAGE.items()
        if damage not in test_notice_invariants.TELLING
    ),
]


def assert_agrees(ram: Ram) -> frozenset[str]:
    """Both find the same; returns what C says that holds."""
    slow, fast = survey(ram), fast_survey.survey(ram)
    assert list(fast.slots.items()) == list(slow.slots.items())
    assert fast.owners == slow.owners
    assert [*fast.objects.items()] == [*slow.objects.items()]
    assert [list(each) for each in fast.objects.values()] == [list(each) for each in slow.objects.values()]
    assert (fast.stray, fast.damage) == (slow.stray, slow.damage)
    assert invariants.check(ram, fast) == invariants.check(ram, slow)
    return fast.held


@pytest.mark.parametrize("machine", MACHINES)
def test_of_a_sound_machine_c_says_that_all_hold(machine: Callable[[], Any]) -> None:
    assert assert_agrees(machine().machine.ram) == BY_C


@pytest.mark.parametrize(("machine", "damage", "name"), DAMAGE, ids=lambda each: getattr(each, "__name__", None))
def test_damage_is_found_by_both(machine: Callable[[], Any], damage: Callable[[Any], None], name: str) -> None:
    on = machine()
    with on.machine.ram.transaction():
        damage(on)
    assert name not in assert_agrees(on.machine.ram)


def test_each_predicate_of_c_is_damaged_above() -> None:
    assert {name for _, _, name in DAMAGE} >= BY_C - {"notice-target"}
    assert "notice-target" in test_notice_invariants.DAMAGE.values()


@cache
def made(number: int) -> tuple[Ram, bytes, list[int]]:
    """A sound machine's RAM, what it holds, and where its words are that are not zero."""
    ram: Ram = MACHINES[number]().machine.ram
    start = layout.KERNEL_RECORD
    words = ram.words(start, (ram.size - start) // abi.WORD_BYTES)
    return ram, ram.read(0, ram.size), [start + abi.WORD_BYTES * at for at, word in enumerate(words) if word]


@st.composite
def damaged(draw: st.DrawFn) -> Ram:
    """RAM in which up to four words are another's, off by a bit or by a slot, nothing, or anything."""
    ram, image, places = made(draw(st.integers(0, len(MACHINES) - 1)))
    ram.poke(0, image)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.sampled_from(places))
        word = ram.word(at)
        value = draw(
            st.one_of(
                st.integers(0, 63).map(lambda bit, word=word: word ^ 1 << bit),
                st.sampled_from(places).map(ram.word),
                st.sampled_from(places),
                st.sampled_from((-32, 32, 1, -1)).map(lambda by, word=word: (word + by) & abi.WORD_MASK),
                st.just(0),
                st.integers(0, abi.WORD_MASK),
            )
        )
        ram.poke(at, value.to_bytes(8, "little"))
    return ram


NO_HEALTH: Final = (HealthCheck.too_slow, HealthCheck.data_too_large)


@settings(max_examples=40, deadline=None, suppress_health_check=NO_HEALTH)
@given(damaged())
def test_both_agree_on_any_damage(ram: Ram) -> None:
    assert_agrees(ram)


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(max_examples=100_000, deadline=None, suppress_health_check=NO_HEALTH)
@given(damaged())
def test_both_agree_on_a_hundred_thousand_damages(ram: Ram) -> None:
    assert_agrees(ram)
