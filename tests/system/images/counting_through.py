"""A client that counts till its last life; suspending the system ends those before. What was acknowledged is there."""

from __future__ import annotations

import time

from libsel4py import Component, component, uses
from tests.system.images.counting import Counter

ROUNDS = 20


class Wrong(AssertionError):
    """A count is not what a client that may have died behind a call can find."""


@component
class Main(Component):
    counter = uses(Counter)

    def run(self) -> int:
        lives = int(str(self.task.environment.configuration["lives"]))
        kept = self.kept(dict[str, int])
        life = kept.value.get("lives", 0) + 1
        kept.value["lives"] = life
        kept.commit()
        if kept.value.get("clock", 0) > time.monotonic_ns():
            raise Wrong("time went back")
        known, told = kept.value.get("count", 0), False
        while life < lives or not told:
            for _ in range(ROUNDS):
                count = self.counter.increment("", 1)
                if not known < count <= known + life:  # each life may have ended between a call and its note of it
                    raise Wrong(f"{count} after {known} in life {life}")
                known = kept.value["count"] = count
                kept.value["clock"] = time.monotonic_ns()
                kept.commit()
            if not told:
                self.log.info("life %d counts", life)
                told = True
        return 0
