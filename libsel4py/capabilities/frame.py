"""Frame and VSpace: memory and who sees it (manual, chapter 7)."""

from __future__ import annotations

from typing import Final

from libsel4py import abi
from libsel4py.abi import INVOCATIONS, Label, Rights, VmAttributes
from libsel4py.capabilities.base import Capability
from libsel4py.capabilities.io_space import IOSpace
from libsel4py.lowlevel.invoke import Prepared, invoke

_MAP: Final = INVOCATIONS[Label.FRAME_MAP]
_MAP_INFO: Final = abi.message_info(_MAP.label, len(_MAP.words), len(_MAP.caps))


class VSpace(Capability):
    """An address space: one process. Its size pays for the table of its mappings and the process's private memory."""

    __slots__ = ()


class Frame(Capability):
    """A power of two of bytes, 4 KiB to 1 GiB, that address spaces can have mapped, or that is a thread's trap frame.

    A capability is mapped at one place at most: who wants the frame at a second one maps a copy.
    """

    __slots__ = ()

    def map(
        self,
        address: int,
        rights: int = Rights.READ | Rights.WRITE,
        attributes: int = VmAttributes.DEFAULT,
        *,
        vspace: VSpace,
    ) -> None:
        """Let the address space see the frame at ``address``, a multiple of its size in MAPPING_BASE..MAPPING_END.

        Rights that the capability lacks are left out; without Read nothing can be accessed. Again with the same
        address: the mapping gets these rights and attributes.

        Raises:
            InvalidCapability: no VSpace, or mapped in another. InvalidArgument: mapped at another address, or
            ``address`` is out of range. AlignmentError. DeleteFirst: something is mapped there. NotEnoughMemory: the
            VSpace has as many mappings as its size has room for.
        """
        invoke(self.cptr, Label.FRAME_MAP, address=address, rights=rights, attributes=attributes, vspace=vspace.cptr)

    def map_io(self, address: int, rights: int = Rights.READ | Rights.WRITE, *, io_space: IOSpace) -> None:
        """Let the IOSpace's device reach the frame at ``address``, a multiple of its size below IO_MAPPING_END.

        It may write only where the capability has Read and Write.

        Raises:
            InvalidCapability: mapped already, a device's frame, or no IOSpace. InvalidArgument: ``address`` is out of
            range, or no right is left. AlignmentError. DeleteFirst: something is mapped there. NotEnoughMemory: the
            IOSpace has as many mappings as its size has room for.
        """
        invoke(self.cptr, Label.FRAME_MAP_IO, rights=rights, address=address, io_space=io_space.cptr)

    def unmap(self) -> None:
        """End this capability's mapping, if it has one: process or device lose the memory before this returns."""
        invoke(self.cptr, Label.FRAME_UNMAP)

    def get_address(self) -> int:
        """Physical address, in bytes."""
        return invoke(self.cptr, Label.FRAME_GET_ADDRESS)[0]


def prepare_map(
    frame: Frame,
    address: int,
    rights: int = Rights.READ | Rights.WRITE,
    attributes: int = VmAttributes.DEFAULT,
    *,
    vspace: VSpace,
) -> Prepared:
    """`Frame.map`, for `Batch.queue_prepared`: a pager makes one for each fault, and this looks nothing up by name."""
    return Prepared(frame.cptr, _MAP, _MAP_INFO, (address, rights, attributes), (vspace.cptr,))
