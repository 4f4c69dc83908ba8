"""A killed process is known to run no more before it is reaped; and memory is taken away only then."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from kerneld.host import linux
from kerneld.host.linux import runs_no_more
from tests.unit.host.test_mappings import Scene, in_scene


@pytest.fixture
def child() -> Iterator[int]:
    pid = os.fork()
    if pid == 0:
        signal.pause()
        os._exit(0)
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_process_runs_until_it_is_killed_however_it_is_stopped(child: int) -> None:
    assert not runs_no_more(child)
    os.kill(child, signal.SIGSTOP)
    os.waitid(os.P_PID, child, os.WSTOPPED)
    assert not runs_no_more(child)
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert runs_no_more(child)


def test_one_that_is_reaped_runs_no_more() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert runs_no_more(pid)


def test_a_thread_that_is_not_listed_or_not_found_may_run(child: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first thread of two is ending; then the other one is seen to be, too."""

    def stat(path: str) -> list[bytes]:
        exiting, threads = b"4", b"2"
        fields = [b"0"] * 50
        fields[6], fields[17] = exiting, threads
        return [] if path == f"/proc/{child}/task/2/stat" and not found else fields

    found, listed = False, ["1"]
    monkeypatch.setattr(linux, "_stat", stat)
    monkeypatch.setattr(linux, "_threads", lambda pid: listed)
    assert not runs_no_more(child)
    listed.append("2")
    assert not runs_no_more(child)
    found = True
    assert runs_no_more(child)


def test_who_takes_memory_away_waits_for_what_was_killed_and_may_run() -> None:
    async def work(scene: Scene) -> None:
        process, heard = scene.task().process, list[str]()
        scene.mappings.outlives(process)
        scene.mappings.outlives(process)
        assert scene.mappings.wait(None, lambda: heard.append("gone"))
        scene.mappings.gone_process(process)
        assert heard == ["gone"]
        scene.mappings.gone_process(process)
        assert not scene.mappings.wait(None, lambda: heard.append("again"))

    in_scene(work)
