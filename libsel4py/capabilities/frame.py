"""Frame and VSpace: memory and who sees it (manual, chapter 7)."""

from __future__ import annotations

from libsel4py.abi import Label
from libsel4py.capabilities.base import Capability
from libsel4py.lowlevel.invoke import invoke


class Frame(Capability):
    """A power of two of bytes, 4 KiB and up, that can be a thread's trap frame."""

    __slots__ = ()

    def get_address(self) -> int:
        """Physical address, in bytes."""
        return invoke(self.cptr, Label.FRAME_GET_ADDRESS)[0]


class VSpace(Capability):
    """An address space: one process. Its size is the process's private-memory limit."""

    __slots__ = ()
