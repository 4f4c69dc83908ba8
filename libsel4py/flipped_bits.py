"""Which one bit of some memory was changed, as far as its checksums tell.

Rule: what is found here is a guess until another checksum agrees. A CRC tells any two places of a flipped bit apart;
larger damage it takes for a flipped bit as often as there are places, of its 2**32 values.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

MOST_BYTES: Final = 256 << 10  # that are looked through: it takes a fifth of a second
_POLYNOMIAL: Final = 0xEDB88320  # of `zlib.crc32`, the lowest power in the highest bit


def neighbours(word: int, bits: int = 64) -> Iterator[int]:
    """All words that differ from this one in one bit."""
    return (word ^ 1 << bit for bit in range(bits))


def is_neighbour(word: int, other: int) -> bool:
    """Whether they differ in one bit."""
    return (word ^ other).bit_count() == 1


def with_bit_flipped_back(data: bytes, difference: int) -> bytes | None:
    """The bytes before a bit of them was flipped; None if it was none of theirs, or if they are more than `MOST_BYTES`.

    Args:
        difference: of the CRC (`zlib.crc32`) that they had to the one that they have, XORed.
    """
    if len(data) > MOST_BYTES:
        return None
    state = 1
    for bit in reversed(range(8 * len(data))):
        state = state >> 1 ^ (_POLYNOMIAL if state & 1 else 0)
        if state == difference:
            found = bytearray(data)
            found[bit >> 3] ^= 1 << (bit & 7)
            return bytes(found)
    return None
