"""A client that copies a file and verifies the copy, again and again, and notes each step in a journal that it syncs.

Wrong is a byte of the copy that is not its original's, and a note that was synced and is not in the journal, once and
in its place. A server's death costs this client a delay, and nothing else: it ends with 0 when a file named ``stop``
is there after a copy, which it takes away, and with an error as soon as something is wrong or a call fails.
"""

from __future__ import annotations

import hashlib
import struct

from libsel4py import Component, component
from libsel4py.files import Files
from libsel4py.files.raw import RawFile

PIECE_BYTES = 256 << 10
PIECES_A_NOTE = 16
COPY, JOURNAL, STOP = "copy", "journal", "stop"
NOTE = struct.Struct("<QQ")  # how many pieces were copied before, in all; its square


class Wrong(AssertionError):
    """Something that was written is not there, or not once."""


@component
class Main(Component):
    def run(self) -> int:
        configuration = self.task.environment.configuration
        source, digest = str(configuration["source"]), str(configuration["sha256"])
        pieces = copies = 0
        with Files(self.uses.files, buffer_bytes=PIECE_BYTES) as files, files.open_raw(JOURNAL, "w+b") as journal:
            while not files.exists(STOP):
                pieces = self.copy(files, source, journal, pieces)
                if digest_of(files, COPY) != digest:
                    raise Wrong("the copy is not the original")
                if (notes := read_notes(journal)) != pieces // PIECES_A_NOTE:
                    raise Wrong(f"{notes} notes of {pieces // PIECES_A_NOTE}")
                files.remove(COPY)
                copies += 1
                self.log.info("%d copies, %d notes", copies, notes)
            files.remove(STOP)
        return 0

    def copy(self, files: Files, source: str, journal: RawFile, pieces: int) -> int:
        """Copy it all; returns how many pieces there are now. The last one may be short."""
        with files.open_raw(source) as original, files.open_raw(COPY, "wb") as copy:
            while data := original.read(PIECE_BYTES):
                write_all(copy, data)
                pieces += 1
                if pieces % PIECES_A_NOTE == 0:
                    write_all(journal, NOTE.pack(pieces, pieces * pieces))
                    journal.sync()
            copy.sync()
        return pieces


def write_all(file: RawFile, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def digest_of(files: Files, name: str) -> str:
    digest = hashlib.sha256()
    with files.open_raw(name) as file:
        while data := file.read(PIECE_BYTES):
            digest.update(data)
    return digest.hexdigest()


def read_notes(journal: RawFile) -> int:
    """How many notes there are; -1: one is not what it should be."""
    journal.seek(0)
    data = journal.readall()
    wanted = range(PIECES_A_NOTE, (len(data) // NOTE.size + 1) * PIECES_A_NOTE, PIECES_A_NOTE)
    right = data == b"".join(NOTE.pack(pieces, pieces * pieces) for pieces in wanted)
    return len(data) // NOTE.size if right else -1
