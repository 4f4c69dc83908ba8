"""The second version."""

from __future__ import annotations

from libsel4py import component
from tests.system.images.versioned import Base


@component
class Main(Base):
    """The server."""

    name = "two"
