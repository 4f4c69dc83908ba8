"""How every figure here is taken: contenders interleaved in rounds, medians, best rounds and spreads; goals as ratios.

A round runs each contender once, in an order that turns by one each round, so that a slow stretch of the machine hits
all alike.
A ratio is taken round by round and its median reported, so that a drift of the machine cancels out.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Series:
    """Seconds per operation of one contender, one value a round."""

    name: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def best(self) -> float:
        return min(self.values)

    @property
    def spread(self) -> float:
        """Third quartile over first: 1.0 is a quiet machine."""
        if len(self.values) < 4:
            return max(self.values) / min(self.values)
        first, _, third = statistics.quantiles(self.values, n=4)
        return third / first


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure against its goal: ``value`` is to be at most (or at least) ``bound``.

    One in seconds is the host's as well as ours, and never decides; a ratio against a peer in the same run is not, nor
    is a count.
    """

    name: str
    value: float
    best: float
    bound: float
    at_most: bool
    unit: str = "times"
    decides: bool = True  # False: where it does not hold, the command's status does not say so

    @property
    def is_bounded(self) -> bool:
        """Whether there is a goal at all; else the figure is stated, for information."""
        return self.bound != (float("inf") if self.at_most else 0.0)

    @property
    def holds(self) -> bool:
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    @property
    def hopeless(self) -> bool:
        """Whether even the best round is past twice the goal: noise does not explain that."""
        if not self.decides:
            return False
        return self.best > 2 * self.bound if self.at_most else 2 * self.best < self.bound

    def report(self) -> dict[str, object]:
        return asdict(self) | {"holds": self.holds}


def interleave(contenders: dict[str, Callable[[], float]], rounds: int) -> dict[str, Series]:
    """Run every contender once a round; each returns seconds per operation."""
    names = list(contenders)
    values: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            values[name].append(contenders[name]())
    return {name: Series(name, tuple(series)) for name, series in values.items()}


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Where the median of what the values are a sample of lies, with that confidence at least, whatever their
    distribution: two of the values, by how many of them lie below the median by chance (the sign test). All of them
    where they are too few to say more."""
    ordered, count = sorted(values), len(values)
    outside, below = 0.0, 0
    while below < (count - 1) // 2:
        outside += math.comb(count, below) / 2**count
        if 2 * outside > 1 - confidence:
            break
        below += 1
    cut = max(below - 1, 0)
    return ordered[cut], ordered[-1 - cut]


def ratio_goal(name: str, ours: Series, peer: Series, bound: float, *, faster: bool, decides: bool = True) -> Goal:
    """Ours against a peer, round by round. ``faster``: how many times faster we are, to be at least ``bound``;
    else how many times the peer's time we take, to be at most ``bound``."""
    pairs: Sequence[tuple[float, float]] = list(zip(ours.values, peer.values, strict=True))
    ratios = [theirs / mine if faster else mine / theirs for mine, theirs in pairs]
    best = max(ratios) if faster else min(ratios)
    unit = "times faster" if faster else "times as long"
    return Goal(name, statistics.median(ratios), best, bound, at_most=not faster, unit=unit, decides=decides)
