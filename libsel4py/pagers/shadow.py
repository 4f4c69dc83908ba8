"""Copy on write: two memory objects that begin as the same contents (Mach's shadow objects).

`fork` freezes an object and gives two shadows of it. A shadow reads the frozen object's frames, without Write, until
somebody wants to write to a page: then it copies that page to a frame of its own. Rules: nobody writes to the frozen
object any more, and nobody else may use it; it is terminated with the last shadow of it. A shadow can be forked again;
its chain grows with each fork, and a page's first write copies from wherever in the chain it stands.
"""

from __future__ import annotations

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
    """An object whose contents do not change, and how many shadows it has."""

    def __init__(self, source: MemoryObject, size: int, shadows: int) -> None:
        self.source, self.size, self._shadows = source, size, shadows

    def release(self) -> None:
        """One shadow is gone."""
        self._shadows -= 1
        if not self._shadows:
            self.source.terminate()


def fork(source: MemoryObject, size: int, frames: Frames) -> tuple[Shadow, Shadow]:
    """Two shadows of an object of ``size`` bytes, whose dirty pages have been returned, and which nobody writes to."""
    frozen = Frozen(source, size, 2)
    return Shadow(frozen, frames), Shadow(frozen, frames)


class Shadow(MemoryObject):
    """A lazy copy. Its own pages live in frames of ``frames`` until it is terminated.

    Attributes:
        depth: how many shadows stand above each other, with this one.
    """

    def __init__(self, frozen: Frozen, frames: Frames) -> None:
        self._frozen, self._frames = frozen, frames
        self.depth: int = 1 + (frozen.source.depth if isinstance(frozen.source, Shadow) else 0)
        self._own: dict[int, Frame] = {}
        self._life = Life()

    def init(self, wake: Notification | None) -> int:
        self._life.begin()
        return self._frozen.size

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        self._life.ensure_in_use()
        ensure_page(offset, length, self._frozen.size)
        own = self._own.get(offset)
        if own is not None:
            return supplied(own, READ_WRITE)
        kind, _, frame = below = self._frozen.source.data_request(offset, length, READ_ONLY)
        if kind == Supply.LATER:
            return below
        if not access & Rights.WRITE:
            return unavailable(READ_ONLY) if frame is None else supplied(frame, READ_ONLY)
        self._own[offset] = made = self._frames.new(length.bit_length() - 1)
        if frame is not None:
            self._frames.contents.write(made, self._frames.contents.read(frame, length))
        return supplied(made, READ_WRITE)

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
            self._frozen.release()
