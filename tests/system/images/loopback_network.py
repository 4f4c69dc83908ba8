"""The network server over a stack that speaks to itself only: the tests' own, or lwIP.

Configuration: ``stack``; of lwIP, ``name_servers``.
"""

from __future__ import annotations

from libsel4py import component, on_notification
from servers.network.alarm import Alarm
from servers.network.protocols import SocketStack
from servers.network.service import NetworkServer
from servers.network.stack import Stack
from servers.network.timers import Timers
from servers.network.turns import Turns
from tests.loopback_stack import Loopback


@component
class Main(NetworkServer):
    def start(self) -> None:
        stack: SocketStack
        if self.task.environment.configuration["stack"] == "lwip":
            stack = Stack()
            servers = str(self.task.environment.configuration.get("name_servers", ""))
            stack.set_name_servers(servers.split())
        else:
            stack = Loopback()
            stack.answers_pings = False
        self._alarm = Alarm(self.task.environment.devices["clock"])
        self._turn = Turns(stack, Timers(), set_clock=self._alarm.set)
        self.serve_stack(stack, self._turn)

    @on_notification("clock")
    def on_clock(self) -> None:
        self._alarm.rang()
        self._turn.turn()
