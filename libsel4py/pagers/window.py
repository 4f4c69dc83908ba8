"""How a manager reads and writes frames itself: it maps them into its own address space.

Rules: a frame is mapped when it is first looked into, by a copy of its capability, and stays so until it is forgotten,
which whoever frees or drops it does. Accesses are guarded: a frame that its owner took away is `VMFault`, not the
manager's end.
"""

from __future__ import annotations

from dataclasses import dataclass

from libsel4py.abi import FRAME_MIN_BITS, Rights
from libsel4py.capabilities import Frame
from libsel4py.lowlevel.identify import identify
from libsel4py.mapping import Mapping, map_memory
from libsel4py.task import Task


@dataclass(frozen=True, slots=True)
class _Pane:
    copy: Frame
    mapping: Mapping


class Window:
    """Frames of a task, seen by itself (`pagers.frames.FrameBytes`)."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._panes: dict[int, _Pane] = {}  # by the frame's slot

    def read(self, frame: Frame, length: int) -> bytes:
        """The first ``length`` bytes. Raises VMFault, KernelError, OutOfSlots."""
        return self._pane(frame).mapping.read(0, length)

    def write(self, frame: Frame, data: bytes, at: int = 0, /) -> None:
        """Put bytes there, ``at`` bytes from its start.

        Raises VMFault, KernelError, OutOfSlots; TypeError if the frame is read-only.
        """
        self._pane(frame).mapping.write(at, data)

    def forget(self, frame: Frame) -> None:
        """See a frame no more."""
        pane = self._panes.pop(frame.cptr, None)
        if pane is not None:
            pane.mapping.release()
            self._task.delete(pane.copy)
            self._task.addresses.free(pane.mapping.address)

    def _pane(self, frame: Frame) -> _Pane:
        found = self._panes.get(frame.cptr)
        if found is None:
            found = self._panes[frame.cptr] = self._open(frame)
        return found

    def _open(self, frame: Frame) -> _Pane:
        task, identity = self._task, identify(frame.cptr)
        writable = "W" in identity.rights
        size = 1 << max(identity.size_bits, FRAME_MIN_BITS)
        slot = task.slots.allocate()
        try:
            address = task.addresses.allocate(size)
            try:
                task.cnode.copy(slot, task.cnode, frame.cptr)
                rights = Rights.READ | Rights.WRITE if writable else Rights.READ
                Frame(slot).map(address, rights, vspace=task.vspace)
            except BaseException:
                task.addresses.free(address)
                raise
        except BaseException:
            task.cnode.delete(slot)
            task.slots.free(slot)
            raise
        return _Pane(Frame(slot), map_memory(address, size, writable))
