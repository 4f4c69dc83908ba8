"""Channels' pages: what is handed to whom, and what is taken away again. A test is the keeper of each process."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import mmap
import os
import resource
import signal
import socket
import struct
from array import array
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import msgpack
import pytest

from hw.fd_store import FdStore as Monitor
from kerneld.host import channels as host_channels
from kerneld.host.channel_mail import MOST_WAITING, WINDOW
from kerneld.host.channels import Channels
from kerneld.host.control import MESSAGE
from kerneld.host.fd_store import FdStore
from kerneld.host.process import Phase, Process, Thread
from kerneld.outbox import Message, Tell
from libsel4py import abi
from libsel4py.abi import ChannelRole, ChannelState, ControlOp, Label, Syscall
from tests import harness
from tests.channel_scene import CHANNEL, NOTIFICATION, ChannelScene
from tests.conformance.scenes import got
from tests.harness import Machine

MARK = 0x51


@dataclass(slots=True)
class Received:
    op: ControlOp
    thread: int
    words: tuple[int, ...]
    sequence: int
    descriptors: list[int]


@dataclass(slots=True, eq=False)
class Keeper:
    """The other end of a process's control socket: it reads what was sent, and answers when it is told to."""

    process: Process
    end: socket.socket
    told: list[Received] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def read(self) -> list[Received]:
        """All that has been sent since the last look."""
        found = []
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.end, abi.CONTROL_BYTES, 4, socket.MSG_DONTWAIT)
            except BlockingIOError:
                break
            op, sequence, thread, _, *words = MESSAGE.unpack(data)
            found.append(Received(ControlOp(op), thread, tuple(words), sequence, descriptors))
        self.told += found
        return found

    def told_of_receivers(self) -> list[tuple[int, int, int]]:
        """Thread, channel and listener of each RECEIVER_DIED since the last look, when nothing else was sent."""
        read = self.read()
        assert {each.op for each in read} <= {ControlOp.RECEIVER_DIED}
        return [(each.thread, each.words[0], each.words[1]) for each in read]

    async def answer(self, received: Received, error: int = 0) -> None:
        self.end.send(MESSAGE.pack(ControlOp.DONE, received.sequence, received.thread, 0, error, *(0,) * 5))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def close(self) -> None:
        for received in self.told:
            for descriptor in received.descriptors:
                os.close(descriptor)


