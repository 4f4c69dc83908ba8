"""A client's memory at a server, for as long as its session lasts: what it has lent, and the buffer that it shares.

Whether memory that was lent is still lent costs one load: a page made of it is mapped here. When the client takes its
memory back, the page is gone from this address space, and the guarded load says so (`Session.is_alive` asks the kernel,
which is a system call). A buffer is the client's data space: it can write there at any moment, and take it away.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress

from libsel4py.abi import FRAME_MIN_BITS, ObjectType, Rights, VMFault
from libsel4py.capabilities import Frame
from libsel4py.dataspace import DataSpace, NotADataSpace, SharedMemory
from libsel4py.errors import KernelError
from libsel4py.mapping import Mapping, map_memory
from libsel4py.session import Session
from libsel4py.task import Task

PAGE_BYTES = 1 << FRAME_MIN_BITS
MOST_BUFFER_FRAMES = 8


class Life:
    """A session's page. Raises as `Session.make`, and OutOfAddresses."""

    def __init__(self, session: Session[object], task: Task) -> None:
        self._task = task
        self._frame = Frame(session.make(ObjectType.FRAME, FRAME_MIN_BITS).start)
        with ExitStack() as undo:
            address = task.addresses.allocate(PAGE_BYTES)
            undo.callback(task.addresses.free, address)
            self._frame.map(address, Rights.READ, vspace=task.vspace)
            undo.callback(self._unmap)
            self._mapping = map_memory(address, PAGE_BYTES, False)
            undo.pop_all()
        self._is_over = False
        #: Looks at the page: raises VMFault if it is gone. Not to be called after `end`.
        self.look = self._mapping.load_word

    def is_there(self) -> bool:
        """Whether the memory is still lent."""
        if self._is_over:
            return False
        try:
            self._mapping.load_word(0)
        except VMFault:
            return False
        return True

    def end(self) -> None:
        """Look at it no more."""
        self._is_over = True
        self._mapping.release()
        self._unmap()
        self._task.addresses.free(self._mapping.address)

    def _unmap(self) -> None:
        with suppress(KernelError):  # it was taken back, and is unmapped
            self._frame.unmap()


class SessionBuffer:
    """What the client has attached last, of at most ``most_bytes``.

    Attributes:
        mapping: where it is seen here; None while there is none.
    """

    def __init__(self, task: Task, most_bytes: int) -> None:
        self.mapping: Mapping | None = None
        self._task = task
        self._most_bytes = most_bytes
        self._space: DataSpace | None = None

    @property
    def slots(self) -> int:
        """How many of the task's slots it takes."""
        return len(self._space.frames) if self._space is not None else 0

    def attach(self, memory: SharedMemory) -> None:
        """Take this one in the place of a former one. Raises NotADataSpace, OutOfSlots, KernelError."""
        space = DataSpace.receive(memory, self._most_bytes, self._task)
        try:
            if len(space.frames) > MOST_BUFFER_FRAMES:
                raise NotADataSpace(f"a buffer has at most {MOST_BUFFER_FRAMES} frames, and this has more")
            mapping = space.attach()
        except BaseException:
            space.close()
            raise
        self.detach()
        self._space, self.mapping = space, mapping

    def detach(self) -> None:
        """Let go of it."""
        space, self._space, self.mapping = self._space, None, None
        if space is not None:
            space.close()
