"""All TCP connections of the guest: finds the one that a segment belongs to, makes new ones, refuses others.

Rules. At most as many as the memory has slots; more are refused with a reset. One clock serves all of them, while there
are any. Those that a former life of this process has left go on, by `resume`.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Mapping
from typing import Final

from hw.devices.frame_link import FrameLink
from hw.devices.user_network.addresses import GATEWAY, GUEST, HostAddress
from hw.devices.user_network.connection_memory import (
    KEPT_AS,
    OUR_FIRST,
    RING_BYTES,
    THEIR_FIRST,
    ConnectionMemory,
    Key,
    Slot,
)
from hw.devices.user_network.host_counts import urgent_in_line
from hw.devices.user_network.kept_sockets import KeptSockets, any_number
from hw.devices.user_network.packets import TCP, Packet
from hw.devices.user_network.tcp_connection import Connection
from hw.devices.user_network.tcp_segment import ACK, FIN, RST, SYN, Segment, ahead, read_segment, segment_header
from hw.iommu import Buffer

TICK_SECONDS: Final = 0.25
DOUBT_SECONDS: Final = 0.005  # a guest that begins anew more often has its connections asked by the clock alone
YOUNG_SECONDS: Final = 0.5  # for what listens in a guest to find out that its stack has begun anew
FIRST_PORT, LAST_PORT = 49152, 65535
ACCEPTS_A_TURN: Final = 16
ACCEPT_AGAIN_SECONDS: Final = 0.25  # after there was no descriptor for who has connected
_MASK: Final = 0xFFFF_FFFF

SendIp = Callable[[bytes, bytes, int, bytes, Buffer], None]  # source, target, protocol, header, data


class Tcp:
    """``reach``: where on the host an address and port of the guest's lead; None: nowhere.

    Args:
        mtu: the link's, in bytes of an IP packet.
        memory, kept: what outlives this process.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        send: SendIp,
        reach: Callable[[bytes, int], HostAddress | None],
        mtu: int,
        memory: ConnectionMemory,
        kept: KeptSockets,
    ) -> None:
        self._loop = loop
        self._memory = memory
        self._kept = kept
        self._send = send
        self._reach = reach
        self._mtu = mtu
        self.link: FrameLink | None = None
        self._connections: dict[Key, Connection] = {}
        self._owed: dict[Key, Connection] = {}
        self._waiting: dict[Key, Connection] = {}
        self._listeners: list[socket.socket] = []
        self._next_port = FIRST_PORT
        self._young_until = 0.0  # by the loop's clock
        self._tick: asyncio.TimerHandle | None = None

    @property
    def count(self) -> int:
        """Connections there are."""
        return len(self._connections)

    def resume(self, sockets: Mapping[int, socket.socket]) -> None:
        """Go on with what a former life has left. ``sockets``: of the host, by the numbers that they were
        kept by; they are this object's now.

        A connection whose socket was not kept ends with a reset, and so does one whose record cannot be.
        """
        left = dict(sockets)
        for slot in self._memory.used():
            host = left.pop(slot.words[KEPT_AS], None)
            try:
                slot.ensure_sound()
            except ValueError:
                self._lose(slot, host)
                continue
            if host is None:
                self.transmit(slot.key, *slot.where_the_guest_is(), RST | ACK, 0, b"", b"")
                self._lose(slot, None)
                continue
            host.setblocking(False)
            connection = Connection.resumed(self._loop, self, host, slot, self._most(slot.key))
            self._add(connection)
            connection.go_on()
        for number, host in left.items():
            host.close()
            self._kept.let_go(number)

    def _lose(self, slot: Slot, host: socket.socket | None) -> None:
        """What a slot has of a former life. The guest hears of it now, or when it says something next."""
        if host is not None:
            host.close()
            self._kept.let_go(slot.words[KEPT_AS])
        self._memory.give_back(slot, RING_BYTES, RING_BYTES)

    def receive(self, packet: Packet) -> None:
        segment = read_segment(packet)
        if segment is None:
            return
        key = (packet.source, segment.source_port, packet.target, segment.target_port)
        connection = self._connections.get(key)
        if connection is not None:
            connection.receive(segment)
        elif segment.flags & (SYN | ACK | RST) == SYN:
            self._connect(key, segment)
        elif not segment.flags & RST:
            self._refuse(key, segment)

    def turn_ended(self) -> None:
        """The guest has sent no more for now: acknowledge what came."""
        owed, self._owed = self._owed, {}
        for connection in owed.values():
            connection.acknowledge()

    def drained(self) -> None:
        """The link takes frames again."""
        waiting, self._waiting = self._waiting, {}
        for connection in waiting.values():
            connection.resume()

    def forward(self, listener: socket.socket, guest_port: int) -> None:
        """Connections to ``listener``, which is this object's from now on, lead to a port of the guest's."""
        listener.setblocking(False)
        urgent_in_line(listener)  # what is accepted is so from its first byte on
        self._listeners.append(listener)
        self._listen(listener, guest_port)

    def doubt(self) -> None:
        """The guest's stack may have been started again: ask it of each connection, now."""
        now = self._loop.time()
        asks = now >= self._young_until - YOUNG_SECONDS + DOUBT_SECONDS
        self._young_until = now + YOUNG_SECONDS
        for connection in list(self._connections.values()):
            connection.doubt(asks)

    def close(self) -> None:
        for connection in list(self._connections.values()):
            connection.abort(tell_guest=False)
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            listener.close()
        self._listeners.clear()
        if self._tick is not None:
            self._tick.cancel()

    # --- the way of a connection ---------------------------------------------------------------------------

    @property
    def is_blocked(self) -> bool:
        return self.link is not None and self.link.is_blocked

    @property
    def is_young(self) -> bool:
        return self._loop.time() < self._young_until

    def transmit(
        self, key: Key, sequence: int, acknowledged: int, flags: int, window: int, data: Buffer, options: bytes
    ) -> None:
        guest, guest_port, other, other_port = key
        header = segment_header(
            (other, other_port), (guest, guest_port), sequence, acknowledged, flags, window, data, options
        )
        if flags & ACK:
            self._owed.pop(key, None)  # this segment says it
        self._send(other, guest, TCP, header, data)

    def begun(self, connection: Connection, host: socket.socket) -> None:
        number = connection.slot.words[KEPT_AS] = any_number()
        self._kept.keep(number, host, connection.kept)

    def owes_acknowledgement(self, connection: Connection) -> None:
        self._owed[connection.key] = connection

    def waits_for_link(self, connection: Connection) -> None:
        self._waiting[connection.key] = connection

    def gone(self, connection: Connection) -> None:
        for table in (self._connections, self._owed, self._waiting):
            if table.get(connection.key) is connection:
                del table[connection.key]
        slot = connection.slot
        number = slot.words[KEPT_AS]
        sent, received = connection.sending.next - slot.words[OUR_FIRST], connection.receiving.expected
        self._memory.give_back(slot, sent & _MASK, received - slot.words[THEIR_FIRST] & _MASK)
        if number:
            self._kept.let_go(number)

    # --- inside --------------------------------------------------------------------------------------------

    def _connect(self, key: Key, syn: Segment) -> None:
        address = self._reach(key[2], key[3])
        slot = None if address is None else self._memory.take()
        if address is None or slot is None:
            self._refuse(key, syn)
            return
        host = _connecting(address)
        if host is None:
            self._memory.give_back(slot, 0, 0)
            self._refuse(key, syn)
            return
        self._add(Connection.asked_by_guest(self._loop, self, key, host, slot, self._most(key), syn))

    def _refuse(self, key: Key, segment: Segment) -> None:
        if segment.flags & ACK:
            self.transmit(key, segment.acknowledged, 0, RST, 0, b"", b"")
            return
        size = len(segment.data) + bool(segment.flags & SYN) + bool(segment.flags & FIN)
        self.transmit(key, 0, ahead(segment.sequence, size), RST | ACK, 0, b"", b"")

    def _listen(self, listener: socket.socket, guest_port: int) -> None:
        if listener in self._listeners:
            self._loop.add_reader(listener, self._accept, listener, guest_port)

    def _accept(self, listener: socket.socket, guest_port: int) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                host, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError:  # no more descriptors: it would go on to be readable
                self._loop.remove_reader(listener)
                self._loop.call_later(ACCEPT_AGAIN_SECONDS, self._listen, listener, guest_port)
                return
            slot = self._memory.take()
            if slot is None:
                host.close()
                continue
            key = self._free_key(guest_port)
            _prepare(host)
            self._add(Connection.asked_by_host(self._loop, self, key, host, slot, self._most(key)))

    def _free_key(self, guest_port: int) -> Key:
        """A port of the gateway's that no connection to this one has."""
        while True:  # there are more ports than connections
            port = self._next_port
            self._next_port = port + 1 if port < LAST_PORT else FIRST_PORT
            key = (GUEST, guest_port, GATEWAY, port)
            if key not in self._connections:
                return key

    def _most(self, key: Key) -> int:
        return self._mtu - 20 - (40 if len(key[0]) == 16 else 20)

    def _add(self, connection: Connection) -> None:
        self._connections[connection.key] = connection
        if self._tick is None:
            self._tick = self._loop.call_later(TICK_SECONDS, self._look)

    def _look(self) -> None:
        self._tick = None
        now = self._loop.time()
        for connection in list(self._connections.values()):
            connection.expire(now)
        if self._connections:
            self._tick = self._loop.call_later(TICK_SECONDS, self._look)


def _connecting(address: HostAddress) -> socket.socket | None:
    """A socket that connects; None: the host refuses it at once."""
    try:
        host = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
    except OSError:  # no more descriptors
        return None
    _prepare(host)
    if host.connect_ex(address) not in (0, errno.EINPROGRESS):
        host.close()
        return None
    return host


def _prepare(host: socket.socket) -> None:
    host.setblocking(False)
    host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    urgent_in_line(host)
