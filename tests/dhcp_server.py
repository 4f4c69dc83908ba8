"""A DHCP server after RFC 2131 and 2132, for one client on Linux's sockets: another than the user network's.

It is as difficult as the RFCs let it be: options in pieces and with padding, options that nobody knows, the first
request refused.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final

COOKIE: Final = bytes((99, 130, 83, 99))
DISCOVER, OFFER, REQUEST, ACK, NAK, RELEASE = 1, 2, 3, 5, 6, 7
IP_PKTINFO: Final = 8  # Linux's; Python names it from 3.14 on
PAD, SUBNET, ROUTER, NAME_SERVER, WANTED, LEASE, KIND, SERVER, END = 0, 1, 3, 6, 50, 51, 53, 54, 255
HEAD: Final = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")


@dataclass(frozen=True)
class Lease:
    """What is given: addresses as text, seconds."""

    address: str
    mask: str
    router: str
    name_server: str
    seconds: int = 3600


@dataclass(frozen=True)
class Message:
    """What a client sent. ``holder``: the address that it says it has; ``to_all``: it was broadcast."""

    data: bytes
    kind: int
    options: dict[int, bytes]
    holder: str
    to_all: bool


class Server:
    """A server on an interface of Linux's, with an address of its own. A context manager."""

    def __init__(self, interface: str, ours: str) -> None:
        self._ours = ours
        self._end = end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        end.settimeout(40)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        end.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        end.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        end.bind(("", 67))

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self._end.close()

    def next(self) -> Message:
        """The next message that is for this server."""
        while True:
            data, ancillary, _, _ = self._end.recvmsg(2000, socket.CMSG_SPACE(12))
            assert data[:3] == bytes((1, 1, 6)), "a request from Ethernet"
            options = _options(data)
            (kind,) = options[KIND]
            if options.get(SERVER, socket.inet_aton(self._ours)) != socket.inet_aton(self._ours):
                continue  # it has chosen another server
            ((_, _, place),) = ancillary
            holder = HEAD.unpack_from(data)[7]
            return Message(data, kind, options, socket.inet_ntoa(holder), place[8:12] == b"\xff" * 4)

    def answer(self, message: Message, kind: int, lease: Lease) -> None:
        self._end.sendto(_answer(message.data, kind, self._ours, lease), ("255.255.255.255", 68))

    def give(self, lease: Lease, message: Message | None = None) -> None:
        """A first lease to who asks for one; ``message``: with that."""
        message = message or self.next()
        assert message.kind == DISCOVER, message
        self.answer(message, OFFER, lease)
        while (message := self.next()).kind == DISCOVER:
            self.answer(message, OFFER, lease)
        assert message.kind == REQUEST, message
        assert message.options[WANTED] == socket.inet_aton(lease.address)
        self.answer(message, ACK, lease)


def serve(interface: str, ours: str, lease: Lease) -> list[int]:
    """Serve until the lease is given; the kinds of the messages that came. The first request is refused."""
    came: list[int] = []
    with Server(interface, ours) as server:
        while True:
            message = server.next()
            came.append(message.kind)
            if message.kind == DISCOVER:
                answer = OFFER
            else:
                assert message.options[WANTED] == socket.inet_aton(lease.address)
                answer = ACK if came.count(REQUEST) > 1 else NAK
            server.answer(message, answer, lease)
            if answer == ACK:
                return came


def _options(message: bytes) -> dict[int, bytes]:
    assert message[HEAD.size : HEAD.size + 4] == COOKIE
    found: dict[int, bytes] = {}
    at = HEAD.size + 4
    while message[at] != END:
        if message[at] == PAD:
            at += 1
            continue
        kind, length = message[at], message[at + 1]
        found[kind] = found.get(kind, b"") + message[at + 2 : at + 2 + length]
        at += 2 + length
    return found


def _answer(message: bytes, kind: int, ours: str, lease: Lease) -> bytes:
    (_, _, _, _, token, _, flags, *_, hardware, _, _) = HEAD.unpack_from(message)
    given = lease.address if kind != NAK else "0.0.0.0"
    nobody, server = bytes(4), socket.inet_aton(ours)
    head = HEAD.pack(
        2, 1, 6, 0, token, 0, flags, nobody, socket.inet_aton(given), server, nobody, hardware, bytes(64), bytes(128)
    )
    options = [(SERVER, server), (KIND, bytes((kind,)))]
    if kind != NAK:
        options += [  # without times to renew and rebind at: they are a half, and seven eighths, of the lease
            (NAME_SERVER, socket.inet_aton(lease.name_server)),
            (224, bytes(range(200))),  # for private use
            (LEASE, struct.pack("!I", lease.seconds)),
            (12, b"guest"),
            (ROUTER, socket.inet_aton(lease.router)),
            (SUBNET, socket.inet_aton(lease.mask)),
        ]
    body = b"".join(bytes((each, len(data))) + data + bytes(3) for each, data in options)
    return head + COOKIE + bytes(5) + body + bytes((END,)) + bytes(60)
