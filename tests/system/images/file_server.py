# mypy: disable-error-code="empty-body"
"""A file system in memory that ends, or answers no more, with the next read."""

from __future__ import annotations

import os
import threading

from libsel4py import Interface, component
from libsel4py.filesystem import FileSystemServer
from servers.ramfs.volume import RamFile, RamVolume


class Hold(Interface):
    def next_read(self, what: str) -> None:
        """What becomes of the server in the next read: it "dies" or "hangs"."""


@component
class Main(FileSystemServer, Hold):
    def start(self) -> None:
        self.serve_volume(RamVolume(8 << 20))

    def next_read(self, what: str) -> None:
        read = RamFile.read

        def held(file: RamFile, offset: int, length: int, /) -> object:
            if what == "dies":
                os._exit(3)
            threading.Event().wait()
            return read(file, offset, length)

        RamFile.read = held  # type: ignore[method-assign, assignment]  # of this life
