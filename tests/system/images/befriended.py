"""Holds what `holding` gives it."""

from __future__ import annotations

from libsel4py import component
from tests.system.images.holding import Base


@component
class Main(Base):
    """The task."""

    def fetch(self) -> int:
        return self.held()

    def give(self) -> int:
        return self.held()
