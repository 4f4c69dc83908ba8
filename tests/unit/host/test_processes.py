"""The table of processes: what it remembers stays small, and who does not obey is ended."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import platform
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import msgpack
import pytest

from hw.fd_store import FdStore as Monitor
from hw.kernel_process import MESSAGE_BYTES
from kerneld.host import control, processes
from kerneld.host.clocks import ThreadClock
from kerneld.host.control import ANSWER_S, MESSAGE, ControlSocket
from kerneld.host.fd_store import FdStore
from kerneld.host.linux import wait_status_of_ending
from kerneld.host.lives import KEPT, Lives
from kerneld.host.process import Process
from kerneld.host.registers import start_request, vspace_of
from kerneld.host.zygote_link import StartRequest
from kerneld.outbox import Tell
from kerneld.records import KernelRecord, Tcb, VSpace
from libsel4py import abi
from libsel4py.abi import ControlOp
from tests.unit.host.table import Asked, Reports, Table, Timers


def with_table(work: Callable[[Table], None]) -> None:
    async def within() -> None:
        table = Table(asyncio.get_running_loop())
        try:
            work(table)
        finally:
            table.close()

    asyncio.run(within())


def test_ever_new_names_are_not_remembered_without_end() -> None:
    def work(table: Table) -> None:
        thread = table.machine.thread("task", own_vspace=True)
        for number in range(KEPT + 100):
            table.name(thread, f"name {number}")
            table.start(thread).failed("not today")
        assert len(table.processes.lives) == KEPT

    with_table(work)


def test_a_tasks_lives_are_counted_by_its_name() -> None:
    def work(table: Table) -> None:
        thread = table.machine.thread("task", own_vspace=True)
        other = table.machine.thread("other", own_vspace=True)
        table.start(other)
        for _ in range(2):
            table.start(thread).failed("not today")
        table.start(thread)
        assert {process.name: process.life for process in table.processes} == {"task": 3, "other": 1}

    with_table(work)


def test_a_start_that_cannot_be_asked_for_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def request(*arguments: Any) -> StartRequest:
        asked.append(os.memfd_create("mapped"))
        return replace(start_request(*arguments), map_fds=(asked[-1],))

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "no descriptor left")

    def work(table: Table) -> None:
        thread = table.machine.thread("task", own_vspace=True)
        monkeypatch.setattr(processes, "start_request", request)
        monkeypatch.setattr(table.zygote, "start", refuse)
        table.tell(Tell.START, thread)
        assert list(table.processes) == []
        (mapped,) = asked
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(mapped)

    with_table(work)


def test_a_name_that_is_used_again_counts_on_while_its_last_process_ends() -> None:
    """The next one starts before the killed one is reaped."""

    def work(table: Table) -> None:
        first = table.machine.thread("task", own_vspace=True)
        second = table.machine.thread("task", own_vspace=True)
        ended = table.start(first)
        table.processes.kill_task(first.tcb.address)
        table.start(second)
        ended.failed("it was killed")
        (process,) = table.processes
        assert process.life == 2

    with_table(work)


def test_many_that_are_started_while_they_end_are_each_found_by_what_they_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not by a look at all that wait, for each that is gone."""
    many, looked = 60, 0

    def counted(tcb: Tcb) -> int:
        nonlocal looked
        looked += 1
        return vspace_of(tcb)

    def work(table: Table) -> None:
        threads = [table.machine.thread(f"task {number}", own_vspace=True) for number in range(many)]
        first = [table.start(thread) for thread in threads]
        for thread in threads:
            table.tell(Tell.KILL, thread)
        monkeypatch.setattr(processes, "vspace_of", counted)
        for thread in threads:
            table.tell(Tell.START, thread)
        assert len(table.zygote.asked_for) == many
        for number, asked in enumerate(reversed(first), start=1):
            asked.failed("it was killed")
            assert len(table.zygote.asked_for) == many + number
        assert {process.name for process in table.processes} == {f"task {number}" for number in range(many)}
        assert looked <= 4 * many

    with_table(work)


