"""Where control groups can be made, on hosts of either version, from trees that are made up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hw.control_group_places import APART, NotDelegated, Place, opened, own_places

BOTH = ("memory", "pids")


def process(folder: Path, groups: str, *mounts: str) -> Path:
    """Its folder in /proc. ``mounts``: root, point, type and options of the file system's."""
    made = folder / "proc"
    made.mkdir()
    (made / "cgroup").write_text(groups)
    lines = ["22 1 0:21 / /proc rw,nosuid shared:7 - proc proc rw"]
    for number, mount in enumerate(mounts):
        root, point, kind, options = mount.split()
        lines.append(
            f"{30 + number} 22 0:{30 + number} {root} {point} rw,nosuid shared:9 master:1 - {kind} x {options}"
        )
    (made / "mountinfo").write_text("\n".join(lines) + "\n")
    return made


def group(folder: Path, processes: str = "", handed_on: str = "", controllers: str = "cpu memory pids") -> Path:
    """One of version 2."""
    folder.mkdir(parents=True)
    for name, text in (("procs", processes), ("subtree_control", handed_on), ("controllers", controllers)):
        (folder / f"cgroup.{name}").write_text(text)
    return folder


def of_version_2(folder: Path) -> Place:
    return Place(folder, 2, BOTH)


def test_version_2(tmp_path: Path) -> None:
    made = process(tmp_path, "0::/user.slice/run-1.scope\n", "/ /sys/fs/cgroup cgroup2 rw,nsdelegate")
    assert own_places(made) == (Place(Path("/sys/fs/cgroup/user.slice/run-1.scope"), 2, BOTH),)


def test_version_1_has_a_hierarchy_for_each_controller(tmp_path: Path) -> None:
    groups = "9:name=systemd:/\n8:pids:/\n4:memory:/jobs/7\n1:cpu,cpuacct:/\n0::/\n"
    mounts = [f"/ /sys/fs/cgroup/{name} cgroup rw,{name}" for name in ("cpu,cpuacct", "memory", "pids")]
    made = process(tmp_path, groups, *mounts, "/ /sys/fs/cgroup/unified cgroup2 rw")
    assert own_places(made) == (
        Place(Path("/sys/fs/cgroup/memory/jobs/7"), 1, ("memory",)),
        Place(Path("/sys/fs/cgroup/pids"), 1, ("pids",)),
    )


def test_controllers_of_one_hierarchy_share_a_group(tmp_path: Path) -> None:
    made = process(tmp_path, "3:memory,pids:/a\n", "/ /cg cgroup rw,memory,pids")
    assert own_places(made) == (Place(Path("/cg/a"), 1, BOTH),)


def test_a_controller_that_version_1_has_not_is_looked_for_in_version_2(tmp_path: Path) -> None:
    made = process(tmp_path, "3:memory:/a\n0::/b\n", "/ /cg/memory cgroup rw,memory", "/ /cg/unified cgroup2 rw")
    assert own_places(made) == (Place(Path("/cg/memory/a"), 1, ("memory",)), Place(Path("/cg/unified/b"), 2, ("pids",)))


def test_a_container_is_shown_its_own_part(tmp_path: Path) -> None:
    made = process(tmp_path, "0::/docker/abc/job\n", r"/docker/abc /sys/fs/c\040g cgroup2 rw")
    assert own_places(made) == (of_version_2(Path("/sys/fs/c g/job")),)


@pytest.mark.parametrize("own", ["/docker/abcd", "/elsewhere", "/../above"])
def test_a_group_that_no_mount_shows(tmp_path: Path, own: str) -> None:
    made = process(tmp_path, f"0::{own}\n", "/docker/abc /sys/fs/cgroup cgroup2 rw")
    with pytest.raises(NotDelegated, match="no mount shows"):
        own_places(made)


