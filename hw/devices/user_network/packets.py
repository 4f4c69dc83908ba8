"""Ethernet and IP: packets out of frames, and headers for those that we send.

Rules. A frame is the guest's word: what does not hold together is None, and is dropped. IPv4 fragments and IPv6
extension headers are dropped as well. Sources: RFC 791, 1071, 8200.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from hw.iommu import Buffer

ETHERNET_BYTES: Final = 14
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
ICMP, TCP, UDP, ICMP6 = 1, 6, 17, 58
_IPV4: Final = struct.Struct("!BBHHHBBH4s4s")
_IPV6: Final = struct.Struct("!IHBB16s16s")


class Packet(NamedTuple):
    """An IP packet. ``whole``: from its IP header on, for an ICMP error that quotes it."""

    source: bytes
    target: bytes
    protocol: int
    payload: memoryview
    whole: memoryview


def checksum(*parts: Buffer) -> int:
    """The Internet checksum of parts, all but the last of an even length.

    The ones' complement sum of 16-bit words is the number that they write, modulo 2**16 - 1 (RFC 1071, section 2).
    """
    total = 0
    for part in parts:
        number = int.from_bytes(part, "big")
        total += number << 8 if len(part) & 1 else number
    # A remainder of 0 stands for both zeros; all ones is the one that a sum of anything but nothing gives.
    return 0xFFFF - (total % 0xFFFF or (0xFFFF if total else 0))


def pseudo_header(source: bytes, target: bytes, protocol: int, size: int) -> bytes:
    """What TCP, UDP and ICMPv6 sum beside themselves (RFC 793, 8200)."""
    return source + target + struct.pack("!II", size, protocol)


def is_sound(packet: Packet) -> bool:
    """Whether the checksum of a TCP, UDP or ICMPv6 payload is right."""
    pseudo = pseudo_header(packet.source, packet.target, packet.protocol, len(packet.payload))
    return checksum(pseudo, packet.payload) == 0


def ip_packet(frame_payload: memoryview, kind: int) -> Packet | None:
    """The packet in a frame of that kind (its EtherType), or None."""
    if kind == IPV4:
        return _ipv4(frame_payload)
    return _ipv6(frame_payload) if kind == IPV6 else None


def ip_header(source: bytes, target: bytes, protocol: int, size: int) -> bytes:
    """The header of a packet with a payload of ``size`` bytes."""
    if len(source) == 16:
        return _IPV6.pack(6 << 28, size, protocol, 255, source, target)
    header = _IPV4.pack(0x45, 0, 20 + size, 0, 0x4000, 64, protocol, 0, source, target)
    return header[:10] + checksum(header).to_bytes(2, "big") + header[12:]


def ethernet_header(target: bytes, source: bytes, kind: int) -> bytes:
    return target + source + kind.to_bytes(2, "big")


def _ipv4(data: memoryview) -> Packet | None:
    if len(data) < 20:
        return None
    first, _, total, _, fragment, _, protocol, _, source, target = _IPV4.unpack_from(data)
    header = 4 * (first & 15)
    if first >> 4 != 4 or header < 20 or not header <= total <= len(data) or fragment & 0x3FFF:
        return None
    if checksum(data[:header]):
        return None
    return Packet(source, target, protocol, data[header:total], data[:total])


def _ipv6(data: memoryview) -> Packet | None:
    if len(data) < 40:
        return None
    first, size, protocol, _, source, target = _IPV6.unpack_from(data)
    if first >> 28 != 6 or 40 + size > len(data):
        return None
    return Packet(source, target, protocol, data[40 : 40 + size], data[: 40 + size])
