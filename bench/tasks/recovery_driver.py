"""Calls a server that is killed from outside, and says how long its client was without it.

Takes orders from the console, one a line, and answers each with lines of JSON that begin with ``@``:

gap NAME BYTES   the server of this name comes to hold so many bytes; answers ``{}`` and calls it without a pause, until
                 its next life answers: then the seconds from the last good reply to that one, and how many calls have
                 ended in ServerDied
"""

from __future__ import annotations

import json
import time

from bench.tasks.mortal import Mortal
from libsel4py import Component, ServerDied, component, uses
from libsel4py.interfaces.console import Console
from libsel4py.signature import Word


@component
class Main(Component):
    """Measures."""

    console = uses(Console)
    cold = uses(Mortal)
    warm = uses(Mortal)

    def run(self) -> int:
        servers = {"cold": self.cold, "warm": self.warm}
        while True:
            order = self.console.read_line("", echo=False).split()
            if order == ["end"]:
                return 0
            _, name, size = order
            server = servers[name]
            server.hold(Word(int(size)))
            life = server.life()
            self._say({})
            gap, died = _gap(server, life)
            self._say({"gap": gap, "died": died})

    def _say(self, figures: dict[str, float]) -> None:
        self.console.write("@" + json.dumps(figures) + "\n")


def _gap(server: Mortal, life: Word) -> tuple[float, int]:
    clock, died = time.perf_counter, 0
    last = clock()
    while True:
        try:
            answered = server.life()
        except ServerDied:
            died += 1
            continue
        now = clock()
        if answered != life:
            return now - last, died
        last = now
