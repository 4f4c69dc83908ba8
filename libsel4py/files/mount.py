"""A session with one file system: the memory that is lent for it, and the buffer by which bytes go.

Rules: one thread uses the buffer at a time. What ends the session (a server that was restarted, memory that was taken
back) ends its files: nothing is opened again in silence. Who wants to go on makes a new session.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, suppress
from typing import Final

from libsel4py.capabilities import Endpoint
from libsel4py.dataspace import DataSpace
from libsel4py.environment import ChannelUse
from libsel4py.errors import KernelError, NotEnoughMemory, RemoteError, ServerDied, ServiceError
from libsel4py.interface import endpoint_of, with_timeout
from libsel4py.interfaces.file import Directory
from libsel4py.lending import lend
from libsel4py.lowlevel.collecting import Leftovers
from libsel4py.task import Task

BUFFER_BYTES: Final = 256 << 10
LEAST_BUFFER_BYTES: Final = 16 << 10
POOL_BITS: Final = 16
CLOSE_SECONDS: Final = 1.0  # a server that does not answer learns of it by its memory


class Mount:
    """A session.

    Args:
        directory: what to open it by. buffer_bytes: how large the buffer is; smaller, but at least 16 KiB, if the task
        has not got so much. pool_bits: log2 of the bytes that are lent; 512 of them stand for an open file.
    Attributes:
        directory: the session's own capability, called. stat: its method. buffer: its memory, in place. lock: to use it
        under.
        leftovers: of the finalizers of its files.
    Raises:
        FileError; NotEnoughMemory, OutOfSlots: this task's own.
    """

    def __init__(self, directory: Directory, task: Task, buffer_bytes: int, pool_bits: int) -> None:
        self.lock = threading.RLock()
        self.leftovers = Leftovers()
        self._task = task
        with ExitStack() as undo:
            self._pool = lend(task, pool_bits)
            undo.callback(self._pool.free)
            endpoint = directory.session(self._pool.untyped)
            undo.callback(task.delete, endpoint)
            task.channels.offer(endpoint, ChannelUse.AUTO)
            self.directory = Directory(endpoint)
            self.stat = self.directory.stat
            self._space = _space(task, buffer_bytes)
            undo.callback(self._space.close)
            self.buffer = memoryview(self._space.attach())
            undo.callback(self.buffer.release)
            shared = self._space.share()
            self.directory.attach(shared)
            self._space.drop(shared)
            self._undo = undo.pop_all()

    @property
    def endpoint(self) -> Endpoint:
        """The session's capability."""
        return endpoint_of(self.directory)

    def close(self) -> None:
        """End it, and have the memory back, whatever the server says."""
        undo, self._undo = self._undo, ExitStack()
        with undo, suppress(ServiceError, KernelError, RemoteError, ServerDied, TimeoutError):
            with_timeout(self.directory, CLOSE_SECONDS).close()


def _space(task: Task, size: int) -> DataSpace:
    while True:
        try:
            return DataSpace.allocate(size, task)
        except NotEnoughMemory:
            if size <= LEAST_BUFFER_BYTES:
                raise
            size = max(size // 2, LEAST_BUFFER_BYTES)
