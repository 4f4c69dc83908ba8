"""Whether the memory that a client has lent is still lent, for the price of one load.

A page made of it is mapped here. When the client takes its memory back, the page is gone from this address space, and
the guarded load says so. (`Session.is_alive` asks the kernel, which is a system call.)
"""

from __future__ import annotations

from contextlib import ExitStack, suppress

from libsel4py.abi import FRAME_MIN_BITS, ObjectType, Rights, VMFault
from libsel4py.capabilities import Frame
from libsel4py.errors import KernelError
from libsel4py.mapping import map_memory
from libsel4py.session import Session
from libsel4py.task import Task

PAGE_BYTES = 1 << FRAME_MIN_BITS


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