class Host:
    """The pure kernel's channels, carried out by the host's part for processes that the test is the keeper of."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.machine = Machine()
        self.scene = ChannelScene(self.machine)
        self.threads: dict[int, Thread] = {}
        self.failed: list[int] = []
        self.opened: list[Keeper] = []
        self.kept, monitor = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.monitor = monitor
        self.store = FdStore(self.kept, self.loop)
        self.kept_entries = Monitor()
        self.ends: dict[int, tuple[int, array[int]]] = {}
        self.channels = Channels(self.machine.ram, self.loop, self.store, self.threads, self._fail, self.ends)
        self.server = self.keeper(self.scene.server, 0)
        self.client = self.keeper(self.scene.client, 3)
        self.machine.tells.clear()

    def read_kept(self) -> None:
        """As the monitor does, for whom the kernel waits."""
        self.monitor.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while received := socket.recv_fds(self.monitor, 4096, 4):
                for descriptor in received[1]:
                    os.close(descriptor)

    def keeper(self, thread: harness.Thread, number: int) -> Keeper:
        """A process for a thread, in which it has this number."""
        refusals: list[str] = []
        process = Process(
            thread.tcb.address, "task", "image", 1, self.loop, lambda process, what: refusals.append(what)
        )
        process.phase = Phase.LIVE
        end = socket.socket(fileno=os.dup(process.control_fd))
        process.release_control_end()
        end.setblocking(False)
        host_thread = Thread(thread.tcb, process, number, thread.tcb.trap_frame, -1)
        process.threads.append(host_thread)
        self.threads[thread.tcb.address] = host_thread
        return Keeper(process, end, ended=refusals)

    def _fail(self, channel: int) -> None:
        self.failed.append(channel)
        self.machine.kernel.channel_failed(channel)
        self.machine.settle()
        self.carry_out()

    def carry_out(self) -> list[Message]:
        """Do what the kernel has told, as `System` does."""
        tells = self.scene.told()
        for message in tells:
            self.do(message)
        return tells

    def do(self, message: Message) -> None:
        """Ends of channels go the way of those that end together."""
        if message.kind is Tell.CHANNEL_GONE:
            self.channels.gone((message.subject,))
        else:
            self.channels.carry_out(message)

    def connect(self) -> None:
        assert self.scene.listen() == 1
        assert self.scene.connect() > 0
        self.carry_out()

    def close(self) -> None:
        for keeper in (self.server, self.client, *self.opened):
            keeper.close()
            keeper.process.close()
            keeper.end.close()
        self.channels.close()
        self.store.close()
        self.kept_entries.close()
        self.kept.close()
        self.monitor.close()


Work = Callable[[Host], Awaitable[None]]


@pytest.fixture
def run() -> Callable[[Work], None]:
    """Runs a coroutine with a host, and checks that no descriptor is left of it."""

    def run(work: Work) -> None:
        async def within() -> None:
            gc.collect()  # what other tests have left does not end meanwhile
            before = len(os.listdir("/proc/self/fd"))
            host = Host()
            try:
                await work(host)
            finally:
                host.close()
            assert len(os.listdir("/proc/self/fd")) == before

        asyncio.run(within())

    return run


def page_of(received: Received) -> mmap.mmap:
    return mmap.mmap(received.descriptors[0], abi.CHANNEL_BYTES)


def test_client_and_server_are_handed_one_page(run: Callable[[Work], None]) -> None:
    async def work(host: Host) -> None:
        host.connect()
        (to_client,), (to_server,) = host.client.read(), host.server.read()
        number = host.scene.channel().number
        assert (to_client.op, to_client.thread) == (ControlOp.CHANNEL, 3)
        assert to_client.words[:4] == (number, ChannelRole.CLIENT, 7, 0)
        assert (to_server.op, to_server.thread) == (ControlOp.CHANNEL, 0)
        assert to_server.words[:4] == (number, ChannelRole.SERVER, 7, 1)
        with page_of(to_client) as mine, page_of(to_server) as theirs:
            for offset, word in abi.CHANNEL_UNUSED.items():
                assert struct.unpack_from("<I", mine, offset) == (word,)
            assert sum(mine[:]) == sum(abi.CHANNEL_UNUSED.values())
            mine[abi.CHANNEL_MR] = MARK
            assert theirs[abi.CHANNEL_MR] == MARK

    run(work)


def test_a_notifications_channel_has_other_roles(run: Callable[[Work], None]) -> None:
    async def work(host: Host) -> None:
        host.scene.listen(cptr=NOTIFICATION)
        assert host.scene.connect(cptr=NOTIFICATION) > 0
        host.carry_out()
        number = host.scene.channel().number
        assert [each.words[:4] for each in host.client.read()] == [(number, ChannelRole.SIGNALLER, 4, 0)]
        assert [each.words[:4] for each in host.server.read()] == [(number, ChannelRole.WAITER, 4, 1)]

    run(work)


def test_the_page_is_taken_away_for_good(run: Callable[[Work], None]) -> None:
    """Whoever kept a descriptor finds an empty file that cannot grow, and cannot keep it from being emptied."""

    async def work(host: Host) -> None:
        host.connect()
        (to_client,), (to_server,) = host.client.read(), host.server.read()
        with pytest.raises(PermissionError):
            os.ftruncate(to_client.descriptors[0], 2 * abi.CHANNEL_BYTES)
        host.machine.revoke(host.scene.way)
        host.carry_out()
        assert os.fstat(to_server.descriptors[0]).st_size == 0
        with pytest.raises(PermissionError):
            os.ftruncate(to_server.descriptors[0], abi.CHANNEL_BYTES)
        number = to_client.words[0]
        for keeper, thread in ((host.client, 3), (host.server, 0)):
            assert [(each.op, each.thread, each.words[0]) for each in keeper.read()] == [
                (ControlOp.CHANNEL_CLOSE, thread, number)
            ]
        assert len(host.channels) == 0

    run(work)


def test_a_client_has_a_look_when_its_page_is_gone(
    run: Callable[[Work], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may sleep on the page. Not while its keeper tells it of other ends; a server looks by itself."""
    sizes: list[int] = []

    async def work(host: Host) -> None:
        def look(process: Process, thread: Thread) -> None:
            assert (process, thread.number) == (host.client.process, 3)
            sizes.append(os.fstat(to_client.descriptors[0]).st_size)

        monkeypatch.setattr(Process, "have_look", look)
        host.scene.more_channels(host.scene.client, 1, 2)
        assert host.scene.listen() == 1
        for number in range(3):
            assert host.scene.connect(channel=CHANNEL + number) > 0
        host.carry_out()
        to_client, *_ = host.client.read()
        for number in range(2):
            host.scene.client.call(CHANNEL + number, Label.CHANNEL_DISCONNECT)
        host.carry_out()
        assert sizes == [0]
        for closed in host.client.read():
            await host.client.answer(closed)
        host.scene.client.call(CHANNEL + 2, Label.CHANNEL_DISCONNECT)
        host.carry_out()
        assert sizes == [0, 0]

    run(work)


