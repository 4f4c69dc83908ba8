"""A client of the server that counts: calls as long as its description says; the ``last`` one until others are over.

It ends with `COUNTED`, so that logs are kept, if each call was served once.
"""

from __future__ import annotations

import time

from libsel4py import Component, component, uses
from libsel4py.interfaces.system import System
from tests.system.images.counted import Counted

COUNTED = 9


@component
class Main(Component):
    service = uses(Counted)

    def run(self) -> int:
        configuration = self.task.environment.configuration
        end, last = time.monotonic() + float(str(configuration["seconds"])), configuration.get("last")
        number, slowest_ns = 0, 0
        while time.monotonic() < end or (last and self.others_go_on()):
            number += 1
            begun = time.monotonic_ns()
            before = self.service.count(number)
            slowest_ns = max(slowest_ns, time.monotonic_ns() - begun)
            if before != number - 1:
                print(f"call {number} was served after {before} others", flush=True)
                return 1
        by_channel = self.task.channels.statistics().calls
        print(f"{number} calls, {by_channel} by channel; the slowest took {slowest_ns // 1000} us", flush=True)
        return COUNTED

    def others_go_on(self) -> bool:
        """Whether another one of this image has not come to its end."""
        system: System = self.uses.system
        own = self.task.name
        return any(
            each.image == __name__ and each.name != own and not each.state.startswith("dead") for each in system.tasks()
        )
