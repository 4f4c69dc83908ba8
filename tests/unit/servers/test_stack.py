"""lwIP as the server uses it: two stacks over a link, whatever the link does to frames; and frames that are none."""

from __future__ import annotations

import hashlib
import ipaddress
import os
import random
import struct
import time
from collections.abc import Callable, Generator

import pytest

from libsel4py.interfaces.network import (
    AddressInUse,
    AddressNotHere,
    BadAddress,
    Closed,
    NameServerFailed,
    NameUnknown,
    NetworkError,
    NotConnected,
    Refused,
    Reset,
    TooLong,
)
from servers.network import _lwip
from servers.network.stack import Stack, TcpSocket, is_built
from tests.unit.servers.stack_pair import ADDRESSES, SIX, Link, run_pair

pytestmark = pytest.mark.skipif(
    not is_built(), reason="this tree was built without lwIP's source (make build says why)"
)

PORT = 7000
Work = Generator[None, None, None]


def until(condition: Callable[[], object], seconds: float = 40) -> Generator[None, None, object]:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        yield
    return found


def soon(condition: Callable[[], object]) -> Generator[None, None, None]:
    """Wait for it for a fifth of a second."""
    end = time.monotonic() + 0.2
    while not condition() and time.monotonic() < end:
        yield


def listening(stack: Stack, version: int = 4, backlog: int = 8) -> TcpSocket:
    listener = stack.stream(version)
    listener.bind("0.0.0.0" if version == 4 else "::", PORT)
    listener.listen(backlog)
    return listener


def connected(stack: Stack, host: str = ADDRESSES[0]) -> Generator[None, None, TcpSocket]:
    sock = stack.stream(6 if ":" in host else 4)
    sock.connect(host, PORT)
    yield from until(lambda: sock.writable or sock.error)
    if sock.error is not None:
        raise sock.error
    return sock


def sent(sock: TcpSocket, data: bytes) -> Generator[None, None, None]:
    view = memoryview(data)
    while view:
        count = sock.send(bytes(view[:65536]))
        view = view[count:]
        if not count:
            yield


def received(sock: TcpSocket, size: int = -1) -> Generator[None, None, bytes]:
    """So many bytes, or all up to the end."""
    parts, left = [], size
    while left:
        data = sock.recv(min(left, 65536) if left > 0 else 65536)
        if data is None:
            yield
            continue
        if not data:
            assert size < 0, f"the end came {left} bytes too early"
            break
        parts.append(data)
        left -= len(data) if left > 0 else 0
    return b"".join(parts)


def exchange(
    size: int, host: str = ADDRESSES[0], connects: Callable[[Stack, str], Generator[None, None, TcpSocket]] = connected
) -> tuple[Callable[[Stack], Work], Callable[[Stack], Work]]:
    """Both sides send so many bytes at the same time, and check the other's."""
    there, back = random.Random(1).randbytes(size), random.Random(2).randbytes(size)

    def talk(sock: TcpSocket, ours: bytes, theirs: bytes) -> Work:
        view, parts, count = memoryview(ours), [], 0
        while view or count < len(theirs):
            moved = sock.send(bytes(view[:65536])) if view else 0
            view = view[moved:]
            data = sock.recv(65536)
            if data:
                parts.append(data)
                count += len(data)
            elif not moved:
                yield
        assert hashlib.sha256(b"".join(parts)).digest() == hashlib.sha256(theirs).digest()
        sock.shutdown(False, True)
        assert (yield from received(sock)) == b""
        sock.close()

    def server(stack: Stack) -> Work:
        listener = listening(stack, 6 if ":" in host else 4)
        yield from until(lambda: listener.readable)
        sock = listener.accept()
        assert sock is not None
        yield from talk(sock, back, there)

    def client(stack: Stack) -> Work:
        yield
        sock = yield from connects(stack, host)
        yield from talk(sock, there, back)

    return server, client


@pytest.mark.parametrize("mtu", [1280, 1500, 9000, 65535])
def test_bytes_go_both_ways(mtu: int) -> None:
    run_pair(*exchange(4 << 20), mtu=mtu)


