"""Calls servers while a hostile task attacks. Takes orders from the console, one a line, and answers each with a line
of JSON that begins with ``@``:

round ATTACK SECONDS   calls for so long, the one by channel and the other through the kernel in turn, while ``ATTACK``
                       (`bench.tasks.exhausting`, or ``quiet``) goes on: of each the median and the mean of a call's
                       seconds, by this task's own clock, and how many deeds the attack did
"""

from __future__ import annotations

import json
import statistics
import time

from bench.tasks import channel
from bench.tasks.exhausting import Exhausting
from libsel4py import Component, component, uses
from libsel4py.abi import message_info
from libsel4py.capabilities import Endpoint
from libsel4py.interfaces.console import Console
from libsel4py.lowlevel.syscalls import machine

RUN = 100  # calls of the one before those of the other
INFO = message_info(1, 4)
SENT = (1, 2, 3, 4)


@component
class Main(Component):
    """Measures."""

    console = uses(Console)

    def run(self) -> int:
        connections = self.task.environment.connections
        self._servers = {"channel": connections["near"].cptr, "kernel": connections["far"].cptr}
        for server in self._servers.values():
            _call(server, [])  # whoever answers has begun to listen
        channel.connect(self.task, Endpoint(self._servers["channel"]))
        while True:
            name, *arguments = self.console.read_line("", echo=False).split()
            if name == "end":
                return 0
            self.console.write(f"@{json.dumps(self._round(*arguments))}\n")

    def _round(self, attack: str, seconds: str) -> dict[str, float]:
        hostile: Exhausting | None = None if attack == "quiet" else getattr(self.uses, attack)
        stop_ns = time.perf_counter_ns() + int(float(seconds) * 1e9)
        if hostile is not None:
            hostile.begin(attack, stop_ns)
        took: dict[str, list[int]] = {way: [] for way in self._servers}
        while time.perf_counter_ns() < stop_ns:
            for way, server in self._servers.items():
                _call(server, took[way])
        found = {way: statistics.median(each) / 1e9 for way, each in took.items()}
        found |= {f"{way} mean": statistics.fmean(each) / 1e9 for way, each in took.items()}
        return found | {"deeds": 0 if hostile is None else hostile.deeds()}


def _call(server: int, took: list[int]) -> None:
    call, clock = machine.call, time.perf_counter_ns
    for _ in range(RUN):
        start = clock()
        _status, _badge, _info, *words = call(server, INFO, *SENT)
        took.append(clock() - start)
        if tuple(words) != SENT:
            raise RuntimeError("another answer than what was sent")
