"""Copies files while their server is killed. Takes orders from the console, one a line, and answers each with a line of
JSON that begins with ``@``:

page NAME BYTES   a file of so many bytes in what the web server shows; its SHA-256
copy SECONDS      copies a file again and again for so long, syncs and verifies each copy: bytes that were copied, the
                  seconds that this has taken, and how many copies were given up
"""

from __future__ import annotations

import hashlib
import json
import random
import time

from libsel4py import Component, component, uses
from libsel4py.files import Files
from libsel4py.interfaces.console import Console
from libsel4py.interfaces.file import Directory

PIECE_BYTES = 256 << 10
SOURCE_BYTES = 8 << 20
SOURCE, COPY = "source", "copy"


@component
class Main(Component):
    """Copies."""

    console = uses(Console)
    files = uses(Directory)
    pages = uses(Directory)

    def run(self) -> int:
        with Files(self.files, buffer_bytes=PIECE_BYTES) as self._files, Files(self.pages) as self._pages:
            write(self._files, SOURCE, SOURCE_BYTES)
            orders = {"page": self._page, "copy": self._copy}
            while True:
                name, *arguments = self.console.read_line("", echo=False).split()
                if name == "end":
                    return 0
                self.console.write(f"@{json.dumps(orders[name](*arguments))}\n")

    def _page(self, name: str, size: str) -> dict[str, object]:
        return {"sha256": write(self._pages, name, int(size))}

    def _copy(self, seconds: str) -> dict[str, object]:
        start = now = time.monotonic()
        end, copied, failed = start + float(seconds), 0, 0
        while now < end:
            try:
                copied += self._copy_once(end)
            except OSError as error:
                self.log.warning("a copy is given up: %s", error)
                failed += 1
            now = time.monotonic()
        return {"bytes": copied, "seconds": now - start, "failed": failed}

    def _copy_once(self, end: float) -> int:
        """Bytes that were copied by that time, or all: synced, read back, and found to be the same."""
        wanted, found, done = hashlib.sha256(), hashlib.sha256(), 0
        with self._files.open_raw(SOURCE) as source, self._files.open_raw(COPY, "wb") as copy:
            while time.monotonic() < end and (piece := source.read(PIECE_BYTES)):
                wanted.update(piece)
                copy.write(piece)
                done += len(piece)
            copy.sync()
        with self._files.open_raw(COPY) as copy:
            while piece := copy.read(PIECE_BYTES):
                found.update(piece)
        if found.digest() != wanted.digest():
            raise ValueError("the copy is not the original")
        return done


def write(files: Files, name: str, size: int) -> str:
    """A file of random bytes; its SHA-256."""
    chance, digest = random.Random(size), hashlib.sha256()
    with files.open_raw(name, "wb") as file:
        for start in range(0, size, PIECE_BYTES):
            piece = chance.randbytes(min(PIECE_BYTES, size - start))
            digest.update(piece)
            file.write(piece)
        file.sync()
    return digest.hexdigest()
