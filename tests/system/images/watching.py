"""Kills a pager by order while it holds faults, and looks what becomes of the task whose faults these are."""

from __future__ import annotations

import re
import time
from typing import Final

from libsel4py import Component, component, uses
from libsel4py.capabilities import Endpoint
from libsel4py.interfaces.system import System, TaskInfo
from libsel4py.lowlevel.syscalls import Message
from tests.system.images.holding_pager import HOW_MANY

SECONDS: Final = 30.0


@component
class Main(Component):
    """``faults``: how many the pager is to hold. ``kills``: whether this task kills it; else somebody else does.
    ``expects``: a pattern of the client's last state. ``restarts``: of the pager, at the least."""

    system = uses(System, "system")

    def run(self) -> int:
        environment = self.task.environment
        settings, deadline = environment.configuration, time.monotonic() + SECONDS
        pager = Endpoint(environment.connections["pager"].cptr)
        if settings["kills"]:
            while pager.call(Message(HOW_MANY)).words[0] < int(str(settings["faults"])):
                assert time.monotonic() < deadline
            self.system.kill("pager")
        while (client := self._task_info("client")).state.startswith("running"):
            assert time.monotonic() < deadline, client
        self.log.info("%s; %s", client, self.system.why("client"))
        assert re.search(str(settings["expects"]), client.state), client
        assert client.restarts == 0
        assert self._task_info("pager").restarts >= int(str(settings["restarts"]))
        return 0

    def _task_info(self, name: str) -> TaskInfo:
        (found,) = [each for each in self.system.tasks() if each.name == name]
        return found
