"""Methods of frames and of IOSpaceControl in the specification: where a capability is mapped is part of its holding."""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import Error, Label, Rights
from tests.model.capability import Capability, Kind
from tests.model.derivation import Holding, Mapped
from tests.model.invocations import Refused, truncated_unless
from tests.model.system import System

ROOM = (4096 - 128) // 32  # mappings of the smallest VSpace or IOSpace, and of all in these tests
DEVICES = 2  # of the machine that these tests run on


def frame(
    system: System, holding: Holding, label: int, words: tuple[int, ...], caps: list[Capability | None]
) -> tuple[int, ...]:
    """A method of a frame; the answer's words."""
    match label:
        case Label.FRAME_GET_ADDRESS:
            return (holding.capability.address,)
        case Label.FRAME_UNMAP:
            holding.mapped = None
        case Label.FRAME_MAP:
            _map(system, holding, words, caps)
        case Label.FRAME_MAP_IO:
            _map_io(system, holding, words, caps)
        case _:
            raise Refused(Error.ILLEGAL_OPERATION)
    return ()


def _map(system: System, holding: Holding, words: tuple[int, ...], caps: list[Capability | None]) -> None:
    truncated_unless(len(words) >= 3 and len(caps) >= 1)
    address, asked, attributes = words[:3]
    space, size = caps[0], 1 << holding.capability.bits
    before = holding.mapped
    if space is None or space.kind is not Kind.VSPACE or (before is not None and before.space != space.address):
        raise Refused(Error.INVALID_CAPABILITY, 1)
    if before is not None and before.address != address:
        raise Refused(Error.INVALID_ARGUMENT, 0)
    if address < abi.MAPPING_BASE or address + size > abi.MAPPING_END:
        raise Refused(Error.INVALID_ARGUMENT, 0)
    if address % size:
        raise Refused(Error.ALIGNMENT_ERROR)
    if before is None:
        _ensure_free(system, space, address, size)
    readable = holding.capability.readable and asked & Rights.READ
    writable = holding.capability.writable and asked & Rights.WRITE
    rights = (Rights.READ | Rights.WRITE if writable else Rights.READ) if readable else 0
    holding.mapped = Mapped(space.address, address, int(rights), attributes & 7)


def _map_io(system: System, holding: Holding, words: tuple[int, ...], caps: list[Capability | None]) -> None:
    truncated_unless(len(words) >= 2 and len(caps) >= 1)
    asked, address = words[:2]
    frame, space, size = holding.capability, caps[0], 1 << holding.capability.bits
    if holding.mapped is not None:
        raise Refused(Error.INVALID_CAPABILITY, 0)
    if space is None or space.kind is not Kind.IO_SPACE:
        raise Refused(Error.INVALID_CAPABILITY, 1)
    if address + size > abi.IO_MAPPING_END:
        raise Refused(Error.INVALID_ARGUMENT, 1)
    if address % size:
        raise Refused(Error.ALIGNMENT_ERROR)
    _ensure_free(system, space, address, size)
    reads = frame.readable and asked & Rights.READ
    writes = frame.readable and frame.writable and asked & Rights.WRITE
    if not reads and not writes:
        raise Refused(Error.INVALID_ARGUMENT, 0)
    holding.mapped = Mapped(space.address, address, Rights.READ * bool(reads) | Rights.WRITE * bool(writes), 0)


def _ensure_free(system: System, space: Capability, address: int, size: int) -> None:
    others = [
        (each.mapped.address, 1 << each.capability.bits)
        for each in system.tree
        if each.mapped is not None and each.mapped.space == space.address
    ]
    if any(start < address + size and address < start + length for start, length in others):
        raise Refused(Error.DELETE_FIRST)
    if len(others) >= ROOM:
        raise Refused(Error.NOT_ENOUGH_MEMORY, 0)


def assign(system: System, label: int, words: tuple[int, ...], caps: list[Capability | None]) -> None:
    """IOSpaceControl's only method."""
    if label != Label.IO_SPACE_CONTROL_ASSIGN:
        raise Refused(Error.ILLEGAL_OPERATION)
    truncated_unless(len(words) >= 1 and len(caps) >= 1)
    device, space = words[0], caps[0]
    if space is None or space.kind is not Kind.IO_SPACE:
        raise Refused(Error.INVALID_CAPABILITY, 1)
    if device >= DEVICES:
        raise Refused(Error.RANGE_ERROR, 0, DEVICES - 1)
    if device in system.io_spaces or space.address in system.io_spaces.values():
        raise Refused(Error.DELETE_FIRST)
    system.io_spaces[device] = space.address
