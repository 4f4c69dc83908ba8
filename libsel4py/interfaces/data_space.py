# mypy: disable-error-code="empty-body"
"""Data spaces as capabilities (RefOS): one set of operations for all that can be opened, whatever serves it.

A server of data spaces (`DataSpaces`) opens them by name; what it hands out is a capability to one open data space
(`OpenData`). Files, memory, a console, a timer and a serial line are read and written by the same calls. What a data
space has not got (a console has no size) it refuses with `NotPossible`, and it says so at the first call.

| data space | read | write | size, expand, seek, memory | init_data |
| --- | --- | --- | --- | --- |
| memory | its bytes | its bytes | yes | yes |
| a file | its bytes | its bytes | yes | no |
| a console | a line, with its newline; nothing at the end | text | no | no |
| a serial line | what has come, one byte at least | bytes | no | no |
| a timer | nanoseconds since the machine's start, 8 bytes, little-endian | 8 bytes likewise: waits so long | no | no |

Source: RefOS design document, "Dataspace interface" (data_open, data_close, data_read, data_write, data_getc,
data_putc, data_lseek, data_get_size, data_expand, data_datamap, data_dataunmap, data_init_data).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

from libsel4py.capabilities import Endpoint
from libsel4py.errors import ServiceError
from libsel4py.interface import Interface, local
from libsel4py.interfaces.windows import MemoryWindow, ProvidedWindow
from libsel4py.signature import Word

PIECE_BYTES: Final = 800  # of `read_piece` and `write_piece`
AT_POSITION: Final = (1 << 64) - 1  # as an offset: where the former such call has ended, or `seek` has said
MOST_OPEN: Final = 16  # data spaces of one client at one server


class DataSpaceError(ServiceError):
    """What goes wrong with a data space. The first argument says what happened."""


class NoSuchData(DataSpaceError):
    """Nothing has this name, or it is not to be opened so."""


class NotPossible(DataSpaceError):
    """The data space has no such operation, or was not opened for it."""


class DataGone(DataSpaceError):
    """It is closed, or its server has begun anew."""


class NoRoom(DataSpaceError):
    """The server keeps no more for this client."""


class OpenFlags(IntFlag):
    """What a data space is opened for. CREATE makes what is not there, where the server can do that."""

    NONE = 0
    READ = 1
    WRITE = 2
    CREATE = 4


class Whence(IntEnum):
    """What an offset of `OpenData.seek` is relative to."""

    START = 0
    POSITION = 1
    END = 2


class DataSpaces(Interface):
    """A server of data spaces."""

    def open(self, name: str, flags: Word, size: Word) -> Endpoint:
        """Open a data space (`OpenFlags`); the capability is `OpenData`, and can be handed on.

        Args:
            size: bytes, of what is made; else it is not looked at.
        Raises:
            NoSuchData. NoRoom: `MOST_OPEN` of the client's are open, or ``size`` is more than it may have.
        """

    def close_all(self) -> None:
        """Close all that this client has open: for one that begins anew, and has lost what a former life had.

        Raises what the first one does that could not be closed in order; all are closed.
        """


class OpenData(Interface):
    """An open data space. All methods raise `DataSpaceError`s, of the kinds above."""

    def read_piece(self, offset: Word, length: Word) -> bytes:
        """At most ``length`` bytes, and `PIECE_BYTES`; none only at the end. Use `read`, which takes any length.

        What has no offsets (a console, a serial line, a timer) waits until there is something, and looks at none.
        """

    def write_piece(self, offset: Word, data: bytes) -> Word:
        """Write at most `PIECE_BYTES`; returns how many bytes were taken. Use `write`, which takes any length."""

    def seek(self, offset: int, whence: Word) -> Word:
        """Set the position (`Whence`); returns it. Raises NotPossible: there is none, or it is before the start."""

    def size(self) -> Word:
        """Bytes."""

    def expand(self, size: Word) -> None:
        """Make it longer, by zeroes. Raises NotPossible: it is as long already. NoRoom."""

    def memory(self, can_write: bool) -> Endpoint:
        """Its contents as a memory object (`MemoryObject`), for one window at a time. Use `map`."""

    def init_data(self, source: Endpoint, offset: Word) -> None:
        """Let the bytes of another server's data space, from ``offset`` on, be the first contents of this one.

        They are read when they are touched first: ``source`` (an `OpenData`) is to stay open until then.

        Raises:
            NotPossible: it has contents already.
        """

    def close(self) -> None:
        """Give it up. What was written through a mapping that stands is written by then; the mapping ends, and so do
        calls that wait (`DataGone`)."""

    @local
    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes; fewer only at the end, and of what has no size (then those of one piece)."""
        data = b""
        while len(data) < length:
            at = offset if offset == AT_POSITION else offset + len(data)
            asked = min(length - len(data), PIECE_BYTES)
            piece = self.read_piece(Word(at), Word(asked))
            data += piece
            if len(piece) < asked:
                break
        return data

    @local
    def write(self, offset: int, data: bytes) -> None:
        """Write bytes of any length, in pieces."""
        done = 0
        while done < len(data):
            at = offset if offset == AT_POSITION else offset + done
            done += self.write_piece(Word(at), data[done : done + PIECE_BYTES])

    @local
    def get_byte(self) -> int | None:
        """The byte at the position, which moves on; None at the end."""
        data = self.read_piece(Word(AT_POSITION), Word(1))
        return data[0] if data else None

    @local
    def put_byte(self, byte: int) -> None:
        """Write the byte at the position, which moves on."""
        self.write_piece(Word(AT_POSITION), bytes([byte]))

    @local
    def map(self, window: MemoryWindow | ProvidedWindow, offset: int = 0, can_write: bool = False) -> None:
        """See its bytes from ``offset`` on in a window, until that hides them. Raises BadWindow: as `show`."""
        window.show(self.memory(can_write), Word(offset), can_write)
