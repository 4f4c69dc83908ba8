"""What `python -m bench network` times does what it says: streams arrive, and pages are fetched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.network import pages, run
from bench.network.loopback import Loopback
from bench.network.nodes import Nodes
from bench.network.over_switch import OverSwitch
from bench.rounds import Series
from servers.network.stack import is_built

pytestmark = pytest.mark.skipif(not is_built(), reason="this tree was built without lwIP (sel4py doctor)")
TOTAL = (1 << 20) + 7  # not whole pieces
REQUESTS = 20


def test_a_stream_goes_from_system_to_system(tmp_path: Path) -> None:
    with Nodes(tmp_path, 9000) as nodes:
        turn = nodes.turn(TOTAL)
        assert turn() > 0
        assert turn() > 0  # by the same connection
        sent = sum(row["state"]["sent_bytes"] for row in nodes.source.devices() if row["type"] == "virtio-net")
        assert sent > 2 * TOTAL


@pytest.mark.parametrize("mtu", [65520, 1500])
def test_a_stream_goes_from_process_to_process_by_the_switch(tmp_path: Path, mtu: int) -> None:
    with OverSwitch(tmp_path, mtu) as bare:
        turn = bare.turn(TOTAL)
        assert turn() > 0
        assert turn() > 0  # by the same connection
        assert (tmp_path / f"over-switch-{mtu}").is_socket()  # there is a switch between
    assert not list(tmp_path.iterdir())


def test_a_stream_goes_through_two_stacks_of_one_process_and_by_loopback(tmp_path: Path) -> None:
    one_process = pytest.importorskip("bench.network.one_process")
    turn = one_process.OneProcess(tmp_path, 1500).turn(TOTAL)
    assert turn() > 0
    assert turn() > 0
    with Loopback() as loopback:
        assert loopback.turn(TOTAL)() > 0


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[int]]:
    with ExitStack() as stack:
        system = stack.enter_context(pages.System(tmp_path_factory.mktemp("pages")))
        yield [system.port, stack.enter_context(pages.OnHost()).port]


@pytest.mark.parametrize("connections", [1, 4])
def test_pages_are_fetched_from_both_servers(ports: list[int], connections: int) -> None:
    for port in ports:
        fetcher = pages.Fetcher(port, connections)
        for turn in range(2):
            assert fetcher.turn(REQUESTS)() > 0
            assert len(fetcher.latencies) == (turn + 1) * REQUESTS


def test_every_figure_has_a_goal_of_its_own() -> None:
    names = [run._stream(mtu, which) for mtu in run.MTUS for which in (run.OURS, run.BARE, run.THEIRS)]
    names += [run._fetched(count, which) for count in run.CONNECTIONS for which in (run.OUR_PAGES, run.THEIR_PAGES)]
    goals = run._goals({name: Series(name, (1.0,)) for name in [*names, run.LOOPBACK]})
    assert len({goal.name for goal in goals}) == len(goals)
    assert [goal.bound for goal in goals if goal.is_bounded] == [run.BOUND]