def test_bytes_go_both_ways_over_ipv6() -> None:
    run_pair(*exchange(1 << 20, SIX[0]))


@pytest.mark.parametrize(
    "link",
    [Link(loss=0.02), Link(repeat=0.05), Link(reorder=0.1), Link(loss=0.01, repeat=0.02, reorder=0.05, seed=7)],
    ids=["loss", "repeat", "reorder", "all"],
)
def test_what_a_bad_link_does_is_not_seen(link: Link) -> None:
    run_pair(*exchange(300_000), link=link)


def echoes(count: int) -> Callable[[Stack], Work]:
    """A side that gives back what comes by so many connections, each to its end."""

    def server(stack: Stack) -> Work:
        listener = listening(stack, backlog=64)
        left = count
        open_ones: list[TcpSocket] = []
        while left:
            while (sock := listener.accept()) is not None:
                open_ones.append(sock)
            for sock in list(open_ones):
                data = sock.recv(10)
                if data:
                    sock.send(data)
                elif data == b"":
                    sock.close()
                    open_ones.remove(sock)
                    left -= 1
            yield

    return server


def test_the_first_byte_of_many_connections_comes_and_their_ends() -> None:
    count = 200

    def client(stack: Stack) -> Work:
        socks = []
        for number in range(count):
            sock = stack.stream(4)
            sock.connect(ADDRESSES[0], PORT)
            socks.append(sock)
            if number % 32 == 31:
                yield from until(lambda: all(each.writable or each.error for each in socks))
        yield from until(lambda: all(each.writable or each.error for each in socks))
        assert not any(sock.error for sock in socks)
        for number, sock in enumerate(socks):
            sock.send(b"%d" % number)
        for number, sock in enumerate(socks):
            assert (yield from received(sock, len(b"%d" % number))) == b"%d" % number
            sock.close()

    run_pair(echoes(count), client)


def test_a_connection_is_refused_reset_and_half_closed() -> None:
    def server(stack: Stack) -> Work:
        listener = listening(stack)
        yield from until(lambda: listener.readable)
        first = listener.accept()
        assert first is not None
        assert first.peer[0] == ADDRESSES[1]
        assert (yield from received(first)) == b"all"
        yield from sent(first, b"still here")
        first.close()
        yield from until(lambda: listener.readable)
        second = listener.accept()
        assert second is not None
        second.abort()

    def client(stack: Stack) -> Work:
        refused = stack.stream(4)
        refused.connect(ADDRESSES[0], PORT + 1)
        yield from until(lambda: refused.error)
        assert isinstance(refused.error, Refused)
        refused.close()
        sock = yield from connected(stack)
        yield from sent(sock, b"all")
        sock.shutdown(False, True)
        with pytest.raises(Closed):
            sock.send(b"more")
        assert (yield from received(sock)) == b"still here"
        sock.close()
        sock = yield from connected(stack)
        yield from until(lambda: sock.error)
        assert isinstance(sock.error, Reset)
        with pytest.raises(NetworkError):
            sock.send(b"x")
        sock.close()

    run_pair(server, client)


def test_events_are_told_of() -> None:
    def server(stack: Stack) -> Work:
        told: list[object] = []
        listener = listening(stack)
        listener.on_event = told.append
        yield from until(lambda: told)
        assert told == [listener]
        sock = listener.accept()
        assert sock is not None
        sock.on_event = told.append
        sock.send(b"go on")
        yield from until(lambda: sock in told and sock.readable)
        assert sock.recv(10) == b"x"
        sock.close()

    def client(stack: Stack) -> Work:
        sock = yield from connected(stack)
        assert (yield from received(sock, 5)) == b"go on"
        sock.send(b"x")
        yield from until(lambda: sock.closed)
        sock.close()

    run_pair(server, client)


