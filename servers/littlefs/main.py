"""A file system on a disk: littlefs, by a `Block` connection.

Must be given: a connection ``disk``. Settings: ``cache`` (bytes for blocks, 4 MiB), and ``format = true``, which makes
a file system on a disk that is empty (nothing is ever made over one); the others are those of every file system
(`libsel4py.filesystem.service`). With a ``state`` in its description a life that follows another one has less to read:
520 bytes of it for each block.
"""

from __future__ import annotations

from libsel4py import component, uses
from libsel4py.filesystem import FileSystemServer
from libsel4py.interfaces.block import Block
from libsel4py.littlefs import LittleFsVolume, NoFileSystem, format_store
from libsel4py.littlefs.heads import Heads
from libsel4py.littlefs.volume import CACHE_BYTES
from libsel4py.state import attach_state
from servers.littlefs.store import DiskStore


@component
class Main(FileSystemServer):
    """The server."""

    disk = uses(Block)

    def start(self) -> None:
        settings = self.task.environment.configuration
        cache = int(settings.get("cache", CACHE_BYTES))  # type: ignore[arg-type]  # a number
        store = DiskStore(self.disk)
        life = store.driver_life if self.task.environment.state_bytes else 0
        heads = Heads(attach_state(), life) if life else None
        try:
            volume = LittleFsVolume(store, cache, heads)
        except NoFileSystem:
            if not settings.get("format") or any(store.read(0, 1 << 14)):
                raise
            self.log.warning("the disk is empty: a file system is made on it")
            format_store(store)
            volume = LittleFsVolume(store, cache, heads)
        self.serve_volume(volume)
