# mypy: disable-error-code="empty-body"
"""A client of `pooled` that opens sessions until its own memory is used up."""

from __future__ import annotations

from libsel4py import Interface, NotEnoughMemory, component, uses
from libsel4py.lending import LentPool, lend
from tests.system.images.pooled import Pooled

SMALL_BITS = 13


class Flood(Interface):
    def round(self) -> int:
        """Open without end, then take it all back. Returns how many sessions there were."""


@component
class Main(Flood):
    service = uses(Pooled)

    def round(self) -> int:
        pools: list[LentPool] = []
        try:
            while True:
                pools.append(lend(self.task, SMALL_BITS))
                self.service.open(pools[-1].untyped)
        except NotEnoughMemory:
            return len(pools)
        finally:
            for pool in pools:
                pool.free()
