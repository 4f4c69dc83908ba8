# mypy: disable-error-code="empty-body"
"""A counter that ends itself at a given step of its next request, and its interface.

A step is a line of Python, in whatever module, from the request's taking to its answer: the SDK's own, which remembers
the answer, above all.
"""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any

from libsel4py import DEFER, Interface, ServiceError, component, remembered


class OddCount(ServiceError):
    """The count that `step_oddly` has reached."""


class Stepping(Interface):
    """One count."""

    @remembered
    def step(self) -> int:
        """The count, one further: in registers."""

    @remembered
    def step_text(self, by: str) -> str:
        """The same as text."""

    @remembered
    def step_oddly(self) -> int:
        """The same. Raises OddCount where the count is odd; it has grown all the same."""

    @remembered
    def step_deferred(self) -> int:
        """The same, by a reply that was deferred."""

    def end_at(self, step: int) -> int:
        """End at this step of the next request. The number of this life."""


@component
class Main(Stepping):
    """Keeps its count, and how many lives it had."""

    def start(self) -> None:
        self._kept = self.kept(dict[str, int])
        self._kept.value["lives"] = self._kept.value.get("lives", 0) + 1
        self._kept.commit()

    def step(self) -> int:
        found = self._kept.value["count"] = self._kept.value.get("count", 0) + 1
        return found

    def step_text(self, by: str) -> str:
        return str(self.step())

    def step_oddly(self) -> int:
        found = self.step()
        if found % 2:
            raise OddCount(found)
        return found

    def step_deferred(self) -> int:
        self.defer_reply().complete(self.step())
        return DEFER

    def end_at(self, step: int) -> int:
        left = step

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal left
            if event == "line":
                left -= 1
                if left < 0:
                    os._exit(1)
            elif event == "return" and frame.f_code.co_name == "handle":
                sys.settrace(None)
            return trace

        sys.settrace(trace)  # sees the functions that are called from now on: those of the next request
        return self._kept.value["lives"]
