"""Untyped: memory that has no type yet (manual, chapter 2.4)."""

from __future__ import annotations

from libsel4py.abi import Label, ObjectType
from libsel4py.capabilities.base import Capability
from libsel4py.capabilities.cnode import CNode
from libsel4py.lowlevel.invoke import invoke


class Untyped(Capability):
    """A power of two of bytes, aligned to its size, from which every other object is made."""

    __slots__ = ()

    def retype(
        self,
        type: ObjectType,
        size_bits: int,
        root: CNode,
        node_offset: int,
        num_objects: int = 1,
        *,
        node_index: int = 0,
        node_depth: int = 0,
    ) -> None:
        """Make ``num_objects`` (1..256) objects; their capabilities go to ``node_offset`` and the slots behind it.

        Args:
            size_bits: log2 of bytes for Untyped, SchedContext, Frame and VSpace; log2 of slots for CNode; else ignored.
            node_index, node_depth: the destination CNode below ``root``; depth 0 means ``root`` itself.
        Raises:
            InvalidArgument, RangeError, FailedLookup, DeleteFirst, NotEnoughMemory: manual, section 10.3.
        """
        invoke(
            self.cptr,
            Label.UNTYPED_RETYPE,
            type=type,
            size_bits=size_bits,
            root=root.cptr,
            node_index=node_index,
            node_depth=node_depth,
            node_offset=node_offset,
            num_objects=num_objects,
        )
