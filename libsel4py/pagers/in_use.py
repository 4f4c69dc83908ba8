"""The memory objects that a pager uses: those that regions show, and some that none shows any more.

Rules: an object is used by one residence. When its last region is gone it is given everything back and used no more,
unless it may be cached (Mach's ``may_cache``): then its pages stay for the next region that shows it, as long as there
is room. The one that was left first makes room first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from libsel4py.abi import FRAME_MIN_BITS
from libsel4py.capabilities import Notification
from libsel4py.errors import KernelError
from libsel4py.interfaces.memory_object import MemoryObject
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.residence import OBJECT_FAILURES, Residence

FAILURES: Final = (*OBJECT_FAILURES, KernelError, OutOfSlots)
_log = logging.getLogger(__name__)


class ObjectsInUse:
    """A pager's objects.

    Args:
        frames: where frames and slots come from. wake: what objects signal. patience: seconds for each call to another
        task's. caches: how many objects stay that no region shows. takes_over: pages of each, as `Residence`.
    Raises:
        RuntimeError: pages are to be taken over, and ``frames`` cannot read them.
    """

    def __init__(
        self, frames: Frames, wake: Notification | None, patience: float, caches: int = 0, takes_over: int = 0
    ) -> None:
        self._frames, self._wake, self._patience = frames, wake, patience
        self._caches, self._takes_over = caches, takes_over
        if takes_over:
            _ = frames.contents
        self._residences: dict[int, Residence] = {}  # by id() of the object
        self._resting: list[Residence] = []  # the longest first

    def use(self, source: MemoryObject, page_bits: int = FRAME_MIN_BITS) -> Residence:
        """An object's residence, for a region to come. One without regions is `release`d by whoever asked.

        Raises:
            ValueError: the object is in use with pages of another size. OBJECT_FAILURES: it refuses to be used.
        """
        residence = self._residences.get(id(source))
        if residence is None:
            residence = Residence(source, self._frames, page_bits, self._patience, self._wake, self._takes_over)
            self._residences[id(source)] = residence
        elif residence.page_bytes != 1 << page_bits:
            raise ValueError(f"the object is in use with pages of {residence.page_bytes} bytes, not {1 << page_bits}")
        elif residence in self._resting:
            self._resting.remove(residence)
        return residence

    def release(self, residence: Residence) -> None:
        """No region shows an object any more.

        Raises:
            RETURN_FAILURES: the object did not take something back.
        """
        if not residence.attributes.may_cache or not self._caches:
            self._close(residence)
            return
        self._resting.append(residence)
        while len(self._resting) > self._caches:
            self.shrink()
        residence.rest()

    def replace(self, residence: Residence) -> None:
        """An object is used no more, and its contents stand elsewhere already."""
        del self._residences[id(residence.given)]

    def shrink(self) -> bool:
        """Let the object go that no region has shown for the longest time; whether there was one."""
        if not self._resting:
            return False
        with failures_logged("an object that nobody looked at"):
            self._close(self._resting.pop(0))
        return True

    def woken(self) -> None:
        """An object has signalled: do what objects want."""
        for residence in list(self._residences.values()):
            residence.awaited.clear()
            with failures_logged("an object's request was not carried out"):
                residence.requests()
        for residence in [each for each in self._resting if not each.attributes.may_cache]:
            self._resting.remove(residence)
            with failures_logged("an object that is to be kept no more"):
                self._close(residence)

    def _close(self, residence: Residence) -> None:
        del self._residences[id(residence.given)]
        residence.close()


@contextmanager
def failures_logged(what: str) -> Iterator[None]:
    """Go on behind the block whatever objects and the kernel refuse in it."""
    try:
        yield
    except FAILURES as error:
        _log.warning("%s: %s", what, error)
