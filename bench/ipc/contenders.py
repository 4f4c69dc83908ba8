"""Everyone that takes part in the rounds: what each does when it is its turn. Names are those of `bench.ipc.goals`."""

from __future__ import annotations

from collections.abc import Callable

from bench.ipc import goals, peers
from bench.ipc.peer import TRIAL_SECONDS, Peer
from bench.ipc.peers import Peers
from bench.ipc.placement import Placement, best
from bench.ipc.sizes import Sizes
from bench.ipc.system import System

Turn = Callable[[], float]
BATCH = 64
TRIAL_WINDOW = 0.1
LONG_PAUSE_US = 20_000
LONG_PAUSES = 10  # as many pauses fewer, so that the turn does not get longer


def ours(system: System, sizes: Sizes) -> dict[str, Turn]:
    """The driver's measurements."""

    def turn(server: str, placement: Placement, *order: object) -> Turn:
        def measure() -> float:
            system.place(placement, server)
            return float(system.order(*order)["seconds"])

        return measure

    seconds = sizes.seconds
    few = max(1, sizes.pauses // LONG_PAUSES)
    return {
        goals.CALL: turn("null", Placement.SPLIT, "call", seconds),
        goals.CALL_ONE: turn("null", Placement.ONE, "call", seconds),
        goals.CALL_ASLEEP: turn("null", Placement.SPLIT, "asleep", sizes.pauses, sizes.pause_us),
        goals.CALL_LONG_ASLEEP: turn("null", Placement.SPLIT, "asleep", few, LONG_PAUSE_US),
        goals.ADD: turn("service", Placement.SPLIT, "add", seconds),
        goals.MESSAGE: turn("service", Placement.SPLIT, "object", seconds, "message"),
        goals.RECORD: turn("service", Placement.SPLIT, "object", seconds, "record"),
        goals.SIGNAL: turn("waiter", Placement.SPLIT, "signal", seconds, BATCH),
    }


def theirs(found: Peers, sizes: Sizes) -> dict[str, Turn]:
    """The peers' round trips, as far as they are there."""

    def round_trip(kind: peers.Kind, where: Placement | None = None) -> Turn:
        return lambda: found.round_trip(kind, sizes.seconds, where=where)

    def after_pause(kind: peers.Kind) -> Turn:
        return lambda: found.after_pause(kind, sizes.pauses, sizes.pause_us)

    turns: dict[str, tuple[peers.Kind, Turn]] = {kind.name: (kind, round_trip(kind)) for kind in goals.NULL_CALL_PEERS}
    turns[goals.FUTEX_ONE] = peers.FUTEX, round_trip(peers.FUTEX, Placement.ONE)
    turns[goals.OS_PIPE_ONE] = peers.OS_PIPE, round_trip(peers.OS_PIPE, Placement.ONE)
    turns[goals.FUTEX_ASLEEP] = peers.FUTEX, after_pause(peers.FUTEX)
    turns[goals.WAKING_ASLEEP] = peers.WAKING, after_pause(peers.WAKING)
    turns[goals.PIPE_MESSAGE] = peers.PIPE, lambda: found.object(peers.PIPE, sizes.seconds, "message")
    turns[goals.PIPE_RECORD] = peers.PIPE, lambda: found.object(peers.PIPE, sizes.seconds, "record")
    return {name: turn for name, (kind, turn) in turns.items() if kind in found}


class Crowds:
    """Many clients at once, ours and over Pipe; each turn is seconds a call of all together.

    ``fairness`` keeps, for each turn of our pairs and of the crowd, the slowest client's calls over the fastest's.
    """

    def __init__(self, system: System, pipes: Peer, sizes: Sizes) -> None:
        self._system, self._pipes, self._sizes = system, pipes, sizes
        self.fairness: dict[str, list[float]] = {goals.PAIRS: [], goals.CROWD: []}

    def calibrate(self) -> dict[str, Placement]:
        """Find the best placement of each."""

        def pairs(placement: Placement) -> float:
            self._system.place_pairs(placement)
            return 1 / sum(self._load(self._sizes.pairs, "own", TRIAL_WINDOW))

        def crowd(placement: Placement) -> float:
            self._system.place_crowd(placement)
            return 1 / sum(self._load(self._sizes.clients, "hub", TRIAL_WINDOW))

        def pipes(placement: Placement) -> float:
            self._pipes.place(placement)
            return 1 / sum(self._pipes.order(f"load {TRIAL_WINDOW}"))

        self._placements = {
            goals.PAIRS: best(pairs),
            goals.CROWD: best(crowd),
            goals.PIPE_PAIRS: best(pipes),
        }
        return self._placements

    def turns(self) -> dict[str, Turn]:
        return {
            goals.PAIRS: self._pairs,
            goals.PIPE_PAIRS: self._pipe_pairs,
            goals.CROWD: self._crowd,
            goals.CROWD_OF_ONE: self._one,
        }

    def _load(self, clients: int, server: str, window: float) -> list[int]:
        return list(self._system.order("load", clients, server, window)["calls"])

    def _pairs(self) -> float:
        self._system.place_pairs(self._placements[goals.PAIRS])
        calls = self._load(self._sizes.pairs, "own", self._sizes.window)
        self.fairness[goals.PAIRS].append(min(calls) / max(calls))
        return self._sizes.window / sum(calls)

    def _crowd(self) -> float:
        self._system.place_crowd(self._placements[goals.CROWD])
        calls = self._load(self._sizes.clients, "hub", self._sizes.window)
        self.fairness[goals.CROWD].append(min(calls) / max(calls))
        return self._sizes.window / sum(calls)

    def _one(self) -> float:
        self._system.place_pairs(Placement.SPLIT)
        return self._sizes.window / sum(self._load(1, "own", self._sizes.window))

    def _pipe_pairs(self) -> float:
        self._pipes.place(self._placements[goals.PIPE_PAIRS])
        return self._sizes.window / sum(self._pipes.order(f"load {self._sizes.window}"))


def curves(system: System, found: Peers, sizes: Sizes) -> dict[str, Callable[[int], float]]:
    """For the plot: what measures a round trip of a given size."""

    def our_round_trip(size: int) -> float:
        system.place(Placement.SPLIT, "mirror")
        return float(system.order("bytes", TRIAL_SECONDS, size)["seconds"])

    def curve(kind: peers.Kind) -> Callable[[int], float]:
        return lambda size: found.round_trip(kind, TRIAL_SECONDS, size)

    measured: dict[str, Callable[[int], float]] = {"sel4py": our_round_trip}
    return measured | {kind.name: curve(kind) for kind in peers.CURVES if kind in found}
