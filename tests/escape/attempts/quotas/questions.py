"""Ask the kernel five thousand times what one has.

Stopped by: kernel
Outside: no, a question takes a turn as all calls do
"""

from __future__ import annotations

from libsel4py.lowlevel.identify import identify
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    for number in range(5000):
        identify(number)
    return None
