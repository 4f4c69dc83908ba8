"""A version that ends before it serves."""

from __future__ import annotations

from libsel4py import component
from tests.system.images.versioned import Base


@component
class Main(Base):
    """The server."""

    def start(self) -> None:
        raise RuntimeError("it was to be so")