def test_threads_that_wait_are_started_in_the_order_in_which_they_began_to() -> None:
    """The first one's arguments are the process's. One that is killed meanwhile waits no more."""

    def work(table: Table) -> None:
        threads = [table.machine.thread(name) for name in ("a", "b", "c")]  # of one address space
        ended = table.start(threads[0])
        table.tell(Tell.KILL, threads[0])
        for each in reversed(threads):
            table.tell(Tell.START, each)
        table.tell(Tell.KILL, threads[1])
        ended.failed("it was killed")
        (process,) = table.processes
        assert [thread.tcb for thread in process.threads] == [threads[2].tcb, threads[0].tcb]

    with_table(work)


def test_the_oldest_name_is_forgotten_first() -> None:
    lives = Lives(kept=2)
    for name in ("a", "b", "a", "c"):
        lives.end(name, lives.begin(name))
    assert [lives.begin(name) for name in ("a", "b", "c")] == [3, 1, 2]


def done(channel: socket.socket, error: int, word: int = 0) -> None:
    """Take a request, and answer it."""
    _, sequence, thread, *_ = MESSAGE.unpack(channel.recv(abi.CONTROL_BYTES))
    channel.send(MESSAGE.pack(ControlOp.DONE, sequence, thread, 0, error, word, *(0,) * 4))


class Keeper:
    """A socket's far end, played by the test: what it was asked."""

    def __init__(self, loop: Timers) -> None:
        ours, self.channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._timers = loop
        self.complaints: list[str] = []
        self.errors: list[int] = []
        self.control = ControlSocket(ours, loop, self.complaints.append)  # type: ignore[arg-type]

    def answer(self, error: int = 0) -> None:
        done(self.channel, error)
        self._timers.readable()

    def park(self, number: int) -> None:
        self.control.park(number, lambda error, _word: self.errors.append(error))


@pytest.fixture
def timers() -> Timers:
    return Timers()


@pytest.fixture
def keeper(timers: Timers) -> Iterator[Keeper]:
    keeper = Keeper(timers)
    yield keeper
    keeper.control.close()
    keeper.channel.close()


def test_a_keeper_that_does_not_answer_is_told_of(keeper: Keeper, timers: Timers) -> None:
    keeper.control.runs(True)
    keeper.park(1)
    timers.pass_seconds(ANSWER_S / 2)
    assert not keeper.complaints
    timers.pass_seconds(ANSWER_S / 2)
    assert keeper.complaints == ["it does not answer within 5 s"]


def test_answering_one_request_does_not_put_off_another(keeper: Keeper, timers: Timers) -> None:
    keeper.control.runs(True)
    keeper.park(1)
    timers.pass_seconds(ANSWER_S / 2)
    keeper.park(2)
    keeper.answer()
    timers.pass_seconds(ANSWER_S / 2)
    assert (keeper.errors, keeper.complaints) == ([0], [])
    timers.pass_seconds(ANSWER_S / 2)
    assert len(keeper.complaints) == 1


def test_an_answer_in_time_is_enough_and_nothing_is_waited_for(keeper: Keeper, timers: Timers) -> None:
    keeper.control.runs(True)
    keeper.park(1)
    keeper.answer()
    for _ in range(3):
        timers.pass_seconds(ANSWER_S)
    assert not keeper.complaints
    assert not timers.waiting


def test_an_answer_that_the_kernel_was_too_busy_to_read_counts(keeper: Keeper, timers: Timers) -> None:
    """An event loop may look at its timers before it looks at its descriptors."""
    keeper.control.runs(True)
    keeper.park(1)
    done(keeper.channel, 0)
    timers.pass_seconds(2 * ANSWER_S)
    assert (keeper.errors, keeper.complaints) == ([0], [])


