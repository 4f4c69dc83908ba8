"""asyncio streams over the network server and a loopback stack."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from libsel4py import aio, net_aio
from libsel4py.errors import ServerDied
from libsel4py.interfaces.network import Network, StaleSocket, TooManySockets
from libsel4py.life import Life
from libsel4py.net_aio import AsyncNet, NetServer
from libsel4py.sockets import AF_INET6, Net
from libsel4py.task import current_task
from libsel4py.testing import worker_threads
from tests.loopback_stack import WINDOW
from tests.unit.servers.test_network import opened, served


def run(main: Callable[[AsyncNet], Coroutine[Any, Any, None]]) -> None:
    """Run a test on an event loop, with a session of the server."""

    async def within(network: AsyncNet) -> None:
        async with network:
            await asyncio.wait_for(main(network), 20)

    async def begin() -> None:
        await within(AsyncNet(made))

    with served() as (_, client), opened(client, 19) as made, worker_threads(2):
        aio.run(begin())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(5000):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_a_stream_is_echoed_to_its_end() -> None:
    async def main(network: AsyncNet) -> None:
        data = bytes(range(256)) * (4 * WINDOW // 256)
        async with await network.start_server(echo, "", 7) as server:
            reader, writer = await network.open_connection(*server.getsockname())

            async def send() -> None:
                writer.write(data)
                await writer.drain()
                writer.write_eof()

            sends = asyncio.create_task(send())
            assert await reader.read(-1) == data
            await sends
            writer.close()
            await writer.wait_closed()

    run(main)


def test_many_streams_at_once() -> None:
    async def main(network: AsyncNet) -> None:
        async def one(number: int) -> bytes:
            reader, writer = await network.open_connection("127.0.0.1", 7)
            writer.write(b"%d\n" % number)
            line = await reader.readline()
            writer.close()
            return line

        async with await network.start_server(echo, "", 7):
            lines = await asyncio.gather(*(one(number) for number in range(10)))
            assert lines == [b"%d\n" % number for number in range(10)]

    run(main)


@pytest.mark.parametrize("seconds", [60.0, 0.01])
def test_a_server_whose_sockets_are_used_up_goes_on_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """A connection that comes meanwhile waits: until another one of the server's ends, or somebody's socket."""
    monkeypatch.setattr(net_aio, "LOOK_SECONDS", seconds)

    async def main(network: AsyncNet) -> None:
        async with await network.start_server(echo, "", 7) as server:
            first, to_first = await network.open_connection("127.0.0.1", 7)
            to_first.write(b"first\n")
            assert await first.readline() == b"first\n"
            others = []
            with suppress(OSError):
                while True:
                    others.append(network.net.socket())
            others.pop().close()  # one is left for the client's end, and none for the server's
            second, to_second = await network.open_connection("127.0.0.1", 7)
            to_second.write(b"second\n")
            answer = asyncio.create_task(second.readline())
            while not network._short:
                await asyncio.sleep(0)
            assert not answer.done()
            if seconds < 1:
                others.pop().close()
            else:
                to_first.close()
            assert await answer == b"second\n"
            assert not server._closed.done()
            for each in others:
                each.close()
            to_second.close()

    run(main)


def test_nobody_listening_is_refused() -> None:
    async def main(network: AsyncNet) -> None:
        with pytest.raises(ConnectionRefusedError):
            await network.open_connection("127.0.0.1", 9)

    run(main)


def test_the_end_of_the_other_side_is_seen() -> None:
    async def main(network: AsyncNet) -> None:
        listener = network.net.create_server(("", 7))
        reader, writer = await network.open_connection("127.0.0.1", 7)
        accepted, _ = listener.accept()
        accepted.close()
        assert await reader.read(-1) == b""
        writer.close()
        listener.close()

    run(main)


def die_within(session: Network, call: str) -> None:
    """Let a session end as its server dies while it has taken a call."""

    def stale() -> list[str]:
        raise StaleSocket

    def dead(*args: int) -> None:
        session.rules = stale  # type: ignore[method-assign]  # of this one client
        raise ServerDied("the server has died")

    setattr(session, call, dead)


def stale_error() -> OSError:
    """As `os_error` has it."""
    error = OSError(errno.EBADF, "its session is over")
    error.__cause__ = StaleSocket()
    return error


def fail_once(server: NetServer, error: OSError) -> None:
    """Let the next look for connections fail."""
    accept = server._listener.accept

    def fail() -> None:
        server._listener.accept = accept  # type: ignore[method-assign]
        raise error

    server._listener.accept = fail  # type: ignore[method-assign, assignment]


async def answered(network: AsyncNet) -> bytes:
    """What an echo server answers, that may find out only now that its session is over."""
    while True:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            reader, writer = await network.open_connection("127.0.0.1", 7)
            writer.write(b"?")
            answer = await reader.readexactly(1)
            writer.close()
            return answer


def test_a_server_without_a_host_listens_for_both_versions_of_ip() -> None:
    async def main(network: AsyncNet) -> None:
        for port in (7, 0):
            async with await network.start_server(echo, "", port) as server:
                found = server.getsockname()[1]
                assert found == port or not port
                for host in ("127.0.0.1", "::1"):
                    reader, writer = await network.open_connection(host, found)
                    assert writer.get_extra_info("peername")[0] == host
                    writer.write(b"hello")
                    writer.write_eof()
                    assert await reader.read() == b"hello"
                    writer.close()
            for host in ("127.0.0.1", "::1"):
                with pytest.raises(ConnectionRefusedError):
                    await network.open_connection(host, found)

    run(main)


def test_a_server_at_an_address_listens_there_alone() -> None:
    async def main(network: AsyncNet) -> None:
        for host, other in (("127.0.0.1", "::1"), ("::1", "127.0.0.1")):
            async with await network.start_server(echo, host, 7):
                _, writer = await network.open_connection(host, 7)
                writer.close()
                with pytest.raises(ConnectionRefusedError):
                    await network.open_connection(other, 7)

    run(main)


def test_a_port_that_one_version_has_taken_is_not_served_by_half() -> None:
    async def main(network: AsyncNet) -> None:
        with network.net.create_server(("", 7), family=AF_INET6):
            with pytest.raises(OSError, match="taken"):
                await network.start_server(echo, "", 7)
            network.net.create_server(("", 7)).close()

    run(main)


@pytest.mark.parametrize("call", ["ready", "arm", "receive", "accept", "connect"])
def test_a_server_that_dies_within_a_call_is_followed_to_its_next_life(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net_aio, "LOOK_SECONDS", 3600)

    async def main(network: AsyncNet) -> None:
        async with await network.start_server(echo, "", 7):
            reader, writer = await network.open_connection("127.0.0.1", 7)
            die_within(network.session, call)
            assert await answered(network) == b"?"
            assert network.net.generation == 1
            with pytest.raises(ConnectionResetError):
                await reader.read(1)
            writer.close()

    run(main)


def test_a_socket_is_made_again_when_the_next_life_has_ended_too() -> None:
    """Its own session is over, and so is the one after it, which others have opened meanwhile."""

    async def main(network: AsyncNet) -> None:
        net = network.net
        with net.create_server(("", 7)) as listener:
            listener.settimeout(0)
            die_within(net.session, "interfaces")
            net.interfaces()
            assert net.generation == 1
            die_within(net.session, "socket")
            with pytest.raises(BlockingIOError):
                listener.accept()
            assert net.generation == 2
            (await asyncio.to_thread(net.create_connection, ("127.0.0.1", 7))).close()
            listener.accept()[0].close()

    run(main)


@pytest.mark.parametrize("error", [ServerDied("64 lives have ended with it"), stale_error()])
def test_what_listens_goes_on_behind_a_server_that_died_again_and_again(
    error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(net_aio, "LOOK_SECONDS", 0.01)

    async def main(network: AsyncNet) -> None:
        async with await network.start_server(echo, "127.0.0.1", 7) as server:
            fail_once(server, error)
            assert await answered(network) == b"?"
            assert not server._closed.done()

    run(main)


def test_why_nothing_comes_any_more_is_told() -> None:
    async def main(network: AsyncNet) -> None:
        async with await network.start_server(echo, "", 7) as server:
            fail_once(server.others[0], OSError(errno.ENETDOWN, "the network server is gone"))
            server.others[0]._go_on()
            await server.others[0]._closed
            fail_once(server, OSError(errno.ENETDOWN, "the network server is gone"))
            server._go_on()
            with pytest.raises(OSError, match="the network server is gone"):
                await server.serve_forever()

    run(main)


def test_one_that_was_connecting_when_the_server_died_takes_no_listener_its_events() -> None:
    """The socket that listens may have the other one's number in the next session."""

    async def main(network: AsyncNet) -> None:
        former = network.session
        former.connect = lambda *_: False  # type: ignore[method-assign, assignment]  # its answer is on its way
        connecting = asyncio.create_task(network.open_connection("127.0.0.1", 7))
        while not network._handlers:
            await asyncio.sleep(0)
        (number,) = network._handlers
        async with await network.start_server(echo, "127.0.0.1", 7) as server:
            die_within(former, "ready")
            network._bell.peer.signal()
            with pytest.raises(ConnectionResetError):
                await connecting
            assert server._listener.number == number
            assert await answered(network) == b"?"

    run(main)


