"""The DHCP server: one guest, one lease that does not end before a day. Source: RFC 2131, 2132."""

from __future__ import annotations

import struct
from typing import Final

from hw.devices.user_network.addresses import DNS, GATEWAY, GUEST, NETMASK

SERVER_PORT, CLIENT_PORT = 67, 68
LEASE_SECONDS: Final = 86400
COOKIE: Final = b"\x63\x82\x53\x63"
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE, INFORM = range(1, 9)
_HEADER: Final = struct.Struct("!BBBBIHH4s4s4s4s16s64x128x")
_TYPE, _REQUESTED, _SERVER = 53, 50, 54


def answer(request: memoryview, mtu: int) -> bytes | None:
    """The reply to a client's message, as a UDP payload; None: it gets none."""
    if len(request) < _HEADER.size + 4 or bytes(request[_HEADER.size : _HEADER.size + 4]) != COOKIE:
        return None
    operation, kind, size, _, transaction, _, flags, client, _, _, relay, hardware = _HEADER.unpack_from(request)
    if operation != 1 or kind != 1 or size != 6:
        return None
    options = _options(request[_HEADER.size + 4 :])
    reply, given = _reply(options, client)
    if reply is None:
        return None
    header = _HEADER.pack(2, 1, 6, 0, transaction, 0, flags, client, given, GATEWAY, relay, hardware)
    parts = [header, COOKIE, bytes((_TYPE, 1, reply)), _option(_SERVER, GATEWAY)]
    if reply != NAK:
        parts += [_option(1, NETMASK), _option(3, GATEWAY), _option(6, DNS), _option(26, struct.pack("!H", mtu))]
        if any(given):
            parts.append(_option(51, struct.pack("!I", LEASE_SECONDS)))
    parts.append(b"\xff")
    return b"".join(parts).ljust(300, b"\0")


def is_new_lease(request: memoryview) -> bool:
    """Whether a message that was answered is from a client without an address, asking for one: a stack that begins."""
    client: bytes = _HEADER.unpack_from(request)[7]
    return not any(client) and _options(request[_HEADER.size + 4 :]).get(_TYPE) == bytes((REQUEST,))


def _reply(options: dict[int, bytes], client: bytes) -> tuple[int | None, bytes]:
    nothing = bytes(4)
    match options.get(_TYPE, b""):
        case b"\x01":
            return OFFER, GUEST
        case b"\x03":
            if options.get(_SERVER, GATEWAY) != GATEWAY:
                return None, nothing
            wanted = options.get(_REQUESTED, client)
            return (ACK, GUEST) if wanted == GUEST else (NAK, nothing)
        case b"\x08":
            return ACK, nothing
        case _:
            return None, nothing


def _option(number: int, value: bytes) -> bytes:
    return bytes((number, len(value))) + value


def _options(data: memoryview) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at + 1 < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        number, size = data[at], data[at + 1]
        found[number] = bytes(data[at + 2 : at + 2 + size])
        at += 2 + size
    return found
