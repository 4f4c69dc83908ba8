"""A file system in memory: what is written is there until the server ends.

Settings: ``bytes``, how much files and names may take (1 MiB if nothing is said); the others are those of every file
system (`libsel4py.filesystem.service`).
"""

from __future__ import annotations

from typing import Final

from libsel4py import component
from libsel4py.filesystem import FileSystemServer
from servers.ramfs.volume import RamVolume

BYTES: Final = 1 << 20


@component
class Main(FileSystemServer):
    """The server."""

    def start(self) -> None:
        total = int(self.task.environment.configuration.get("bytes", BYTES))  # type: ignore[arg-type]  # a number
        self.serve_volume(RamVolume(total))