def test_the_servers_end_is_told() -> None:
    """Nothing is asked of the session when its server ends: a stream that waits is reset all the same."""

    async def main(network: AsyncNet) -> None:
        listener = network.net.create_server(("", 7))
        reader, writer = await network.open_connection("127.0.0.1", 7)
        accepted, _ = listener.accept()
        waits = asyncio.create_task(reader.read(1))
        while not network._handlers:
            await asyncio.sleep(0)
        die_within(network.session, "ready")
        former, server._life = server._life, Life(server.task)  # as the next one has its own
        former.end()
        with pytest.raises(ConnectionResetError):
            await waits
        assert network.net.generation == 1
        writer.close()
        accepted.close()
        listener.close()

    async def begin(made: Net) -> None:
        async with AsyncNet(made) as network:
            await asyncio.wait_for(main(network), 20)

    with served() as (server, client), opened(client, 19) as made, worker_threads(2):
        aio.run(begin(made))


def test_one_that_the_server_refuses_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise TooManySockets("no room")

    async def enter() -> None:
        async with AsyncNet(made):
            raise AssertionError("it is refused")

    with served() as (_, client), opened(client) as made:
        monkeypatch.setattr(Network, "watch", refuse)
        task = current_task()
        before = task.slots.free_count, task.memory.statistics().free_bytes
        for _ in range(3):
            with pytest.raises(OSError, match="no room"):
                aio.run(enter())
        assert (task.slots.free_count, task.memory.statistics().free_bytes) == before
