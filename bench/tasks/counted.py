"""A server that counts each client's calls, so that one that is lost or served twice is seen."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections import Counter

from libsel4py import Interface, component
from libsel4py.signature import Word


class Counted(Interface):
    """What the measurement asks."""

    def count(self, number: Word) -> Word:
        """The caller's number-th call, counted from 1. Returns how often it was called before by that client."""


@component
class Main(Counted):
    """The server."""

    def start(self) -> None:
        self._calls: Counter[int] = Counter()

    def count(self, number: Word) -> Word:
        before = self._calls[self.caller.badge]
        self._calls[self.caller.badge] += 1
        return Word(before)