def test_the_first_mount_that_shows_it_is_taken(tmp_path: Path) -> None:
    made = process(tmp_path, "0::/a/b\n", "/other /x cgroup2 rw", "/../.. /y cgroup2 rw", "/a /z cgroup2 rw")
    assert own_places(made) == (of_version_2(Path("/z/b")),)


def test_a_host_without_control_groups(tmp_path: Path) -> None:
    with pytest.raises(NotDelegated, match="no control groups for memory"):
        own_places(process(tmp_path, "1:cpu:/\n", "/ /cg cgroup rw,cpu"))
    with pytest.raises(NotDelegated, match="no control groups"):
        own_places(tmp_path / "nothing")


def test_version_1_is_opened_as_it_is(tmp_path: Path) -> None:
    place = Place(tmp_path, 1, ("pids",))
    ready = opened(place)
    ready.close()
    assert ready.folder == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_alone_moves_apart_and_comes_back(tmp_path: Path) -> None:
    own = group(tmp_path / "scope", processes=f"{os.getpid()}\n")
    ready = opened(of_version_2(own))
    assert ready.folder == own
    assert (own / APART / "cgroup.procs").read_text() == "0"
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids"
    (own / APART / "cgroup.procs").write_text(f"{os.getpid()}\n")  # as the host then says
    ready.close()
    assert (own / "cgroup.subtree_control").read_text() == "-memory -pids"
    assert (own / "cgroup.procs").read_text() == "0"


def test_who_shares_its_group_has_none(tmp_path: Path) -> None:
    own = group(tmp_path / "scope", processes=f"{os.getpid()}\n{os.getppid()}\n")
    with pytest.raises(NotDelegated, match="has other processes; start it alone in one of its own: systemd-run --user"):
        opened(of_version_2(own))
    assert not (own / APART).exists()
    assert (own / "cgroup.subtree_control").read_text() == ""


def test_beside_another_monitor_the_group_is_open_already(tmp_path: Path) -> None:
    own = group(tmp_path / "scope", handed_on="memory pids\n")
    apart = group(own / APART, processes=f"{os.getpid()}\n{os.getppid()}\n")
    ready = opened(of_version_2(apart))
    assert ready.folder == own
    ready.close()
    assert apart.exists(), "the other one is there still"


def test_another_system_keeps_its_bounds(tmp_path: Path) -> None:
    own = group(tmp_path / "scope", processes=f"{os.getpid()}\n")
    ready = opened(of_version_2(own))
    (own / "sel4py-other-1").mkdir()
    ready.close()
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids"


def test_a_group_that_hands_controllers_on_is_used_as_it_is(tmp_path: Path) -> None:
    own = group(tmp_path / "root", processes=f"1\n{os.getpid()}\n", handed_on="cpu memory pids\n")
    ready = opened(of_version_2(own))
    ready.close()
    assert ready.folder == own
    assert (own / "cgroup.subtree_control").read_text() == "cpu memory pids\n"


def test_a_group_without_the_controllers(tmp_path: Path) -> None:
    own = group(tmp_path / "scope", processes=f"{os.getpid()}\n", controllers="cpu pids\n")
    with pytest.raises(NotDelegated, match="has not the controllers memory and pids"):
        opened(of_version_2(own))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to it")
def test_a_group_of_somebody_else(tmp_path: Path) -> None:
    own = group(tmp_path / "session", processes=f"{os.getpid()}\n")
    (own / "cgroup.subtree_control").chmod(0o444)
    with pytest.raises(NotDelegated, match="cannot be written to; start it alone"):
        opened(of_version_2(own))


def test_a_group_that_does_not_let_itself_be_opened(tmp_path: Path) -> None:
    own = group(tmp_path / "scope", processes=f"{os.getpid()}\n")
    (own / "cgroup.subtree_control").unlink()
    (own / "cgroup.subtree_control").mkdir()  # which nobody can write to
    with pytest.raises(NotDelegated, match=r"hands no controllers on \(Is a directory\)"):
        opened(of_version_2(own))