def test_what_waits_in_one_connection_is_bounded_and_goes_on_when_it_is_read() -> None:
    size = 8 << 20

    def server(stack: Stack) -> Work:
        listener, told = listening(stack), stack.datagrams(4)
        told.bind("0.0.0.0", PORT)
        yield from until(lambda: listener.readable)
        sock = listener.accept()
        assert sock is not None
        yield from until(lambda: told.readable)
        data = yield from received(sock)
        assert len(data) == size
        sock.close()

    def client(stack: Stack) -> Work:
        sock = yield from connected(stack)
        stop = time.monotonic() + 0.3
        count = 0
        while time.monotonic() < stop:
            count += sock.send(bytes(65536))
            yield
        assert count < size // 2
        telling = stack.datagrams(4)
        telling.connect(ADDRESSES[0], PORT)
        telling.send(b"read now")
        yield from sent(sock, bytes(size - count))
        sock.shutdown(False, True)
        yield from until(lambda: sock.closed)
        sock.close()

    run_pair(server, client)


def test_datagrams_come_whole_and_from_whom_they_say() -> None:
    def server(stack: Stack) -> Work:
        sock = stack.datagrams(4)
        sock.bind("0.0.0.0", PORT)
        yield from until(lambda: sock.readable)
        data, host, port = sock.recv_from() or (b"", "", 0)
        assert (data, host) == (b"x" * 5000, ADDRESSES[1])
        assert sock.send_to(b"answer", host, port) == 6
        with pytest.raises(NotConnected):
            sock.send(b"to whom?")
        with pytest.raises(TooLong):
            sock.send_to(bytes(65508), host, port)

    def client(stack: Stack) -> Work:
        sock = stack.datagrams(4)
        sock.connect(ADDRESSES[0], PORT)
        for _ in range(100):  # the first one may be lost while addresses are looked up
            sock.send(b"x" * 5000)
            yield from soon(lambda: sock.readable)
            if sock.readable:
                break
        assert sock.recv_from() == (b"answer", ADDRESSES[0], PORT)
        assert sock.recv_from() is None
        sock.close()

    run_pair(server, client)


@pytest.mark.parametrize("hosts", [ADDRESSES, SIX])
def test_an_echo_comes_back(hosts: tuple[str, str]) -> None:
    def server(stack: Stack) -> Work:
        stop = time.monotonic() + 1
        yield from until(lambda: time.monotonic() > stop)

    def client(stack: Stack) -> Work:
        answered: list[None] = []
        for _ in range(20):
            stack.ping(hosts[0], 56, lambda: answered.append(None))
            yield from soon(lambda: answered)
            if answered:
                return
        raise AssertionError("no echo came")

    run_pair(server, client)


def alone(work: Callable[[Stack], None]) -> None:
    """Run with a stack of its own and nobody at the other end."""

    def side(stack: Stack) -> Work:
        work(stack)
        return
        yield

    run_pair(side, lambda stack: iter(()))  # type: ignore[arg-type,return-value]


def bound(stack: Stack, host: str) -> TcpSocket:
    sock = stack.stream(6 if ":" in host else 4)
    sock.bind(host, PORT)
    return sock


def test_addresses_that_are_none_are_refused() -> None:
    def work(stack: Stack) -> None:
        first, second = stack.stream(4), stack.stream(4)
        first.bind(ADDRESSES[0], PORT)
        first.listen(1)
        second.bind(ADDRESSES[0], PORT)
        with pytest.raises(AddressInUse):
            second.listen(1)
        with pytest.raises(AddressNotHere):
            stack.stream(4).bind("10.9.9.9", PORT)
        with pytest.raises(BadAddress):
            stack.stream(4).bind("nowhere", PORT)
        with pytest.raises(BadAddress):
            stack.set_name_servers(["x"])
        answers: list[object] = []
        stack.resolve("10.0.0.9", answers.append)
        assert answers == [["10.0.0.9"]]
        stack.resolve("x" * 300, answers.append)
        assert isinstance(answers[1], NameUnknown | NameServerFailed)
        made = stack.add_interface(bytes((2, 0, 0, 0, 0, 7)), 1500, lambda frame: None)
        made.add_address("FD00:0:0:1:0:0:0:AB/64")
        assert "fd00:0:0:1::ab/64" in stack.interfaces()[1].addresses  # as Python and RFC 5952 write it

    alone(work)


