"""Calls a server without a pause, and ends if an answer is missing, twice there, or an error."""

from __future__ import annotations

from libsel4py import Component, component, uses
from tests.system.images.versioned import Versioned


@component
class Main(Component):
    """The program. Its end is what the test looks for."""

    server = uses(Versioned)

    def run(self) -> int:
        last = self.server.add()
        while (now := self.server.add()) == last + 1:
            last = now
        self.log.error("%d came behind %d", now, last)
        return 3
