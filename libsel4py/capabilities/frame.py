"""Frame and VSpace: memory and who sees it (manual, chapter 7)."""

from __future__ import annotations

from libsel4py.abi import Label, Rights, VmAttributes
from libsel4py.capabilities.base import Capability
from libsel4py.lowlevel.invoke import invoke


class Frame(Capability):
    """A power of two of bytes, 4 KiB and up, that can be a thread's trap frame."""

    __slots__ = ()

    def get_address(self) -> int:
        """Physical address, in bytes."""
        return invoke(self.cptr, Label.FRAME_GET_ADDRESS)[0]

    def map(self, address: int, rights: Rights, attributes: VmAttributes, vspace: VSpace) -> None:
        """Let the address space see the frame at an address; again at the same one: with other rights.

        Raises:
            AlignmentError: the address is no multiple of the frame's size. DeleteFirst: something is mapped there.
            InvalidArgument: mapped elsewhere already, or outside of `abi.MAPPING_BASE`..`MAPPING_END`.
            InvalidCapability: no VSpace, or mapped in another. NotEnoughMemory: its table of mappings is full.
        """
        invoke(self.cptr, Label.FRAME_MAP, address=address, rights=rights, attributes=attributes, vspace=vspace.cptr)

    def unmap(self) -> None:
        """End this capability's mapping, if it has one."""
        invoke(self.cptr, Label.FRAME_UNMAP)


class VSpace(Capability):
    """An address space: one process. Its size is the process's private-memory limit."""

    __slots__ = ()
