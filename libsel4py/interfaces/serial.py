# mypy: disable-error-code="empty-body"
"""A serial line: bytes in, bytes out."""

from __future__ import annotations

from libsel4py.interface import Interface, local, remembered

WRITE_BYTES = 900  # a piece that fits one message


class Serial(Interface):
    """One line. Several readers take turns; each byte goes to one of them."""

    @remembered
    def write_piece(self, data: bytes) -> None:
        """Send at most 900 bytes; returns when the driver has taken them. Use `write`, which takes any length."""

    @remembered
    def read(self) -> bytes:
        """Wait for bytes; returns those that are there, at least one, at most 900. Empty means that the line closed."""

    @local
    def write(self, data: bytes) -> None:
        """Send bytes of any length, in pieces."""
        for first in range(0, len(data), WRITE_BYTES):
            self.write_piece(data[first : first + WRITE_BYTES])
