# mypy: disable-error-code="empty-body"
"""Directories and files. A directory is a capability to a subtree; there is nothing above it.

Paths are relative to the capability's own root: UTF-8, names separated by "/", the root itself is "". There are no
empty names, no "." and "..", no NUL: all else is `BadPath`. A name has at most 255 bytes, a path 700 (`NameTooLong`).

A directory capability has rights (`Access`), and hands on the same or less (`narrow`). Most methods work on any; `open`
and `watch` need a session, for which the client lends memory and whose data space holds what is read and written. What
a session has made (files, watches, narrowed capabilities) ends with it: then it is `StaleHandle`.

A session names its open files by number as well. So all that a program does with its own files goes by the session's
one channel; a `File` capability is for who hands a file on, and for its lock.

A server that was started again knows no session: all that a former life gave out is `StaleHandle`. What a client needs
to go on is here: whether the files are still the same (`Origin`), whether a file is (its identity, by `open_number`),
and its lock, if nobody else had it meanwhile (`reclaim_number`). `libsel4py.files` does that by itself.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

import msgspec

from libsel4py.capabilities import Endpoint, Notification, Untyped, Unwrapped
from libsel4py.dataspace import SharedMemory
from libsel4py.errors import NotEnoughMemory, ServiceError
from libsel4py.interface import Interface, long_result, raises
from libsel4py.signature import Word

NAME_BYTES: Final = 255
PATH_BYTES: Final = 700
PIECE_BYTES: Final = 800  # of `read_piece` and `write_piece`
AT_END: Final = (1 << 64) - 1  # as an offset of `write`: behind the last byte
MOST_BUFFER_BYTES: Final = 4 << 20
LEAST_POOL_BITS: Final = 13  # log2 of the smallest pool for a session
HANDLE_BYTES: Final = 512  # of its pool that each handle of a session stands for, behind the first page
MOST_HANDLES: Final = 1024  # of one session


class FileError(ServiceError):
    """What goes wrong with files. The first argument says what happened."""


class NoSuchFile(FileError):
    """Nothing has this name (ENOENT)."""


class FileExists(FileError):
    """The name is taken (EEXIST)."""


class IsDirectory(FileError):
    """A file is needed, and this is a directory (EISDIR)."""


class NotDirectory(FileError):
    """A directory is needed, and this is a file (ENOTDIR)."""


class DirectoryNotEmpty(FileError):
    """A directory that is removed or replaced must be empty (ENOTEMPTY)."""


class NoSpace(FileError):
    """The file system is full, or the file would be too large for it (ENOSPC)."""


class NotPermitted(FileError):
    """The capability has no right to this, or needs a session for it (EACCES)."""


class BadPath(FileError):
    """The text is no path (EINVAL)."""


class NameTooLong(BadPath):
    """A name has more than 255 bytes, or the path more than 700 (ENAMETOOLONG)."""


class Locked(FileError):
    """The lock is not to be had: too many wait for it (EWOULDBLOCK)."""


class TooManyOpen(FileError):
    """The session's memory, or its client's share of the server, is used up (EMFILE)."""


class DeviceFailed(FileError):
    """The medium failed (EIO)."""


class Unfinished(FileError):
    """The file is longer, but not yet as long as was asked for: ask again, and others are served between (EAGAIN)."""


class StaleHandle(FileError):
    """The file, the session or the buffer is no more (ESTALE)."""


class Kind(IntEnum):
    """What a name stands for."""

    FILE = 1
    DIRECTORY = 2


class Access(IntFlag):
    """Rights of a directory capability. Those to a file are those with which it was opened."""

    NONE = 0
    READ = 1
    WRITE = 2
    ALL = 3


class OpenFlags(IntFlag):
    """How a file is opened.

    CREATE makes it if there is none, with EXCLUSIVE only then. TRUNCATE empties it. APPEND lets each write go to the
    end. All but READ need the right to write; CREATE and TRUNCATE without WRITE are refused as well.
    """

    READ = 1
    WRITE = 2
    CREATE = 4
    EXCLUSIVE = 8
    TRUNCATE = 16
    APPEND = 32


class Stat(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a name. ``size`` in bytes (of a directory: 0), ``modified_ns`` since 1970 or 0 if unknown."""

    kind: Kind
    size: int
    modified_ns: int = 0


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One name in a directory."""

    name: str
    kind: Kind
    size: int


class Space(msgspec.Struct, frozen=True, array_like=True):
    """How much there is, and how long a name may be (in bytes of UTF-8)."""

    block_bytes: int
    blocks: int
    free_blocks: int
    name_bytes: int


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """Which files a server has.

    Attributes:
        volume: another number says that these are other files. survives: the server's next life has them again, as they
        were when they were synced last.
    """

    volume: int
    survives: bool


class Adopted(msgspec.Struct, frozen=True, array_like=True):
    """An open file that a session has from another one.

    Attributes:
        number: the session's, as of `Directory.open_number`. size: bytes. which: the same for all handles of one open
        file, in one life of the server, and of no other file. writable: whether it was opened for writing.
    """

    number: int
    size: int
    which: int
    writable: bool


class ChangeKind(IntEnum):
    """What happened to a path."""

    CREATED = 1
    CHANGED = 2
    REMOVED = 3
    LOST = 4  # more happened than is kept; look yourself


class Change(msgspec.Struct, frozen=True, array_like=True):
    """What a watch saw. A rename is the old name REMOVED and the new one CREATED."""

    kind: ChangeKind
    path: str


Entries = list[Entry]  # `Directory.list` hides the builtin of its name within the class
Changes = list[Change]


class Directory(Interface):
    """A subtree. All methods raise `FileError`s, of the kinds above."""

    @raises(NotEnoughMemory)
    def session(self, pool: Untyped) -> Endpoint:
        """The same subtree with the same rights, as a capability with a session of its own.

        It ends at `close`, and when the memory is taken back: its files are `StaleHandle` then, its locks free. So do
        sessions that were opened by it, or by a capability that it has narrowed.

        Raises:
            NotEnoughMemory: fewer than 2**`LEAST_POOL_BITS` bytes. TooManyOpen: the client has too many sessions.
        """

    def attach(self, memory: SharedMemory) -> None:
        """The data space that the session's files read to and write from, in the place of a former one.

        Raises:
            NotADataSpace: it is none, larger than `MOST_BUFFER_BYTES`, or of more than 8 frames.
        """

    def stat(self, path: str) -> Stat:
        """Kind, size and time."""

    @long_result
    def list(self, path: str) -> Entries:
        """What is in a directory, sorted by name. Raises TooManyOpen: it takes more than 1 MiB to say."""

    def open(self, path: str, flags: Word) -> tuple[Word, Endpoint]:
        """Open a file (`OpenFlags`): its size, and its `File` capability. Needs a session.

        It is a capability to this open file, with what it was opened for, and can be handed on. Bytes move by the
        session's buffer, or in messages (`File.read_piece`).

        The same file is one file, however often it is open. One that is removed or replaced goes on for those who have
        it open, where the file system can do that; where it cannot, it is `StaleHandle`.
        """

    def open_number(self, path: str, flags: Word) -> tuple[int, int, int]:
        """As `open`: the file's number in the session, its size, and its identity.

        No other session has a file of this number. The identity stays the same as long as the name stands for the same
        file, in all lives of the server: a file that is another one has another, but for one that has taken the name of
        a file which was removed in a former life.
        """

    def read_number(self, file: Word, offset: Word, length: Word, at: Word) -> Word:
        """`File.read`. Raises StaleHandle: the session has no file of this number; so do all that take one."""

    def write_number(self, file: Word, offset: Word, length: Word, at: Word) -> Word:
        """`File.write`."""

    def size_number(self, file: Word) -> Word:
        """`File.size`."""

    def truncate_number(self, file: Word, size: Word) -> None:
        """`File.truncate`."""

    def sync_number(self, file: Word) -> None:
        """`File.sync`."""

    def close_number(self, file: Word) -> None:
        """`File.close`."""

    def file(self, file: Word) -> Endpoint:
        """The `File` capability of an open file.

        `File.close` ends it for all who have it; the file stays open by its number, with its lock.
        """

    def make_directory(self, path: str) -> None:
        """Make one directory."""

    def remove(self, path: str) -> None:
        """Remove a file or an empty directory."""

    def rename(self, old: str, new: str) -> None:
        """Give it another name, and replace what has that name: a file a file, a directory an empty directory.

        There is no moment at which ``new`` is missing or half there. What is open stays open.
        """

    def narrow(self, path: str, rights: Word) -> Endpoint:
        """A capability to the subtree of a directory, with those of ``rights`` (`Access`) that this one has itself.

        It follows the directory when that is renamed. Of a session it ends with it; else it stays, and asking twice
        gives the same.

        Raises NotPermitted: this one has none of them.
        """

    def space(self) -> Space:
        """Size and free blocks of the whole file system."""

    def sync(self) -> None:
        """All that was written is on the medium when this returns, whoever wrote it.

        Raises NoSpace: something that was written to a file, which may be another client's, does not fit; all else is
        on the medium.
        """

    def watch(self, path: str, wake: Notification) -> Word:
        """Be told of changes to a path and to all below it; returns the watch's number. Needs a session.

        ``wake`` is signalled when `changes` has something to say, and had nothing before.
        """

    @long_result
    def changes(self, watch: Word) -> Changes:
        """What has happened since the last call, oldest first; at most 64, and then one that is LOST."""

    def unwatch(self, watch: Word) -> None:
        """End a watch. Raises StaleHandle: there is none of this number."""

    def close(self) -> None:
        """End the session. Raises NotPermitted: this capability has none."""

    # --- going on after the server's death

    def origin(self) -> Origin:
        """Which files these are."""

    def append_number(self, file: Word, length: Word, at: Word) -> Word:
        """`File.write` at the end; returns the offset at which the bytes are."""

    def identity_number(self, file: Word) -> Word:
        """The file's identity now: a rename may have changed it. Raises StaleHandle: it has no name any more."""

    def reclaim_number(self, file: Word, exclusive: bool) -> bool:
        """`File.try_lock` of who had the lock in the server's former life.

        False: another one has it, or had it in this life, in a mode that excludes this one.
        """

    # --- a file as memory

    def adopt(self, file: Unwrapped) -> Adopted:
        """An open file of another session, by its `File` capability, as one of this session: for pagers.

        It may be read and written as it was opened, and is open until this session closes it, whatever becomes of the
        other handle. It ends with the session by which that one's session was opened, if there is one: so who hands on
        a subtree can still take it back. Needs a session, of a client that the server's description names as a pager.

        Raises:
            NotPermitted: it is no pager's session, or the file was not opened for reading. StaleHandle: it is closed.
            InvalidMessage: the capability is none of this server's.
        """

    def overwrite_number(self, file: Word, offset: Word, length: Word, at: Word) -> Word:
        """`write_number` of those bytes that lie before the file's end, in one step; returns how many they were."""


