"""UDP: a socket of the host for each pair of a guest's port and whom it speaks to, and for each forwarded port.

Rules. A flow ends after `IDLE_SECONDS` without a datagram; past `MOST_FLOWS` the oldest one makes room. Datagrams are
lost where the link is blocked, as UDP's may be, and where they do not fit into the link's MTU: nothing is fragmented.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hw.devices.frame_link import FrameLink
from hw.devices.user_network.addresses import GATEWAY, GUEST, HostAddress
from hw.devices.user_network.packets import UDP, Packet, checksum, pseudo_header
from hw.devices.user_network.tcp import SendIp
from hw.iommu import Buffer

MOST_FLOWS: Final = 512
IDLE_SECONDS: Final = 60.0
DATAGRAMS_A_TURN: Final = 32
FIRST_PORT, LAST_PORT = 49152, 65535
_HEADER: Final = struct.Struct("!HHHH")

Key = tuple[bytes, int, bytes, int]  # the guest's address and port, the other's
Unreachable = Callable[[Packet], None]


@dataclass(slots=True)
class _Flow:
    """``client``: of a forwarded port, who is spoken to by the listening socket. ``last``: packet of the guest."""

    host: socket.socket
    used: float
    client: HostAddress | None = None
    last: Packet | None = None


class Udp:
    """``reach`` as in `hw.devices.user_network.tcp.Tcp`; ``unreachable`` tells the guest that nobody listens."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: SendIp,
        reach: Callable[[bytes, int], HostAddress | None],
        unreachable: Unreachable,
        mtu: int,
    ) -> None:
        self._loop = loop
        self._send = send
        self._reach = reach
        self._unreachable = unreachable
        self._mtu = mtu
        self.link: FrameLink | None = None
        self._flows: dict[Key, _Flow] = {}  # the longest unused first
        self._listeners: list[socket.socket] = []
        self._clients: dict[tuple[int, HostAddress], Key] = {}  # listener's descriptor and client
        self._next_port = FIRST_PORT

    @property
    def count(self) -> int:
        """Flows there are."""
        return len(self._flows)

    def receive(self, packet: Packet, ports: tuple[int, int], data: memoryview) -> None:
        """A datagram of the guest's."""
        key = (packet.source, ports[0], packet.target, ports[1])
        flow = self._flows.get(key) or self._begin(key)
        if flow is None:
            self._unreachable(packet)
            return
        self._use(key, flow)
        flow.last = packet
        try:
            if flow.client is None:
                flow.host.send(data)
            else:
                flow.host.sendto(data, flow.client)
        except BlockingIOError:
            return
        except OSError:  # what the host has said to an earlier one, too large, or no way there
            self._unreachable(packet)

    def forward(self, listener: socket.socket, guest_port: int) -> None:
        """Datagrams to ``listener``, which is this object's from now on, lead to a port of the guest's."""
        listener.setblocking(False)
        self._listeners.append(listener)
        self._loop.add_reader(listener, self._from_client, listener, guest_port)

    def close(self) -> None:
        for key in list(self._flows):
            self._end(key)
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()

    # --- inside --------------------------------------------------------------------------------------------

    def _begin(self, key: Key) -> _Flow | None:
        address = self._reach(key[2], key[3])
        if address is None:
            return None
        self._make_room()
        try:
            host = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_DGRAM)
        except OSError:
            return None
        host.setblocking(False)
        try:
            host.connect(address)
        except OSError:
            host.close()
            return None
        flow = self._flows[key] = _Flow(host, self._loop.time())
        self._loop.add_reader(host, self._from_host, key, flow)
        return flow

    def _from_host(self, key: Key, flow: _Flow) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            try:
                data = flow.host.recv(65535)
            except BlockingIOError:
                return
            except OSError:
                if flow.last is not None:
                    self._unreachable(flow.last)
                return
            self._use(key, flow)
            self._to_guest(key, data)

    def _from_client(self, listener: socket.socket, guest_port: int) -> None:
        for _ in range(DATAGRAMS_A_TURN):
            try:
                data, client = listener.recvfrom(65535)
            except OSError:
                return
            key = self._clients.get((listener.fileno(), client))
            if key is None:
                key = self._begin_for_client(listener, client, guest_port)
            self._use(key, self._flows[key])
            self._to_guest(key, data)

    def _begin_for_client(self, listener: socket.socket, client: HostAddress, guest_port: int) -> Key:
        self._make_room()
        while True:  # there are more ports than flows
            port = self._next_port
            self._next_port = port + 1 if port < LAST_PORT else FIRST_PORT
            key = (GUEST, guest_port, GATEWAY, port)
            if key not in self._flows:
                break
        self._flows[key] = _Flow(listener, self._loop.time(), client)
        self._clients[listener.fileno(), client] = key
        return key

    def _to_guest(self, key: Key, data: bytes) -> None:
        guest, guest_port, other, other_port = key
        size = _HEADER.size + len(data)
        if size > self._mtu - (40 if len(guest) == 16 else 20) or (self.link is not None and self.link.is_blocked):
            return
        header = _HEADER.pack(other_port, guest_port, size, 0)
        total = checksum(pseudo_header(other, guest, UDP, size), header, data) or 0xFFFF
        self._send(other, guest, UDP, header[:6] + total.to_bytes(2, "big"), data)

    def _use(self, key: Key, flow: _Flow) -> None:
        flow.used = self._loop.time()
        self._flows[key] = self._flows.pop(key)

    def _make_room(self) -> None:
        now = self._loop.time()
        while self._flows:
            oldest, flow = next(iter(self._flows.items()))
            if len(self._flows) < MOST_FLOWS and now - flow.used < IDLE_SECONDS:
                return
            self._end(oldest)

    def _end(self, key: Key) -> None:
        flow = self._flows.pop(key)
        if flow.client is None:
            self._loop.remove_reader(flow.host)
            flow.host.close()
        else:
            self._clients.pop((flow.host.fileno(), flow.client), None)


def datagram(packet: Packet) -> tuple[tuple[int, int], memoryview] | None:
    """Ports and data of a UDP packet, or None. Source: RFC 768."""
    data: Buffer = packet.payload
    if len(data) < _HEADER.size:
        return None
    source, target, size, total = _HEADER.unpack_from(data)
    if not _HEADER.size <= size <= len(data):
        return None
    whole = packet.payload[:size]
    if (total or len(packet.source) == 16) and checksum(pseudo_header(packet.source, packet.target, UDP, size), whole):
        return None
    return (source, target), whole[_HEADER.size :]
