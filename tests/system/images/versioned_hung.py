"""A version that never serves."""

from __future__ import annotations

from libsel4py import component
from tests.system.images.versioned import Base


@component
class Main(Base):
    """The server."""

    def start(self) -> None:
        while True:
            pass
