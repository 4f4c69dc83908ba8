"""A task that tries to get hold of more memory than it was given, in every way, and goes on when it is refused."""

from __future__ import annotations

import importlib.util

from libsel4py import Component, component, uses
from tests.system.images import hoarding
from tests.system.images.pooled import Pooled

MEBIBYTE = 1 << 20
WANTED = 64 * MEBIBYTE  # four times what it has


def an_array(size: int) -> object:
    import numpy

    return numpy.ones(size, dtype=numpy.uint8)


@component
class Main(Component):
    service = uses(Pooled)

    def run(self) -> int:
        ways = list(hoarding.WAYS)
        if importlib.util.find_spec("numpy") is not None:
            ways.append(an_array)
        had = [way.__name__ for way in ways if self._works(way)]
        if had:
            self.log.error("more than there is was had by %s", ", ".join(had))
        return len(had)

    def _works(self, way: hoarding.Way) -> bool:
        try:
            way(WANTED)
        except (OSError, MemoryError, ImportError):  # numpy itself may be more than there is
            assert self.service.sessions() == 0  # it goes on, and so do others
            return False
        return True
