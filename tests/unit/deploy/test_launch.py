"""Starting a system in the background, with stand-ins for the monitor."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

import deploy.launch as launching
from deploy.description import SYSTEMS, Description, load
from deploy.launch import LaunchOptions, interface_modules, launch, launch_detached
from deploy.management import Management, ManagementError
from deploy.runtime import (
    Running,
    RuntimeRefused,
    end_forcibly,
    running,
    select_running,
    system_folder,
    take,
    wait_ended,
)
from hw.monitor import MonitorOptions
from libsel4py.description import System
from tests.unit.deploy.fake_system import serve

OPTIONS = LaunchOptions(Description(Path("one.toml"), System("one", 1 << 28, (), ()), ()))


def monitor_that_comes_up(options: LaunchOptions) -> int:
    print("the monitor's output")
    serve(system_folder(options.description.system.name))
    return 0


def monitor_that_raises(options: LaunchOptions) -> int:
    raise OSError("no memory for RAM")


def monitor_that_ends(options: LaunchOptions) -> int:
    return 3


def test_returns_when_the_system_is_up(runtime: Path) -> None:
    launch_detached(OPTIONS, monitor_that_comes_up)
    system = select_running("one")
    try:
        assert os.getsid(system.pid) != os.getsid(0)
        with pytest.raises(RuntimeRefused, match="running already"):
            launch_detached(OPTIONS, monitor_that_comes_up)
    finally:
        end_forcibly(system)
        assert wait_ended(system, 10)
    assert "the monitor's output" in (runtime / "one" / "logs" / "monitor.log").read_text()


def test_tells_why_the_monitor_failed(runtime: Path) -> None:
    with pytest.raises(ManagementError, match=r"did not start: no memory for RAM; its log is .*monitor\.log"):
        launch_detached(OPTIONS, monitor_that_raises)
    assert running() == []
    assert "Traceback" in (runtime / "one" / "logs" / "monitor.log").read_text()


def test_tells_that_the_monitor_ended(runtime: Path) -> None:
    with pytest.raises(ManagementError, match="ended before it was up"):
        launch_detached(OPTIONS, monitor_that_ends)
    assert running() == []


def test_tells_why_the_monitor_failed_where_its_log_is_full(runtime: Path) -> None:
    test = os.getpid()

    def monitor(options: LaunchOptions) -> int:
        with open("/dev/full", "w") as full:
            os.dup2(full.fileno(), 2)
        raise OSError("no memory for RAM")

    try:
        with pytest.raises(ManagementError, match="did not start: no memory for RAM"):
            launch_detached(OPTIONS, monitor)
    finally:
        if os.getpid() != test:  # the monitor's process, which has come back to who started it
            os._exit(1)
    assert running() == []


def test_foreground_returns_the_status_and_frees_the_name(runtime: Path) -> None:
    assert launch(OPTIONS, monitor_that_ends) == 3
    assert launch(OPTIONS, monitor_that_ends) == 3


def test_giving_up_leaves_nothing_running(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Management, died: int, seconds: float) -> None:
        assert [system.name for system in running()] == ["one"]
        raise KeyboardInterrupt

    monkeypatch.setattr(Management, "wait_up", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launch_detached(OPTIONS, monitor_that_comes_up)
    assert running() == []


def test_who_comes_second_leaves_the_first_alone(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    launch_detached(OPTIONS, monitor_that_comes_up)
    first = select_running("one")
    looked: list[bool] = []

    def before_the_lock() -> list[Running]:
        looked.append(True)
        return running() if len(looked) > 1 else []

    monkeypatch.setattr(launching, "running", before_the_lock)
    try:
        with pytest.raises(ManagementError, match="did not start: a system named one is running already") as refused:
            launch_detached(OPTIONS, monitor_that_raises)
        assert select_running("one") == first
        with Management(first.folder, 2) as management:
            assert management.request("status")
        assert "the monitor's output" in (runtime / "one" / "logs" / "monitor.log").read_text()
        assert "its log" not in str(refused.value)
    finally:
        end_forcibly(first)
        assert wait_ended(first, 10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_the_wait_leaves_nothing_running(
    number: signal.Signals, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hit(self: Management, died: int, seconds: float) -> None:
        assert [system.name for system in running()] == ["one"]
        assert signal.getsignal(number) is not signal.SIG_DFL
        signal.raise_signal(number)

    monkeypatch.setattr(Management, "wait_up", hit)
    former = signal.signal(number, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as ended:
            launch_detached(OPTIONS, monitor_that_comes_up)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, former)
    assert ended.value.code == 128 + number
    assert running() == []


def test_a_runtime_folder_without_room_is_told_of(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(options: MonitorOptions) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("hw.monitor.run", full)
    monkeypatch.setenv("SEL4PY_STATE_DIR", str(runtime / "state"))
    with pytest.raises(RuntimeRefused, match=r"/minimal: No space left on device; make room there, or set SEL4PY_RUNT"):
        launch(LaunchOptions(load(SYSTEMS / "minimal.toml")))


def test_an_ignored_hangup_ends_nothing() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with launching.ended_in_order():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, former)


def test_giving_up_before_the_lock_is_taken_leaves_nothing_that_comes_up(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, gone = os.pipe()  # ended by the test; by the process that was to become the monitor
    ended, ends = os.pipe()
    began = tmp_path / "began"

    def take_late(folder: Path) -> int:
        os.close(gone)
        os.close(ended)
        os.read(go, 1)
        return take(folder)

    def monitor(options: LaunchOptions) -> int:
        began.touch()
        return 0

    def interrupted(pid: int, options: int) -> tuple[int, int]:
        reap(pid, options)
        raise KeyboardInterrupt

    reap = os.waitpid
    monkeypatch.setattr(launching, "take", take_late)
    monkeypatch.setattr(os, "waitpid", interrupted)
    with pytest.raises(KeyboardInterrupt):
        launch_detached(OPTIONS, monitor)
    for each in (gone, ends):
        os.close(each)
    assert os.read(ended, 1) == b""  # its end
    for each in (go, ended):
        os.close(each)
    assert not began.exists()
    assert running() == []


def test_the_modules_of_all_interfaces_are_known_once() -> None:
    modules = interface_modules(load(SYSTEMS / "workstation.toml").system)
    assert "libsel4py.interfaces.console" in modules
    assert len(set(modules)) == len(modules)
    assert not any(":" in module for module in modules)
