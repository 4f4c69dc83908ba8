"""Domain: the authority over the domain schedule (manual, section 6.3)."""

from __future__ import annotations

from libsel4py.abi import Label
from libsel4py.capabilities.base import Capability
from libsel4py.capabilities.tcb import TCB
from libsel4py.lowlevel.invoke import invoke


class Domain(Capability):
    """The domain capability: 16 domains, a schedule of 256 entries."""

    __slots__ = ()

    def set(self, domain: int, thread: TCB) -> None:
        """Put a thread into a domain. Raises InvalidArgument."""
        invoke(self.cptr, Label.DOMAIN_SET, domain=domain, thread=thread.cptr)

    def schedule_configure(self, index: int, domain: int, duration: int) -> None:
        """Write one entry; duration in microseconds, and (0, 0) ends the schedule. Raises RangeError."""
        invoke(self.cptr, Label.DOMAIN_SCHEDULE_CONFIGURE, index=index, domain=domain, duration=duration)

    def schedule_set_start(self, index: int) -> None:
        """Start the schedule at this entry now. Raises RangeError, InvalidArgument at an end marker."""
        invoke(self.cptr, Label.DOMAIN_SCHEDULE_SET_START, index=index)
