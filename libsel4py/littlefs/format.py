"""How a store is cut into blocks: what a new file system gets, and what an old one says of itself.

Source: littlefs SPEC.md (disk version 2.1): the superblock is the first entry of the metadata pair of blocks 0 and 1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from littlefs import lfs
from littlefs.errors import LittleFSError

from libsel4py.littlefs.cache import BlockCache
from libsel4py.littlefs.heads import SECTOR_BYTES
from libsel4py.littlefs.store import BlockStore, StoreFailed

# Read in pieces of 64 KiB, a file asks for blocks 6 times less often than with 4 KiB, and is read 4 times as fast; a
# small file costs one block, unless it has up to 512 bytes (an eighth of METADATA_BYTES) and lies in its
# directory.
BLOCK_BYTES: Final = 16 << 10
BLOCKS_LEAST: Final = 16
METADATA_BYTES: Final = 4096  # a directory's log is read whole at each look-up: a quarter of a block keeps that short
MOST_LOOKAHEAD_BYTES: Final = 64 << 10  # a bit each block: each search for free blocks reads the whole tree
BLOCK_SIZES: Final = tuple(1 << bits for bits in range(9, 21))  # that other people's images may have
_MAGIC: Final = b"littlefs"
_SUPERBLOCK: Final = struct.Struct("<III")  # version, block size, block count


class NoFileSystem(Exception):
    """The store has no littlefs on it; the text says what would help."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """``blocks`` blocks of ``block_bytes`` each."""

    block_bytes: int
    blocks: int

    @classmethod
    def of(cls, size: int) -> Geometry:
        """What a new file system in ``size`` bytes gets. Raises ValueError: that is too small."""
        block_bytes = BLOCK_BYTES
        while size // block_bytes < BLOCKS_LEAST and block_bytes > METADATA_BYTES:
            block_bytes //= 2
        if size // block_bytes < BLOCKS_LEAST:
            raise ValueError(
                f"{size} bytes are too few for a file system: {BLOCKS_LEAST * METADATA_BYTES} are the least"
            )
        return cls(block_bytes, size // block_bytes)

    def configuration(self, cache: BlockCache) -> lfs.LFSConfig:
        """littlefs' own configuration, over a cache."""
        return lfs.LFSConfig(
            cache,
            block_size=self.block_bytes,
            block_count=self.blocks,
            read_size=SECTOR_BYTES,
            prog_size=SECTOR_BYTES,
            cache_size=self.block_bytes,
            lookahead_size=min(-(-self.blocks // 64) * 8, MOST_LOOKAHEAD_BYTES),
            metadata_max=min(METADATA_BYTES, self.block_bytes),
        )


def read_geometry(store: BlockStore) -> Geometry:
    """What the file system on a store says of itself. Raises NoFileSystem, StoreFailed."""
    for start in (0, *(size for size in BLOCK_SIZES if size < store.size)):
        head = store.read(start, SECTOR_BYTES)
        if head[8:16] != _MAGIC:
            continue
        _, block_bytes, blocks = _SUPERBLOCK.unpack_from(head, 20)
        if block_bytes in BLOCK_SIZES and start in (0, block_bytes) and 0 < blocks * block_bytes <= store.size:
            return Geometry(block_bytes, blocks)
    raise NoFileSystem("there is no littlefs here; sel4py disk create makes a disk with one")


def format_store(store: BlockStore) -> Geometry:
    """Make a new, empty file system; what was there is lost. Raises ValueError (too small), StoreFailed."""
    geometry = Geometry.of(store.size)
    cache = BlockCache(store, geometry.block_bytes, 0)
    system = lfs.LFSFilesystem()
    try:
        lfs.format(system, geometry.configuration(cache))
    except LittleFSError as error:
        raise cache.error or StoreFailed(f"littlefs cannot be made here: {error}") from error
    cache.settle()
    if cache.error is not None:
        raise cache.error
    return geometry
