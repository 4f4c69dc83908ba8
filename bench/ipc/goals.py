"""What the fast path has to show, and what became of it: the one table of names, peers and bounds.

Rows that correspond to sel4bench's bear its names, so that they can stand beside its tables: ``seL4_Call`` and
``seL4_ReplyRecv`` together are a round trip, which is what a program waits for.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.ipc import peers, published
from bench.rounds import Goal, Series, ratio_goal
from libsel4py.workload import percentile

CALL = "seL4_Call + seL4_ReplyRecv"
CALL_ONE = f"{CALL}, one CPU"
CALL_ASLEEP = f"{CALL}, server asleep for 1 ms"
CALL_LONG_ASLEEP = f"{CALL}, server asleep for 20 ms"
ADD = "interface call add(a, b)"
MESSAGE = "interface call, 480-byte message"
RECORD = "interface call, 480-byte record"
SIGNAL = "seL4_Signal, 64 by one call"
PAIRS = "16 clients, 16 servers, 2 CPUs"
CROWD = "100 clients, one server"
CROWD_OF_ONE = "1 client, one server"
FUTEX_ONE = f"{peers.FUTEX.name}, one CPU"
FUTEX_ASLEEP = f"{peers.FUTEX.name}, server asleep for 1 ms"
WAKING_ASLEEP = f"{peers.WAKING.name}, server asleep for 1 ms"
OS_PIPE_ONE = f"{peers.OS_PIPE.name}, one CPU"
PIPE_MESSAGE = f"{peers.PIPE.name}, 480-byte message"
PIPE_RECORD = f"{peers.PIPE.name}, 480-byte record"
PIPE_PAIRS = f"{PAIRS}, {peers.PIPE.name}"

NULL_CALL_PEERS = (
    *(peers.NULL, peers.SPIN, peers.OS_PIPE, peers.PIPE, peers.PIPE_BYTES),
    *(peers.QUEUE, peers.ZMQ, peers.ICEORYX, peers.GRPC),
)


@dataclass(frozen=True, slots=True)
class Ratio:
    """``ours`` against ``peer``: at least ``bound`` times faster, or at most ``bound`` times the peer's time."""

    ours: str
    peer: str
    bound: float
    faster: bool

    @property
    def name(self) -> str:
        return f"{self.ours} against {self.peer}"


STATED = 0.0  # at least so much: always so
STATED_LOW = float("inf")  # at most so much: likewise

RATIOS = (
    Ratio(CALL, peers.NULL.name, 2.0, faster=False),
    Ratio(CALL, peers.SPIN.name, 2.0, faster=False),
    Ratio(CALL, peers.PIPE.name, 50.0, faster=True),
    Ratio(CALL, peers.PIPE_BYTES.name, STATED, faster=True),
    Ratio(CALL, peers.QUEUE.name, 100.0, faster=True),
    Ratio(CALL, peers.OS_PIPE.name, 17.0, faster=True),
    Ratio(CALL, peers.ZMQ.name, 100.0, faster=True),
    Ratio(CALL, peers.ICEORYX.name, 14.0, faster=True),
    Ratio(CALL, peers.GRPC.name, 800.0, faster=True),
    Ratio(CALL_ONE, FUTEX_ONE, 1.3, faster=False),
    Ratio(CALL_ONE, OS_PIPE_ONE, 1.0, faster=True),
    Ratio(CALL_ASLEEP, FUTEX_ASLEEP, 1.3, faster=False),
    Ratio(CALL_ASLEEP, WAKING_ASLEEP, STATED, faster=True),
    Ratio(PAIRS, PIPE_PAIRS, 3.0, faster=True),
    Ratio(CROWD, CROWD_OF_ONE, 0.7, faster=True),
    Ratio(MESSAGE, PIPE_MESSAGE, 10.0, faster=True),
    Ratio(RECORD, PIPE_RECORD, STATED, faster=True),
    Ratio(ADD, CALL, 2.5, faster=False),
)
FAIREST = 0.25  # slowest pair over fastest
SIGNALS_MILLION = 20.0
REVOKE = "revoke of a live channel, peer refused"
REVOKE_OF_CROWD = "revoke of one of many live channels of a server, peer refused"
TRUNCATION = "page truncated under its callers, C"
REVOKE_P99_US = 250.0
REVOKE_MANY_MS = 50.0


