"""A process that was made ahead of need: what it is while it waits, what it becomes, and when it is given no order."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hw.cpu import MOST_ORDERED_MAPS, file_rules
from hw.layers import NO_LAYER
from hw.oom_score import OomScore
from kerneld.host import ahead
from kerneld.host.ahead import FIRST_NUMBER, REPLACED, Ahead, Waiting
from kerneld.host.child import Request
from kerneld.host.code_paths import code_paths
from kerneld.host.forbidden import ForbiddenCalls
from libsel4py import abi
from libsel4py.abi import Rights
from tests.system.images import behaviour

SECONDS = 30
PAGE = 4096
ADDRESS = 0x7000_0000_0000
STEPS = 3
UNUSED = 114  # ahead.c
IMAGE_NUMBER = 5


SAY, STAY = range(100, 102)


def main(what: int, *rest: int) -> int | None:
    """A boot image: `behaviour`'s, but for two that write past what pytest has for a standard output."""
    if what not in (SAY, STAY):
        return behaviour.main(what, *rest)
    os.write(1, f"{rest} {behaviour.open_descriptors()}".encode())
    if what == STAY:
        threading.Event().wait()
    return None


class Score(OomScore):
    """Says who comes first where memory runs out, and changes no process."""

    def __init__(self) -> None:
        self.first: list[int] = []
        self.killed: list[int] = []

    def try_put_first(self, pid: int) -> bool:
        self.first.append(pid)
        return True

    def try_put_among_others(self, pid: int) -> bool:
        self.first.remove(pid)
        return pid not in self.killed


class Scene:
    """One who makes processes ahead, in this process, and reaps them."""

    def __init__(self, folder: Path) -> None:
        self.rehearsed = mmap.mmap(-1, PAGE)  # which its processes share
        self.folder = folder
        self.forbidden = ForbiddenCalls()
        self.listeners: list[int] = []
        self._rules = file_rules(code_paths([]))
        self._log_folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self.score = Score()
        self.ahead = Ahead(
            (sys.modules[__name__],),
            self._log_folder,
            os.getpid(),
            self._rules,
            NO_LAYER,
            self.forbidden.given.fileno(),
            rehearse=self._rehearse,
            score=self.score,
        )

    def _rehearse(self) -> Iterator[None]:
        for number in range(STEPS):
            self.rehearsed[0] = number + 1
            yield

    def waiting(self) -> Waiting:
        """One that is in its sandbox: it has handed its listener over."""
        made = self.ahead.fork()
        assert made is not None
        assert select.select([self.forbidden.socket], [], [], SECONDS)[0]
        self.listeners += list(self.forbidden.receive())
        return made

    def close(self) -> None:
        for descriptor in (self._rules, self._log_folder):
            if descriptor >= 0:
                os.close(descriptor)
        for listener in self.listeners:
            os.close(listener)
        self.forbidden.socket.close()
        self.forbidden.given.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    before = len(os.listdir("/proc/self/fd"))
    scene = Scene(tmp_path)
    try:
        yield scene
    finally:
        scene.close()
    assert len(os.listdir("/proc/self/fd")) == before


@contextlib.contextmanager
def request(*words: int, maps: tuple[tuple[int, int, int], ...] = (), text: bytes = b"") -> Iterator[Request]:
    """A request, its descriptors open meanwhile. The maps are of memory that begins with this text."""
    frame, memory, doorbell = os.memfd_create("frame"), os.memfd_create("memory"), os.eventfd(0)
    os.ftruncate(frame, 1 << abi.TRAP_FRAME_BITS)
    os.pwrite(memory, text.ljust(PAGE, b"\0"), 0)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    descriptors = (frame, doorbell, theirs.fileno(), *[memory] * len(maps))
    with ours, theirs:
        yield Request(
            7, "behaviour", IMAGE_NUMBER, "a task", (*words, 0, 0, 0, 0, 0, 0)[:6], 1 << 26, maps, descriptors
        )
        for descriptor in (frame, memory, doorbell):
            os.close(descriptor)


def reaped(waiting: Waiting) -> int:
    """Its exit code, or minus the signal's number."""
    os.close(waiting.pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(waiting.pid, 0)[1])


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def others(pid: int) -> list[str]:
    """What its descriptors are that are not its own."""
    found = []
    for each in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            if int(each) > 5:
                found.append(os.readlink(f"/proc/{pid}/fd/{each}").rpartition("/")[2])
    return found


def thread_names(pid: int) -> set[str]:
    return {Path(f"/proc/{pid}/task/{each}/comm").read_text() for each in os.listdir(f"/proc/{pid}/task")}


def end_unused(scene: Scene, waiting: Waiting) -> int:
    assert scene.ahead.ended(waiting.pidfd) == waiting
    return reaped(waiting)


