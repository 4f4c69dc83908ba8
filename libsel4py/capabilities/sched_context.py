"""SchedContext and SchedControl: time as a capability (manual, chapter 6.1)."""

from __future__ import annotations

from libsel4py.abi import Label
from libsel4py.capabilities.base import Capability
from libsel4py.lowlevel.invoke import invoke


class SchedContext(Capability):
    """A budget within a period. What is bound to it may run on it."""

    __slots__ = ()

    def bind(self, object: Capability) -> None:
        """Bind to a thread or a notification. Raises IllegalOperation if either is bound already."""
        invoke(self.cptr, Label.SCHED_CONTEXT_BIND, object=object.cptr)

    def unbind(self) -> None:
        """Unbind from everything. Raises IllegalOperation for the running thread's own."""
        invoke(self.cptr, Label.SCHED_CONTEXT_UNBIND)

    def unbind_object(self, object: Capability) -> None:
        """Unbind from one thread or notification. Raises IllegalOperation if it is not bound to that."""
        invoke(self.cptr, Label.SCHED_CONTEXT_UNBIND_OBJECT, object=object.cptr)

    def consumed(self) -> int:
        """Microseconds consumed since the last such call or timeout fault."""
        return invoke(self.cptr, Label.SCHED_CONTEXT_CONSUMED)[0]

    def yield_to(self) -> int:
        """Run this context's thread next; returns its consumed microseconds. Raises IllegalOperation."""
        return invoke(self.cptr, Label.SCHED_CONTEXT_YIELD_TO)[0]


class SchedControl(Capability):
    """The authority to give time: one a CPU."""

    __slots__ = ()

    def configure_flags(
        self,
        sched_context: SchedContext,
        budget: int,
        period: int,
        extra_refills: int = 0,
        badge: int = 0,
        flags: int = 0,
    ) -> None:
        """Set budget and period, in microseconds; equal ones mean round robin. flags: 1 = sporadic.

        Raises:
            RangeError: a number is out of bounds, or the budget is above the period. InvalidCapability.
        """
        invoke(
            self.cptr,
            Label.SCHED_CONTROL_CONFIGURE_FLAGS,
            sched_context=sched_context.cptr,
            budget=budget,
            period=period,
            extra_refills=extra_refills,
            badge=badge,
            flags=flags,
        )
