"""A pid namespace for processes whose parent stays outside: numbers on both sides, and what ends with what."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hw.process_namespace import PARENT, permitted
from kerneld.host.linux import host_thread

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 30

# Enters, and forks one process, which leaves another to process 1, starts a thread, and says what it sees.
MAKER = """
import json, os, signal, sys, threading
from hw import namespaces, process_namespace

namespaces.enter(os.getppid())
first = process_namespace.enter(show_processes=True)
assert first is not None
child = os.fork()
if child == 0:
    if os.fork() == 0:
        if os.fork() == 0:
            os._exit(0)
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        os._exit(0)
    os.wait()
    while first.shown and os.path.exists("/proc/4"):
        os.sched_yield()
    thread = threading.Thread(target=signal.pause, daemon=True)
    thread.start()
    for number in (signal.SIGKILL, signal.SIGTERM):
        try:
            os.kill(1, number)
        except PermissionError:
            pass
    seen = sorted(int(name) for name in os.listdir("/proc") if name.isdigit()) if first.shown else []
    print(json.dumps([os.getpid(), os.getppid(), thread.native_id, seen]), flush=True)
    signal.pause()
print(json.dumps([child]), flush=True)
sys.stdin.read()
"""

pytestmark = pytest.mark.skipif(not permitted()[0], reason="this host permits no pid namespace")


class Maker:
    """The maker's process. `child`: its child's number here; `inside`: what that one says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        told = [json.loads(process.stdout.readline()) for _ in range(2)]
        (self.child,), self.inside = sorted(told, key=len)


@pytest.fixture
def maker() -> Iterator[Maker]:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", MAKER], cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Maker(process)
        finally:
            process.kill()


def ended(pidfd: int) -> bool:
    ready, _, _ = select.select([pidfd], [], [], SECONDS)
    return bool(ready)


def first_of(maker: Maker) -> int:
    """Process 1's number here: the maker's elder child."""
    children = Path(f"/proc/{maker.process.pid}/task/{maker.process.pid}/children").read_text().split()
    (first,) = {int(each) for each in children} - {maker.child}
    return first


def test_a_process_sees_its_namespace_alone_and_its_parent_knows_it_by_the_hosts_number(maker: Maker) -> None:
    number, parent, _, seen = maker.inside
    assert (number, parent) == (2, PARENT)
    assert number != maker.child
    assert seen == ([1, 2] if permitted()[1] else [])
    assert first_of(maker)  # which it tried to kill


def test_a_thread_is_found_by_its_number_inside(maker: Maker) -> None:
    number, _, thread, _ = maker.inside
    found = host_thread(maker.child, thread)
    assert found in map(int, os.listdir(f"/proc/{maker.child}/task"))
    assert found not in (0, maker.child)
    assert host_thread(maker.child, number) == maker.child
    assert host_thread(maker.child, 1) == 0  # another process's
    assert host_thread(os.getpid(), os.getpid()) in (os.getpid(), 0)  # 0: this one is in a namespace itself


def test_all_end_with_their_maker(maker: Maker) -> None:
    pids = (maker.child, first_of(maker))
    pidfds = [os.pidfd_open(pid) for pid in pids]
    maker.process.kill()
    for pid, pidfd in zip(pids, pidfds, strict=True):
        assert ended(pidfd)
        os.close(pidfd)
        with contextlib.suppress(ChildProcessError):  # they are ours where we are process 1 ourselves
            os.waitpid(pid, 0)


def test_all_end_with_process_1_which_holds_no_descriptor(maker: Maker) -> None:
    first = first_of(maker)
    assert os.listdir(f"/proc/{first}/fd") == []
    pidfd = os.pidfd_open(maker.child)
    os.kill(first, signal.SIGKILL)
    assert ended(pidfd)
    os.close(pidfd)
