"""A scripted guest for tests of the user network: frames by hand, and the other side's answers taken apart."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable
from typing import TypeVar

from hw.devices.user_network import dhcp
from hw.devices.user_network.addresses import GATEWAY, GATEWAY_MAC, GUEST
from hw.devices.user_network.network import NetworkOptions, UserNetwork
from hw.devices.user_network.packets import (
    ETHERNET_BYTES,
    IPV4,
    IPV6,
    TCP,
    UDP,
    Packet,
    checksum,
    ethernet_header,
    ip_header,
    ip_packet,
    pseudo_header,
)
from hw.devices.user_network.tcp_segment import ACK, SYN, Segment, ahead, read_segment, segment_header, syn_options

MAC = bytes.fromhex("525400123456")
T = TypeVar("T")


def dhcp_message(kind: int, *options: bytes, client: bytes = bytes(4)) -> bytes:
    """A message of DHCP's from a client that has this address."""
    head = struct.pack("!BBBBIHH4s4s4s4s16s64x128x", 1, 1, 6, 0, 77, 0, 0, client, bytes(4), bytes(4), bytes(4), MAC)
    return head + dhcp.COOKIE + bytes((53, 1, kind)) + b"".join(options) + b"\xff"


class UserGuest:
    """The network, a guest's end of its link, and a loop that both are on."""

    def __init__(self, mtu: int = 1500, **options: object) -> None:
        self.loop = asyncio.new_event_loop()
        self.here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.here.setblocking(False)
        self._there = there
        self.network = UserNetwork(self.loop, there, NetworkOptions(MAC, mtu, **options))  # type: ignore[arg-type]

    def close(self) -> None:
        self.network.close()
        self.loop.close()
        self.here.close()
        self._there.close()

    def run(self, what: Awaitable[T]) -> T:
        async def bounded() -> T:
            return await asyncio.wait_for(what, 20)

        return self.loop.run_until_complete(bounded())

    # --- frames --------------------------------------------------------------------------------------------

    def send(self, kind: int, body: bytes, target: bytes = GATEWAY_MAC) -> None:
        self.here.send(ethernet_header(target, MAC, kind) + body)

    def send_ip(self, target: bytes, protocol: int, body: bytes, source: bytes = GUEST) -> None:
        kind = IPV4 if len(source) == 4 else IPV6
        self.send(kind, ip_header(source, target, protocol, len(body)) + body)

    def send_udp(self, target: bytes, ports: tuple[int, int], data: bytes, source: bytes = GUEST) -> None:
        size = 8 + len(data)
        header = struct.pack("!HHHH", *ports, size, 0)
        total = checksum(pseudo_header(source, target, UDP, size), header, data)
        self.send_ip(target, UDP, header[:6] + struct.pack("!H", total) + data, source)

    async def frame(self) -> bytes:
        return await self.loop.sock_recv(self.here, 70000)

    async def packet(self) -> Packet:
        frame = await self.frame()
        assert frame[:6] in (MAC, b"\xff" * 6)
        assert frame[6:12] == GATEWAY_MAC
        found = ip_packet(memoryview(frame)[ETHERNET_BYTES:], int.from_bytes(frame[12:14], "big"))
        assert found is not None
        return found

    def silent(self) -> bool:
        """Whether nothing comes after all that was sent has been looked at (an ARP request is answered last)."""
        ask = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, MAC, GUEST, bytes(6), GATEWAY)
        self.send(0x0806, ask, b"\xff" * 6)
        return self.run(self.frame())[12:14] == b"\x08\x06"


class TcpPeer:
    """A connection of the scripted guest: it keeps numbers, and acknowledges when it is told to."""

    def __init__(self, guest: UserGuest, port: int, target: tuple[bytes, int], window: int = 65535) -> None:
        self.guest = guest
        self.own = (GUEST, port)
        self.other = target
        self.next = 0xFFFF_FFF0  # soon it begins anew
        self.expected = 0
        self.window = window

    def send(self, flags: int, data: bytes = b"", options: bytes = b"", sequence: int | None = None) -> None:
        at = self.next if sequence is None else sequence
        header = segment_header(self.own, self.other, at, self.expected, flags, self.window, data, options)
        self.guest.send_ip(self.other[0], TCP, header + data)
        if sequence is None:
            self.next = ahead(self.next, len(data) + bool(flags & 1) + bool(flags & 2))

    async def segment(self) -> Segment:
        packet = await self.guest.packet()
        assert packet.protocol == TCP
        found = read_segment(packet)
        assert found is not None
        assert (found.source_port, found.target_port) == (self.other[1], self.own[1])
        return found

    async def take(self) -> Segment:
        """The next segment, which is to be in order; it is counted, and not yet acknowledged."""
        found = await self.segment()
        assert found.sequence == self.expected
        self.expected = ahead(self.expected, len(found.data) + bool(found.flags & 1))
        return found

    async def take_data(self) -> Segment:
        """As `take`, of the next one that has data."""
        while True:
            found = await self.segment()
            if found.data:
                assert found.sequence == self.expected
                self.expected = ahead(self.expected, len(found.data) + bool(found.flags & 1))
                return found

    async def connect(self, options: bytes = syn_options(1460, None)) -> Segment:
        self.send(SYN, options=options)
        answer = await self.segment()
        assert answer.flags == SYN | ACK
        assert answer.acknowledged == self.next
        self.expected = ahead(answer.sequence, 1)
        self.send(ACK)
        return answer
