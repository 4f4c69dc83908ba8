# mypy: disable-error-code="empty-body"
"""The smallest useful interface: an echo that counts. Copy it to begin one of your own."""

from __future__ import annotations

from libsel4py.interface import Interface


class Ping(Interface):
    """Answers what it is sent."""

    def ping(self, value: int) -> int:
        """Returns ``value``. Both fit registers, so nothing is packed."""

    def count(self) -> int:
        """How many times ping was called since the server started."""
