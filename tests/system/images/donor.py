# mypy: disable-error-code="empty-body"
"""A client that gives its session at `pooled` as much as it needs, and ends only when it is killed."""

from __future__ import annotations

from libsel4py import Interface, component, uses
from libsel4py.lending import donate
from tests.system.images.pooled import Pooled

FIRST_BITS, MOST_BYTES = 13, 1 << 17
WANTED_BITS = 15


class Donor(Interface):
    def donate(self) -> int:
        """Open a session, and have it grow; how many bytes it has got then."""


@component
class Main(Donor):
    service = uses(Pooled)

    def donate(self) -> int:
        service = self.service
        number, donation = donate(self.task, FIRST_BITS, MOST_BYTES, service.open)
        donation.call(lambda: service.grow(number, WANTED_BITS), lambda more: service.upgrade(number, more))
        return donation.bytes
