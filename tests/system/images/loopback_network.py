"""The network server over a stack that speaks to itself only."""

from __future__ import annotations

from libsel4py import component
from servers.network.service import NetworkServer
from servers.network.timers import Timers
from servers.network.turns import Turns
from tests.loopback_stack import Loopback


@component
class Main(NetworkServer):
    def start(self) -> None:
        stack = Loopback()
        self.serve_stack(stack, Turns(stack, Timers()))
