"""The channels of the fake kernel.

A fake channel is no memory: its requests take the way of all others, but for what can be told apart. No reply object
holds them, they carry no capability, and they are counted.
"""

from __future__ import annotations

from collections.abc import Callable

from libsel4py.testing.fake_areas import Area, FakeAreas
from libsel4py.testing.fake_objects import FakeChannel


class FakeChannels(FakeAreas):
    """The functions of `hw.cpu` that concern the client's side of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.candidates: dict[int, int] = {}  # slow calls since the last report
        self._threshold = 0
        self._callback: Callable[[int], object] | None = None

    def channel_bind(self, cptr: int, number: int, timeout_ns: int = 1_000_000_000, /) -> None:
        for channel in self.objects.channels():
            if channel.number == number and channel.target is not None:
                self._threads.bound[cptr] = channel
                return
        raise LookupError(f"no page of channel {number} has come in {timeout_ns / 1e9} s")

    def channel_unbind(self, cptr: int, /) -> bool:
        return self._threads.bound.pop(cptr, None) is not None

    def set_upgrade(self, threshold: int, callback: Callable[[int], object] | None, /) -> None:
        self._threshold, self._callback = threshold, callback

    def candidate(self, cptr: int, /) -> None:
        self.candidates.setdefault(cptr, 0)

    def forget_candidate(self, cptr: int, /) -> None:
        self.candidates.pop(cptr, None)

    def channel_statistics(self) -> tuple[int, int, int, int, int]:
        return self._threads.calls, self._threads.requests, 0, 0, 0

    def _channel(self, cptr: int) -> FakeChannel | None:
        """The live channel by which the calling thread's calls go; else the call is counted, and reported if due."""
        threads = self._threads
        if cptr in threads.bound:
            if threads.bound[cptr].target is not None:
                return threads.bound[cptr]
            del threads.bound[cptr]
        if cptr in self.candidates and self._callback is not None:
            self.candidates[cptr] += 1
            if self.candidates[cptr] >= self._threshold:
                self.candidates[cptr] = 0
                former, threads.area = threads.area, Area()
                self._callback(cptr)
                threads.area = former
                return threads.bound.get(cptr)
        return None
