"""A pager's session with a file system: the buffer by which pages go, and the files that were handed to it.

Rules. The pager has one thread, for all its tasks, so nothing here waits longer than ``patience``. A file system that
took longer is not asked by this session again: it may yet look into the buffer, which is therefore taken from it. What
was adopted by one session is no more by the next; its number is never another file's.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final, TypeVar

from libsel4py.abi import Rights
from libsel4py.capabilities import Endpoint, Unwrapped
from libsel4py.dataspace import DataSpace
from libsel4py.environment import ChannelUse
from libsel4py.errors import InvalidMessage, KernelError, RemoteError, ServerDied, Timeout
from libsel4py.interface import with_timeout
from libsel4py.interfaces.file import HANDLE_BYTES, Adopted, DeviceFailed, Directory, FileError, StaleHandle
from libsel4py.interfaces.memory_object import PAGE_BYTES
from libsel4py.lending import lend
from libsel4py.task import Task

RUN_PAGES: Final = 16  # that are written by one request
BUFFER_BYTES: Final = RUN_PAGES * PAGE_BYTES
PATIENCE: Final = 5.0  # seconds
MOST_LIVES: Final = 4  # of the file system, in one `adopt`
Result = TypeVar("Result")


class FileStore:
    """A file system, as a pager uses it.

    Args:
        directory: the pager's connection. handles: files that it may have open. patience: seconds.
    Attributes:
        life: how many sessions there were; what was adopted in another one is gone.
    """

    def __init__(self, directory: Directory, task: Task, handles: int, patience: float = PATIENCE) -> None:
        self.life = 0
        self._directory = with_timeout(directory, patience)
        self._task, self._patience = task, patience
        self._pool_bits = (PAGE_BYTES + (handles + 1) * HANDLE_BYTES - 1).bit_length()
        self._session: Directory | None = None
        self._undo = ExitStack()

    # --- files

    def adopt(self, file: Endpoint) -> Adopted:
        """Have a file open of which one was handed the capability.

        The file system is shown a copy without any right: its badge says all, and it opens nothing for another one.

        Raises:
            InvalidMessage: it is none of this file system's. FileError; DeviceFailed: that does not answer. OutOfSlots.
        """
        task, slot = self._task, self._task.slots.allocate()
        try:
            task.cnode.copy(slot, task.cnode, file.cptr, Rights.NONE)
            return self._adopt(Unwrapped(slot))
        finally:
            task.delete(Endpoint(slot))

    def _adopt(self, file: Unwrapped) -> Adopted:
        for left in reversed(range(MOST_LIVES)):
            try:
                if self._session is None:
                    self._begin()
                return self._asked(lambda session: session.adopt(file))
            except StaleHandle:
                if not left or self.answers():
                    raise
                self.end()
            except DeviceFailed as error:
                if not left or not isinstance(error.__cause__, ServerDied):  # one that is slow is not waited for again
                    raise
        raise AssertionError("the last try has raised")

    def answers(self) -> bool:
        """Whether the session is one still."""
        if self._session is None:
            return False
        try:
            self._asked(lambda session: session.origin())
        except FileError:
            return False
        return True

    def read(self, held: Held, offset: int, length: int) -> bytes:
        """Up to a page of bytes; fewer only at the end. Raises FileError."""
        count = self._in_life(held, lambda session: session.read_number(held.number, offset, length, 0))
        return self._mapping.read(0, min(count, length))

    def overwrite(self, held: Held, offset: int, data: bytes) -> int:
        """Write what lies before the file's end; returns how many bytes. Raises FileError."""
        self._ensure_life(held)
        self._mapping.write(0, data)
        return self._in_life(held, lambda session: session.overwrite_number(held.number, offset, len(data), 0))

    def sync(self, held: Held) -> None:
        """Put what was written on the medium. Raises FileError."""
        self._in_life(held, lambda session: session.sync_number(held.number))

    def size(self, held: Held) -> int:
        """Bytes. Raises FileError."""
        return self._in_life(held, lambda session: session.size_number(held.number))

    def close(self, held: Held) -> None:
        """Have it open no more. Raises FileError."""
        if held.life == self.life:
            self._in_life(held, lambda session: session.close_number(held.number))

    # --- the session

    def _begin(self) -> None:
        """Raises FileError, NotEnoughMemory, OutOfSlots, OutOfAddresses: this task's own."""
        with ExitStack() as undo:
            pool = lend(self._task, self._pool_bits)
            undo.callback(pool.free)
            space = DataSpace.allocate(BUFFER_BYTES, self._task)
            undo.callback(space.close)
            mapping = space.attach()
            endpoint = _asked(lambda: self._directory.session(pool.untyped))
            undo.callback(self._task.delete, endpoint)
            session = with_timeout(Directory(endpoint), self._patience)
            shared = space.share()
            try:
                _asked(lambda: session.attach(shared))
            finally:
                space.drop(shared)
            self._task.channels.offer(endpoint, ChannelUse.AUTO)
            self._session, self._mapping = session, mapping
            self.life += 1
            self._undo = undo.pop_all()

    def end(self) -> None:
        """Take buffer and memory back: the session is over."""
        self._session = None
        self.life += 1
        undo, self._undo = self._undo, ExitStack()
        undo.close()

    def _ensure_life(self, held: Held) -> None:
        if held.life != self.life or self._session is None:
            raise StaleHandle("the file was open in a former life of its file system")

    def _in_life(self, held: Held, act: Callable[[Directory], Result]) -> Result:
        self._ensure_life(held)
        return self._asked(act)

    def _asked(self, act: Callable[[Directory], Result]) -> Result:
        session = self._session
        assert session is not None
        try:
            return _asked(lambda: act(session))
        except _NoAnswer:
            self.end()
            raise


@dataclass(frozen=True, slots=True)
class Held:
    """A file that is open in a pager's session, of the life of its `FileStore`. ``which``: `Adopted`."""

    life: int
    number: int
    which: int
    writable: bool


class _NoAnswer(DeviceFailed):
    """The file system did not answer."""


def _asked(act: Callable[[], Result]) -> Result:
    """Whatever goes wrong as a FileError, but for InvalidMessage, which the request is to blame for."""
    try:
        return act()
    except (ServerDied, Timeout) as error:
        raise _NoAnswer(f"the file system did not answer: {error}") from error
    except InvalidMessage:
        raise
    except KernelError as error:
        raise StaleHandle(f"the file system's session is over: {error}") from error
    except RemoteError as error:
        raise DeviceFailed(f"the file system failed: {error}") from error
