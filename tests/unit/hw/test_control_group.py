"""A system's control group: what it bounds, and that nothing of it is left; on this host where it lets us have one."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hw import control_group
from hw.control_group import FURTHER_THREADS, PREFIX, RECORD, Bounds, ControlGroup
from hw.control_group_places import NotDelegated, Place, opened, own_places

MIB = 1 << 20
SMALL = Bounds(20, 64 * MIB)
FLOOD = """
import os, sys
pids = []
try:
    while len(pids) < 100:
        pid = os.fork()
        if not pid:
            sys.stdin.read()
            os._exit(0)
        pids.append(pid)
except BlockingIOError:
    pass
print(len(pids), flush=True)
sys.stdin.read()
"""
HOG = """
import mmap
taken = mmap.mmap(-1, 256 << 20)
print(len(taken[::4096]))
"""


@pytest.fixture(scope="module")
def places() -> tuple[Place, ...]:
    try:
        found = own_places()
        ControlGroup.make("test", SMALL, found).close()
    except NotDelegated as refused:
        pytest.skip(f"this host delegates no control group: {refused}")
    return found


def python(group: ControlGroup, code: str) -> subprocess.Popen[str]:
    """A process that was in the group before its first line."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: control_group.enter(group.folders),
    )


def let_go(group: ControlGroup) -> None:
    """Close one of made-up files: no folder of such is empty, and none removes itself."""
    for folder in group.folders:
        shutil.rmtree(folder)
    assert group.close() == ""


def test_bounds_leave_room_for_whatever_ram_pays_for() -> None:
    for ram in (128 * MIB, 1 << 30, 1 << 34):
        bounds = Bounds.of(ram, 1 << 30)
        processes, threads = ram // (4 * MIB), ram // MIB
        assert bounds.processes >= 2 * (2 * processes + threads) + FURTHER_THREADS
        assert bounds.memory >= 2 * ram + processes * 16 * MIB
    assert Bounds.of(1 << 34, 32768).processes == 16384, "the other half is the host's"


def test_files_of_version_1(tmp_path: Path) -> None:
    memory, pids = tmp_path / "memory", tmp_path / "pids"
    memory.mkdir()
    pids.mkdir()
    group = ControlGroup.make("one", SMALL, [Place(memory, 1, ("memory",)), Place(pids, 1, ("pids",))])
    first, second = group.folders
    assert (first.parent, second.parent) == (memory, pids)
    assert first.name.startswith(f"{PREFIX}one-")
    assert {each.name: each.read_text() for each in first.iterdir()} == {"memory.limit_in_bytes": str(64 * MIB)}
    assert {each.name: each.read_text() for each in second.iterdir()} == {"pids.max": "20"}
    control_group.enter(group.folders)
    assert [(folder / "cgroup.procs").read_text() for folder in group.folders] == ["0", "0"]
    let_go(group)


def test_files_of_version_2(tmp_path: Path) -> None:
    (tmp_path / "cgroup.subtree_control").write_text("memory pids")
    group = ControlGroup.make("two", SMALL, [Place(tmp_path, 2, ("memory", "pids"))])
    (folder,) = group.folders
    assert {each.name: each.read_text() for each in folder.iterdir()} == {
        "memory.max": str(64 * MIB),
        "pids.max": "20",
    }
    let_go(group)


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    first, file = tmp_path / "memory", tmp_path / "file"
    first.mkdir()
    file.touch()
    with pytest.raises(NotDelegated, match="Not a directory"):
        ControlGroup.make("x", SMALL, [Place(first, 1, ()), Place(file, 1, ())])
    assert list(first.iterdir()) == []


