"""Calls a server that counts, without a pause, and remembers how many calls came to their end in each millisecond.

Settings: ``seconds`` that it calls, from the word on (`starting.py`). Then it prints one line of JSON that begins with
``@``: ``begun_ns`` (the host's monotonic clock), ``calls`` a list of calls for each millisecond from there,
``by_channel`` how many went so, ``wrong`` how many the server had not counted as it should.
"""

from __future__ import annotations

import json
import time

from bench.tasks.counted import Counted
from bench.tasks.starting import wait_for_word
from libsel4py import Component, component, uses
from libsel4py.files import Files
from libsel4py.interfaces.namespace import Namespace
from libsel4py.signature import Word


@component
class Main(Component):
    """Measures."""

    service = uses(Counted)
    files = uses(Namespace)

    def run(self) -> int:
        seconds = float(str(self.task.environment.configuration["seconds"]))
        clock, count = time.monotonic_ns, self.service.count
        calls = [0] * int(seconds * 1000)
        wait_for_word(Files(self.files))
        by_channel = self.task.channels.statistics().calls
        begun, number, wrong = clock(), 0, 0
        while (millisecond := (clock() - begun) // 1_000_000) < len(calls):
            wrong += count(Word(number + 1)) != number
            number += 1
            calls[millisecond] += 1
        by_channel = self.task.channels.statistics().calls - by_channel
        told = {"begun_ns": begun, "calls": calls, "by_channel": by_channel, "wrong": wrong}
        print("@" + json.dumps(told), flush=True)
        return 0
