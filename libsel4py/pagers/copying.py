"""A copy of what a region shows, made at once: for objects whose contents may change without the pager's doing."""

from __future__ import annotations

from libsel4py.abi import Rights
from libsel4py.capabilities import Frame
from libsel4py.interfaces.memory_object import DataError
from libsel4py.pagers.anonymous import Anonymous
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.regions import Region
from libsel4py.pagers.residence import Later


def copy_of(region: Region, frames: Frames) -> Anonymous:
    """Memory that holds, at the same offsets, what ``region`` shows now. Nobody stores to it while it is copied.

    Raises:
        OBJECT_FAILURES: a page cannot be had, or not yet. KernelError, OutOfSlots, VMFault. Nothing is left of it then.
    """
    residence, page_bytes = region.residence, region.residence.page_bytes
    first = region.offset // page_bytes * page_bytes
    end = min(region.offset + region.size, residence.size)
    made = Anonymous(frames, max(1, -(-end // page_bytes)) * page_bytes)
    residence.hide()
    try:
        for offset in range(first, end, page_bytes):
            data = frames.contents.read(_page(region, offset), page_bytes)
            if any(data):
                made.fill(offset, data)
    except BaseException:
        made.discard()
        raise
    return made


def _page(region: Region, offset: int) -> Frame:
    try:
        return region.residence.ensure(offset, int(Rights.READ)).frame
    except Later as error:
        raise DataError(f"the page at {offset:#x} is still to come, so it cannot be copied now") from error