class File(Interface):
    """An open file.

    Methods with ``at`` move bytes between the file and the session's buffer, ``at`` bytes from its start. They raise
    InvalidMessage if that is not all in the buffer, StaleHandle if the buffer's memory is gone or there is none.
    """

    def read(self, offset: Word, length: Word, at: Word) -> Word:
        """Read to the buffer; returns how many bytes. Fewer than asked for only at the end of the file."""

    def write(self, offset: Word, length: Word, at: Word) -> Word:
        """Write from the buffer; returns how many bytes, which is all. A gap before ``offset`` reads as zeroes.

        With ``offset`` `AT_END`, or a file opened with APPEND, the bytes go to the end in one step.

        Raises Unfinished: a part of the gap is there.
        """

    def read_piece(self, offset: Word, length: Word) -> bytes:
        """At most `PIECE_BYTES`, in the message."""

    def write_piece(self, offset: Word, data: bytes) -> Word:
        """As `write`, of at most `PIECE_BYTES` in the message."""

    def size(self) -> Word:
        """Bytes."""

    def truncate(self, size: Word) -> None:
        """Cut it, or lengthen it by zeroes. Raises Unfinished: by a part of them."""

    def sync(self) -> None:
        """What was written to this file is on the medium when this returns."""

    def lock(self, exclusive: bool) -> None:
        """Wait for the file's lock, shared or exclusive, in the order in which it was asked for.

        The handle has one lock; it may be asked for again in the other mode, and is given up first then. `close`,
        `unlock`, and the end of the session give it up. Locks are for those who ask: they keep nobody from writing.
        """

    def try_lock(self, exclusive: bool) -> bool:
        """The same without waiting; False if it is not to be had now (what was held is held on)."""

    def unlock(self) -> None:
        """Give the lock up; nothing happens if it is not held."""

    def close(self) -> None:
        """End the handle; of one that was opened by number, this capability alone.

        Bytes that were written stay; `sync` is what puts them on the medium.
        """
