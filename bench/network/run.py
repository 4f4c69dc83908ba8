"""``python -m bench network``: streams from system to system, and pages, each against the same work in one process."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.network import pages
from bench.network.loopback import Loopback
from bench.network.nodes import Nodes
from bench.network.one_process import OneProcess
from bench.network.over_switch import OverSwitch
from bench.report import Report
from bench.rounds import Goal, Series, interleave, ratio_goal
from libsel4py.workload import percentile
from servers.network.stack import is_built

MTUS = (65520, 9000, 1500)
MIB = 1 << 20
CONNECTIONS = (1, 16)
STATED = 0.0  # at least so much: always so
BOUND = 0.8  # of the speed of the same stacks, each in one process with its application, over the same switch
OURS, BARE, THEIRS = "from system to system", "from process to process by the switch", "by two stacks in one process"
PEERS = {BARE: "a process a side and the same switch", THEIRS: "two stacks in one process"}  # as a goal names them
LOOPBACK = f"1 MiB of a stream by the host's loopback, MTU {MTUS[0]} here"
OUR_PAGES, THEIR_PAGES = "by httpd in a system", "by its code on the host"
PERCENTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of a turn: bytes of a stream, and requests over one connection; over 16 four times as many."""

    rounds: int
    stream_bytes: int
    requests: int


FULL = Sizes(rounds=9, stream_bytes=64 * MIB, requests=200)
QUICK = Sizes(rounds=5, stream_bytes=16 * MIB, requests=50)


def run(sizes: Sizes, progress: Callable[[str], None]) -> Report:
    """All measurements: every series, and the ratios."""
    if not is_built():
        return Report([], [], notes=["the network: this tree was built without lwIP (sel4py doctor)"])
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sel4py-bench-net-")))
        progress(f"starting {2 * len(MTUS) + 1} systems")
        turns: dict[str, Callable[[], float]] = {}
        loopback = stack.enter_context(Loopback())
        on_host = stack.enter_context(pages.OnHost())
        for mtu in MTUS:
            nodes = stack.enter_context(Nodes(folder, mtu))
            _add(turns, _stream(mtu, OURS), nodes.turn(sizes.stream_bytes), sizes)
            bare = stack.enter_context(OverSwitch(folder, mtu))
            _add(turns, _stream(mtu, BARE), bare.turn(sizes.stream_bytes), sizes)
            _add(turns, _stream(mtu, THEIRS), OneProcess(folder, mtu).turn(sizes.stream_bytes), sizes)
        _add(turns, LOOPBACK, loopback.turn(sizes.stream_bytes), sizes)
        system = stack.enter_context(pages.System(folder))
        fetchers: dict[str, pages.Fetcher] = {}
        for count in CONNECTIONS:
            for which, port in ((OUR_PAGES, system.port), (THEIR_PAGES, on_host.port)):
                name = _fetched(count, which)
                fetchers[name] = pages.Fetcher(port, count)
                turns[name] = fetchers[name].turn(sizes.requests * (4 if count > 1 else 1))
        progress(f"{sizes.rounds} interleaved rounds")
        series = interleave(turns, sizes.rounds)
    return Report(list(series.values()), _goals(series), facts=_facts(series, fetchers))


def _add(turns: dict[str, Callable[[], float]], name: str, timed: Callable[[], float], sizes: Sizes) -> None:
    turns[name] = lambda: timed() * MIB / sizes.stream_bytes


def _stream(mtu: int, which: str) -> str:
    return f"1 MiB of a stream {which}, MTU {mtu}"


def _fetched(count: int, which: str) -> str:
    return f"page of {pages.PAGE_BYTES} bytes {which}, {count} connection{'s' if count > 1 else ''}"


def _goals(series: dict[str, Series]) -> list[Goal]:
    goals = []
    for mtu in MTUS:
        ours = series[_stream(mtu, OURS)]
        for which, words in PEERS.items():
            bound = BOUND if (mtu, which) == (MTUS[0], BARE) else STATED
            theirs = series[_stream(mtu, which)]
            goals.append(ratio_goal(f"{ours.name}, against {words}", ours, theirs, bound, faster=True, decides=False))
    first = series[_stream(MTUS[0], OURS)]
    goals.append(ratio_goal(f"{first.name}, against the host's loopback", first, series[LOOPBACK], STATED, faster=True))
    for count in CONNECTIONS:
        ours, theirs = series[_fetched(count, OUR_PAGES)], series[_fetched(count, THEIR_PAGES)]
        goals.append(ratio_goal(f"{ours.name}, against its code on the host", ours, theirs, STATED, faster=True))
    return goals


def _facts(series: dict[str, Series], fetchers: dict[str, pages.Fetcher]) -> list[str]:
    facts = [
        f"{each.name}: {MIB / each.median / 1e6:.0f} MB/s" for each in series.values() if each.name not in fetchers
    ]
    for name, fetcher in fetchers.items():
        shares = ", ".join(
            f"{share:.0%} within {percentile(fetcher.latencies, share) * 1e3:.2f} ms" for share in PERCENTILES
        )
        facts.append(f"{name}: {1 / series[name].median:.0f} requests a second; {shares}")
    return facts
