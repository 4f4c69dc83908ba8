# mypy: disable-error-code="empty-body"
"""What a task may ask of whoever started it."""

from __future__ import annotations

from libsel4py.environment import Environment
from libsel4py.interface import Interface, long_result, oneway


class Parent(Interface):
    """Root's side towards each task; the badge says which task asks."""

    @long_result
    def environment(self) -> Environment:
        """The asking task's world. The component runtime calls this first."""

    @oneway
    def exit(self, code: int) -> None:
        """The asking task has done its work: it is to be ended, without a restart."""
