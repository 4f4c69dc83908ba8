"""``python -m bench sandbox``: what the sandbox costs a call by channel.

It must be nothing: a warm call asks nothing of the host, so that no filter looks at it.

Two systems of one description run at once, one of them with every layer of the sandbox left out by the switch that
tests have (`hw.layers`). They take turns, each with the same two processors; who waits for its turn is asleep.

A system has luck with where its memory lies, and keeps it as long as it runs: so there are several such pairs of
systems, one after the other, and the ratio's median is of the rounds of all. Where its confidence interval has the
bound inside, there are more pairs, up to a limit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.booted import BootedSystem
from bench.ipc.placement import Placement, place
from bench.ipc.system import description
from bench.report import Report
from bench.rounds import Series, interleave, median_interval, ratio_goal

SANDBOXED = "null call by channel, both sandboxed"
FREE = "the same, without any layer"
MOST = 1.02
WITHOUT = {"SEL4PY_TEST_WITHOUT_LAYERS": "all"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """``pairs`` of systems at first, so many ``rounds`` of each; ``seconds`` is one system's turn in a round."""

    pairs: int
    rounds: int
    seconds: float


FULL = Sizes(pairs=3, rounds=21, seconds=0.15)
QUICK = Sizes(pairs=2, rounds=9, seconds=0.1)
MOST_PAIRS = 3  # times as many, where it is not decided


def measure(sizes: Sizes) -> dict[str, Series]:
    """The rounds of one pair of systems."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sel4py-bench-")))
        file = folder / "ipc.toml"
        file.write_text(description(0, 0))

        def system(environment: dict[str, str]) -> Callable[[], float]:
            booted = stack.enter_context(BootedSystem(file, environment=environment))
            booted.order("prepare")
            pids = booted.tasks()
            place(Placement.SPLIT, [pids["driver"]], [pids["null"]])
            return lambda: float(booted.order(f"call {sizes.seconds}")["seconds"])

        return interleave({SANDBOXED: system({}), FREE: system(WITHOUT)}, sizes.rounds)


def run(sizes: Sizes, progress: Callable[[str], None]) -> Report:
    """Both series, the ratio of them, and how well that is known."""
    found = {name: Series(name, ()) for name in (SANDBOXED, FREE)}
    pairs, low, high = 0, 0.0, float("inf")
    while pairs < sizes.pairs or (low <= MOST < high and pairs < MOST_PAIRS * sizes.pairs):
        pairs += 1
        progress(f"pair {pairs} of systems: {sizes.rounds} interleaved rounds")
        more = measure(sizes)
        found = {name: Series(name, each.values + more[name].values) for name, each in found.items()}
        low, high = median_interval(
            [mine / other for mine, other in zip(found[SANDBOXED].values, found[FREE].values, strict=True)]
        )
    goal = ratio_goal("a sandboxed pair against an unsandboxed one", found[SANDBOXED], found[FREE], MOST, faster=False)
    known = (
        f"the median ratio lies between {low:.4f} and {high:.4f} (95 %): {pairs} pairs, {pairs * sizes.rounds} rounds"
    )
    return Report(list(found.values()), [goal], facts=[known])
