"""TCP segments: read from packets, and their headers. Source: RFC 9293, 7323."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from hw.devices.user_network.packets import TCP, Packet, checksum, is_sound, pseudo_header
from hw.iommu import Buffer

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
_HEADER: Final = struct.Struct("!HHIIBBHHH")
_MASK: Final = 0xFFFF_FFFF
DEFAULT_MSS: Final = 536


class Segment(NamedTuple):
    """A segment. ``mss``, ``scale``: what its options say; ``scale`` None: no window scaling."""

    source_port: int
    target_port: int
    sequence: int
    acknowledged: int
    flags: int
    window: int
    mss: int
    scale: int | None
    data: memoryview


def behind(sequence: int, other: int) -> int:
    """How far the first is behind the other (negative: before it), modulo 2**32."""
    return ((sequence - other + 0x8000_0000) & _MASK) - 0x8000_0000


def ahead(sequence: int, size: int) -> int:
    """The sequence number so many bytes on."""
    return sequence + size & _MASK


def read_segment(packet: Packet) -> Segment | None:
    """The segment in a packet, or None."""
    data = packet.payload
    if len(data) < 20 or not is_sound(packet):
        return None
    source, target, sequence, acknowledged, offset, flags, window, _, _ = _HEADER.unpack_from(data)
    size = 4 * (offset >> 4)
    if not 20 <= size <= len(data):
        return None
    mss, scale = _options(data[20:size]) if flags & SYN else (DEFAULT_MSS, None)
    return Segment(source, target, sequence, acknowledged, flags, window, mss, scale, data[size:])


def segment_header(
    source: tuple[bytes, int],
    target: tuple[bytes, int],
    sequence: int,
    acknowledged: int,
    flags: int,
    window: int,
    data: Buffer = b"",
    options: bytes = b"",
) -> bytes:
    """The header of a segment that carries ``data``, with its checksum. Options: whole words."""
    size = 20 + len(options)
    header = _HEADER.pack(source[1], target[1], sequence, acknowledged, size << 2, flags, window, 0, 0) + options
    total = checksum(pseudo_header(source[0], target[0], TCP, size + len(data)), header, data)
    return header[:16] + total.to_bytes(2, "big") + header[18:]


def syn_options(mss: int, scale: int | None) -> bytes:
    made = struct.pack("!BBH", 2, 4, mss)
    return made if scale is None else made + bytes((1, 3, 3, scale))


def _options(data: memoryview) -> tuple[int, int | None]:
    mss, scale = DEFAULT_MSS, None
    at = 0
    while at < len(data) and data[at]:
        if data[at] == 1:
            at += 1
            continue
        size = data[at + 1] if at + 1 < len(data) else 0
        if size < 2 or at + size > len(data):
            break
        if data[at] == 2 and size == 4:
            mss = max(64, int.from_bytes(data[at + 2 : at + 4], "big"))
        elif data[at] == 3 and size == 3:
            scale = min(14, data[at + 2])
        at += size
    return mss, scale
