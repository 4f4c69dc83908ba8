"""``python -m bench exhaustion``: what a call costs while a hostile task uses up what it can, against a quiet system.

Each attack's turns stand beside quiet ones of the same round. The figures are a call's median, by the pair's own clock;
the bound is twice the quiet one.

The pair shares one processor. Where each of the two had one, a third busy process takes one away, whatever the kernel
does, and the call costs what it does on one: ten times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.booted import SYSTEMS, BootedSystem
from bench.ipc.placement import pin, processors
from bench.report import Report
from bench.rounds import Goal, Series, ratio_goal

# Messages go to a server that has nothing to do with the pair, and then to the pair's own; channels to the pair's own.
ATTACKS = ("forks", "memory", "descriptors", "messages", "messages_to_its_server", "faults", "channels")
QUIET = "quiet"
WAYS = ("channel", "kernel")
PAIR = ("driver", "near", "far")  # tasks: the client, its server by channel, its server by the kernel
BOUND = 2.0  # times a quiet system's call
DESCRIPTION = SYSTEMS / "exhaustion.toml"


@dataclass(frozen=True, slots=True)
class Sizes:
    """``seconds`` of each turn; a round has two for each attack."""

    rounds: int
    seconds: float


FULL = Sizes(rounds=9, seconds=0.5)
QUICK = Sizes(rounds=3, seconds=0.2)


@dataclass(frozen=True, slots=True)
class Beside:
    """One attack: of each way to call the seconds of a call, quiet and attacked, one value a round; and its deeds."""

    quiet: dict[str, Series]
    attacked: dict[str, Series]
    deeds: int

    @property
    def rounds(self) -> int:
        return len(self.quiet[WAYS[0]].values)

    def and_more(self, other: Beside) -> Beside:
        """The rounds of both."""
        return Beside(
            _joined(self.quiet, other.quiet), _joined(self.attacked, other.attacked), self.deeds + other.deeds
        )

    def goals(self, attack: str) -> dict[str, Goal]:
        """Of each way: how many times as long a call takes."""
        return {
            way: ratio_goal(
                f"a call by {way} beside {attack.replace('_', ' ')}, against a quiet system",
                self.attacked[way],
                self.quiet[way],
                BOUND,
                faster=False,
                decides=False,
            )
            for way in WAYS
        }


def _joined(one: dict[str, Series], other: dict[str, Series]) -> dict[str, Series]:
    return {way: Series(each.name, each.values + other[way].values) for way, each in one.items()}


@contextmanager
def started(sizes: Sizes) -> Iterator[BootedSystem]:
    """The system, its pair on one processor, after a first quiet turn."""
    with BootedSystem(DESCRIPTION) as system:
        system.order(f"round {QUIET} {sizes.seconds}")
        tasks = system.tasks()
        pin([tasks[each] for each in PAIR], {processors()[0]})
        yield system


def measure(system: BootedSystem, attack: str, sizes: Sizes) -> Beside:
    """Quiet and attacked turns, one beside the other; which of them comes first changes from round to round."""
    found: dict[str, list[dict[str, float]]] = {QUIET: [], attack: []}
    for number in range(sizes.rounds):
        for turn in (QUIET, attack) if number % 2 else (attack, QUIET):
            found[turn].append(system.order(f"round {turn} {sizes.seconds}"))

    def series(turn: str) -> dict[str, Series]:
        return {
            way: Series(f"call by {way}, {turn} ({attack})", tuple(each[way] for each in found[turn])) for way in WAYS
        }

    return Beside(series(QUIET), series(attack), sum(int(each["deeds"]) for each in found[attack]))


def run(sizes: Sizes, progress: Callable[[str], None]) -> Report:
    """All attacks, and what became of the goals."""
    progress("starting the system")
    with started(sizes) as system:
        found = {}
        for attack in ATTACKS:
            progress(f"{sizes.rounds} interleaved rounds beside {attack}")
            found[attack] = measure(system, attack, sizes)
    return Report(
        [series for each in found.values() for way in WAYS for series in (each.quiet[way], each.attacked[way])],
        [goal for attack, each in found.items() for goal in each.goals(attack).values()],
        facts=[f"{attack}: {each.deeds} deeds" for attack, each in found.items()],
    )
