"""Say at once that the server does not sleep, for it to sleep for ever.

Stopped by: sdk
Outside: no, a channel exists inside alone
"""

from __future__ import annotations

from libsel4py import abi
from tests.escape import rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    page = rings.connected()
    for _ in range(2000):
        rings.half(page + abi.CHANNEL_SLEEPERS).value = 0
    return None
