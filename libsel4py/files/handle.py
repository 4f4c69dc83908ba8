"""An open file at its server, which goes on after that one's death.

Rules. The call that finds the session over opens the file again by its name, looks whether it is the same one
(`interfaces.file.Directory.open_number`), takes its lock again, writes what was not synced once more (`files.kept`),
and is made again. What cannot be had back is told: ESTALE (the file is gone, or its name stands for another),
`LockLost`, `InDoubt`; never is another file used, or something lost, in silence.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from libsel4py.capabilities import Endpoint
from libsel4py.errors import ServerDied
from libsel4py.files.errors import FAILURES, LOST, InDoubt, LockLost, os_error, to_the_end
from libsel4py.files.kept import Kept
from libsel4py.files.mount import MOST_TRIES, Mount
from libsel4py.interfaces.file import File, FileError, NoSuchFile, OpenFlags, StaleHandle
from libsel4py.task import Task

Result = TypeVar("Result")

ONCE: Final = OpenFlags.CREATE | OpenFlags.EXCLUSIVE | OpenFlags.TRUNCATE  # not when it is opened again


class Handle:
    """An open file of a mount.

    Attributes:
        number: the session's, to ask by; 0 while it is to be opened again. size: bytes, when it was opened. kept: what
        was not synced. name: the path by which it was opened, for errors.
    Raises:
        OSError.
    """

    def __init__(self, mount: Mount, task: Task, path: str, flags: OpenFlags, name: str = "") -> None:
        self.name = name or path
        self.number, self.size, self._identity = mount.open(path, flags, self.name)
        self.is_open = True
        self._path = path
        self.mount = mount
        self._task = task
        self._flags = flags
        self._appends = bool(flags & OpenFlags.APPEND)
        self._generation = mount.generation
        self._volume = mount.origin.volume
        self.kept = Kept(mount.origin.survives)
        if flags & OpenFlags.TRUNCATE and self.kept.keeps:
            self.kept.truncated(0)
        self._file: Endpoint | None = None
        self._lock: bool | None = None  # whether the lock that it has is exclusive
        self._has_lost_lock = False
        self._given_up = 0  # changes that went with the lock, and of which nobody was told yet
        mount.opened.add(self)

    # --- asking

    def ask(self, act: Callable[[], Result], may_be_there: bool = False) -> Result:
        """Do it, and again when the file had to be opened again.

        Args:
            may_be_there: of `act`, that it puts what was written on the medium, and may have done so when it failed.
        """
        for left in reversed(range(MOST_TRIES)):
            try:
                return act()
            except LOST as error:
                if not left and isinstance(error, ServerDied):
                    raise
                if not left:
                    raise os_error(error, self.name) from error
                self._go_on(may_be_there)
            except FileError as error:
                raise os_error(error, self.name) from error
        raise AssertionError("the last try has raised")

    def put(self, piece: memoryview | bytes, offset: int) -> int:
        """Write one buffer full, or append it; returns the offset at which it is. The mount's lock is held."""
        mount = self.mount

        def act() -> int:
            mount.buffer[: len(piece)] = piece
            if self._appends:
                return mount.directory.append_number(self.number, len(piece), 0)
            to_the_end(lambda: mount.directory.write_number(self.number, offset, len(piece), 0))
            return offset

        place = self.ask(act)  # what a server that dies of it has of it dies with that: no sync came behind it
        if self.kept.keeps:
            self.kept.wrote(place, bytes(piece))
            if self.kept.is_full(mount.most_kept):
                self.sync()
        return place

    def truncate(self, size: int) -> None:
        """Cut or lengthen it."""
        self.ask(lambda: to_the_end(lambda: self.mount.directory.truncate_number(self.number, size)))
        if self.kept.keeps:
            self.kept.truncated(size)
            if self._appends:
                self.sync()  # what is appended once more has no place among others

    def sync(self) -> None:
        """What was written is on the medium when this returns."""
        self.ask(lambda: self.mount.directory.sync_number(self.number), may_be_there=True)
        self.kept.clear()

    def capability(self) -> Endpoint:
        """The `File` capability, deleted with the handle."""
        return self.ask(self._capability)

    def _capability(self) -> Endpoint:
        if self._file is None:
            self._file = self.mount.directory.file(self.number)
        return self._file

    # --- its lock

    def lock(self, act: Callable[[File], bool], exclusive: bool) -> bool:
        """Take the lock, as ``act`` does it and says whether it was to be had. One that was lost is lost no more."""

        def take() -> bool:
            return act(File(self._capability()))

        try:
            has_it = self.ask(take)
        except LockLost:
            has_it = self.ask(take)
        if has_it:
            self._lock, self._has_lost_lock = exclusive, False
        return has_it

    def unlock(self) -> None:
        """Give it up. What was written is synced first: the next holder's writes are not to be overwritten."""
        if self._lock is not None and self.kept:
            self.sync()
        self._lock, self._has_lost_lock = None, False
        self.ask(lambda: File(self._capability()).unlock())

    def ensure_lock(self) -> None:
        """Raises LockLost: another had the lock since the server's death."""
        if self._has_lost_lock:
            lost, self._given_up = self._given_up, 0
            text = f", and {lost} changes that were not synced are given up" if lost else ""
            raise LockLost(f"another had the file's lock since the server died{text}", self.name)

    # --- what the mount says

    def was_renewed(self) -> None:
        """There is another session: a lock cannot wait for the next call (`mount.Opened`)."""
        if self._lock is not None and self.is_open:
            with suppress(OSError):  # the next call says so
                self._reopen()

    def settle(self) -> None:
        """The mount is about to end (`mount.Opened`)."""
        if self.is_open and self.kept:
            self._finish()

    def settle_writes(self) -> None:
        """Sync it if something was written."""
        if self.is_open and self.kept:
            self.sync()

    def moved(self, old: str, new: str) -> None:
        """Files of this mount were renamed, perhaps this one. One that had lost that name before goes on without."""
        if self.is_open and (self._path == old or self._path.startswith(old + "/")):
            former, self._path = self._path, new + self._path[len(old) :]
            try:
                self._identity = self.ask(lambda: self.mount.directory.identity_number(self.number))
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
                self._path = former
            else:
                self.settle_writes()

    # --- its end

    def end(self) -> None:
        """Close it. Raises OSError: something that was written is lost; it is closed all the same."""
        self._finish()
        if self._file is not None:
            self._task.delete(self._file)
        if self._given_up:
            self.ensure_lock()

    def _finish(self) -> None:
        """Close it at the server, which keeps what was written. A session that is over has done so with the rest."""

        def finish() -> None:
            try:
                self.mount.directory.close_number(self.number)
            except LOST:
                if self.kept:
                    raise

        self.ask(finish, may_be_there=True)
        self.kept.clear()

    # --- going on

    def _go_on(self, may_be_there: bool) -> None:
        """Have the file open again, or raise OSError. When the server dies of it, the next call will find that out."""
        with self.mount.lock:
            seen = self._generation
            self.mount.recover(seen, self.name)
            try:
                if self._generation == seen:
                    self._reopen(may_be_there)
            except LOST:
                return
            except FileError as error:
                raise os_error(error, self.name) from error
            self.ensure_lock()

    def _reopen(self, may_be_there: bool = False) -> None:
        mount = self.mount
        if mount.origin.volume != self._volume:
            raise os_error(StaleHandle("the file was its server's, and is gone with it"), self.name)
        generation = mount.generation
        number, size, identity = self._open_again(generation)
        if not number:
            return  # that session is over as well: the next call finds it out
        if identity != self._identity:
            with suppress(*LOST):
                mount.directory.close_number(number)
            raise os_error(StaleHandle("another file has its name now"), self.name)
        former, former_generation = self.number, self._generation
        self.number, self._generation = number, generation
        if former_generation == generation:
            with suppress(FileError):
                mount.directory.close_number(former)
        if self._file is not None:
            self._task.delete(self._file)
            self._file = None
        try:
            self._relock()
            self._write_again(size, may_be_there)
        except InDoubt:
            raise
        except BaseException:
            # Not used before all is as it was.
            self.number, self._generation = 0, -1
            with suppress(ServerDied, *FAILURES):
                mount.directory.close_number(number)
            raise

    def _open_again(self, generation: int) -> tuple[int, int, int]:
        """Number, size and identity; zeros if this session is over as well. Raises OSError."""
        try:
            return self.mount.directory.open_number(self._path, int(self._flags & ~ONCE))
        except NoSuchFile as error:
            raise os_error(StaleHandle(f"the file was removed: {error}"), self.name) from error
        except LOST:
            if self.mount.recover(generation, self.name):
                return 0, 0, 0
            raise
        except FileError as error:
            raise os_error(StaleHandle(f"the file cannot be opened again: {error}"), self.name) from error

    def _relock(self) -> None:
        if self._lock is None:
            return
        if not self.mount.directory.reclaim_number(self.number, self._lock):
            self._given_up = len(self.kept.records)
            self.kept.clear()
            self._lock, self._has_lost_lock = None, True

    def _write_again(self, size: int, may_be_there: bool) -> None:
        directory, buffer = self.mount.directory, self.mount.buffer
        if not self._appends:
            self.kept.write_again(directory, self.number, buffer)
        elif self.kept and not self.kept.append_again(
            directory, self.number, buffer, size, self._path if may_be_there else None
        ):
            raise InDoubt("others have written to it since: whether what was appended is there is not known", self.name)