@pytest.mark.parametrize(("first", "second"), [("0.0.0.0", ADDRESSES[0]), (ADDRESSES[0], "0.0.0.0")])
def test_nobody_takes_a_part_of_a_port_at_which_another_listens(first: str, second: str) -> None:
    """Who listens at one address would get the connections of who listens at all of them."""

    def work(stack: Stack) -> None:
        holder = bound(stack, first)
        holder.listen(1)
        with pytest.raises(AddressInUse):
            bound(stack, second).listen(1)
        other = bound(stack, "::" if first == "0.0.0.0" else "127.0.0.1")  # nothing comes to both
        other.listen(1)
        other.close()
        holder.close()
        bound(stack, second).listen(1)

    alone(work)


@pytest.mark.parametrize("version", [4, 6])
def test_who_listens_without_a_port_gets_one(version: int) -> None:
    def work(stack: Stack) -> None:
        sockets = [stack.stream(version), stack.stream(version)]
        for sock in sockets:
            sock.listen(1)
        ports = {sock.local[1] for sock in sockets}
        assert len(ports) == 2
        assert 0 not in ports

    alone(work)


ROUTER = "fe80::8"


def advertisement(servers: list[str], lifetime: int) -> bytes:
    """What a router says of name servers (RFC 8106), as a frame."""
    source, target = (ipaddress.IPv6Address(each).packed for each in (ROUTER, "ff02::1"))
    option = struct.pack(">BBHI", 25, 1 + 2 * len(servers), 0, lifetime)
    option += b"".join(ipaddress.IPv6Address(each).packed for each in servers)
    message = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + option
    pseudo = source + target + struct.pack(">II", len(message), 58)
    total = sum(struct.unpack(f">{len(pseudo + message) // 2}H", pseudo + message))
    total = (total & 0xFFFF) + (total >> 16)
    message = message[:2] + struct.pack(">H", ~(total + (total >> 16)) & 0xFFFF) + message[4:]
    header = struct.pack(">IHBB", 6 << 28, len(message), 58, 255) + source + target
    return b"\x33\x33\0\0\0\1" + b"\2\0\0\0\0\x08" + b"\x86\xdd" + header + message


def test_name_servers_of_routers_come_behind_the_settings() -> None:
    def work(stack: Stack) -> None:
        def servers() -> list[str]:
            return stack.interfaces()[0].name_servers

        stack.input(advertisement(["fd00::53", "fd00::54"], 600))
        assert servers() == ["fd00::53", "fd00::54"]
        stack.set_name_servers(["10.0.2.3", "1.1.1.1"])
        assert servers() == ["10.0.2.3", "1.1.1.1", "fd00::53", "fd00::54"]
        for _ in range(3):
            stack.input(advertisement(["fd00::53", "fd00::54"], 600))
        assert servers() == ["10.0.2.3", "1.1.1.1", "fd00::53", "fd00::54"]
        stack.input(advertisement(["fd00::53"], 0))
        assert servers() == ["10.0.2.3", "1.1.1.1", "fd00::54"]
        stack.set_name_servers([])
        stack.input(advertisement([f"fd00::{number}" for number in range(60, 64)], 600))
        assert servers() == ["fd00::60", "fd00::61", "fd00::62", "fd00::63"]
        stack.input(advertisement([f"fd00::{number}" for number in range(60, 64)], 0))
        assert servers() == []

    alone(work)


def test_a_name_server_that_is_no_address_keeps_nobody_from_the_others() -> None:
    def work(stack: Stack) -> None:
        stack.set_name_servers(["0.0.0.0", "10.0.0.3"])
        assert stack.interfaces()[0].name_servers == ["10.0.0.3"]
        answers: list[object] = []
        stack.resolve("somebody.example", answers.append)
        assert answers == []  # it is asked for

    alone(work)


