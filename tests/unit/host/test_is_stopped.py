"""A process that was told to stop is known to be stopped once no thread of it runs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from kerneld.host import linux
from kerneld.host.linux import LOOKED_AT, Stopping, is_stopped


@pytest.fixture
def child() -> Iterator[int]:
    """A process of two threads, of which the one sleeps and the other does not."""
    pid = os.fork()
    if pid == 0:
        threading.Thread(target=signal.pause).start()
        while True:
            pass
    yield pid
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_process_is_stopped_when_all_its_threads_are(child: int) -> None:
    while len(os.listdir(f"/proc/{child}/task")) < 2:
        time.sleep(0)
    assert not is_stopped(child)
    os.kill(child, signal.SIGSTOP)
    os.waitid(os.P_PID, child, os.WSTOPPED)
    assert is_stopped(child)
    os.kill(child, signal.SIGCONT)
    os.waitid(os.P_PID, child, os.WCONTINUED)
    assert not is_stopped(child)


def test_thousands_of_threads_are_looked_at_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks has others to serve: a task may have as many threads as the host lets it."""
    threads = list(map(str, range(4096)))
    running = {"17"}
    looked: list[str] = []

    def stat(path: str) -> list[bytes]:
        looked.append(path)
        return [b"R" if path.split("/")[-2] in running else b"T"] + [b"4096"] * linux._THREADS

    monkeypatch.setattr(linux, "_stat", stat)
    monkeypatch.setattr(linux, "_threads", lambda pid: threads.copy())
    process = Stopping(7)
    while (stopped := process.look()) is None:
        assert len(looked) <= 1 + LOOKED_AT
        looked.clear()
    assert stopped is False
    running.clear()
    looked.clear()
    while process.look() is None:
        continue
    assert set(looked) <= {f"/proc/7/task/{tid}/stat" for tid in threads[:18]}, "one that is stopped stays so"


def test_one_that_is_gone_is(child: int) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert is_stopped(pid)
    os.waitpid(pid, 0)
    assert is_stopped(pid)


def test_a_thread_that_is_not_listed_may_run(child: int, monkeypatch: pytest.MonkeyPatch) -> None:
    while len(os.listdir(f"/proc/{child}/task")) < 2:
        time.sleep(0)
    os.kill(child, signal.SIGSTOP)
    os.waitid(os.P_PID, child, os.WSTOPPED)
    monkeypatch.setattr(linux, "_threads", lambda pid: [str(pid)])
    assert not is_stopped(child)
