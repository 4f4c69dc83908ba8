"""The first sectors of blocks, in memory that outlives the process that knows them.

littlefs finds its way from one block of a file to the others by their first words, and behind each mount it goes that
way through all files before it writes, to see which blocks are free. What a successor finds here it need not read from
the medium; nor what the file system says of its own size, nor is a flush due where the former life left nothing to it.

Rules. A sector is here only while it is what the medium has. It is forgotten before the first store that changes the
block, long before that is written, and comes back when the medium has it. So at whatever store the process ends, there
is nothing here that is not so: what was under way is missing. The memory speaks of one life of whoever has the medium;
the next one has another number, and nothing is believed then. After an error of the medium nothing is here, nor where a
life ended in a flush of what it had written: that flush may have failed, which is said once, and was said to nobody.
Each sector has a checksum, with its block's number; they find damage, not malice: the memory is this file system's
alone.

Layout, words of 64 bits. The head: valid (`MAGIC` above, the checksum of what follows but the last word below), the
medium's number, bytes of a block, blocks, and 1 while something may be written that is not flushed, 2 while that is
being flushed. Behind it the places: block + 1 above and the checksum below, then the sector. A block has the place of
its number modulo their count.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Final

from libsel4py.abi import WORD_BYTES

if TYPE_CHECKING:
    from libsel4py.journal import Memory

MAGIC: Final = 0x48454144
SECTOR_BYTES: Final = 512
_VALID, _DOUBT, _PLACES = 0, 4 * WORD_BYTES, 5 * WORD_BYTES
_FLUSHED, _WRITTEN, _FLUSHING = range(3)
_WHAT: Final = struct.Struct("<QQQ")
_PLACE_BYTES: Final = WORD_BYTES + SECTOR_BYTES
_LOW: Final = 0xFFFF_FFFF


class Heads:
    """See the module.

    Args:
        memory: room for at least one sector. medium: a number below 2**64 of this life of whoever has the medium.
    Attributes:
        geometry: bytes of a block, and blocks, as a former life has found them; None: begin.
    """

    def __init__(self, memory: Memory, medium: int) -> None:
        self._memory = memory
        self._medium = medium
        self._count = (memory.size - _PLACES) // _PLACE_BYTES
        if self._count < 1:
            raise ValueError(f"{memory.size} bytes have no room for a sector")
        what = memory.read(WORD_BYTES, _WHAT.size)
        found, block_bytes, blocks = _WHAT.unpack(what)
        is_valid = found == medium and memory.load_word(_VALID) == _valid(what)
        is_valid = is_valid and memory.load_word(_DOUBT) in (_FLUSHED, _WRITTEN)
        self.geometry: tuple[int, int] | None = (block_bytes, blocks) if is_valid else None

    def begin(self, block_bytes: int, blocks: int) -> None:
        """Nothing is here, and something may be written that is not flushed."""
        memory, what = self._memory, _WHAT.pack(self._medium, block_bytes, blocks)
        memory.store_word(_VALID, 0)
        memory.write(WORD_BYTES, what + bytes(memory.size - WORD_BYTES - len(what)))
        memory.store_word(_DOUBT, _WRITTEN)
        memory.store_word(_VALID, _valid(what))
        self.geometry = (block_bytes, blocks)

    def clear(self) -> None:
        """Forget everything: the medium has failed."""
        if self.geometry is not None:
            self.begin(*self.geometry)

    def end(self) -> None:
        """Forget everything, and the geometry with it: it is not so."""
        self._memory.store_word(_VALID, 0)
        self.geometry = None

    # --- sectors

    def get(self, block: int) -> bytes | None:
        """A block's first sector, if it is here."""
        at = self._at(block)
        word = self._memory.load_word(at)
        if word >> 32 != block + 1:
            return None
        sector = self._memory.read(at + WORD_BYTES, SECTOR_BYTES)
        if word & _LOW == _checksum(block, sector):
            return sector
        self._memory.store_word(at, 0)
        return None

    def put(self, block: int, sector: bytes | bytearray | memoryview) -> None:
        """The medium has this as a block's first sector."""
        at = self._at(block)
        if self._memory.load_word(at) >> 32 == block + 1:
            return
        data = bytes(sector)
        self._memory.store_word(at, 0)
        self._memory.write(at + WORD_BYTES, data)
        self._memory.store_word(at, block + 1 << 32 | _checksum(block, data))

    def forget(self, block: int) -> None:
        """A block is about to be another."""
        at = self._at(block)
        if self._memory.load_word(at) >> 32 == block + 1:
            self._memory.store_word(at, 0)

    # --- flushes

    @property
    def is_flushed(self) -> bool:
        """Whether nothing was written since the last flush."""
        return self._memory.load_word(_DOUBT) == _FLUSHED

    def writes(self) -> None:
        """Something is about to be written."""
        self._memory.store_word(_DOUBT, _WRITTEN)

    def flushes(self) -> None:
        """All that was written is about to be flushed, and nothing else."""
        self._memory.store_word(_DOUBT, _FLUSHING)

    def flushed(self) -> None:
        """All that was written has been flushed."""
        self._memory.store_word(_DOUBT, _FLUSHED)

    def _at(self, block: int) -> int:
        return _PLACES + block % self._count * _PLACE_BYTES


class NoHeads(Heads):
    """Those of a file system that keeps none: nothing is here, and nothing is said."""

    def __init__(self) -> None:
        self.geometry = None

    def begin(self, block_bytes: int, blocks: int) -> None:
        return

    def end(self) -> None:
        return

    def get(self, block: int) -> None:
        return None

    def put(self, block: int, sector: bytes | bytearray | memoryview) -> None:
        return

    def forget(self, block: int) -> None:
        return

    @property
    def is_flushed(self) -> bool:
        """Never known."""
        return False

    def writes(self) -> None:
        return

    def flushes(self) -> None:
        return

    def flushed(self) -> None:
        return


def _valid(what: bytes) -> int:
    return MAGIC << 32 | zlib.crc32(what)


def _checksum(block: int, sector: bytes) -> int:
    return zlib.crc32(sector, block & _LOW)
