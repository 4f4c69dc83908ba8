"""The runtime folder: whose it is, and which systems run."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.runtime import (
    Running,
    RuntimeRefused,
    end_forcibly,
    ensure_private,
    release,
    running,
    runtime_folder,
    select_running,
    state_folder,
    system_folder,
    take,
    wait_ended,
)
from tests.unit.deploy.conftest import FakeSystems


def test_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEL4PY_RUNTIME_DIR", "/one")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/two")
    assert runtime_folder() == Path("/one")
    monkeypatch.delenv("SEL4PY_RUNTIME_DIR")
    assert runtime_folder() == Path("/two/sel4py")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert runtime_folder().name.startswith("sel4py-")


def test_a_sessions_folder_that_depends_on_where_one_stands_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SEL4PY_RUNTIME_DIR", raising=False)
    monkeypatch.delenv("SEL4PY_STATE_DIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "here")
    monkeypatch.setenv("XDG_STATE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert runtime_folder().name.startswith("sel4py-")
    assert state_folder("one") == tmp_path / ".local" / "state" / "sel4py" / "one"


def test_folder_open_to_others_is_refused(runtime: Path) -> None:
    runtime.chmod(0o755)
    with pytest.raises(RuntimeRefused, match=r"mode 0755.*chmod 700"):
        ensure_private(runtime)


def test_link_in_place_of_the_folder_is_refused(runtime: Path) -> None:
    (runtime / "real").mkdir(mode=0o700)
    (runtime / "link").symlink_to(runtime / "real")
    with pytest.raises(RuntimeRefused, match="is no folder"):
        ensure_private(runtime / "link")


def test_made_folder_is_ours_alone(runtime: Path) -> None:
    assert system_folder("one").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "a.b"])
def test_bad_system_name_is_refused(runtime: Path, name: str) -> None:
    with pytest.raises(RuntimeRefused, match="cannot be called"):
        system_folder(name)


def test_too_long_a_path_is_refused(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEL4PY_RUNTIME_DIR", str(runtime / ("x" * 90)))
    with pytest.raises(RuntimeRefused, match="too long for a socket"):
        system_folder("one")


def test_nothing_runs_in_an_empty_folder(runtime: Path) -> None:
    assert running() == []
    with pytest.raises(RuntimeRefused, match="no system is running; start one"):
        select_running(None)


def test_a_running_system_is_seen_and_its_name_is_taken(systems: FakeSystems) -> None:
    one = systems.start("one")
    assert running() == [Running("one", one.process.pid, one.folder)]
    assert select_running(None).name == "one"
    with pytest.raises(RuntimeRefused, match="running already"):
        take(one.folder)


def test_several_systems_are_told_apart_by_name(systems: FakeSystems) -> None:
    systems.start("one")
    systems.start("two")
    assert select_running("two").name == "two"
    with pytest.raises(RuntimeRefused, match="choose one with --system: one, two"):
        select_running(None)
    with pytest.raises(RuntimeRefused, match="no system named three is running; running: one, two"):
        select_running("three")


def test_a_name_where_nothing_runs_is_told_so(systems: FakeSystems) -> None:
    with pytest.raises(RuntimeRefused, match="no system named one is running, nor another; start one with"):
        select_running("one")


def test_an_end_is_waited_for_beside_a_thousand_other_descriptors(systems: FakeSystems, high_numbers: None) -> None:
    one = systems.start("one")
    system = select_running("one")
    assert not wait_ended(system, 0)
    end_forcibly(system)
    assert wait_ended(system, 10)
    one.process.wait()


def test_a_killed_system_does_not_run(systems: FakeSystems) -> None:
    one = systems.start("one")
    system = select_running("one")
    assert not wait_ended(system, 0)
    end_forcibly(system)
    assert wait_ended(system, 10)
    assert one.process.wait() == -9
    assert running() == []


def test_a_released_name_leaves_nothing_and_can_be_taken_again(runtime: Path) -> None:
    folder = system_folder("one")
    for _ in range(2):
        descriptor = take(folder)
        assert (folder / "lock").exists()
        release(folder, descriptor)
        assert list(runtime.iterdir()) == []


def test_a_released_folder_with_logs_stays(runtime: Path) -> None:
    folder = system_folder("one")
    descriptor = take(folder)
    (folder / "logs").mkdir()
    release(folder, descriptor)
    assert [path.name for path in folder.iterdir()] == ["logs"]