def test_what_ends_together_each_thread_is_told_of_together(
    run: Callable[[Work], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its client has one look, when all pages are gone."""

    async def work(host: Host) -> None:
        sizes: list[list[int]] = []

        def look(process: Process, thread: Thread) -> None:
            assert process is host.client.process
            sizes.append([os.fstat(each.descriptors[0]).st_size for each in opened])

        monkeypatch.setattr(Process, "have_look", look)
        host.scene.more_channels(host.scene.client, 1, 2)
        assert host.scene.listen() == 1
        for number in range(3):
            assert host.scene.connect(channel=CHANNEL + number) > 0
        host.carry_out()
        opened = host.client.read()
        host.server.read()
        host.channels.gone(list(host.ends))
        assert sizes == [[0, 0, 0]]
        first, second, third = (each.words[0] for each in opened)
        for keeper, thread in ((host.client, 3), (host.server, 0)):
            (told,) = keeper.read()
            assert (told.op, told.thread) == (ControlOp.CHANNEL_CLOSE, thread)
            assert told.words[:3] == (first | second << 32, third, 0)
        assert (len(host.channels), host.ends) == (0, {})

    run(work)


@pytest.mark.parametrize("number", [0, 3])
def test_the_fast_path_is_told_what_pages_are_taken_away_by(run: Callable[[Work], None], number: int) -> None:
    """Whose first thread has one may be asleep on it; another thread is woken by its keeper."""

    async def work(host: Host) -> None:
        host.client.process.threads[0].number = number
        host.connect()
        ((channel, (page, pidfd)),) = host.ends.items()
        (to_client,) = host.client.read()
        assert channel == host.scene.channel().address
        assert os.path.samestat(os.fstat(page), os.fstat(to_client.descriptors[0]))
        assert (pidfd is host.client.process.pidfd) == (number == 0)
        assert list(pidfd) == [-1]
        host.client.process.started(0, ours := os.dup(host.monitor.fileno()))
        assert list(pidfd) == [ours if number == 0 else -1]
        host.client.process.close()
        assert list(pidfd) == [-1]

    run(work)


def test_what_the_fast_path_took_away_is_not_taken_again(
    run: Callable[[Work], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All else of the channel's end is carried out."""

    async def work(host: Host) -> None:
        monkeypatch.setattr(Process, "have_look", lambda process, thread: pytest.fail("it was told"))
        host.connect()
        (to_client,) = host.client.read()
        del host.ends[host.scene.channel().address]
        host.machine.revoke(host.scene.way)
        host.carry_out()
        assert os.fstat(to_client.descriptors[0]).st_size == abi.CHANNEL_BYTES
        assert [each.op for each in host.client.read()] == [ControlOp.CHANNEL_CLOSE]
        assert len(host.channels) == 0

    run(work)


@pytest.mark.parametrize(("number", "phase", "signals"), [(0, Phase.LIVE, 1), (1, Phase.LIVE, 0), (0, Phase.ENDING, 0)])
def test_only_a_processs_first_thread_has_a_look(
    run: Callable[[Work], None], monkeypatch: pytest.MonkeyPatch, number: int, phase: Phase, signals: int
) -> None:
    """What is sent to a process is its first thread's; and it is nothing to one that is ended."""
    sent: list[tuple[int, int]] = []

    async def work(host: Host) -> None:
        keeper = host.keeper(host.scene.receiver("other"), number)
        host.opened.append(keeper)
        keeper.process.adopt(0, ours := os.dup(host.monitor.fileno()))
        sent.clear()
        keeper.process.phase = phase
        keeper.process.have_look(keeper.process.threads[0])
        assert sent == [(ours, signal.SIGURG)] * signals

    monkeypatch.setattr(signal, "pidfd_send_signal", lambda descriptor, number: sent.append((descriptor, number)))
    run(work)


def test_the_monitor_keeps_the_page_while_it_lives(run: Callable[[Work], None]) -> None:
    async def work(host: Host) -> None:
        host.connect()
        data, descriptors, _, _ = socket.recv_fds(host.monitor, 256, 4)
        key = f"channel:{host.scene.channel().address:x}".encode()
        assert b"keep" in data
        assert key in data
        assert len(descriptors) == 1
        os.close(descriptors[0])
        host.scene.client.call(CHANNEL, Label.CHANNEL_DISCONNECT)
        host.carry_out()
        host.monitor.setblocking(False)
        data = await host.loop.sock_recv(host.monitor, 256)
        assert b"drop" in data
        assert key in data

    run(work)


@pytest.mark.parametrize("tells", [1, 2])
def test_a_receivers_end_is_told_once_its_process_is_gone(run: Callable[[Work], None], tells: int) -> None:
    """Until then it may store an answer. Also where it is given up by the kernel first (EXIT, the last capability)."""

    async def work(host: Host) -> None:
        host.connect()
        host.client.read()
        host.machine.died(host.scene.server, 9)
        for message in tells * host.scene.told():
            host.do(message)
        host.server.process.kill()
        assert host.client.told_of_receivers() == []
        host.server.process.close()
        number = host.scene.channel().number
        assert host.client.told_of_receivers() == [(3, number, 1)]
        assert not host.failed

    run(work)


def test_a_receivers_end_is_kept_no_longer_than_its_channel(run: Callable[[Work], None]) -> None:
    """The client may never say that it knows, and a next channel at the same address has ends of its own."""

    async def work(host: Host) -> None:
        host.connect()
        host.client.read()
        host.machine.died(host.scene.server, 9)
        host.carry_out()
        host.server.process.kill()
        host.server.process.close()
        (told,) = host.client.read()
        assert told.op == ControlOp.RECEIVER_DIED
        assert [key for key in kept_by_monitor(host) if key.startswith("died:")]
        host.channels.gone((host.scene.channel().address,))
        assert not [key for key in kept_by_monitor(host) if not key.startswith("mail:")]

    run(work)


def kept_by_monitor(host: Host) -> list[str]:
    """The keys that are with the monitor, once what was dropped is told."""
    host.store.note("asked", None)
    while "asked" not in host.kept_entries.kept:
        data, descriptors, _, _ = socket.recv_fds(host.monitor, 4096, 4)
        host.kept_entries.take(msgpack.unpackb(data), descriptors)
    del host.kept_entries.kept["asked"]
    return list(host.kept_entries.kept)


def siblings(host: Host) -> tuple[harness.Thread, Keeper]:
    """Two threads of one process listen, as 1 and 2, to what the client calls. Returns the first, and their keeper."""
    first = host.scene.receiver("first", own_vspace=False)
    second = host.scene.receiver("second", own_vspace=False)
    keeper = host.keeper(first, 0)
    beside = Thread(second.tcb, keeper.process, 1, second.tcb.trap_frame, -1)
    keeper.process.threads.append(beside)
    host.threads[second.tcb.address] = beside
    host.opened.append(keeper)
    assert (host.scene.listen(first), host.scene.listen(second)) == (1, 2)
    assert host.scene.connect() > 0
    host.carry_out()
    host.client.read()
    keeper.read()
    return first, keeper


@pytest.mark.parametrize("error", [0, errno.ESRCH])
def test_a_receivers_end_is_told_once_the_page_is_taken_back(run: Callable[[Work], None], error: int) -> None:
    """Where its process goes on, since another of its threads listens. The thread may listen again meanwhile."""

    async def work(host: Host) -> None:
        first, keeper = siblings(host)
        number = host.scene.channel().number
        assert got(first.syscall(Syscall.LISTEN, 0)).label == 0
        assert host.scene.listen(first) == 3
        host.carry_out()
        assert host.client.told_of_receivers() == []
        taken, again = keeper.read()
        assert (taken.op, taken.thread, taken.words[:2]) == (ControlOp.CHANNEL_CLOSE, 0, (number, 0))
        assert (again.op, again.thread, again.words[3]) == (ControlOp.CHANNEL, 0, 3)
        await keeper.answer(taken, error)
        assert host.client.told_of_receivers() == [(3, number, 1)]
        await keeper.answer(again)
        host.scene.client.call(CHANNEL, Label.CHANNEL_DISCONNECT)
        host.carry_out()
        assert sorted(each.thread for each in keeper.read() if each.op is ControlOp.CHANNEL_CLOSE) == [0, 1]

    run(work)


def test_a_page_that_cannot_be_taken_back_is_taken_from_all(run: Callable[[Work], None]) -> None:
    async def work(host: Host) -> None:
        first, keeper = siblings(host)
        channel = host.scene.channel()
        assert got(first.syscall(Syscall.LISTEN, 0)).label == 0
        host.carry_out()
        (taken,) = keeper.read()
        await keeper.answer(taken, errno.ENOMEM)
        while not host.failed:
            await asyncio.sleep(0)
        assert host.failed == [channel.address]
        assert [each.op for each in host.client.read()] == [ControlOp.CHANNEL_CLOSE]

    run(work)


def test_a_channel_may_end_while_its_page_is_taken_back(run: Callable[[Work], None]) -> None:
    async def work(host: Host) -> None:
        first, keeper = siblings(host)
        assert got(first.syscall(Syscall.LISTEN, 0)).label == 0
        host.carry_out()
        (taken,) = keeper.read()
        host.scene.client.call(CHANNEL, Label.CHANNEL_DISCONNECT)
        host.carry_out()
        await keeper.answer(taken)
        assert [each.op for each in host.client.read()] == [ControlOp.CHANNEL_CLOSE]
        assert not host.failed

    run(work)


def test_tells_that_are_carried_out_twice_do_no_harm(run: Callable[[Work], None]) -> None:
    async def work(host: Host) -> None:
        assert host.scene.listen() == 1
        host.scene.connect()
        for message in 2 * host.scene.told():
            host.do(message)
        assert [len(keeper.read()) for keeper in (host.client, host.server)] == [1, 1]
        host.scene.client.call(CHANNEL, Label.CHANNEL_DISCONNECT)
        for message in 2 * host.scene.told():
            host.do(message)
        assert [len(keeper.read()) for keeper in (host.client, host.server)] == [1, 1]

    run(work)


def test_the_client_hears_of_a_receivers_death_and_the_next_life_gets_the_page(run: Callable[[Work], None]) -> None:
    async def work(host: Host) -> None:
        host.connect()
        (to_client,) = host.client.read()
        host.machine.died(host.scene.server, 9)
        host.machine.kernel.reaped(host.scene.server.tcb)
        host.server.process.phase = Phase.ENDING
        host.server.process.close()
        host.carry_out()
        assert host.client.told_of_receivers() == [(3, to_client.words[0], 1)]
        host.machine.root.call(host.scene.server.cap, Label.TCB_RESUME)
        host.server.close()
        host.server.end.close()
        host.server = host.keeper(host.scene.server, 0)
        assert host.scene.listen() == 2
        host.carry_out()
        (to_server,) = host.server.read()
        assert to_server.words[:4] == (to_client.words[0], ChannelRole.SERVER, 7, 2)
        with page_of(to_client) as mine, page_of(to_server) as theirs:
            mine[abi.CHANNEL_MR] = MARK
            assert theirs[abi.CHANNEL_MR] == MARK

    run(work)


def test_without_descriptors_the_channel_is_severed_and_nothing_else(
    run: Callable[[Work], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(host: Host) -> None:
        def none_left(name: str, flags: int) -> int:
            raise OSError(errno.EMFILE, "none left")

        with monkeypatch.context() as patch:
            patch.setattr(host_channels.os, "memfd_create", none_left)
            host.connect()
        assert host.failed == []
        await asyncio.sleep(0)
        assert host.failed == [host.scene.channel().address]
        assert host.scene.channel().client is None
        assert host.client.read() == host.server.read() == []
        assert host.scene.connect() > 0
        host.carry_out()
        assert [len(keeper.read()) for keeper in (host.client, host.server)] == [1, 1]

    run(work)


def test_half_of_the_descriptors_are_left_to_tasks(
    run: Callable[[Work], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(host: Host) -> None:
        before = len(os.listdir("/proc/self/fd"))
        with monkeypatch.context() as patch:
            patch.setattr(resource, "getrlimit", lambda what: (8, 8))
            host.connect()
        await asyncio.sleep(0)
        assert host.failed == [host.scene.channel().address]
        assert len(os.listdir("/proc/self/fd")) == before

    run(work)


def test_a_channel_that_is_severed_before_its_failure_is_told_is_left_alone(
    run: Callable[[Work], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another object may lie at its address by then."""

    async def work(host: Host) -> None:
        def none_left(name: str, flags: int) -> int:
            raise OSError(errno.EMFILE, "none left")

        with monkeypatch.context() as patch:
            patch.setattr(host_channels.os, "memfd_create", none_left)
            host.connect()
        host.scene.client.call(CHANNEL, Label.CHANNEL_DISCONNECT)
        host.carry_out()
        await asyncio.sleep(0)
        assert host.failed == []

    run(work)


def test_a_keeper_that_cannot_map_the_page_ends_the_channel(run: Callable[[Work], None]) -> None:
    async def work(host: Host) -> None:
        host.connect()
        (to_server,) = host.server.read()
        await host.server.answer(to_server, errno.ENOMEM)
        await asyncio.sleep(0)
        assert host.failed == [host.scene.channel().address]
        assert [each.op for each in host.client.read()] == [ControlOp.CHANNEL, ControlOp.CHANNEL_CLOSE]

    run(work)


def test_a_client_that_connects_and_disconnects_does_not_fill_the_servers_socket(run: Callable[[Work], None]) -> None:
    """The server does not answer meanwhile: no more than the window is on its way, and nothing piles up."""

    async def work(host: Host) -> None:
        host.connect()
        mail = host.server.process.channel_mail
        (opened,) = host.client.read()
        for _ in range(10 * WINDOW):
            host.scene.client.call(CHANNEL, Label.CHANNEL_DISCONNECT)
            host.carry_out()
            assert host.scene.connect() > 0
            host.carry_out()
            for received in host.client.read():
                await host.client.answer(received)
            host.read_kept()
        assert len(mail) <= 2
        waiting = host.server.read()
        assert len(waiting) == WINDOW
        while waiting:
            await host.server.answer(waiting.pop(0))
            waiting += host.server.read()
        assert len(mail) == 0
        last = host.server.told[-1]
        assert last.op is ControlOp.CHANNEL
        with page_of(last) as theirs:
            assert struct.unpack_from("<I", theirs, abi.CHANNEL_STATE) == (ChannelState.IDLE,)
        assert opened.words[0] == last.words[0]
        assert host.server.ended == []

    run(work)


def test_a_client_that_hears_of_too_many_deaths_loses_the_channel(run: Callable[[Work], None]) -> None:
    """Its keeper does not answer: what is not told any more must not be lost in silence."""

    async def work(host: Host) -> None:
        host.connect()
        channel = host.scene.channel()
        mail = host.client.process.channel_mail
        for number in range(1, WINDOW + MOST_WAITING + 2):
            mail.receiver_died(3, channel.number, number, lambda: host.failed.append(0))
        assert len(mail) == MOST_WAITING
        assert host.failed

    run(work)


def test_a_thread_without_a_process_is_handed_nothing(run: Callable[[Work], None]) -> None:
    async def work(host: Host) -> None:
        assert host.scene.listen() == 1
        del host.threads[host.scene.server.tcb.address]
        host.scene.connect()
        host.carry_out()
        assert host.server.read() == []
        assert len(host.client.read()) == 1

    run(work)


def test_hints_are_counted_and_told_the_sleeper() -> None:
    machine = Machine()
    scene = ChannelScene(machine)
    scene.listen()
    frame = scene.server.tcb.trap_frame
    machine.ram.poke(frame + abi.TASK_WAITING, struct.pack("<I", 1))
    got(scene.client.syscall(abi.Syscall.NB_SEND, NOTIFICATION))
    assert struct.unpack("<I", machine.ram.read(frame + abi.RECEIVE_HINT, 4)) == (0,)
    assert scene.client.syscall(abi.Syscall.CALL, 1) is None
    assert struct.unpack("<I", machine.ram.read(frame + abi.RECEIVE_HINT, 4)) == (1,)