def test_one_that_waits_is_in_its_sandbox_and_holds_nothing_of_anybodys(scene: Scene) -> None:
    waiting = scene.waiting()
    said = status(waiting.pid)
    assert [said[name] for name in ("Name", "NoNewPrivs", "Seccomp")] == ["sel4py-ahead", "1", "2"]
    assert {int(said[name], 16) for name in ("CapEff", "CapPrm", "CapInh")} == {0}
    if os.geteuid() == 0:  # it is not dumpable: others of its user are not shown its descriptors
        names = {os.readlink(f"/proc/{waiting.pid}/fd/{each}") for each in (3, 4, 5)}
        assert len(names) == 1
        assert names.pop().startswith("socket:")
        end = time.monotonic() + SECONDS
        # Its listener it closes once it has handed it over; the counter is in a later socket's place (hw/_cpu/awake.c).
        while sorted(others(waiting.pid)) != ["anon_inode:[eventfd]", "statm"]:
            assert time.monotonic() < end, others(waiting.pid)
    assert end_unused(scene, waiting) == UNUSED  # its socket is closed


def test_it_becomes_the_task_that_is_ordered(scene: Scene) -> None:
    waiting = scene.waiting()
    with request(SAY, 11, 22) as wanted:
        assert scene.ahead.order(wanted, 0, "task.log") == waiting
        assert scene.ahead.ended(waiting.pidfd) is None
        assert reaped(waiting) == 0
    # As many as one that is forked for it has: test_zygote.py.
    assert (scene.folder / "task.log").read_text() == "(11, 22, 0, 0, 0) [0, 1, 2, 4, 5, 6]"


def test_it_is_called_as_the_task_and_has_the_mappings_that_ride_along(scene: Scene) -> None:
    waiting = scene.waiting()
    maps = tuple((ADDRESS + PAGE * number, PAGE, int(Rights.READ)) for number in range(MOST_ORDERED_MAPS))
    with request(STAY, maps=maps, text=b"text") as wanted:
        assert scene.ahead.order(wanted, 0, "task.log") == waiting
        log = scene.folder / "task.log"
        while not log.read_text():
            assert not select.select([waiting.pidfd], [], [], 0)[0]
        mapped = Path(f"/proc/{waiting.pid}/maps").read_text() if os.geteuid() == 0 else None
        end = time.monotonic() + SECONDS
        while thread_names(waiting.pid) != {"a task\n"}:  # its keeper takes the name by itself
            assert time.monotonic() < end, thread_names(waiting.pid)
        signal.pidfd_send_signal(waiting.pidfd, signal.SIGKILL)
        assert reaped(waiting) == -signal.SIGKILL
    if mapped is not None:
        assert all(f"{address:x}-{address + PAGE:x} r--s" in mapped for address, _, _ in maps)


def test_its_listener_is_known_by_its_number_and_then_by_the_tasks(scene: Scene) -> None:
    waiting = scene.waiting()
    (listener,) = scene.listeners
    assert waiting.number == FIRST_NUMBER
    with request(behaviour.FORBIDDEN, 16) as wanted:
        assert scene.ahead.order(wanted, 0, "task.log") == waiting
        scene.forbidden.rename(waiting.number, wanted.number)
        assert select.select([listener], [], [], SECONDS)[0]
        tried = scene.forbidden.tried(listener)
        signal.pidfd_send_signal(waiting.pidfd, signal.SIGKILL)
        assert reaped(waiting) == -signal.SIGKILL
    assert tried is not None
    number, what = tried
    assert number == wanted.number
    assert "0x10, 0xb, 0xc, 0xd" in what
    scene.listeners.clear()  # it is closed by whoever forgets it
    assert list(scene.forbidden.forget(wanted.number)) == [listener]


def test_a_listener_that_comes_after_the_order_is_the_tasks_as_well(scene: Scene) -> None:
    made = scene.ahead.fork()
    assert made is not None
    with request(behaviour.FORBIDDEN, 16) as wanted:
        assert scene.ahead.order(wanted, 0, "task.log") == made
        scene.forbidden.rename(made.number, wanted.number)
        assert select.select([scene.forbidden.socket], [], [], SECONDS)[0]
        (listener,) = scene.forbidden.receive()
        assert select.select([listener], [], [], SECONDS)[0]
        assert (scene.forbidden.tried(listener) or (0, ""))[0] == wanted.number
        signal.pidfd_send_signal(made.pidfd, signal.SIGKILL)
        assert reaped(made) == -signal.SIGKILL
        assert list(scene.forbidden.forget(wanted.number)) == [listener]


def test_one_that_does_not_wait_yet_finds_its_order_when_it_does(scene: Scene) -> None:
    made = scene.ahead.fork()
    assert made is not None
    signal.pidfd_send_signal(made.pidfd, signal.SIGSTOP)
    with request(behaviour.RETURN, 3) as wanted:
        assert scene.ahead.order(wanted, 0, "task.log") == made
        signal.pidfd_send_signal(made.pidfd, signal.SIGCONT)
        assert reaped(made) == 3


def test_it_rehearses_to_the_end_where_nobody_wants_it(scene: Scene) -> None:
    waiting, end = scene.waiting(), time.monotonic() + SECONDS
    while scene.rehearsed[0] != STEPS:
        assert time.monotonic() < end
    with request(behaviour.RETURN, 3) as wanted:
        assert scene.ahead.order(wanted, 0, "task.log") == waiting
        assert reaped(waiting) == 3


