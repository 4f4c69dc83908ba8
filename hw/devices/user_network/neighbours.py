"""Who answers on the link: ARP, neighbour discovery with router advertisement, and echo. Sources: RFC 826, 792, 4861.

Each function gives the answer's bytes, or None.
"""

from __future__ import annotations

import struct
from typing import Final

from hw.devices.user_network.addresses import (
    DNS,
    DNS6,
    GATEWAY,
    GATEWAY6,
    GATEWAY_MAC,
    LINK_LOCAL6,
    OURS,
    PREFIX,
)
from hw.devices.user_network.packets import ICMP, ICMP6, Packet, checksum, pseudo_header
from hw.iommu import Buffer

_ARP: Final = struct.Struct("!HHBBH6s4s6s4s")
_ROUTER_SOLICITATION, _ROUTER_ADVERTISEMENT, _NEIGHBOUR_SOLICITATION, _NEIGHBOUR_ADVERTISEMENT = 133, 134, 135, 136
_ADDRESSES: Final = frozenset((GATEWAY6, DNS6, LINK_LOCAL6))
ROUTER_SECONDS: Final = 1800
QUOTED: Final = 512  # bytes of a packet that an error quotes


def arp_answer(data: memoryview) -> bytes | None:
    """The reply to a request for the gateway or the DNS server."""
    if len(data) < _ARP.size:
        return None
    hardware, protocol, hardware_size, size, operation, mac, address, _, wanted = _ARP.unpack_from(data)
    if (hardware, protocol, hardware_size, size, operation) != (1, 0x0800, 6, 4, 1) or wanted not in (GATEWAY, DNS):
        return None
    return _ARP.pack(1, 0x0800, 6, 4, 2, GATEWAY_MAC, wanted, mac, address)


def echo_answer(packet: Packet) -> bytes | None:
    """The reply to an ICMP echo request of one of our addresses (IPv4), or that it may not go further."""
    data = packet.payload
    if len(data) < 8 or data[0] != 8 or checksum(data):
        return None
    if packet.target not in OURS:
        return unreachable(packet, 13)  # communication is administratively prohibited (RFC 1812)
    return _summed(struct.pack("!BBH", 0, 0, 0) + data[4:])


def icmp6_answer(packet: Packet, mtu: int) -> tuple[bytes, bytes] | None:
    """The reply to an ICMPv6 packet, and the address that it comes from."""
    data = packet.payload
    if len(data) < 8:
        return None
    source = packet.target if packet.target in _ADDRESSES else LINK_LOCAL6
    body: bytes
    match data[0]:
        case 128 if packet.target in _ADDRESSES:
            body = struct.pack("!BBH", 129, 0, 0) + data[4:]
        case 133:
            body = _advertisement(mtu)
        case 135 if len(data) >= 24 and bytes(data[8:24]) in _ADDRESSES:
            source = bytes(data[8:24])
            head = struct.pack("!BBHI", _NEIGHBOUR_ADVERTISEMENT, 0, 0, 0xE000_0000)
            body = head + source + b"\x02\x01" + GATEWAY_MAC
        case _:
            return None
    return summed6(body, source, packet.source), source


def unreachable(packet: Packet, code: int) -> bytes:
    """An ICMP error that quotes a packet (IPv4: the code; port unreachable is 3)."""
    return _summed(struct.pack("!BBHI", 3, code, 0, 0) + bytes(packet.whole[:QUOTED]))


def port_unreachable6(packet: Packet) -> bytes:
    """The same for IPv6."""
    return summed6(struct.pack("!BBHI", 1, 4, 0, 0) + bytes(packet.whole[:QUOTED]), packet.target, packet.source)


def summed6(body: bytes, source: bytes, target: bytes) -> bytes:
    total = checksum(pseudo_header(source, target, ICMP6, len(body)), body)
    return body[:2] + total.to_bytes(2, "big") + body[4:]


def _summed(body: Buffer) -> bytes:
    return bytes(body[:2]) + checksum(body).to_bytes(2, "big") + bytes(body[4:])


def _advertisement(mtu: int) -> bytes:
    """Router advertisement: prefix, MTU, name server (RFC 8106)."""
    head = struct.pack("!BBHBBHII", _ROUTER_ADVERTISEMENT, 0, 0, 64, 0, ROUTER_SECONDS, 0, 0)
    prefix = struct.pack("!BBBBIII16s", 3, 4, 64, 0xC0, 86400, 14400, 0, PREFIX)
    servers = struct.pack("!BBHI16s", 25, 3, 0, ROUTER_SECONDS, DNS6)
    return head + b"\x01\x01" + GATEWAY_MAC + prefix + struct.pack("!BBHI", 5, 1, 0, mtu) + servers


__all__ = ["ICMP", "arp_answer", "echo_answer", "icmp6_answer", "port_unreachable6", "unreachable"]