def test_a_process_that_may_not_run_is_not_expected_to_answer(keeper: Keeper, timers: Timers) -> None:
    """One that was asked for and has not begun; one that the host has stopped."""
    keeper.park(1)
    timers.pass_seconds(10 * ANSWER_S)
    keeper.control.runs(True)
    timers.pass_seconds(ANSWER_S / 2)
    keeper.control.runs(False)
    timers.pass_seconds(10 * ANSWER_S)
    keeper.control.runs(True)
    timers.pass_seconds(ANSWER_S / 4)
    assert not keeper.complaints
    timers.pass_seconds(ANSWER_S / 4)
    assert len(keeper.complaints) == 1


def test_a_process_that_is_stopped_often_has_to_answer_nevertheless(keeper: Keeper, timers: Timers) -> None:
    keeper.control.runs(True)
    keeper.park(1)
    for _ in range(10):
        assert not keeper.complaints
        timers.pass_seconds(ANSWER_S / 10)
        keeper.control.runs(False)
        timers.pass_seconds(ANSWER_S)
        keeper.control.runs(True)
    assert set(keeper.complaints) == {"it does not answer within 5 s"}


@contextlib.asynccontextmanager
async def running(asked: Asked) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A process, given to the table as the one that it asked for; waited for at the end."""
    loop = asyncio.get_running_loop()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        asked.started(process.pid, os.pidfd_open(process.pid))
        yield process
        ended = loop.create_future()
        watched = os.pidfd_open(process.pid)
        loop.add_reader(watched, ended.set_result, None)
        try:
            await ended
        finally:
            loop.remove_reader(watched)
            os.close(watched)


@pytest.mark.parametrize("what", ["is silent", "has closed its socket", "says what no keeper says"])
def test_a_process_whose_keeper_does_not_obey_is_ended(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of its two threads is to be held, which is the keeper's to do. A line in the log says why it is ended."""
    monkeypatch.setattr(control, "ANSWER_S", 0.01)
    reason = "it does not answer within 0.01 s"

    async def within() -> None:
        nonlocal reason
        table = Table(asyncio.get_running_loop())
        first, second = table.machine.thread("task"), table.machine.thread("second")
        asked = table.start(first)
        with socket.socket(fileno=os.dup(asked.control)) as channel:
            async with running(asked) as process:
                table.tell(Tell.START, second)
                done(channel, 0)
                if what == "has closed its socket":
                    channel.close()
                    table.close_control_ends()
                if what == "says what no keeper says":
                    monkeypatch.setattr(control, "ANSWER_S", 1000)
                table.tell(Tell.STOP, second)
                if what == "says what no keeper says":
                    done(channel, errno.EPERM)
                    reason = "a thread does not stop when it is told to (EPERM)"
        assert process.returncode == -signal.SIGKILL
        assert table.reports.lines == [f"task (process {process.pid}) is ended: {reason}"]
        table.close()

    asyncio.run(asyncio.wait_for(within(), 30))


@pytest.mark.parametrize("answer", [0, errno.EINPROGRESS, errno.ESRCH])
def test_threads_one_behind_the_other_leave_nothing_in_a_process_that_goes_on(answer: int) -> None:
    """Neither here nor at the monitor, whatever the keeper says has become of the last one."""

    async def within() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        monitor = Monitor()
        store = FdStore(ours, loop)
        table = Table(loop, store=store)
        first, second = table.machine.thread("task"), table.machine.thread("second")
        asked = table.start(first)
        (process,) = table.processes
        with ours, theirs, socket.socket(fileno=os.dup(asked.control)) as channel:
            async with running(asked) as child:
                for _ in range(3):
                    table.tell(Tell.START, second)
                    done(channel, 0)
                    table.tell(Tell.KILL, second)
                    assert len(process.threads) == 2
                    done(channel, answer)
                    while len(process.threads) > 1:
                        await asyncio.sleep(0)
                store.note("last", None)  # what was dropped is told before
                while "last" not in monitor.kept:
                    data, descriptors, _, _ = socket.recv_fds(theirs, MESSAGE_BYTES, 4)
                    monitor.take(msgpack.unpackb(data), descriptors)
                assert set(monitor.kept) == {f"process:{process.start}", f"thread:{process.start}:0", "last"}
                child.kill()
        table.close()
        store.close()
        monitor.close()

    asyncio.run(asyncio.wait_for(within(), 30))


