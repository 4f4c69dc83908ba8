"""Write every state into a channel's page, one after the other.

Stopped by: sdk
Outside: no, a channel exists inside alone
"""

from __future__ import annotations

from libsel4py import abi
from tests.escape import rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    page = rings.connected()
    for state in (*range(16), 0xFFFF, 0xFFFF0000, 0xFFFFFFFF):
        rings.half(page + abi.CHANNEL_STATE).value = state
    return None
