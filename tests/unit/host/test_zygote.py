"""The zygote: starts, ends, crashes, and what a task's process begins with."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kerneld.host.child import NOT_STARTED
from kerneld.host.zygote_link import MESSAGE_BYTES
from tests.system.images import behaviour
from tests.unit.host.conftest import BROKEN, BROKEN_AT_LENGTH, ROOT, SECONDS, Nursery, Work, has_ended, kill

Run = Callable[[Work], None]


def test_the_exit_status_is_what_main_returns(nursery: Run) -> None:
    async def work(zygote: Nursery) -> None:
        assert await zygote.run(behaviour.RETURN, 0) == 0
        assert await zygote.run(behaviour.RETURN, 7) == 7
        assert await zygote.run(behaviour.EXIT, 9) == 9
        assert await zygote.run(behaviour.EXIT_TEXT) == 1
        assert "ended with a text" in zygote.log()

    nursery(work)


def test_an_exception_is_in_the_log_and_the_status_1(nursery: Run) -> None:
    async def work(zygote: Nursery) -> None:
        assert await zygote.run(behaviour.RAISE) == 1
        assert "LookupError: the image failed on purpose" in zygote.log()

    nursery(work)


def test_a_crash_is_the_signal_and_the_zygote_goes_on(nursery: Run) -> None:
    async def work(zygote: Nursery) -> None:
        assert await zygote.run(behaviour.SEGFAULT) == -signal.SIGSEGV
        pid, pidfd = await zygote.start(behaviour.WAIT)
        kill(pidfd)
        assert await zygote.wait(pid, pidfd) == signal.SIGKILL
        assert await zygote.run(behaviour.RETURN, 3) == 3

    nursery(work)


def test_a_task_begins_with_its_own_descriptors_and_nothing_else(nursery: Run) -> None:
    async def work(zygote: Nursery) -> None:
        assert await zygote.run(behaviour.REPORT, 11, 22, name="reporter") == 0
        # stdin, stdout, stderr; the doorbell; the control socket. The frame is mapped and closed: a counter is there.
        assert zygote.log("reporter").splitlines() == ["{} [0, 1, 2, 3, 4, 5] True True", "(11, 22, 0, 0, 0)"]

    nursery(work)


def test_an_image_that_does_not_load_or_is_unknown_is_refused(nursery: Run) -> None:
    async def work(zygote: Nursery) -> None:
        with pytest.raises(RuntimeError, match="does not load, on purpose"):
            await zygote.start(image=BROKEN)
        with pytest.raises(RuntimeError, match="no boot image is called os"):
            await zygote.start(image="os")

    nursery(work)


def test_an_image_that_says_much_of_why_it_does_not_load_is_refused_like_others(nursery: Run) -> None:
    async def work(zygote: Nursery) -> None:
        with pytest.raises(RuntimeError, match="does not load, on purpose") as told:
            await zygote.start(image=BROKEN_AT_LENGTH)
        assert len(str(told.value).encode()) < MESSAGE_BYTES
        assert await zygote.run(behaviour.RETURN, 3) == 3

    nursery(work)


def test_a_users_folder_does_not_shadow_ours(tmp_path: Path) -> None:
    for name in ("kerneld", "msgpack", "socket", "theirs"):
        (tmp_path / f"{name}.py").write_text(f"print('{name} of a user')\n")
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    number = theirs.fileno()
    arguments = ["--fd", str(number), "--log-folder", str(tmp_path), "--parent", str(os.getpid())]
    arguments += ["--import", "theirs,msgpack,nowhere", "--path", str(tmp_path)]
    with ours, theirs:
        zygote = subprocess.Popen(
            [sys.executable, "-m", "kerneld.host.zygote", *arguments],
            cwd=ROOT,
            pass_fds=[number],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    output, errors = zygote.communicate(timeout=SECONDS)
    assert (zygote.returncode, output) == (0, "theirs of a user\n")
    assert "No module named 'nowhere'" in errors


def test_a_forbidden_host_call_is_told_and_ends_the_task(nursery: Run) -> None:
    async def work(zygote: Nursery) -> None:
        tried = []
        for _ in range(3):
            pid, pidfd = await zygote.start(behaviour.FORBIDDEN, 16)
            assert await zygote.wait(pid, pidfd) == signal.SIGSYS
            assert "ptrace (101) with arguments 0x10, 0xb, 0xc, 0xd," in zygote.tried[pid].replace("(117)", "(101)")
            tried.append(zygote.tried[pid])
        told = zip(tried, zygote.log().splitlines(), strict=True)
        assert [each in line for each, line in told] == [True] * 3
        assert await zygote.run(behaviour.RETURN, 3) == 3

    nursery(work)


def test_a_task_starts_while_many_descriptors_of_its_user_are_on_their_way(nursery: Run) -> None:
    """Linux counts those of all processes against the limit of who hands one more over."""

    async def work(zygote: Nursery) -> None:
        sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with sender, receiver:
            socket.send_fds(sender, [b"x"], [0] * 200)
            assert await zygote.run(behaviour.RETURN, 3) == 3
            assert zygote.log() == ""

    nursery(work)


async def waits_ahead(zygote: int, *others: int) -> int:
    """The process that waits to be the next task, once there is one that is none of the others."""
    while True:
        for pid in map(int, Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split()):
            with contextlib.suppress(OSError):  # it ends
                if pid not in others and Path(f"/proc/{pid}/comm").read_text() == "sel4py-ahead\n":
                    return pid
        await asyncio.sleep(0)


def test_without_a_descriptor_a_start_fails_and_the_next_one_does_not(nursery: Run) -> None:
    """The limit rises, until it has descriptors for what a process begins with, and for the process itself."""

    async def work(zygote: Nursery) -> None:
        assert await zygote.run(behaviour.RETURN, 3) == 3
        # One made between two limits takes descriptors, which are back if it ends by the limit that it inherits.
        await waits_ahead(zygote.pid)
        with pytest.raises(RuntimeError):
            await zygote.start(image="os")  # the answer comes once the zygote is done with what it has made
        told = []
        before = resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE)
        for limit in range(64):
            resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE, (limit, before[1]))
            try:
                assert await zygote.run(behaviour.RETURN, 3) in (3, NOT_STARTED)  # the child inherits the limit
                break
            except RuntimeError as error:
                told.append(str(error))
        # One that was not to be may have handed over its listener; others may have descriptors on their way.
        told = [each for each in told if "is not sent" not in each]
        assert [each for each, _ in itertools.groupby(told)][-2:] == [
            "the zygote has no descriptor left for what it begins with",
            "the zygote has no descriptor left for its process",
        ]
        assert (zygote.logs / "zygote-output").read_text().count("no descriptor left") == len(told)
        resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE, before)
        assert await zygote.run(behaviour.RETURN, 4) in (4, NOT_STARTED)  # it was forked ahead, with the former limit
        assert await zygote.run(behaviour.RETURN, 4) == 4

    nursery(work)


def test_a_start_fails_while_too_many_descriptors_are_on_their_way_and_the_zygote_goes_on(nursery: Run) -> None:
    """They are counted for the user, whoever sends them, and held against the sender's own limit."""

    async def work(zygote: Nursery) -> None:
        assert await zygote.run(behaviour.RETURN, 3) == 3
        limits = resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE)
        sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with sender, receiver:
            for _ in range(2):
                socket.send_fds(sender, [b"x"], [0] * 100)
            resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE, (128, limits[1]))
            refused = ""
            try:
                assert await zygote.run(behaviour.RETURN, 3) == 3  # a host that lets this user's zygote send them
            except RuntimeError as error:
                refused = str(error)
            assert refused in ("", "its descriptor is not sent: Too many references: cannot splice")
        assert await zygote.run(behaviour.RETURN, 4) == 4

    nursery(work)


