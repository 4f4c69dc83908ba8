"""The network server: lwIP over a card's driver, offered to clients, each with its rules.

Must be given: a connection ``card`` (`Ethernet`), and a device ``clock``, for the stack's timers. Settings:
``addresses``, ``gateways`` and ``name_servers`` (`servers.network.settings`); ``clients`` and ``sessions``
(`servers.network.service`).

The driver may end and come back: its end is told by a death notice, and it is opened anew as soon as its next life
answers. Connections outlive that. Beside that it is looked after every `LOOK_SECONDS`, more often while something is
under way, for interrupts that were lost.
"""

from __future__ import annotations

import math
import time
from typing import Final

import msgspec

from libsel4py import component, on_notification
from libsel4py.bell import server_bell
from libsel4py.context import uses
from libsel4py.environment import SERVER_SIGNAL
from libsel4py.errors import RemoteError, ServerDied, ServiceError, Timeout
from libsel4py.interfaces.ethernet import Ethernet
from libsel4py.interfaces.network import InterfaceState
from servers.network.alarm import Alarm
from servers.network.link import Link
from servers.network.service import NetworkServer
from servers.network.settings import settings_of_description
from servers.network.stack import Stack
from servers.network.timers import Timer, Timers
from servers.network.turns import Turns

LOOK_SECONDS: Final = 1.0
BUSY_LOOK_SECONDS: Final = 0.3  # while there are connections, or the card could not be opened
SOON_SECONDS: Final = 0.01  # while the driver's next life is awaited; clients have their turn between two looks
MOST_SOON_SECONDS: Final = 1.0  # since its end
MOST_BATCHES: Final = 4  # of frames, until clients have their turn


@component
class Main(NetworkServer):
    """The server."""

    card = uses(Ethernet)

    def prepare(self) -> None:
        self._settings = settings_of_description(self.task.environment.configuration)
        self._made = Stack()

    def start(self) -> None:
        stack = self._made
        self._link = Link(self.card, self.task, self._driver_ended)
        self._next_look: Timer | None = None
        self._ended_at = -math.inf
        self._alarm = Alarm(self.task.environment.devices["clock"])
        self._input = stack.input
        self._own_bell = server_bell(self.task)
        self._all_turns = turns = Turns(stack, Timers(), self._link.flush, self._alarm.set)
        self.serve_stack(stack, turns)
        state = self._link.open()
        self._interface = stack.add_interface(state.mac, state.mtu, self._link.transmit)
        self._interface.set_up(state.is_up)
        self._settings.apply(stack, self._interface)
        self.server.on_signal(SERVER_SIGNAL, lambda bits: self._frames())
        self._look_later()
        self._frames()

    def _frames(self) -> None:
        """The driver rings: frames came, or buffers are free again."""
        for _ in range(MOST_BATCHES):
            more = self._link.receive(self._input)
            self._all_turns.turn()
            if not more:
                return
        self._own_bell.signal()

    @on_notification("clock")
    def on_clock(self) -> None:
        """Something is due."""
        self._alarm.rang()
        self._all_turns.turn()

    def interfaces(self) -> list[InterfaceState]:
        link = self._link
        return [
            msgspec.structs.replace(
                state,
                is_up=state.is_up and link.is_open,
                received=link.received,
                received_bytes=link.received_bytes,
                sent=link.sent,
                sent_bytes=link.sent_bytes,
                dropped=link.dropped,
            )
            if state.mac
            else state
            for state in super().interfaces()
        ]

    def _driver_ended(self) -> None:
        """Be there when its next life is. Frames are lost meanwhile."""
        self._ended_at = time.monotonic()
        self._look()
        self._all_turns.turn()

    def _look_later(self) -> None:
        now, timers = time.monotonic(), self._all_turns.timers
        if self._next_look is not None:
            timers.cancel(self._next_look)
        self._next_look = timers.at(now + self._patience(now), self._look)

    def _patience(self, now: float) -> float:
        """Seconds until the next look."""
        if not self._link.is_open and now < self._ended_at + MOST_SOON_SECONDS:
            return SOON_SECONDS
        return LOOK_SECONDS if self._made.is_quiet and self._link.is_open else BUSY_LOOK_SECONDS

    def _look(self) -> None:
        """See after the driver."""
        self.sweep()
        was_open, is_new = self._link.is_open, False
        try:
            if self._link.look():
                self.log.info("the card was opened again")
                self._own_bell.signal()  # what came meanwhile
                is_new = True
        except (ServiceError, RemoteError, ServerDied, Timeout) as error:
            if was_open:
                self.log.warning("the card's driver is gone: %s", error)
        finally:
            self._look_later()
        state = self._link.state
        self._interface.set_up(self._link.is_open and state is not None and state.is_up)
        if is_new:
            self._made.send_again()