def test_a_router_takes_back_a_name_server_that_there_was_no_place_for() -> None:
    def work(stack: Stack) -> None:
        stack.set_name_servers([f"10.0.2.{number}" for number in range(3)])
        stack.input(advertisement(["fd00::53", "fd00::54"], 600))
        assert stack.interfaces()[0].name_servers[3:] == ["fd00::53"]
        stack.input(advertisement(["fd00::54", "fd00::55"], 0))
        stack.set_name_servers([])
        assert stack.interfaces()[0].name_servers == ["fd00::53"]

    alone(work)


def test_a_name_server_of_a_router_is_kept_for_as_long_as_that_has_said() -> None:
    def work(stack: Stack) -> None:
        def servers() -> list[str]:
            stack.poll()
            return stack.interfaces()[0].name_servers

        stack.input(advertisement(["fd00::53"], 600))
        stack.input(advertisement(["fd00::54"], 60))
        stack.input(advertisement(["fd00::55"], 0xFFFF_FFFF))  # for ever
        assert servers() == ["fd00::53", "fd00::54", "fd00::55"]
        _lwip.let_go_by(59_000)
        assert servers() == ["fd00::53", "fd00::54", "fd00::55"]
        _lwip.let_go_by(2_000)
        assert servers() == ["fd00::53", "fd00::55"]
        stack.input(advertisement(["fd00::53"], 1200))
        _lwip.let_go_by(1_199_000)
        assert servers() == ["fd00::53", "fd00::55"]
        _lwip.let_go_by(2_000)
        assert servers() == ["fd00::55"]
        stack.input(advertisement(["fd00::55"], 1))
        _lwip.let_go_by(2_000)
        assert servers() == []

    alone(work)


def datagram_frame(source: str, target: str) -> bytes:
    """A frame with a datagram for `PORT`."""
    ends = [ipaddress.ip_address(each).packed for each in (source, target)]
    payload = b"hi"
    size = 8 + len(payload)
    udp = struct.pack("!HHHH", 9, PORT, size, 0) + payload
    total = checksum(b"".join(ends) + struct.pack("!II", size, 17) + udp)
    udp = udp[:6] + struct.pack("!H", total) + udp[8:]
    if len(ends[0]) == 16:
        return struct.pack("!12xHIHBB", 0x86DD, 6 << 28, size, 17, 64) + b"".join(ends) + udp
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + size, 0, 0, 64, 17, 0) + b"".join(ends)
    return struct.pack("!12xH", 0x0800) + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp


def test_nobody_on_the_network_is_taken_for_this_host() -> None:
    """Rules go by addresses: who may hear 127.0.0.1 alone would hear a neighbour that says it is that."""

    def work(stack: Stack) -> Work:
        own = [ADDRESSES[0], SIX[0]]
        yield from until(lambda: any(SIX[0] in text for text in stack.interfaces()[0].addresses))
        mac = bytes.fromhex(stack.interfaces()[0].mac.replace(":", ""))
        for ours, neighbour, loopback in zip(own, (ADDRESSES[1], SIX[1]), ("127.0.0.1", "::1"), strict=True):
            sock = stack.datagrams(6 if ":" in ours else 4)
            sock.bind("::" if ":" in ours else "0.0.0.0", PORT)
            for source, target in ((loopback, ours), (ours, ours), (neighbour, loopback), (neighbour, ours)):
                frame = datagram_frame(source, target)
                stack.input(mac + frame[6:])
            found = sock.recv_from()
            assert found == (b"hi", neighbour, 9)
            assert sock.recv_from() is None
            sock.send_to(b"own", ours, PORT)  # what this host says to itself does not come by the card
            yield from until(lambda sock=sock: sock.readable)
            assert sock.recv_from() == (b"own", ours, PORT)

    run_pair(work, lambda stack: iter(()))  # type: ignore[arg-type,return-value]


