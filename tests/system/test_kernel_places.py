"""A kernel is killed at each place where it does something that outlives it, once, while a workload goes on.

Transactions are interrupted at every logged store in `tests/model/test_crash.py`; here it is what the kernel's process
does at the host, on its way and while it takes over: the table of processes, channels, mappings, and what is kept.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.system.conftest import Boot
from tests.system.images.adding import COUNTED
from tests.system.supervisor import ROOT, Supervisor
from tests.system.test_kernel_restart import COUNTING, MANY, SCENES, client
from tests.system.tree import Tree


class Places:
    """A copy of the code whose kernels die at each place once."""

    def __init__(self, folder: Path, sel4py: Supervisor) -> None:
        self.root = folder / "tree"
        self.tree = Tree(self.root, sel4py, "tests")
        self._record = folder / "places"
        self._record.touch()
        text = (ROOT / "tests/system/kernel_sites.py").read_text().replace('"RECORD"', f'"{self._record}"')
        (self.root / "kerneld/host/sites.py").write_text(text)
        system = "from kerneld.host.system import run\n"
        self.tree.change("kerneld/__main__.py", system, "from kerneld.host import sites as sites\n" + system)

    def reached(self) -> list[str]:
        return self._record.read_text().splitlines()


@pytest.fixture
def places(tmp_path: Path, sel4py: Supervisor) -> Places:
    return Places(tmp_path, sel4py)


def run_scene(boot: Boot, places: Places, scene: tuple[str, str, str]) -> list[str]:
    images = "tests.system.images."
    system = boot(
        scene[1],
        images + scene[2],
        image=images + scene[0],
        ram_bytes=1 << 30,
        kernel_deaths=MANY,
        root=places.root,
    )
    assert system.wait() == 0, system.logs()
    return places.reached()


def run_scenes(boot: Boot, places: Places, scenes: list[tuple[str, str, str]]) -> list[str]:
    """A place that one scene has reached is passed in the next ones."""
    for scene in scenes:
        run_scene(boot, places, scene)
    return places.reached()


@pytest.mark.slow
def test_threads_and_frames(boot: Boot, places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    reached = run_scenes(boot, places, [scene for scene in SCENES if scene[1] in ("threads", "replace", "share")])
    with capsys.disabled():
        print(f"\n{len(reached)} places")
    for what in ("_send", "_signal", "set_done", "begin_start", "clear", "map_fixed"):
        assert any(place.startswith(f"after {what}") for place in reached), what
    for file in ("process_notes.py", "processes.py", "recovery.py", "completions.py", "mappings.py", "frame_memory.py"):
        assert any(f" {file}:" in place for place in reached), file


@pytest.mark.long
@pytest.mark.timeout(600)
def test_all_that_scenes_do(boot: Boot, places: Places, capsys: pytest.CaptureFixture[str]) -> None:
    reached = run_scenes(boot, places, SCENES)
    with capsys.disabled():
        print(f"\n{len(reached)} places")
    assert len(reached) > 100


@pytest.mark.slow
def test_calls_by_channel_and_by_the_kernel(
    sel4py: Supervisor, places: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each call is served once; clients end, and with them their channels."""
    description = tmp_path / "counting.toml"
    clients = "".join(client(f"fast{number}", "always", 1.0 + number / 2) for number in range(3))
    clients += client("slow", "never", 2.0)
    description.write_text(COUNTING.format(root=places.root) + clients + client("last", "never", 2.5, last=True))
    ended = places.tree.run("up", str(description), "--kernel-deaths", str(MANY))
    logs = sel4py.run("logs", "--system", "counting").output
    assert ended.returncode == COUNTED, (ended, logs)
    for name in ("fast0", "fast1", "fast2", "slow", "last"):
        assert re.search(rf"^ *{name} .*?(\d+) calls, (\d+) by channel", logs, re.MULTILINE), logs
    reached = places.reached()
    with capsys.disabled():
        print(f"\n{len(reached)} places")
    for file in ("channels.py", "channel_mail.py", "fd_store.py"):
        assert any(f" {file}:" in place for place in reached), file
