"""The bank of `pooled`."""

from __future__ import annotations

from libsel4py import Endpoint, Untyped, component
from libsel4py.interfaces.activity import Activity
from libsel4py.lending import LentPool, lend
from tests.system.images.pooled import Bank


@component
class Main(Bank):
    _packet: LentPool | None = None
    _activity: Endpoint | None = None

    def packet(self, size_bits: int) -> Untyped:
        if self._packet is not None:
            self._packet.free()
        self._packet = lend(self.task, size_bits)
        return self._packet.untyped

    def destroys(self, activity: Endpoint) -> None:
        self.task.receive.unclaimed.discard(activity.cptr)
        self._activity = activity

    def reached(self) -> None:
        if self._activity is not None:
            Activity(self._activity).destroy()
            self.task.delete(self._activity)
            self._activity = None
        if self._packet is not None:
            self._packet.take_back()
