# mypy: disable-error-code="empty-body"
"""Time of day and time since the machine started."""

from __future__ import annotations

from libsel4py.interface import Interface, idempotent
from libsel4py.signature import Word


class Clock(Interface):
    """A clock that several clients may wait for."""

    @idempotent
    def now(self) -> Word:
        """Nanoseconds since the machine started; never goes back."""

    @idempotent
    def time_of_day(self) -> Word:
        """Nanoseconds since 1970-01-01 UTC, as the host has it."""

    @idempotent
    def sleep(self, nanoseconds: Word) -> None:
        """Returns after at least this time."""

    @idempotent
    def sleep_until(self, instant: Word) -> None:
        """Returns when `now` has reached ``instant``; at once if it has already."""
