"""Several streams over one link of frames: a program's standard streams, between it and who started it.

A frame is a head (one byte for the stream, five of zero, a number of eight bytes) and what belongs to the stream. The
numbers of a side's frames rise, so that one which a killed kernel has sent twice is taken once.

Rule. Either side may be hostile to the other: any bytes are a frame or are none, and a frame is at most so long.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from libsel4py.interfaces.ethernet import HEADER_BYTES

MTU: Final = 16000  # of the link, and so the bytes of one frame
_HEAD: Final = struct.Struct("<B5xQ")
assert _HEAD.size == HEADER_BYTES  # a network card takes no shorter frame


LACKING: Final = b"lacking"


class Stream(IntEnum):
    """What a frame belongs to.

    To who started the program: its `OUTPUT` and `ERROR`; that it `WANTED` some of its input; its `END`, when it ends by
    itself, `LACKING` if not all that it wrote is in its files. From there: `INPUT`, a piece for each that was wanted,
    and an empty one where it has ended; and `END` as the answer to `END`, behind which the program's memory may go.
    """

    INPUT = 0
    OUTPUT = 1
    ERROR = 2
    WANTED = 3
    END = 4


class Frame(NamedTuple):
    """A frame, taken apart."""

    stream: Stream
    number: int
    data: bytes


def head(stream: Stream, number: int) -> bytes:
    """What stands before a frame's data."""
    return _HEAD.pack(stream, number)


def take_apart(frame: bytes) -> Frame | None:
    """None: it is no frame of a stream."""
    if len(frame) < _HEAD.size or frame[0] not in Stream._value2member_map_:
        return None
    stream, number = _HEAD.unpack_from(frame)
    return Frame(Stream(stream), number, frame[_HEAD.size :])