def test_a_thread_that_runs_before_its_process_is_known_has_its_own_clock() -> None:
    """A process that waited ahead of need begins, and so does its keeper, while the zygote's answer is on its way."""

    async def within() -> None:
        table = Table(asyncio.get_running_loop())
        first, second = table.machine.thread("task"), table.machine.thread("second")
        asked = table.start(first)
        table.tell(Tell.START, second)
        (process,) = table.processes
        with socket.socket(fileno=os.dup(asked.control)) as channel, subprocess.Popen(["sleep", "60"]) as child:
            done(channel, 0, child.pid)
            while not process.early_answers:
                await asyncio.sleep(0)
            assert [thread.clock for thread in process.threads] == [None, None]
            asked.started(child.pid, os.pidfd_open(child.pid))
            assert [thread.tid for thread in process.threads] == [0, child.pid]
            assert [type(thread.clock) for thread in process.threads] == [ThreadClock, ThreadClock]
            child.kill()
        table.close()

    asyncio.run(asyncio.wait_for(within(), 30))


def test_a_process_may_use_what_its_table_of_mappings_leaves_of_its_space() -> None:
    def work(table: Table) -> None:
        thread = table.machine.thread("task", own_vspace=True)
        space = VSpace(table.machine.ram, vspace_of(thread.tcb))
        asked = table.start(thread)
        assert asked.request.memory == space.private_bytes == (1 << space.size_bits) - space.table_bytes

    with_table(work)


def test_one_that_has_stood_by_is_called_as_the_task_and_counts_as_a_life_of_it() -> None:
    def work(table: Table) -> None:
        first, second, third = (table.machine.thread(name, own_vspace=True) for name in ("fs", "fs.standby", "another"))
        for thread in (first, second):
            table.start(thread)
        table.processes.kill_task(first.tcb.address)
        table.name(second, "fs")
        table.name(third, "fs.standby")
        table.start(third)
        living = [process for process in table.processes if not any(each.tcb == first.tcb for each in process.threads)]
        assert sorted((each.name, each.life) for each in living) == [("fs", 2), ("fs.standby", 2)]

    with_table(work)


@pytest.mark.parametrize("initial", [False, True])
def test_how_the_initial_task_ends_is_the_zygotes_to_say(initial: bool) -> None:
    """Where the zygote ends, all tasks end with it: what ends the system then is the zygote's end, not the task's."""

    def work(table: Table) -> None:
        thread = table.machine.thread("task", own_vspace=True)
        if initial:
            with table.machine.ram.transaction():
                KernelRecord.of(table.machine.ram).initial_tcb = thread.tcb
        asked = table.start(thread)
        # It hides nothing, so its end is told to anybody.
        with subprocess.Popen(["sleep", "60"]) as child:
            asked.started(child.pid, os.pidfd_open(child.pid))
            child.kill()
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            table.processes.hinted(asked.request.number)
            assert table.reports.deaths == ([] if initial else [(thread.tcb.address, signal.SIGKILL)])
            table.processes.exited(asked.request.number, signal.SIGKILL)
        assert table.reports.deaths == [(thread.tcb.address, signal.SIGKILL)]

    with_table(work)


