# mypy: disable-error-code="empty-body"
"""What `servers/pager` tells of its work. Its clients' faults come in at the same endpoint, and are no method."""

from __future__ import annotations

import msgspec

from libsel4py.interface import Interface


class Paging(msgspec.Struct, frozen=True):
    """Counts since the pager's start.

    Attributes:
        faults: fault messages that came. mapped: pages that were mapped, ``ahead`` of them before anybody asked.
        refused: accesses that failed. passed_on: faults that were none of the pager's business.
        free_bytes: what is left of its pool.
    """

    faults: int
    mapped: int
    ahead: int
    refused: int
    passed_on: int
    free_bytes: int


class PagerStatistics(Interface):
    """A look at a pager."""

    def statistics(self) -> Paging:
        """What it has done so far."""
