"""A pager that takes faults behind the first pages and does not answer them: its next life does."""

from __future__ import annotations

import time
from typing import Final

from libsel4py import component
from libsel4py.capabilities import Endpoint, Reply
from libsel4py.environment import PAGED_ADDRESS, Slot
from libsel4py.lowlevel.syscalls import Message, Received
from libsel4py.pager import Verdict, Waiter
from libsel4py.pagers.faults import VmFault
from libsel4py.pagers.loop import PagerLoop
from libsel4py.pagers.service import PagerServer

PAGE: Final = 4096
ANSWERED: Final = 8  # pages
FOREVER: Final = 1e6  # seconds
HOW_MANY: Final = 1  # label of who asks how many it holds


@component
class Main(PagerServer):
    """The pager. ``holds`` is "first" or "always": in which lives."""

    def start(self) -> None:
        super().start()
        environment = self.task.environment
        is_first = not any(paged.outlived for paged in environment.paged.values())
        self._holds = is_first or environment.configuration["holds"] == "always"
        self._resolve = self.pager.fault
        self.pager.fault = self._fault  # type: ignore[method-assign]
        endpoint = Endpoint(environment.provides["pager"].cptr)
        PagerLoop(self.pager, endpoint, self.task.new_reply, Reply(Slot.REPLY), self._tell).run()

    def _fault(self, message: Received) -> Verdict:
        fault = VmFault.of(message)
        if fault is None or not self._holds or fault.address < PAGED_ADDRESS + ANSWERED * PAGE:
            return self._resolve(message)
        self.pager.waiting.append(Waiter(fault, message, time.monotonic() + FOREVER))
        self.log.info("holds %d", len(self.pager.waiting))
        return Verdict.WAIT

    def _tell(self, message: Received) -> Message | None:
        return Message(0, (len(self.pager.waiting),)) if message.label == HOW_MANY else None
