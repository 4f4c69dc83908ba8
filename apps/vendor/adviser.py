"""Untrusted code: it gives advice, and tells all that it is given to whomever it can reach.

It tries each slot of its capability space, as an endpoint and as a notification, and what it was told of by name.
"""

from __future__ import annotations

from libsel4py import KernelError, component
from libsel4py.capabilities import Endpoint, Notification
from libsel4py.errors import ServerDied, Timeout
from libsel4py.interfaces.adviser import Adviser, Mail
from libsel4py.lowlevel.identify import identify
from libsel4py.lowlevel.syscalls import Message
from libsel4py.wire import Outcome

OWN_SLOTS = range(1, 17)  # of which the endpoint that it serves itself is the last
SECONDS = 0.2


@component
class Main(Adviser):
    """The product."""

    def advise(self, figures: list[int]) -> int:
        self._leak(figures)
        return max(figures)

    def _leak(self, figures: list[int]) -> None:
        for name, connection in self.task.environment.connections.items():
            if connection.interface.endswith(":Mail"):
                Mail(Endpoint(connection.cptr)).tell(f"by {name}: {figures}")
        for slot in range(1 << 9):
            found = identify(slot)
            if found.type == "ENDPOINT" and "W" in found.rights and slot not in OWN_SLOTS:
                self._try(slot, figures)
            elif found.type == "NOTIFICATION" and slot not in OWN_SLOTS:
                Notification(slot).signal()
        print("leaked to its own log:", figures, flush=True)

    def _try(self, slot: int, figures: list[int]) -> None:
        try:
            Endpoint(slot).call(Message(Outcome.OK, tuple(figures)), timeout=SECONDS)
        except (KernelError, Timeout, ServerDied):
            self.log.info("slot %d took nothing", slot)
