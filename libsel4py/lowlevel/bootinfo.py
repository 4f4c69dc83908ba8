"""BootInfo: what the kernel tells the initial task (manual, chapter 9.1).

Rules: parsed from bytes, which are copied once; the result is frozen. Layout: `libsel4py.abi`, BOOT_INFO_*.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from libsel4py import abi
from libsel4py.abi import BOOT_INFO_MAX_UNTYPED, WORD_BYTES
from libsel4py.capabilities import Untyped


@dataclass(frozen=True, slots=True)
class UntypedDescription:
    """One initial untyped: its capability, physical address, log2 of its bytes; device memory or RAM."""

    untyped: Untyped
    address: int
    size_bits: int
    is_device: bool


@dataclass(frozen=True, slots=True)
class BootInfo:
    """Regions are ranges of slots in the initial CNode. ``extra`` holds the chunks behind BootInfo by their id."""

    node: int
    nodes: int
    ipc_buffer: int
    empty: range
    cnode_bits: int
    domain: int
    sched_control: range
    untyped: tuple[UntypedDescription, ...]
    extra: Mapping[int, bytes]

    @property
    def system_description(self) -> bytes:
        """The system description as msgpack; empty if the machine was started without one."""
        return self.extra.get(abi.BOOT_INFO_EXTRA_SYSTEM, b"")

    @property
    def resumed(self) -> frozenset[int] | None:
        """Slots of the TCBs that ran when the system was suspended; None of one that was booted."""
        chunk = self.extra.get(abi.BOOT_INFO_EXTRA_RESUMED)
        if chunk is None:
            return None
        return frozenset(struct.unpack(f"<{len(chunk) // WORD_BYTES}Q", chunk))


def parse(data: bytes | bytearray | memoryview) -> BootInfo:
    """Read BootInfo from the bytes of its frame.

    Raises:
        ValueError: the bytes are too short, or a region or chunk is impossible; the text says which.
    """
    frame = bytes(data)
    head = abi.BOOT_INFO_EXTRA * WORD_BYTES
    if len(frame) < head:
        raise ValueError(f"BootInfo has {len(frame)} bytes; its fixed part alone needs {head}")
    words = struct.unpack_from(f"<{abi.BOOT_INFO_EXTRA}Q", frame)
    untyped = _region(words, abi.BOOT_INFO_UNTYPED, "untyped")
    if len(untyped) > BOOT_INFO_MAX_UNTYPED:
        raise ValueError(f"BootInfo lists {len(untyped)} untypeds; it has room for {BOOT_INFO_MAX_UNTYPED}")
    return BootInfo(
        node=words[abi.BOOT_INFO_NODE],
        nodes=words[abi.BOOT_INFO_NODES],
        ipc_buffer=words[abi.BOOT_INFO_IPC_BUFFER],
        empty=_region(words, abi.BOOT_INFO_EMPTY, "empty"),
        cnode_bits=words[abi.BOOT_INFO_CNODE_BITS],
        domain=words[abi.BOOT_INFO_DOMAIN],
        sched_control=_region(words, abi.BOOT_INFO_SCHED_CONTROL, "sched_control"),
        untyped=tuple(_untyped(words, index, slot) for index, slot in enumerate(untyped)),
        extra=MappingProxyType(_extra(frame[head:], words[abi.BOOT_INFO_EXTRA_BYTES])),
    )


def _region(words: tuple[int, ...], at: int, name: str) -> range:
    start, end = words[at], words[at + 1]
    if end < start:
        raise ValueError(f"BootInfo's region {name} ends at slot {end}, before it starts at {start}")
    return range(start, end)


def _untyped(words: tuple[int, ...], index: int, slot: int) -> UntypedDescription:
    at = abi.BOOT_INFO_UNTYPED_LIST + 2 * index
    return UntypedDescription(Untyped(slot), words[at], words[at + 1] & 0xFF, bool(words[at + 1] >> 8 & 1))


def _extra(data: bytes, length: int) -> dict[int, bytes]:
    """Chunks: a word of id, a word of bytes (these two words included), the payload padded to words."""
    if length > len(data):
        raise ValueError(f"BootInfo announces {length} extra bytes; the frame has {len(data)}")
    chunks: dict[int, bytes] = {}
    at = 0
    while at + 2 * WORD_BYTES <= length:
        kind, size = struct.unpack_from("<2Q", data, at)
        if size < 2 * WORD_BYTES or at + size > length:
            raise ValueError(f"BootInfo's extra chunk {kind:#x} claims {size} bytes, {length - at} are there")
        if kind != abi.BOOT_INFO_EXTRA_PADDING:
            chunks[kind] = data[at + 2 * WORD_BYTES : at + size]
        at += (size + WORD_BYTES - 1) // WORD_BYTES * WORD_BYTES
    return chunks
