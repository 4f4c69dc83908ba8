"""A pager's frames and the capabilities by which it maps them.

A capability is mapped at one place at most, so each mapping has a capability of its own: a copy of the page's, in the
pager's CNode. The copy keeps all rights of the page; what a space may do is said by the mapping, which is laid anew
with other rights where that changes. Nobody but the pager holds the copy, so nobody else can change that.

Rules: slots here are direct indices of the task's CNode. What the kernel refuses leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from libsel4py.abi import CapType, ObjectType, Rights
from libsel4py.capabilities import CNode, Frame, VSpace
from libsel4py.capabilities.frame import prepare_map
from libsel4py.errors import KernelError
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.cspace import SlotAllocator
from libsel4py.lowlevel.identify import identify
from libsel4py.lowlevel.invoke import Prepared
from libsel4py.lowlevel.untyped import UntypedAllocator


class FrameBytes(Protocol):
    """How a manager itself reads and writes what a frame holds (`libsel4py.pagers.window` maps it for that)."""

    def read(self, frame: Frame, length: int) -> bytes:
        """The first ``length`` bytes of a frame."""

    def write(self, frame: Frame, data: bytes, at: int = 0, /) -> None:
        """Put bytes into a frame, ``at`` bytes from its start."""

    def forget(self, frame: Frame) -> None:
        """The frame's capability is about to go: look into it no more."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A mapping that is to be made: which page, by its slot, where, and what may be done there."""

    source: int
    vspace: VSpace
    address: int
    rights: int


def why_no_page(frame: Frame, bits: int, *, writable: bool) -> str | None:
    """What another task's capability is, if it is none of a frame of 2**bits bytes that can be read, and written too if
    it must be ``writable``; None if it is one. It is asked for before anything else: a method that is called on an
    endpoint is a message there, and waits for ever."""
    found = identify(frame.cptr)
    can = "R" in found.rights and ("W" in found.rights or not writable)
    return None if found.type == CapType.FRAME.name and found.size_bits == bits and can else str(found)


class Frames:
    """Makes, maps and frees frames.

    Args:
        cnode: the task's own CNode. slots: its free slots. memory: what new frames are made of.
        contents: how it reads and writes frames itself.
    """

    def __init__(
        self, cnode: CNode, slots: SlotAllocator, memory: UntypedAllocator, contents: FrameBytes | None = None
    ) -> None:
        self._cnode, self._slots, self._memory, self._contents = cnode, slots, memory, contents

    @property
    def contents(self) -> FrameBytes:
        """How frames are read and written. Raises RuntimeError if it was not given."""
        if self._contents is None:
            raise RuntimeError("these frames were made without contents=: their owner maps them only for others")
        return self._contents

    def new(self, bits: int) -> Frame:
        """A frame of 2**bits zeroes. Raises NotEnoughMemory, OutOfSlots."""
        return Frame(self._memory.allocate(ObjectType.FRAME, bits).start)

    def free(self, frame: Frame) -> None:
        """Give a frame of `new` back; mappings of it, whoever made them, are gone."""
        self._forget(frame)
        self._memory.free(frame.cptr)

    def copy(self, frame: Frame, rights: Rights = Rights.ALL) -> Frame:
        """Another capability to the same frame. Raises KernelError, OutOfSlots."""
        slot = self._slots.allocate()
        try:
            self._cnode.copy(slot, self._cnode, frame.cptr, rights)
        except BaseException:
            self._slots.free(slot)
            raise
        return Frame(slot)

    def drop(self, frame: Frame) -> None:
        """Delete a capability (a copy of `copy` or `map`, or one that was received) and its mapping."""
        self._forget(frame)
        self._cnode.delete(frame.cptr)
        self._slots.free(frame.cptr)

    def drop_all(self, frames: Sequence[Frame]) -> None:
        """As `drop` for each, in few steps."""
        with Batch() as batch:
            for frame in frames:
                batch.queue(self._cnode.delete, frame.cptr)
        for frame in frames:
            self._slots.free(frame.cptr)

    def _forget(self, frame: Frame) -> None:
        if self._contents is not None:
            self._contents.forget(frame)

    def revoke(self, frame: Frame) -> None:
        """Delete all capabilities that were copied from this one; their slots stay taken."""
        self._cnode.revoke(frame.cptr)

    def map(self, wanted: Sequence[Wanted]) -> list[Frame | KernelError]:
        """Make mappings, in few steps; for each the capability by which it stands, or why the kernel refused it.

        Raises:
            OutOfSlots: nothing was mapped.
        """
        slots: list[int] = []
        try:
            for _ in wanted:
                slots.append(self._slots.allocate())
        except BaseException:
            for slot in slots:
                self._slots.free(slot)
            raise
        with Batch(check=False) as batch:
            outcomes = [
                (
                    batch.queue(self._cnode.copy, slot, self._cnode, each.source),
                    batch.queue_prepared(_map(Frame(slot), each)),
                )
                for slot, each in zip(slots, wanted, strict=True)
            ]
        made: list[Frame | KernelError] = []
        for slot, (copied, mapped) in zip(slots, outcomes, strict=True):
            error = copied.error() or mapped.error()
            if error is not None:
                if copied.error() is None:
                    self._cnode.delete(slot)
                self._slots.free(slot)
            made.append(error if error is not None else Frame(slot))
        return made

    def remap(self, changes: Sequence[tuple[Frame, Wanted]]) -> list[KernelError | None]:
        """Change the rights of mappings that stand; for each None, or why the kernel refused it."""
        with Batch(check=False) as batch:
            outcomes = [batch.queue_prepared(_map(frame, wanted)) for frame, wanted in changes]
        return [outcome.error() for outcome in outcomes]

    def unmap(self, frame: Frame) -> None:
        """End a mapping, and keep the capability."""
        with suppress(KernelError):  # it was revoked meanwhile: so is its mapping
            frame.unmap()


def _map(frame: Frame, wanted: Wanted) -> Prepared:
    return prepare_map(frame, wanted.address, wanted.rights, vspace=wanted.vspace)
