# mypy: disable-error-code="empty-body"
"""A server that counts each client's calls, so that one that is lost or served twice is seen."""

from __future__ import annotations

import time
from collections import Counter

from libsel4py import Interface, component


class Counted(Interface):
    def count(self, number: int) -> int:
        """The caller's number-th call, counted from 1. Returns how often it was called before by that client."""

    def longest_gap_us(self) -> int:
        """The longest time that passed between two calls, whoever called."""


@component
class Main(Counted):
    def start(self) -> None:
        self._calls: Counter[int] = Counter()
        self._last_ns = 0
        self._gap_ns = 0

    def count(self, number: int) -> int:
        now = time.monotonic_ns()
        if self._last_ns:
            self._gap_ns = max(self._gap_ns, now - self._last_ns)
        self._last_ns = now
        before = self._calls[self.caller.badge]
        self._calls[self.caller.badge] += 1
        return before

    def longest_gap_us(self) -> int:
        return self._gap_ns // 1000
