"""Recovers a group as its settings say: ``decides`` is a decision, or ``nothing``, or ``dies``."""

from __future__ import annotations

from libsel4py import Component, component, uses
from libsel4py.interfaces.recovery import Decision, Recovery
from libsel4py.signature import Word


@component
class Main(Component):
    """The program. What it is told stands in its log."""

    recovery = uses(Recovery)

    def run(self) -> int:
        decides, last = str(self.task.environment.configuration["decides"]), Word(0)
        while True:
            case = self.recovery.next_case(last)
            last = Word(case.serial)
            self.log.info("%s %s along %d: %s", case.component, case.event.value, case.along, case.reason)
            if decides == "dies":
                return 3
            if decides != "nothing":
                was_open = self.recovery.decide(last, Decision(decides))
                self.log.info("%s was %s", case.component, "open" if was_open else "over")
