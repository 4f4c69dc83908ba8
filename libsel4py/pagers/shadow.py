"""Copy on write: two memory objects that begin as the same contents (Mach's shadow objects).

`fork` freezes an object and gives two shadows of it. A shadow reads the frozen object's frames, without Write, until
somebody wants to write to a page: then it copies that page to a frame of its own. Rules: nobody writes to the frozen
object any more, and nobody else may use it; it is terminated with the last shadow of it. A shadow can be forked again:
its chain grows with each fork, and is shortened where one of two sides ends, since the other one then takes over what
the shadow below has of its own. A page's first write copies from wherever in the chain it stands.
"""

from __future__ import annotations

from collections.abc import Iterator

from libsel4py.abi import Rights
from libsel4py.capabilities import Frame, Notification
from libsel4py.interfaces.memory_object import (
    READ_ONLY,
    READ_WRITE,
    Answer,
    Attributes,
    CopyStrategy,
    DataError,
    LockRequest,
    MemoryObject,
    Supply,
    ensure_page,
    supplied,
    unavailable,
)
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.states import Life


class Frozen:
    """An object whose contents do not change, and the shadows that read it."""

    def __init__(self, source: MemoryObject, size: int) -> None:
        self.source, self.size = source, size
        self.shadows: list[Shadow] = []

    def release(self, shadow: Shadow) -> None:
        """One shadow is gone. Where one is left, and what it reads is a shadow itself, the two become one."""
        self.shadows.remove(shadow)
        if not self.shadows:
            self.source.terminate()
        elif len(self.shadows) == 1 and isinstance(self.source, Shadow):
            self.shadows[0].absorb(self.source)


def fork(source: MemoryObject, size: int, frames: Frames) -> tuple[Shadow, Shadow]:
    """Two shadows of an object of ``size`` bytes, whose dirty pages have been returned, and which nobody writes to."""
    frozen = Frozen(source, size)
    return Shadow(frozen, frames), Shadow(frozen, frames)


class Shadow(MemoryObject):
    """A lazy copy. Its own pages live in frames of ``frames`` until it is terminated."""

    def __init__(self, frozen: Frozen, frames: Frames) -> None:
        self._frozen, self._frames = frozen, frames
        self._own: dict[int, Frame] = {}
        self._life = Life()
        frozen.shadows.append(self)

    @property
    def depth(self) -> int:
        """How many shadows stand above each other, with this one."""
        return sum(1 for _ in self._line())

    def absorb(self, below: Shadow) -> None:
        """Have what ``below`` has of its own, which nobody else reads, and stand where it stood."""
        self._frozen, frozen = below._frozen, self._frozen
        self._frozen.shadows[self._frozen.shadows.index(below)] = self
        frozen.shadows.clear()
        for offset, frame in below._own.items():
            if self._own.setdefault(offset, frame) is not frame:
                self._frames.free(frame)
        below._own.clear()
        below._life.end()

    def init(self, wake: Notification | None) -> int:
        self._life.begin()
        return self._frozen.size

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        self._life.ensure_in_use()
        ensure_page(offset, length, self._frozen.size)
        if offset in self._own:
            return supplied(self._own[offset], READ_WRITE)
        kind, _, frame = below = self._below(offset, length)
        if kind == Supply.LATER:
            return below
        if not access & Rights.WRITE:
            return unavailable(READ_ONLY) if frame is None else supplied(frame, READ_ONLY)
        self._own[offset] = made = self._copy(frame, length)
        return supplied(made, READ_WRITE)

    def _below(self, offset: int, length: int) -> Answer:
        """A page as the chain has it."""
        source: MemoryObject = self
        for each in self._line():
            if offset in each._own:
                return supplied(each._own[offset], READ_ONLY)
            source = each._frozen.source
        return source.data_request(offset, length, READ_ONLY)

    def _line(self) -> Iterator[Shadow]:
        """This shadow, and those that it reads. (Tasks decide how many there are.)"""
        each: MemoryObject = self
        while isinstance(each, Shadow):
            yield each
            each = each._frozen.source

    def _copy(self, frame: Frame | None, length: int) -> Frame:
        made = self._frames.new(length.bit_length() - 1)
        try:
            if frame is not None:
                self._frames.contents.write(made, self._frames.contents.read(frame, length))
        except BaseException:
            self._frames.free(made)
            raise
        return made

    def data_unlock(self, offset: int, length: int, access: int) -> Answer:
        return self.data_request(offset, length, access)

    def data_return(self, offset: int, length: int, frame: Frame, dirty: bool, keep: bool) -> None:
        """Nothing is lost: what was written stands in this object's own frame."""
        self._life.ensure_in_use()
        ensure_page(offset, length, self._frozen.size)
        if dirty and offset not in self._own:
            raise DataError(f"the page at {offset:#x} was never to be written")

    def lock_next(self) -> LockRequest | None:
        return None

    def lock_completed(self, ticket: int) -> None:
        """Nothing is asked for."""

    def attributes(self) -> Attributes:
        return Attributes(copy_strategy=CopyStrategy.TEMPORARY)

    def change_completed(self, attributes: Attributes) -> None:
        """They never change."""

    def terminate(self) -> None:
        if self._life.end():
            for frame in self._own.values():
                self._frames.free(frame)
            self._own.clear()
            self._frozen.release(self)
