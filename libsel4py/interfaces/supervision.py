# mypy: disable-error-code="empty-body"
"""What the reincarnation server tells of its work."""

from __future__ import annotations

import msgspec

from libsel4py.interface import Interface, long_result


class Supervised(msgspec.Struct, frozen=True):
    """One task. ``failures`` counts those within its group's period. ``starts_in`` is in seconds, 0 where it runs."""

    name: str
    group: str
    strategy: str
    standing: str
    failures: int
    starts_in: float = 0.0
    heartbeats_missed: int = 0


class Supervision(Interface):
    """Questions. What somebody wants done stands in `libsel4py.interfaces.system`: root hands it on."""

    @long_result
    def supervised(self) -> list[Supervised]:
        """All supervised tasks, in start order."""
