# mypy: disable-error-code="empty-body"
"""A client that gives its session at `pooled` as much as it needs, and ends only when it is killed."""

from __future__ import annotations

from libsel4py import Interface, component, uses
from libsel4py.lending import donate
from libsel4py.session_slots import LEAST_SLOT_BITS
from tests.system.images.pooled import Pooled

FIRST_BITS, MOST_BYTES = 13, 1 << 17
WANTED_BITS = 15
LEAST = 1 << LEAST_SLOT_BITS


class Donor(Interface):
    def donate(self) -> int:
        """Open a session, and have it grow; how many bytes it has got then."""

    def keep(self, count: int) -> int:
        """Open a session with few slots, and have so many objects kept in it; how many slots were donated."""


@component
class Main(Donor):
    service = uses(Pooled)

    def donate(self) -> int:
        service = self.service
        number, donation = donate(self.task, FIRST_BITS, MOST_BYTES, service.open)
        donation.call(lambda: service.grow(number, WANTED_BITS), lambda more: service.upgrade(number, more))
        return donation.bytes

    def keep(self, count: int) -> int:
        service = self.service
        number, donation = donate(
            self.task, FIRST_BITS, MOST_BYTES, lambda pool: service.open_shelf(pool, LEAST_SLOT_BITS), slots=LEAST
        )
        for _ in range(count):
            donation.call_for_slots(
                lambda: service.keep(number), lambda more, bits: service.upgrade_slots(number, more, bits)
            )
        return donation.slots
