"""An open file as one session has it: what it may do, and how bytes go between the file and the client's buffer.

Rule: the buffer can be written by its client at any moment, and be gone at any moment. Bytes are copied once, by a
guarded access, and what was copied is what is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from libsel4py.abi import VMFault
from libsel4py.context import ReplyToken
from libsel4py.errors import InvalidMessage
from libsel4py.filesystem.nodes import Node
from libsel4py.filesystem.opening import Opening
from libsel4py.filesystem.watches import Watches
from libsel4py.interfaces.file import (
    AT_END,
    PIECE_BYTES,
    ChangeKind,
    NoSpace,
    NotPermitted,
    StaleHandle,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from libsel4py.filesystem.sessions import FileSession

MOST_FILE_BYTES: Final = 1 << 62


class Handle:
    """An open file of a session.

    Attributes:
        node: the file. how: what it was opened for. badge: of its capability, or 0 while it has none. has_written:
        since it was synced last. lender: of a file that was adopted, the session whose end is its end as well, if any.
        is_numbered: the session knows its number, by which alone it is closed.
    """

    __slots__ = (
        "_appends",
        "_reads",
        "_watches",
        "_writes",
        "badge",
        "has_written",
        "how",
        "is_numbered",
        "lender",
        "node",
        "number",
        "session",
    )

    def __init__(self, session: FileSession, number: int, node: Node, how: Opening, watches: Watches) -> None:
        self.session = session
        self.number = number
        self.node = node
        self.badge = 0
        self.has_written = False
        self.is_numbered = False
        self.how = how
        self.lender: FileSession | None = None
        self._reads = how.reads
        self._writes = how.writes
        self._appends = how.appends
        self._watches = watches
        node.users += 1

    def is_alive(self) -> bool:
        """Whether the session's memory is still lent, and the lender's (`locks.Holder`)."""
        return self.session.is_alive() and (self.lender is None or self.lender.is_alive())

    def read(self, offset: int, length: int, at: int) -> int:
        """To the session's buffer; returns how many bytes."""
        self._ensure_reads()
        mapping = self.session.buffer()
        if length > mapping.size - at:
            raise InvalidMessage(f"{length} bytes at {at} are not all in the buffer's {mapping.size}")
        data = self.node.file.read(offset, length)
        try:
            mapping.write(at, data)
        except VMFault as error:
            raise StaleHandle("the buffer's memory was taken back") from error
        except TypeError as error:
            raise NotPermitted("the buffer is read-only memory: attach one that can be written") from error
        return len(data)  # type: ignore[arg-type]  # bytes, a bytearray or a memoryview of bytes

    def write(self, offset: int, length: int, at: int) -> int:
        """From the session's buffer; returns how many bytes."""
        return self.put(offset, self._from_buffer(length, at))

    def append(self, length: int, at: int) -> int:
        """From the session's buffer to the end; returns the offset there."""
        data = self._from_buffer(length, at)
        self._ensure_writes()
        end = self.node.file.size()
        if data:
            self._put(end, data)
        return end

    def overwrite(self, offset: int, length: int, at: int) -> int:
        """From the session's buffer, but nothing behind the file's end; returns how many bytes."""
        data = self._from_buffer(length, at)
        self._ensure_writes()
        data = data[: max(0, self.node.file.size() - offset)]
        if data:
            self._put(offset, data)
        return len(data)

    def _from_buffer(self, length: int, at: int) -> bytes:
        mapping = self.session.buffer()
        if length > mapping.size - at:
            raise InvalidMessage(f"{length} bytes at {at} are not all in the buffer's {mapping.size}")
        try:
            return mapping.read(at, length)
        except VMFault as error:
            raise StaleHandle("the buffer's memory was taken back") from error

    def get(self, offset: int, length: int) -> bytes:
        """Bytes for a message."""
        self._ensure_reads()
        return bytes(self.node.file.read(offset, min(length, PIECE_BYTES)))

    def put(self, offset: int, data: bytes) -> int:
        """Write bytes; returns how many."""
        self._ensure_writes()
        if not data:
            return 0
        self._put(self.node.file.size() if self._appends or offset == AT_END else offset, data)
        return len(data)

    def _put(self, offset: int, data: bytes) -> None:
        node = self.node
        if offset > MOST_FILE_BYTES - len(data):
            raise NoSpace(f"a file has at most {MOST_FILE_BYTES} bytes")
        self.has_written = True
        try:
            node.file.write(offset, data)
        except NoSpace:
            if not self.session.sweep():
                raise
            self.session.ensure_alive()  # or the file is closed, and would be opened again for nobody
            node.file.write(offset, data)
        if self._watches:
            self._watches.tell(ChangeKind.CHANGED, node.path)

    def truncate(self, size: int) -> None:
        self._ensure_writes()
        if size > MOST_FILE_BYTES:
            raise NoSpace(f"a file has at most {MOST_FILE_BYTES} bytes")
        self.has_written = True
        self.node.file.truncate(size)
        if self._watches:
            self._watches.tell(ChangeKind.CHANGED, self.node.path)

    def size(self) -> int:
        return self.node.file.size()

    def sync(self) -> None:
        self.node.file.sync()
        self.has_written = False

    def try_lock(self, exclusive: bool) -> bool:
        return self.node.lock.try_take(self, exclusive)

    def lock(self, exclusive: bool, defer: Callable[[], ReplyToken]) -> None:
        """Take it, or defer the caller's reply until it can be had. Raises as `FileLock.wait`."""
        if not self.node.lock.try_take(self, exclusive):
            self.node.lock.wait(self, exclusive, defer)

    def unlock(self) -> None:
        self.node.lock.release(self)

    def ensure_adoptable(self) -> None:
        """Raises NotPermitted, StaleHandle: it may not be another session's."""
        self._ensure_reads()
        self.ensure_lent()

    def ensure_lent(self) -> None:
        """Raises StaleHandle: who had handed on the subtree in which the file was opened has taken it back."""
        if self.lender is not None and not self.lender.is_alive():
            raise StaleHandle("the session in whose subtree the file was opened is over")

    def _ensure_reads(self) -> None:
        if not self._reads:
            raise NotPermitted("the file was not opened for reading")

    def _ensure_writes(self) -> None:
        if not self._writes:
            raise NotPermitted("the file was not opened for writing")
