"""littlefs on a disk: the format, a cache with the order that it needs, and a volume for `libsel4py.filesystem`.

The file system itself is the library littlefs (BSD), by littlefs-python; images are its own: any littlefs reads them.
Servers use this over a `Block` connection, the host's commands over an image file.
"""

from libsel4py.littlefs.format import Geometry, NoFileSystem, format_store, read_geometry
from libsel4py.littlefs.store import BlockStore, MemoryStore, StoreFailed
from libsel4py.littlefs.volume import LittleFsVolume

__all__ = [
    "BlockStore",
    "Geometry",
    "LittleFsVolume",
    "MemoryStore",
    "NoFileSystem",
    "StoreFailed",
    "format_store",
    "read_geometry",
]
