"""Tell the pager of another task's page fault, and have the page mapped for oneself.

Stopped by: server
Outside: no, a pager goes by the badge
"""

from __future__ import annotations

import contextlib

from libsel4py import abi
from libsel4py.environment import PAGED_ADDRESS
from libsel4py.errors import Timeout
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.pager import PagerStatistics
from libsel4py.lowlevel.syscalls import Message
from tests.escape.held import Held


def attempt(held: Held) -> object:
    pager = held.to(PagerStatistics, "pager")
    before = pager.statistics()
    for words in ((0, PAGED_ADDRESS, 0, 4), (0, PAGED_ADDRESS + 4096, 0, 6), (PAGED_ADDRESS,) * 4):
        with contextlib.suppress(Timeout):
            endpoint_of(pager).call(Message(abi.FaultLabel.VM_FAULT, words), 0.2)
        endpoint_of(pager).nb_send(Message(abi.FaultLabel.VM_FAULT, words))
    return pager.statistics() != before
