"""Descriptions of hundreds of tasks: read, analysed, built; and refused where root could not build them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deploy.authority import sources
from deploy.authority.questions import Analysis
from deploy.description import SYSTEMS, load
from deploy.problems import BadDescription
from deploy.root_slots import AVAILABLE, RESERVED, slots_needed
from libsel4py import abi
from libsel4py.description import System
from tests.unit.servers import root_board
from tests.unit.servers.root_board import root

TASK = """
[task.t{number}]
image = "apps.ping.main"
memory = "4M"
pool = "64K"
provides = {{ ping = "libsel4py.interfaces.ping:Ping" }}
uses = {{ {uses} }}
"""


def described(folder: Path, count: int) -> Path:
    """Each task calls two that come before it: a tree, as large systems are."""
    text = ['[machine]\nram = "4G"\n']
    for number in range(count):
        called = {number // 2, number // 3} - {number}
        uses = ", ".join(f'u{each} = "t{each}.ping"' for each in sorted(called))
        text.append(TASK.format(number=number, uses=uses))
    path = folder / "large.toml"
    path.write_text("".join(text))
    return path


def test_four_times_the_tasks_are_analysed_in_no_more_than_their_square(tmp_path: Path) -> None:
    """From their text to who reaches whom, which is a square of numbers; 500 take two seconds on a usual host."""

    def analysed(count: int) -> float:
        path = described(tmp_path, count)
        started = time.process_time()
        system = load(path).system
        matrix = Analysis(sources.described(system), (), system).matrix()
        assert len(matrix) == count
        return time.process_time() - started

    few = min(analysed(125) for _ in range(3))
    assert analysed(500) < 2 * 4**2 * few  # twice that, since hosts are noisy; a cube would be four times that


def test_more_tasks_than_root_has_slots_for_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadDescription, match=r"700 tasks take \d+ slots of root's CNode, which has \d+ for them"):
        load(described(tmp_path, 700))


def test_what_does_not_fit_boot_info_is_refused(tmp_path: Path) -> None:
    path = described(tmp_path, 3)
    path.write_text(path.read_text() + f"config = {{ text = '{'x' * 300_000}' }}\n")
    with pytest.raises(BadDescription, match=r"packs to 30\d{4} bytes; BootInfo holds \d+"):
        load(path)


def built(system: System, monkeypatch: pytest.MonkeyPatch) -> int:
    """Slots of root's that are taken when it has built a system."""
    monkeypatch.setattr(root_board, "RAM_BYTES", system.ram)
    with root(*system.tasks, devices=system.devices, check=False) as board:
        return (1 << abi.INITIAL_CNODE_BITS) - board.authority.slots.free_count


@pytest.mark.parametrize("path", sorted(SYSTEMS.rglob("*.toml")), ids=lambda path: path.stem)
def test_root_takes_no_more_slots_than_is_checked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = load(path).system
    taken = built(system, monkeypatch)
    needed = slots_needed(system.tasks)
    assert needed <= taken + RESERVED // 2, "no system is refused that root could build"
    assert taken <= needed + RESERVED // 2


@pytest.mark.slow
def test_root_builds_five_hundred_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert built(load(described(tmp_path, 500)).system, monkeypatch) <= AVAILABLE