def test_link_local_addresses_are_reached() -> None:
    """By who says nothing of an interface: there is one that they can be at."""
    theirs, ours = "fe80::ff:fe00:2", "fe80::ff:fe00:1"

    def asks(stack: Stack) -> Work:
        answered: list[None] = []
        ready = lambda: ours + "/64" in stack.interfaces()[0].addresses  # noqa: E731  # nobody else has it, as far as is known
        yield from until(ready)
        while not answered:
            stack.ping(theirs, 56, lambda: answered.append(None))
            yield from soon(lambda: answered)
        sock = stack.datagrams(6)
        sock.bind(ours, PORT)
        while not sock.readable:
            sock.send_to(b"datagram", theirs, PORT)
            yield from soon(lambda: sock.readable)
        assert sock.recv_from() == (b"datagram", theirs, PORT)
        stream = yield from connected(stack, theirs)
        assert stream.peer == (theirs, PORT)

    def answers(stack: Stack) -> Work:
        sock, listener = stack.datagrams(6), listening(stack, 6)
        sock.bind("::", PORT)
        yield from until(lambda: sock.readable)
        came = sock.recv_from()
        assert came == (b"datagram", ours, PORT)
        yield from until(lambda: sock.send_to(*came))
        yield from until(lambda: listener.readable)
        made = listener.accept()
        assert made is not None
        assert made.peer[0] == ours

    run_pair(asks, answers)


def test_what_is_lost_at_once_is_sent_again_at_once() -> None:
    """By a peer that is none: it says where it is, and is silent."""

    def work(stack: Stack) -> None:
        sent: list[bytes] = []
        mac, other = bytes((2, 0, 0, 0, 0, 7)), bytes((2, 0, 0, 0, 0, 8))
        made = stack.add_interface(mac, 1500, sent.append)
        made.set_up(True)
        made.add_address("10.9.0.1/24")

        def packets() -> list[bytes]:
            return [frame[34:] for frame in sent if frame[12:14] == b"\x08\0"]

        stack.stream(4).connect("10.9.0.2", PORT)
        stack.send_again()
        assert packets() == [], "it has yet to be told where that is"
        answer = bytes.fromhex("0001 0800 0604 0002") + other + bytes((10, 9, 0, 2)) + mac + bytes((10, 9, 0, 1))
        _lwip.input(1, mac + other + b"\x08\x06" + answer)
        asked = packets()
        assert asked
        stack.send_again()
        stack.send_again()
        assert packets() == asked + [asked[-1]] * 2

    alone(work)


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def test_who_keeps_back_a_last_piece_acknowledges_what_it_has_got() -> None:
    """By a peer that sends, and acknowledges nothing."""
    mac, other = bytes((2, 0, 0, 0, 0, 7)), bytes((2, 0, 0, 0, 0, 8))
    ours, theirs = bytes((10, 9, 0, 1)), bytes((10, 9, 0, 2))

    def frame(port: int, number: int, acknowledged: int, flags: int, data: bytes = b"") -> bytes:
        head = struct.pack("!HHIIBBHHH", PORT, port, number, acknowledged, 5 << 4, flags, 0xFFFF, 0, 0)
        length = len(head) + len(data)
        total = checksum(theirs + ours + struct.pack("!BBH", 0, 6, length) + head + data)
        packet = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 0, 0, 64, 6, 0, theirs, ours)
        packet = packet[:10] + checksum(packet).to_bytes(2, "big") + packet[12:]
        return mac + other + b"\x08\0" + packet + head[:16] + total.to_bytes(2, "big") + head[18:] + data

    def work(stack: Stack) -> None:
        frames: list[bytes] = []
        made = stack.add_interface(mac, 1500, frames.append)
        made.set_up(True)
        made.add_address("10.9.0.1/24")
        sock = stack.stream(4)
        sock.connect("10.9.0.2", PORT)
        _lwip.input(1, mac + other + b"\x08\x06" + bytes.fromhex("0001 0800 0604 0002") + other + theirs + mac + ours)
        port, number = struct.unpack("!H2xI", frames[-1][34:42])
        _lwip.input(1, frame(port, 1000, number + 1, 0x12))
        assert (sock.send(b"first"), sock.send(b"kept back")) == (5, 9)
        before = len(frames)
        assert frames[-1].endswith(b"first")
        for at in (1001, 2001):
            _lwip.input(1, frame(port, at, number + 1, 0x10, bytes(1000)))
        stack.poll()
        assert 3001 in [int.from_bytes(each[42:46], "big") for each in frames[before:]]

    alone(work)


