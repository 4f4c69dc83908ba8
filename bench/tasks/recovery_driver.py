"""Calls a server that is killed from outside, again and again, and says how long its client was without it.

Takes orders from the console, one a line, and answers each with a line of JSON that begins with ``@``:

gap N   until N lives have answered behind the one that answers now: for each of them the seconds from the last good
        reply of its predecessor to its own first, and how many calls have ended in ServerDied
"""

from __future__ import annotations

import json
import time

from bench.tasks.mortal import Mortal
from libsel4py import Component, ServerDied, component, uses
from libsel4py.interfaces.console import Console


@component
class Main(Component):
    """Measures."""

    console = uses(Console)
    mortal = uses(Mortal)

    def run(self) -> int:
        self._life = self.mortal.life()
        while True:
            name, _, count = self.console.read_line("", echo=False).partition(" ")
            if name == "end":
                return 0
            gaps, died = self._gaps(int(count))
            self.console.write("@" + json.dumps({"gaps": gaps, "died": died}) + "\n")

    def _gaps(self, count: int) -> tuple[list[float], int]:
        clock, gaps, died = time.perf_counter, list[float](), 0
        last = clock()
        while len(gaps) < count:
            try:
                life = self.mortal.life()
            except ServerDied:
                died += 1
                continue
            now = clock()
            if life != self._life:
                gaps.append(now - last)
                self._life = life
            last = now
        return gaps, died
