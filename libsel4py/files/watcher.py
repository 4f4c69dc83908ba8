"""Waiting for changes in a file system."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType

from libsel4py.bell import Bell
from libsel4py.files.errors import LOST, as_os_errors
from libsel4py.files.mount import Mount
from libsel4py.interfaces.file import Change, ChangeKind, FileError
from libsel4py.task import Task


class Watcher:
    """Changes to a path and to all below it. Made by `Files.watch`; a context manager that closes it.

    When its server was started again, what happened meanwhile is one change that is LOST.

    Attributes:
        bell: what is rung, for who waits for several things.
    """

    def __init__(self, mount: Mount, task: Task, path: str) -> None:
        self.bell = Bell.allocate(task)
        self._mount = mount
        self._path = path
        self._generation = -1
        self._has_missed = False
        try:
            self._begin()
        except BaseException:
            self.bell.close()
            raise
        mount.opened.add(self)

    def _begin(self) -> None:
        mount = self._mount
        generation = mount.generation
        self._number = mount.ask(lambda directory: directory.watch(self._path, self.bell.peer), self._path)
        self._generation = generation

    def was_renewed(self) -> None:
        """Its mount has another session: who waits is woken (`mount.Opened`)."""
        self._has_missed = True
        self.bell.peer.signal()

    def settle(self) -> None:
        """There is nothing to lose (`mount.Opened`)."""

    def changes(self) -> list[Change]:
        """What has happened since the last time, without waiting. One that is LOST says: look yourself."""
        with self._mount.lock:
            if not self._has_missed:
                seen = self._mount.generation
                try:
                    with as_os_errors(self._path):
                        return self._mount.directory.changes(self._number)
                except OSError as error:
                    if not isinstance(error.__cause__ or error, LOST) or not self._mount.recover(seen, self._path):
                        raise
            self._has_missed = False
            self._begin()
            return [Change(ChangeKind.LOST, self._path)]

    def wait(self, timeout: float | None = None) -> list[Change]:
        """The same, once there is something. Raises TimeoutError. Who waits does not see that the server has died."""
        while True:
            found = self.changes()
            if found:
                return found
            self.bell.wait(timeout)

    def close(self) -> None:
        """End it. A session that is over has ended it already."""
        if self._generation == self._mount.generation:
            with suppress(FileError, *LOST):
                self._mount.directory.unwatch(self._number)
        self.bell.close()

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
