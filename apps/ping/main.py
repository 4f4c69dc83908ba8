"""A client in a few lines: calls its connection ``pong`` a number of times, logs how long that took, and ends."""

import time

from libsel4py import Component, component, uses
from libsel4py.interfaces.ping import Ping


@component
class Main(Component):
    """Pings."""

    pong = uses(Ping)

    def run(self) -> int:
        rounds = int(str(self.task.environment.configuration.get("rounds", 100)))
        start = time.perf_counter_ns()
        wrong = sum(self.pong.ping(number) != number for number in range(rounds))
        self.log.info(
            "%d calls, %.1f us each, %d wrong", rounds, (time.perf_counter_ns() - start) / rounds / 1000, wrong
        )
        return 1 if wrong else 0
