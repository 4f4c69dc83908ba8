"""Waiting for changes in a file system."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType

from libsel4py.bell import Bell
from libsel4py.files.errors import as_os_errors
from libsel4py.files.mount import Mount
from libsel4py.interfaces.file import Change, FileError
from libsel4py.task import Task


class Watcher:
    """Changes to a path and to all below it. Made by `Files.watch`; a context manager that closes it.

    Attributes:
        bell: what is rung, for who waits for several things.
    """

    def __init__(self, mount: Mount, task: Task, path: str) -> None:
        self.bell = Bell.allocate(task)
        self._mount = mount
        try:
            with as_os_errors(path):
                self._number = mount.directory.watch(path, self.bell.peer)
        except BaseException:
            self.bell.close()
            raise

    def changes(self) -> list[Change]:
        """What has happened since the last time, without waiting. One that is LOST says: look yourself."""
        with as_os_errors():
            return self._mount.directory.changes(self._number)

    def wait(self, timeout: float | None = None) -> list[Change]:
        """The same, once there is something. Raises TimeoutError. Who waits does not see that the server has died."""
        while True:
            found = self.changes()
            if found:
                return found
            self.bell.wait(timeout)

    def close(self) -> None:
        """End it. A session that is over has ended it already."""
        with suppress(FileError):
            self._mount.directory.unwatch(self._number)
        self.bell.close()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
