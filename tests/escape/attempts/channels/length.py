"""Post a request whose length is far beyond its page.

Stopped by: sdk
Outside: no, a channel exists inside alone
"""

from __future__ import annotations

from libsel4py import abi
from tests.escape import rings
from tests.escape.stage import Stage


def request_anew(page: int) -> None:
    """Post what is there as a request."""
    for state in range(8):
        rings.half(page + abi.CHANNEL_POSTED).value = 1 << 16 | abi.CHANNEL_VALID
        rings.half(page + abi.CHANNEL_STATE).value = 1 << 16 | state


def attempt(_stage: Stage) -> object:
    page = rings.connected()
    rings.word(page + abi.CHANNEL_REQUEST + abi.CHANNEL_INFO).value = (1 << 64) - 1
    request_anew(page)
    return None
