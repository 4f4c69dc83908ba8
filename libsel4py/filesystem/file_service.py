"""Answers `File`: what comes by the capability of an open file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from libsel4py import dispatch
from libsel4py.filesystem.handles import Handle
from libsel4py.filesystem.waiting import Waiting
from libsel4py.interfaces.file import File, StaleHandle

if TYPE_CHECKING:
    from libsel4py.server import Server


dispatch.prepare(File.interface_methods.values())  # by the zygote: who is started again finds it made


class FileService(File):
    """Open files by the badge of their capability."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._served_by = server
        self._handles: dict[int, Handle] = {}
        self._waiting = Waiting(self.defer_reply)

    def add(self, badge: int, handle: Handle) -> None:
        """An open file is to have a capability."""
        handle.badge = badge
        self._handles[badge] = handle
        self._served_by.add_client(badge, handle.session.origin.owner, File)

    def forget(self, handle: Handle) -> None:
        """An open file has ended, or its capability has."""
        if self._handles.pop(handle.badge, None) is not None:
            self._served_by.remove_client(handle.badge)
            handle.badge = 0

    def find(self, badge: int) -> Handle:
        """The open file whose capability has this badge. Raises StaleHandle."""
        handle = self._handles.get(badge)
        if handle is None:
            raise StaleHandle("the file is closed")
        handle.session.ensure_alive()
        handle.ensure_lent()
        return handle

    def _handle(self) -> Handle:
        return self.find(self.caller.badge)

    def read(self, offset: int, length: int, at: int) -> int:
        return self._handle().read(offset, length, at)

    def write(self, offset: int, length: int, at: int) -> int:
        return self._handle().write(offset, length, at)

    def read_piece(self, offset: int, length: int) -> bytes:
        return self._handle().get(offset, length)

    def write_piece(self, offset: int, data: bytes) -> int:
        return self._handle().put(offset, data)

    def size(self) -> int:
        return self._handle().size()

    def truncate(self, size: int) -> None:
        self._handle().truncate(size)

    def sync(self) -> None:
        self._handle().sync()

    def lock(self, exclusive: bool) -> None:
        handle = self._handle()
        handle.lock(exclusive, lambda: self._waiting.defer(handle.session.origin.owner))

    def try_lock(self, exclusive: bool) -> bool:
        return self._handle().try_lock(exclusive)

    def unlock(self) -> None:
        self._handle().unlock()

    def close(self) -> None:
        handle = self._handle()
        if handle.is_numbered:
            self.forget(handle)
        else:
            handle.session.drop(handle)