def test_a_process_has_one_stack() -> None:
    def work(stack: Stack) -> None:
        assert stack.interfaces()[0].addresses[0] == f"{ADDRESSES[0]}/24"
        with pytest.raises(RuntimeError, match="one stack"):
            Stack()

    alone(work)


def frames_of_all_kinds(randomly: random.Random, count: int) -> Generator[bytes, None, None]:
    """Random bytes, and frames that begin as good ones do."""
    us, them = bytes((2, 0, 0, 0, 0, 1)), bytes((2, 0, 0, 0, 0, 9))
    kinds = (b"\x08\x00", b"\x08\x06", b"\x86\xdd", b"\x81\x00")
    for _ in range(count):
        body = bytearray(randomly.randbytes(randomly.choice((0, 20, 28, 40, 60, 200, 1500))))
        kind = randomly.choice(kinds)
        if kind == b"\x08\x00" and len(body) >= 20:
            body[0], body[2:4] = 0x45, len(body).to_bytes(2, "big")
            body[9], body[16:20] = randomly.choice((1, 6, 17, 2)), bytes((10, 0, 0, 1))
            if randomly.random() < 0.8:
                body[6:8] = b"\0\0"
            body[10:12] = b"\0\0"
            total = sum(int.from_bytes(body[at : at + 2], "big") for at in range(0, 20, 2))
            total = (total & 0xFFFF) + (total >> 16)
            body[10:12] = (~((total & 0xFFFF) + (total >> 16)) & 0xFFFF).to_bytes(2, "big")
        elif kind == b"\x86\xdd" and len(body) >= 40:
            body[0], body[4:6] = 0x60, (len(body) - 40).to_bytes(2, "big")
            body[6] = randomly.choice((0, 6, 17, 43, 44, 58, 60))
            body[24:40] = bytes.fromhex("fd000000000000000000000000000001")
        yield (us if randomly.random() < 0.9 else b"\xff" * 6) + them + kind + bytes(body)
        if randomly.random() < 0.1:
            yield randomly.randbytes(randomly.randrange(100))


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_no_frame_ends_the_stack(count: int) -> None:
    def work(stack: Stack) -> None:
        listener = listening(stack)
        sock = stack.datagrams(4)
        sock.bind("0.0.0.0", PORT)
        for number, frame in enumerate(frames_of_all_kinds(random.Random(3), count)):
            stack.input(frame)
            if number % 64 == 0:
                stack.poll()
        assert not listener.error
        assert stack.interfaces()[0].is_up
        assert os.getpid() > 0

    alone(work)


def test_windows_are_wide_where_much_has_gone_by_large_segments_and_close_as_others() -> None:
    much, more = os.urandom(4 << 20), os.urandom(6 << 20)  # more than both usual windows hold, and less than wide ones

    def server(stack: Stack) -> Work:
        listener = listening(stack)
        yield from until(lambda: listener.readable)
        sock = listener.accept()
        assert sock is not None
        assert (yield from received(sock, len(much))) == much
        yield from until(lambda: listener.readable)  # nothing is read until all has been sent
        assert (yield from received(sock)) == more
        sock.close()
        listener.close()

    def client(stack: Stack) -> Work:
        sock = yield from connected(stack)
        yield from sent(sock, much)
        yield from sent(sock, more)
        sock.shutdown(False, True)
        second = yield from connected(stack)
        assert (yield from received(sock)) == b""  # an end, and no reset
        second.abort()

    run_pair(server, client, mtu=65520)