def test_nothing_is_kept_of_one_that_is_known_to_have_ended_before_it_is_reaped() -> None:
    """The zygote would still tell a kernel that is started again that it runs."""

    async def within() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        monitor = Monitor()
        store = FdStore(ours, loop)
        table = Table(loop, store=store)
        thread = table.machine.thread("task", own_vspace=True)
        asked = table.start(thread)
        with ours, theirs, subprocess.Popen(["sleep", "60"]) as child:
            asked.started(child.pid, os.pidfd_open(child.pid))
            child.kill()
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            table.processes.hinted(asked.request.number)
            assert table.reports.deaths == [(thread.tcb.address, signal.SIGKILL)]
            theirs.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while received := socket.recv_fds(theirs, MESSAGE_BYTES, 4):
                    monitor.take(msgpack.unpackb(received[0]), received[1])
            assert not monitor.kept
        table.close()
        store.close()
        monitor.close()

    asyncio.run(within())


def test_one_that_seems_to_have_ended_is_killed_before_anything_is_said_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Linux lists of threads may lack one that runs."""
    monkeypatch.setattr("kerneld.host.process.runs_no_more", lambda pid: True)

    def work(table: Table) -> None:
        asked = table.start(table.machine.thread("task", own_vspace=True))
        with subprocess.Popen(["sleep", "60"]) as child:
            asked.started(child.pid, os.pidfd_open(child.pid))
            table.processes.hinted(asked.request.number)
            assert child.wait() == -signal.SIGKILL

    with_table(work)


def test_threads_that_only_begin_one_another_are_killed_before_they_are_told_dead() -> None:
    """The first has ended, and the one that runs is another one at each look."""
    exit_one_thread = {"x86_64": 60, "aarch64": 93}[platform.machine()]
    chain = (
        "import _thread, ctypes, signal\nsignal.alarm(30)\n"
        "def follow(): _thread.start_new_thread(follow, ())\n"
        f"follow()\nctypes.CDLL(None).syscall({exit_one_thread}, 1)"
    )

    def work(table: Table) -> None:
        asked = table.start(table.machine.thread("task", own_vspace=True))
        with subprocess.Popen([sys.executable, "-c", chain], stderr=subprocess.DEVNULL) as child:
            asked.started(child.pid, os.pidfd_open(child.pid))
            while wait_status_of_ending(child.pid) is None:
                continue
            for _ in range(1000):
                table.processes.hinted(asked.request.number)
            if not table.reports.deaths:
                child.kill()
            assert child.wait() == -signal.SIGKILL

    with_table(work)


@pytest.mark.parametrize("end", ["exit 3", "kill -TERM $$"])
def test_who_has_ended_by_itself_keeps_its_status(end: str) -> None:
    def work(table: Table) -> None:
        thread = table.machine.thread("task", own_vspace=True)
        asked = table.start(thread)
        with subprocess.Popen(["sh", "-c", f"read line; {end}"], stdin=subprocess.PIPE) as child:
            asked.started(child.pid, os.pidfd_open(child.pid))
            assert child.stdin is not None
            child.stdin.close()
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
            table.processes.hinted(asked.request.number)
            status = 3 << 8 if end == "exit 3" else signal.SIGTERM
            assert table.reports.deaths == [(thread.tcb.address, status)]
            assert child.wait() == os.waitstatus_to_exitcode(status)

    with_table(work)


def test_a_death_is_told_before_what_is_left_of_the_process_is_cleared_up() -> None:
    """Somebody may wait for the next life."""

    seen: list[tuple[str, bool]] = []
    processes: list[Process] = []

    class Seeing(Reports):
        def died(self, tcb: Tcb, status: int) -> None:
            seen.append(("died", processes[0].is_gone))

        def reaped(self, tcb: Tcb) -> None:
            seen.append(("reaped", processes[0].is_gone))

    async def within() -> None:
        table = Table(asyncio.get_running_loop(), Seeing())
        try:
            asked = table.start(table.machine.thread("task", own_vspace=True))
            processes.extend(table.processes)
            asked.failed("not today")
        finally:
            table.close()

    asyncio.run(within())
    assert seen == [("died", False), ("reaped", True)]
