"""lwIP as a guest of the user network, and through it with the host's sockets and name server."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import random
import socket
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from hw.devices.user_network.addresses import HostAddress, resolver_of
from hw.devices.user_network.network import NetworkOptions, UserNetwork
from libsel4py.interfaces.network import NameServerFailed, NameUnknown, Refused
from servers.network.stack import Stack, is_built
from tests.unit.servers.stack_pair import MACS, Peer, run_pair
from tests.unit.servers.test_stack import received, sent, soon, until

pytestmark = pytest.mark.skipif(
    not is_built(), reason="this tree was built without lwIP's source (make build says why)"
)
Work = Generator[None, None, None]
GATEWAYS = {4: "10.0.2.2", 6: "fd00::2"}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
NAMES = ("deb.debian.org", "example.org", "pypi.org")


def user_network(
    stream: socket.socket | None = None, datagrams: socket.socket | None = None, resolver: HostAddress | None = None
) -> Peer:
    """The user network in a process, and the host's servers beside it, which send back what they get."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    def echo_datagram(end: socket.socket) -> None:
        data, peer = end.recvfrom(65535)
        end.sendto(data, peer)

    async def serve(link: socket.socket, done: Callable[[], None], mtu: int) -> None:
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        async with contextlib.AsyncExitStack() as stack:
            if stream is not None:
                await stack.enter_async_context(await asyncio.start_server(echo, sock=stream))
            if datagrams is not None:
                loop.add_reader(datagrams, echo_datagram, datagrams)
            network = UserNetwork(loop, link, NetworkOptions(MACS[0], mtu, resolver=resolver), over.set)
            done()
            await over.wait()
            network.close()

    return Peer(lambda link, done, mtu: asyncio.run(serve(link, done, mtu)))


def bound(kind: socket.SocketKind, version: int) -> socket.socket:
    """The host's own socket, at any port of its loopback."""
    made = socket.socket(FAMILY[version], kind)
    try:
        made.bind((LOOPBACK[version], 0))
    except OSError as error:
        made.close()
        pytest.skip(f"this host has no {LOOPBACK[version]}: {error.strerror}")
    return made


@pytest.fixture(params=[4, 6])
def version(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def has_lease(stack: Stack) -> bool:
    return any("." in address for address in stack.interfaces()[0].addresses)


@pytest.mark.parametrize("mtu", [1500, 65520])
def test_a_connection_to_the_host(version: int, mtu: int) -> None:
    data = random.Random(3).randbytes(2 << 20)

    def side(stack: Stack) -> Work:
        sock = stack.stream(version)
        yield from until(lambda: has_lease(stack))
        sock.connect(GATEWAYS[version], port)
        yield from until(lambda: sock.writable or sock.error)
        assert sock.error is None
        back = bytearray()
        for at in range(0, len(data), 1 << 16):  # what is sent back is read at the same time
            yield from sent(sock, data[at : at + (1 << 16)])
            while part := sock.recv(1 << 16):
                back += part
        sock.shutdown(False, True)
        back += yield from received(sock)
        assert back == data
        sock.close()
        refused = stack.stream(version)
        refused.connect(GATEWAYS[version], nobody.getsockname()[1])
        yield from until(lambda: refused.error)
        assert isinstance(refused.error, Refused)

    with bound(socket.SOCK_STREAM, version) as listener, bound(socket.SOCK_STREAM, version) as nobody:
        port = listener.getsockname()[1]
        run_pair(side, user_network(stream=listener), mtu=mtu, first_asks=True)


def test_datagrams_to_the_host(version: int) -> None:
    def side(stack: Stack) -> Work:
        yield from until(lambda: has_lease(stack))
        sock = stack.datagrams(version)
        for size in (1, 500, 1400):
            for _ in range(100):  # the first one may be lost while addresses are looked up
                sock.send_to(b"x" * size, GATEWAYS[version], port)
                yield from soon(lambda: sock.readable)
                if sock.readable:
                    break
            came = sock.recv_from()
            while came is not None and len(came[0]) != size:  # of a former one, sent twice
                came = sock.recv_from()
            assert came == (b"x" * size, GATEWAYS[version], port)
        sock.close()

    with bound(socket.SOCK_DGRAM, version) as server:
        port = server.getsockname()[1]
        run_pair(side, user_network(datagrams=server), first_asks=True)


@pytest.mark.parametrize("gateway", [*GATEWAYS.values(), "fe80::2"])
def test_the_gateway_answers_echoes_by_each_of_its_addresses(gateway: str) -> None:
    def side(stack: Stack) -> Work:
        yield from until(lambda: stack.interfaces()[0].name_servers)
        answered: list[None] = []
        while not answered:
            stack.ping(gateway, 56, lambda: answered.append(None))
            yield from soon(lambda: answered)

    run_pair(side, user_network(), first_asks=True)


def resolvable() -> str:
    """A name that the host's name server knows now."""
    for name in NAMES:
        with contextlib.suppress(OSError):
            socket.getaddrinfo(name, 80, socket.AF_INET)
            return name
    pytest.skip(f"no name server answers this host for {', '.join(NAMES)}")


def test_names_by_the_host_s_name_server() -> None:
    name, resolver = resolvable(), resolver_of(Path("/etc/resolv.conf").read_text())
    if resolver is None:
        pytest.skip("/etc/resolv.conf names no server")

    def side(stack: Stack) -> Work:
        yield from until(lambda: stack.interfaces()[0].name_servers)
        answers: dict[str, object] = {}
        for each in (name, "nobody.invalid"):
            stack.resolve(each, lambda found, each=each: answers.__setitem__(each, found))  # type: ignore[misc]
        yield from until(lambda: len(answers) == 2)
        found = answers[name]
        assert isinstance(found, list), found
        assert ipaddress.ip_address(found[0]).version == 4
        assert isinstance(answers["nobody.invalid"], NameUnknown | NameServerFailed)

    run_pair(side, user_network(resolver=resolver), first_asks=True)