def ratios(series: Mapping[str, Series]) -> list[Goal]:
    """The goals that are ratios, as far as both sides took part."""
    return [
        ratio_goal(each.name, series[each.ours], series[each.peer], each.bound, faster=each.faster)
        for each in RATIOS
        if each.ours in series and each.peer in series
    ]


def side_by_side(call: Series, signal: Series) -> list[Goal]:
    """In nanoseconds, for information: ours, and what seL4 publishes (`bench.ipc.published` says what differs)."""
    return [
        _stated(f"{CALL}, in nanoseconds", call.median * 1e9, call.best * 1e9),
        *(_stated(row.name, row.nanoseconds, row.nanoseconds) for row in published.ROUND_TRIPS),
        _stated(f"{SIGNAL}, in nanoseconds", signal.median * 1e9, signal.best * 1e9),
        *(_stated(row.name, row.nanoseconds, row.nanoseconds) for row in published.SIGNALS),
    ]


def _stated(name: str, value: float, best: float) -> Goal:
    return Goal(name, value, best, STATED_LOW, at_most=True, unit="ns")


def signals(signal: Series) -> Goal:
    median, best = 1e-6 / signal.median, 1e-6 / signal.best
    return Goal(SIGNAL, median, best, SIGNALS_MILLION, at_most=False, unit="million a second", decides=False)


def fairness(name: str, shares: Sequence[float], bound: float) -> Goal:
    """The slowest client's calls over the fastest's, round by round."""
    return Goal(f"{name}: slowest over fastest", statistics.median(shares), max(shares), bound, at_most=False, unit="")


def host_system_calls(counts: Sequence[float]) -> Goal:
    """The median, to a hundredth: a run in which somebody else took a processor away says nothing of the calls."""
    median, best = (max(0.0, round(count, 2)) for count in (statistics.median(counts), min(counts)))
    return Goal("host system calls of a warm call", median, best, 0.0, at_most=True, unit="")


def revocation(name: str, rounds: Sequence[Sequence[float]], bound: float) -> list[Goal]:
    """From asking for the revocation of a channel in use to its peer's refusal; seconds, by rounds."""
    everything = [seconds for each in rounds for seconds in each]
    best = min(percentile(each, 0.99) for each in rounds) * 1e6
    p99, median = percentile(everything, 0.99) * 1e6, statistics.median(everything) * 1e6
    fastest = min(everything) * 1e6
    return [
        Goal(f"{name}: p99", p99, best, bound, at_most=True, unit="us", decides=False),
        Goal(f"{name}: median", median, fastest, STATED_LOW, at_most=True, unit="us"),
    ]


def against_truncation(name: str, ours: Sequence[Sequence[float]], bare: Sequence[Sequence[float]]) -> list[Goal]:
    """What bare C takes on this host for the same (`truncation.c`), and how many times that ours take, round by round:
    the median, and what 90 % stay below, since of the hundred of a round 99 % says nothing."""
    ratios = []
    for share in (0.5, 0.9):
        mine, theirs = (Series(name, tuple(percentile(each, share) for each in rounds)) for rounds in (ours, bare))
        text = f"{name}: {share:.0%} against {TRUNCATION}"
        ratios.append(ratio_goal(text, mine, theirs, STATED_LOW, faster=False))
    return [*revocation(TRUNCATION, bare, STATED_LOW), *ratios]


def revocation_of_many(seconds: Sequence[float], channels: int) -> Goal:
    median, best = statistics.median(seconds) * 1e3, min(seconds) * 1e3
    name = f"revoke of {channels} live channels"
    return Goal(name, median, best, REVOKE_MANY_MS, at_most=True, unit="ms", decides=False)
