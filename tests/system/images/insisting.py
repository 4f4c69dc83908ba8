"""A client that goes on calling two servers while these and whoever supervises them are killed, and counts."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from libsel4py import Interface, ServerDied, component, uses
from libsel4py.interface import with_timeout
from tests.system.images.versioned import Versioned

SECONDS = 60.0  # a call that takes as long hangs


class Insisting(Interface):
    """What the shell has it do."""

    def insist(self, rounds: int) -> str:
        """Call both servers so often; ``all right``, or what was not."""


@component
class Main(Insisting):
    """The client."""

    below = uses(Versioned)
    above = uses(Versioned)

    def start(self) -> None:
        self._servers = {"below": with_timeout(self.below, SECONDS), "above": with_timeout(self.above, SECONDS)}
        self._last = {name: server.total() for name, server in self._servers.items()}

    def insist(self, rounds: int) -> str:
        for _ in range(rounds):
            for name, server in self._servers.items():
                self._last[name] += 1
                if (now := server.add()) != self._last[name]:
                    return f"{name} counts {now} and not {self._last[name]}"
                try:
                    answer = server.version()
                except ServerDied:  # it may be carried out twice, and nobody says that it may
                    continue
                if answer != "version one":
                    return f"{name} is {answer}"
        return "all right"
