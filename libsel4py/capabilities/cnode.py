"""CNode: a table of capability slots (manual, chapter 3).

Slots are named by index and depth (bits of the index that are resolved, 1..64; 64 for a task's own CSpace).
"""

from __future__ import annotations

from libsel4py.abi import Label, Rights
from libsel4py.capabilities.base import CSPACE_DEPTH, Capability
from libsel4py.lowlevel.invoke import invoke, ready

_revoke = ready(Label.CNODE_REVOKE)
_delete = ready(Label.CNODE_DELETE)


class CNode(Capability):
    """A capability table. The CNode invoked is the root of the destination slot."""

    __slots__ = ()

    def revoke(self, index: int, depth: int = CSPACE_DEPTH) -> None:
        """Delete every capability derived from the one in the slot; that one stays."""
        _revoke(self.cptr, index, depth)

    def delete(self, index: int, depth: int = CSPACE_DEPTH) -> None:
        """Delete the capability in the slot; the object goes with its last capability. An empty slot is no error."""
        _delete(self.cptr, index, depth)

    def cancel_badged_sends(self, index: int, depth: int = CSPACE_DEPTH) -> None:
        """Abort the sends that wait with this badge. Raises IllegalOperation without all four rights."""
        invoke(self.cptr, Label.CNODE_CANCEL_BADGED_SENDS, index=index, depth=depth)

    def copy(
        self,
        dest_index: int,
        src_root: CNode,
        src_index: int,
        rights: Rights = Rights.ALL,
        *,
        dest_depth: int = CSPACE_DEPTH,
        src_depth: int = CSPACE_DEPTH,
    ) -> None:
        """Copy a capability, with at most ``rights``.

        Raises:
            DeleteFirst: the destination holds a capability. FailedLookup: a slot was not found or the source is empty.
            RevokeFirst: an untyped with children cannot be copied.
        """
        invoke(
            self.cptr,
            Label.CNODE_COPY,
            dest_index=dest_index,
            dest_depth=dest_depth,
            src_root=src_root.cptr,
            src_index=src_index,
            src_depth=src_depth,
            rights=rights,
        )

    def mint(
        self,
        dest_index: int,
        src_root: CNode,
        src_index: int,
        badge: int,
        rights: Rights = Rights.ALL,
        *,
        dest_depth: int = CSPACE_DEPTH,
        src_depth: int = CSPACE_DEPTH,
    ) -> None:
        """Copy with a badge (endpoint, notification) or a guard (CNode: `abi.cnode_cap_data`).

        Raises:
            IllegalOperation: the source has a badge already. DeleteFirst, FailedLookup, RevokeFirst: as `copy`.
        """
        invoke(
            self.cptr,
            Label.CNODE_MINT,
            dest_index=dest_index,
            dest_depth=dest_depth,
            src_root=src_root.cptr,
            src_index=src_index,
            src_depth=src_depth,
            rights=rights,
            badge=badge,
        )

    def move(
        self,
        dest_index: int,
        src_root: CNode,
        src_index: int,
        *,
        dest_depth: int = CSPACE_DEPTH,
        src_depth: int = CSPACE_DEPTH,
    ) -> None:
        """Move a capability; what was derived from it stays derived from it. Raises DeleteFirst, FailedLookup."""
        invoke(
            self.cptr,
            Label.CNODE_MOVE,
            dest_index=dest_index,
            dest_depth=dest_depth,
            src_root=src_root.cptr,
            src_index=src_index,
            src_depth=src_depth,
        )

    def mutate(
        self,
        dest_index: int,
        src_root: CNode,
        src_index: int,
        badge: int,
        *,
        dest_depth: int = CSPACE_DEPTH,
        src_depth: int = CSPACE_DEPTH,
    ) -> None:
        """Move a CNode capability and set its guard. Raises IllegalOperation for endpoints and notifications."""
        invoke(
            self.cptr,
            Label.CNODE_MUTATE,
            dest_index=dest_index,
            dest_depth=dest_depth,
            src_root=src_root.cptr,
            src_index=src_index,
            src_depth=src_depth,
            badge=badge,
        )

    def rotate(
        self,
        dest_index: int,
        dest_badge: int,
        pivot_root: CNode,
        pivot_index: int,
        pivot_badge: int,
        src_root: CNode,
        src_index: int,
        *,
        dest_depth: int = CSPACE_DEPTH,
        pivot_depth: int = CSPACE_DEPTH,
        src_depth: int = CSPACE_DEPTH,
    ) -> None:
        """Move pivot to dest and src to pivot in one step; src equal to dest is a swap. Raises IllegalOperation."""
        invoke(
            self.cptr,
            Label.CNODE_ROTATE,
            dest_index=dest_index,
            dest_depth=dest_depth,
            dest_badge=dest_badge,
            pivot_root=pivot_root.cptr,
            pivot_index=pivot_index,
            pivot_depth=pivot_depth,
            pivot_badge=pivot_badge,
            src_root=src_root.cptr,
            src_index=src_index,
            src_depth=src_depth,
        )
