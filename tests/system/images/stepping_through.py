"""A client whose server ends at each step of a remembered request in turn: each request is carried out once."""

from __future__ import annotations

from collections.abc import Callable

from libsel4py import Component, component, uses, with_timeout
from tests.system.images.stepping import OddCount, Stepping

PATIENCE = 60.0  # seconds that a call may take
LEAST_STEPS = 20  # of any request


@component
class Main(Component):
    """``method`` of the configuration."""

    counter = uses(Stepping)

    def run(self) -> int:
        counter = with_timeout(self.counter, PATIENCE)
        method = str(self.task.environment.configuration["method"])
        call: Callable[[], object] = {
            "step": counter.step,
            "step_text": lambda: counter.step_text("one"),
            "step_oddly": lambda: _oddly(counter),
            "step_deferred": counter.step_deferred,
        }[method]
        steps = 0
        while True:
            life = counter.end_at(steps)
            found, steps = int(str(call())), steps + 1
            if found != steps:
                self.log.error("%s at step %d: the count is %d", method, steps - 1, found)
                return 1
            lived_on = counter.end_at(1 << 30) == life
            if lived_on and steps < LEAST_STEPS:
                self.log.error("%s has %d steps only", method, steps)
                return 1
            if lived_on:
                self.log.info("%s has %d steps", method, steps - 1)
                return 0


def _oddly(counter: Stepping) -> int:
    try:
        return counter.step_oddly()
    except OddCount as odd:
        return int(str(odd))
