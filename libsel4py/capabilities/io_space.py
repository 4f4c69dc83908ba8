"""IOSpaceControl and IOSpace: what memory a device sees (docs/manual/io_space.md)."""

from __future__ import annotations

from libsel4py.abi import Label
from libsel4py.capabilities.base import Capability
from libsel4py.lowlevel.invoke import invoke


class IOSpace(Capability):
    """A table of frames, by which one device does DMA. Frames are mapped into it by `Frame.map_io`."""

    __slots__ = ()


class IOSpaceControl(Capability):
    """The authority to say which IOSpace is which device's."""

    __slots__ = ()

    def assign(self, device: int, io_space: IOSpace) -> None:
        """Let the machine's device of this number do DMA by the IOSpace, until that is deleted.

        Raises:
            RangeError: there is no such device. DeleteFirst: it has an IOSpace, or this one is a device's already.
        """
        invoke(self.cptr, Label.IO_SPACE_CONTROL_ASSIGN, device=device, io_space=io_space.cptr)
