"""A hostile task uses up what it can reach, and a pair beside it calls as it did.

The pair's figures are medians by its own clock, of turns that lie beside quiet ones, so that a busy host hits both.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.booted import BootedSystem
from bench.exhaustion import ATTACKS, BOUND, WAYS, Beside, Sizes, measure, started

SIZES = Sizes(rounds=5, seconds=0.2)
MOST_ROUNDS = 15


class Measured:
    """Each attack is measured once, of both ways to call."""

    def __init__(self, system: BootedSystem) -> None:
        self._system = system
        self._found: dict[str, Beside] = {}

    def beside(self, attack: str, way: str) -> Beside:
        """All rounds so far; where a busy host has hidden what is looked for, as many again, up to a limit."""
        if attack not in self._found:
            self._found[attack] = measure(self._system, attack, SIZES)
        found = self._found[attack]
        while found.goals(attack)[way].value > BOUND and found.rounds < MOST_ROUNDS:
            found = self._found[attack] = found.and_more(measure(self._system, attack, SIZES))
        return found


@pytest.fixture(scope="module")
def measured() -> Iterator[Measured]:
    with started(SIZES) as system:
        yield Measured(system)


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_call_takes_little_longer_beside(measured: Measured, attack: str, way: str) -> None:
    found = measured.beside(attack, way)
    assert found.deeds > 0
    ratio = found.goals(attack)[way]
    assert ratio.value <= BOUND, (ratio, found.quiet[way].values, found.attacked[way].values)
