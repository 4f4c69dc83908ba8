"""A client of the server that counts: calls as long as its description says.

It ends with `COUNTED`, so that logs are kept, if each call was served once.
"""

from __future__ import annotations

import time

from libsel4py import Component, component, uses
from tests.system.images.counted import Counted

COUNTED = 9


@component
class Main(Component):
    service = uses(Counted)

    def run(self) -> int:
        end = time.monotonic() + float(str(self.task.environment.configuration["seconds"]))
        number, slowest_ns = 0, 0
        while time.monotonic() < end:
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