def test_tasks_die_with_the_zygote(nursery: Run) -> None:
    async def work(zygote: Nursery) -> None:
        pidfds = [(await zygote.start(behaviour.WAIT))[1] for _ in range(3)]
        zygote.link.close()
        assert all(has_ended(pidfd) for pidfd in pidfds)
        for pidfd in pidfds:
            os.close(pidfd)

    nursery(work)


def test_a_start_takes_the_process_that_waits_and_one_that_is_killed_is_replaced(nursery: Run) -> None:
    async def work(zygote: Nursery) -> None:
        first, pidfd = await zygote.start(behaviour.WAIT)
        parent = int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1])
        waiting = await waits_ahead(parent)
        second, other = await zygote.start(behaviour.WAIT)
        assert second == waiting
        unused = await waits_ahead(parent, second)
        os.kill(unused, signal.SIGKILL)
        third = await waits_ahead(parent, second, unused)
        assert await zygote.run(behaviour.RETURN, 4) == 4
        assert await waits_ahead(parent, second, unused, third)
        for pid, each in ((first, pidfd), (second, other)):
            kill(each)
            assert await zygote.wait(pid, each) == signal.SIGKILL

    nursery(work)


def test_a_planted_link_is_not_followed(nursery: Run) -> None:
    async def work(zygote: Nursery) -> None:
        target = zygote.logs / "victim"
        (zygote.logs / "task.log").symlink_to(target)
        assert await zygote.run(behaviour.RETURN, 0) == 125
        assert not target.exists()

    nursery(work)


async def start_and_end(zygote: Nursery, count: int) -> None:
    for number in range(count):
        assert await zygote.run(behaviour.RETURN, number & 63) == number & 63


def test_a_hundred_tasks_leave_nothing(nursery: Run) -> None:
    nursery(lambda zygote: start_and_end(zygote, 100))


@pytest.mark.slow
def test_a_thousand_tasks_leave_nothing(nursery: Run) -> None:
    nursery(lambda zygote: start_and_end(zygote, 1000))


def test_a_task_starts_much_sooner_than_python(nursery: Run) -> None:
    async def work(zygote: Nursery) -> None:
        ours, python = [], []
        for _ in range(10):
            begun = time.perf_counter()
            assert await zygote.run(behaviour.RETURN, 0) == 0
            ours.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", "pass"], check=True)
            python.append(time.perf_counter() - begun)
        ratio = statistics.median(python) / statistics.median(ours)
        print(f"start to end: task {min(ours) * 1e3:.2f} ms, python {min(python) * 1e3:.2f} ms, ratio {ratio:.1f}")
        assert ratio > 1

    nursery(work)