@pytest.mark.parametrize("gone", ["a group", "the place"])
def test_what_somebody_else_has_removed_is_let_go_of(
    tmp_path: Path, gone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.listdir("/proc/self/fd")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    (tmp_path / "second" / "cgroup.controllers").write_text("pids")
    (tmp_path / "second" / "cgroup.subtree_control").touch()
    (tmp_path / "second" / "cgroup.procs").touch()
    group = ControlGroup.make("x", SMALL, [Place(tmp_path / "first", 1, ()), Place(tmp_path / "second", 2, ("pids",))])
    if gone == "the place":
        shutil.rmtree(tmp_path)
    else:
        monkeypatch.setattr(Path, "exists", lambda path: True)  # a moment ago
        for folder in group.folders:
            shutil.rmtree(folder)
    assert group.close() == ""
    assert os.listdir("/proc/self/fd") == before


def test_only_groups_that_nobody_is_in_and_nobody_has_made_still_are_swept(tmp_path: Path) -> None:
    for name in (f"{PREFIX}left-1", f"{PREFIX}held-2", f"{PREFIX}used-3/inside", "other"):
        (tmp_path / name).mkdir(parents=True)
    held = os.open(tmp_path / f"{PREFIX}held-2", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert control_group.sweep(tmp_path) == [tmp_path / f"{PREFIX}left-1"]
    os.close(held)
    assert control_group.sweep(tmp_path) == [tmp_path / f"{PREFIX}held-2"]
    assert {each.name for each in tmp_path.iterdir()} == {f"{PREFIX}used-3", "other"}


def test_the_record_goes_with_the_last_group(tmp_path: Path) -> None:
    left, used, foreign = tmp_path / f"{PREFIX}a-1", tmp_path / f"{PREFIX}a-2", tmp_path / "foreign"
    (used / "inside").mkdir(parents=True)
    left.mkdir()
    foreign.mkdir()
    (tmp_path / RECORD).write_text(f"{left}\n{used}\n")
    control_group.remove_recorded(tmp_path)
    assert not left.exists()
    assert (tmp_path / RECORD).exists()
    (used / "inside").rmdir()
    control_group.remove_recorded(tmp_path)
    assert not (tmp_path / RECORD).exists()
    (tmp_path / RECORD).write_text(f"{foreign}\n")
    control_group.remove_recorded(tmp_path)
    assert foreign.exists(), "it has not the name of one of ours"


def test_processes_are_bounded_and_all_end_with_the_group(places: tuple[Place, ...]) -> None:
    group = ControlGroup.make("test", SMALL, places)
    folders = group.folders
    with python(group, FLOOD) as flood:
        assert flood.stdout is not None
        assert int(flood.stdout.readline()) == SMALL.processes - 1
        assert group.close() == ""
        assert flood.wait() == -signal.SIGKILL
    assert not any(folder.exists() for folder in folders)


def test_memory_that_no_limit_of_a_process_counts_is_bounded(places: tuple[Place, ...]) -> None:
    group = ControlGroup.make("test", SMALL, places)
    with python(group, HOG) as hog:
        assert hog.wait() == -signal.SIGKILL
    assert group.close() == ""
    free = ControlGroup.make("test", Bounds(20, 1 << 40), places)
    with python(free, HOG) as hog:
        assert hog.communicate() == ("65536\n", None)
    assert free.close() == ""


def test_the_group_of_a_monitor_that_was_killed_is_removed_by_the_next(places: tuple[Place, ...]) -> None:
    killed = "from hw.control_group import *; import os; g = ControlGroup.make('test', Bounds(9, 1 << 30))"
    done = subprocess.run(
        [sys.executable, "-c", f"{killed}; print(*g.folders, sep='\\n'); os.kill(os.getpid(), 9)"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL
    # It has not printed: its buffer went with it. What it left is known by its name.
    ready = [opened(place) for place in places]
    left = [folder for each in ready for folder in each.folder.glob(f"{PREFIX}test-*") if not _is_held(folder)]
    assert len(left) >= len(places)
    ControlGroup.make("test", SMALL, places).close()
    assert not any(folder.exists() for folder in left)
    for each in ready:
        each.close()


def _is_held(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