def test_it_rehearses_nothing_where_it_is_not_to(scene: Scene) -> None:
    made = scene.ahead.fork(rehearses=False)
    assert made is not None
    with request(behaviour.RETURN, 3) as wanted:
        assert scene.ahead.order(wanted, 0, "task.log") == made
        assert reaped(made) == 3
    assert scene.rehearsed[0] == 0


def test_one_that_finds_its_order_rehearses_no_more(scene: Scene) -> None:
    made = scene.ahead.fork()
    assert made is not None
    signal.pidfd_send_signal(made.pidfd, signal.SIGSTOP)
    before = scene.rehearsed[0]  # 0, unless this process was slow
    with request(behaviour.RETURN, 3) as wanted:
        assert scene.ahead.order(wanted, 0, "task.log") == made
        signal.pidfd_send_signal(made.pidfd, signal.SIGCONT)
        assert reaped(made) == 3
    assert scene.rehearsed[0] <= min(before + 1, STEPS)


def test_a_dead_one_is_given_no_order_and_another_is_wanted(scene: Scene) -> None:
    waiting = scene.waiting()
    assert not scene.ahead.wanted
    signal.pidfd_send_signal(waiting.pidfd, signal.SIGKILL)
    assert select.select([waiting.pidfd], [], [], SECONDS)[0]
    with request(behaviour.RETURN) as wanted:
        assert scene.ahead.order(wanted, 0, "task.log") is None
        assert end_unused(scene, waiting) == -signal.SIGKILL
        assert scene.ahead.wanted
        assert scene.ahead.order(wanted, 0, "task.log") is None
        again = scene.waiting()
        assert scene.ahead.order(wanted, 0, "task.log") == again
        assert reaped(again) == 0


def test_it_comes_first_where_memory_runs_out_until_it_is_a_task(scene: Scene) -> None:
    waiting = scene.waiting()
    assert scene.score.first == [waiting.pid]
    with request(SAY) as wanted:
        assert scene.ahead.order(wanted, 0, "task.log") == waiting
        assert scene.score.first == []
        assert reaped(waiting) == 0


def test_it_comes_first_again_where_its_order_cannot_be_sent(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = scene.waiting()

    def refuse(*_: object) -> int:
        assert scene.score.first == []
        raise OSError(errno.ETOOMANYREFS, "too many on their way")

    with monkeypatch.context() as patched, request(SAY) as wanted:
        patched.setattr(socket, "send_fds", refuse)
        assert scene.ahead.order(wanted, 0, "task.log") is None
    assert scene.score.first == [waiting.pid]
    assert end_unused(scene, waiting) == UNUSED


def test_one_that_was_killed_and_has_yet_to_end_is_given_no_order(scene: Scene) -> None:
    waiting = scene.waiting()
    scene.score.killed.append(waiting.pid)
    with request(SAY) as wanted:
        assert scene.ahead.order(wanted, 0, "task.log") is None
    assert scene.ahead.waiting == waiting
    signal.pidfd_send_signal(waiting.pidfd, signal.SIGKILL)
    assert end_unused(scene, waiting) == -signal.SIGKILL
    assert scene.ahead.wanted


def test_those_that_die_are_replaced_three_times_until_the_next_start(scene: Scene) -> None:
    """What makes one fail would make the next one fail."""
    with request() as wanted:
        for _ in range(2):
            for number in range(REPLACED + 1):
                assert scene.ahead.wanted
                made = scene.ahead.fork()
                assert made is not None
                made.orders.shutdown(socket.SHUT_RDWR)
                assert select.select([made.pidfd], [], [], SECONDS)[0]
                assert end_unused(scene, made) == UNUSED
                assert scene.ahead.wanted == (number < REPLACED)
            assert scene.ahead.order(wanted, 0, "task.log") is None


def test_what_an_order_cannot_say_is_left_to_a_fork(scene: Scene) -> None:
    waiting = scene.waiting()
    maps = tuple((ADDRESS + PAGE * number, PAGE, int(Rights.READ)) for number in range(MOST_ORDERED_MAPS + 1))
    with request(maps=maps) as wanted:
        assert scene.ahead.order(wanted, 0, "task.log") is None
    (scene.folder / "planted.log").symlink_to("victim")
    with request() as wanted:
        assert scene.ahead.order(wanted, 0, "planted.log") is None
        assert scene.ahead.order(wanted, 0, "task.log") == waiting
        assert reaped(waiting) == 0
    assert not (scene.folder / "victim").exists()


def test_none_is_made_where_memory_is_short(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "LEAST_AVAILABLE", 1 << 62)
    assert scene.ahead.wanted
    assert scene.ahead.fork() is None
    assert not scene.ahead.wanted  # until the next start
    with request() as wanted:
        assert scene.ahead.order(wanted, 0, "task.log") is None
    assert scene.ahead.wanted
