"""A session with one file system: the memory that is lent for it, and the buffer by which bytes go.

Rules. One thread uses the buffer at a time. When the session is over (the server was started again, or somebody took
its memory) the next call that finds that out opens another one in its place, by the same memory and the same buffer,
and asks again; files that are open are opened again by `handle.Handle` when they are used, those with a lock at once. A
request that a server has died with may have been carried out: who asks says whether it may be repeated. Nothing is
opened again once the mount is closed.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Final, Protocol, TypeVar

from libsel4py.capabilities import Endpoint
from libsel4py.dataspace import DataSpace
from libsel4py.environment import ChannelUse
from libsel4py.errors import KernelError, NotEnoughMemory, RemoteError, ServerDied, ServiceError
from libsel4py.files.errors import LOST, InDoubt, os_error
from libsel4py.files.kept import most_kept
from libsel4py.interface import endpoint_of, with_timeout
from libsel4py.interfaces.file import Directory, FileError, NoSuchFile, NotPermitted, OpenFlags, Origin, StaleHandle
from libsel4py.lending import lend
from libsel4py.lowlevel.collecting import Leftovers
from libsel4py.task import Task

Result = TypeVar("Result")

BUFFER_BYTES: Final = 256 << 10
LEAST_BUFFER_BYTES: Final = 16 << 10
POOL_BITS: Final = 16
CLOSE_SECONDS: Final = 1.0  # a server that does not answer learns of it by its memory
MOST_TRIES: Final = 64  # of one call, each of which a server has died with, before its caller is told


class Opened(Protocol):
    """What is open by a mount: a file, a watch."""

    def was_renewed(self) -> None:
        """The session is another one. Raises nothing but LOST."""

    def settle(self) -> None:
        """The mount is about to end. Raises OSError: something that was written is lost."""


class Mount:
    """A session.

    Args:
        find: gives the directory to open it by, for the length of a block, and again after the server's death.
        buffer_bytes: how large the buffer is; smaller, but at least 16 KiB, if the task has not got so much.
        pool_bits: log2 of the bytes that are lent; 512 of them stand for an open file.
    Attributes:
        directory: the session's own capability, called. stat: its method. buffer: its memory, in place. lock: to use it
        under. origin: which files there are. generation: how many sessions there were. opened: what is open by it.
        leftovers: of the finalizers of its files.
    Raises:
        FileError; NotEnoughMemory, OutOfSlots: this task's own.
    """

    def __init__(
        self, find: Callable[[], AbstractContextManager[Directory]], task: Task, buffer_bytes: int, pool_bits: int
    ) -> None:
        self.lock = threading.RLock()
        self.leftovers = Leftovers()
        self.generation = 0
        self._renewed_at = 0.0  # 0: never
        self._last_life = 0.0  # of a server, in seconds
        self.opened: weakref.WeakSet[Opened] = weakref.WeakSet()
        self.is_closed = False
        self._find = find
        self._task = task
        self._endpoints: list[Endpoint] = []
        with ExitStack() as undo:
            undo.callback(self._delete_endpoints, 0)
            self._pool = lend(task, pool_bits)
            undo.callback(self._pool.free)
            self._space = _space(task, buffer_bytes)
            undo.callback(self._space.close)
            self.buffer = memoryview(self._space.attach())
            undo.callback(self.buffer.release)
            self._begin()
            self._undo = undo.pop_all()

    @property
    def most_kept(self) -> int:
        """How many bytes of a file are to be written before it is synced."""
        if not self._renewed_at:
            return most_kept(math.inf)
        return most_kept(max(self._last_life, time.monotonic() - self._renewed_at))

    @property
    def endpoint(self) -> Endpoint:
        """The session's capability."""
        return endpoint_of(self.directory)

    # --- asking

    def ask(
        self,
        act: Callable[[Directory], Result],
        *paths: object,
        is_done: Callable[[], bool] | None = None,
        done: Result | None = None,
    ) -> Result:
        """Call the session, and another one in its place if it is over.

        Args:
            paths: of what an error speaks. is_done: asked before a request is repeated that a server has died with:
                whether it was carried out; it returns ``done`` then. Without it, it is repeated.
        Raises:
            OSError. ServerDied: servers go on dying.
        """
        for left in reversed(range(MOST_TRIES)):
            seen = self.generation
            try:
                return act(self.directory)
            except LOST as error:
                if not left:
                    raise
                if not self.recover(seen, *paths) and not isinstance(error, ServerDied):
                    raise os_error(error, *paths) from error
                if isinstance(error, ServerDied) and is_done is not None and is_done():
                    return done  # type: ignore[return-value]  # what the caller has said
            except FileError as error:
                raise os_error(error, *paths) from error
        raise AssertionError("the last try has raised")

    def exists(self, path: str) -> bool:
        """Whether there is something, as `ask`."""
        return self.ask(lambda directory: _is_there(directory, path), path)

    def open(self, path: str, flags: OpenFlags, name: str) -> tuple[int, int, int]:
        """`Directory.open_number`; errors call the file ``name``.

        Raises OSError; InDoubt: of an exclusive one, whether it made the file.
        """

        def is_made() -> bool:
            if self.exists(path):
                raise InDoubt("the server died: whether this file was made now, or is another's", name)
            return False

        is_done = is_made if flags & OpenFlags.EXCLUSIVE else None
        return self.ask(lambda directory: directory.open_number(path, int(flags)), name, is_done=is_done)

    # --- going on

    def recover(self, seen: int, *paths: object) -> bool:
        """After a call of the session of generation ``seen`` that raised one of LOST: whether there is a new session.

        Raises:
            OSError: there is no other to be had. ServerDied: servers go on dying.
        """
        with self.lock:
            if self.is_closed:
                raise os_error(StaleHandle("these files are closed"), *paths)
            if self.generation != seen:
                return True
            try:
                self.directory.stat("")
                return False
            except LOST:
                self._renew(*paths)
                return True
            except FileError:
                return False  # it answers

    def _renew(self, *paths: object) -> None:
        for left in reversed(range(MOST_TRIES)):
            try:
                self._pool.take_back()
                self._begin()
                self.generation += 1
                now = time.monotonic()
                self._last_life, self._renewed_at = now - self._renewed_at, now
                for each in list(self.opened):
                    each.was_renewed()
                return
            except ServerDied:
                if not left:
                    raise
            except LOST as error:
                if not left or not self._may_be_had():
                    raise os_error(error, *paths) from error
            except FileError as error:
                raise os_error(error, *paths) from error

    def _may_be_had(self) -> bool:
        """Whether the directory by which sessions are opened answers."""
        try:
            with self._find() as directory:
                directory.stat("")
        except ServerDied:
            return True
        except LOST:
            return False
        except FileError:
            return True
        return True

    def _begin(self) -> None:
        with self._find() as directory:
            endpoint = directory.session(self._pool.untyped)
        self._endpoints.append(endpoint)
        self._task.channels.offer(endpoint, ChannelUse.AUTO)
        session = Directory(endpoint)
        shared = self._space.share()
        try:
            session.attach(shared)
        finally:
            self._space.drop(shared)
        self.origin: Origin = session.origin()
        self.directory, self.stat = session, session.stat
        self._delete_endpoints(2)  # another thread may be about to call by the former one

    def _delete_endpoints(self, kept: int) -> None:
        while len(self._endpoints) > kept:
            self._task.delete(self._endpoints.pop(0))

    # --- the end

    def close(self) -> None:
        """End it, and have the memory back, whatever the server says. Raises OSError: what was written is lost."""
        failed: OSError | None = None
        for each in list(self.opened):
            try:
                each.settle()
            except OSError as error:
                failed = failed or error
        self.is_closed = True
        undo, self._undo = self._undo, ExitStack()
        with undo, suppress(ServiceError, KernelError, RemoteError, ServerDied, TimeoutError):
            with_timeout(self.directory, CLOSE_SECONDS).close()
        if failed is not None:
            raise failed


def _is_there(directory: Directory, path: str) -> bool:
    try:
        directory.stat(path)
    except NoSuchFile:
        return False
    except NotPermitted:
        return True  # who may not look cannot know
    return True


def _space(task: Task, size: int) -> DataSpace:
    while True:
        try:
            return DataSpace.allocate(size, task)
        except NotEnoughMemory:
            if size <= LEAST_BUFFER_BYTES:
                raise
            size = max(size // 2, LEAST_BUFFER_BYTES)
