"""What a client of calls felt: from how many calls came to their end in each millisecond."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

NS = 1_000_000  # of a millisecond


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls for each millisecond from ``begun_ns`` on."""

    begun_ns: int
    counts: Sequence[int]

    def place(self, at_ns: int) -> int:
        """The millisecond of a moment."""
        return (at_ns - self.begun_ns) // NS

    def outage(self, kill_ns: int, longest: int) -> tuple[int, int] | None:
        """The longest time without a call that begins where the kernel was killed, or up to ``longest`` ms later: its
        first millisecond, and the one in which calls go on. None: the record ends before, or there was none."""
        best: tuple[int, int] | None = None
        at, end = self.place(kill_ns), min(self.place(kill_ns) + longest, len(self.counts))
        if at < 0:
            return None
        while at < end:
            if self.counts[at]:
                at += 1
                continue
            first = at
            while at < len(self.counts) and not self.counts[at]:
                at += 1
            if at == len(self.counts):
                return best
            if best is None or at - first > best[1] - best[0]:
                best = first, at
        return best

    def between(self, first: int, end: int, other: Calls) -> Sequence[int]:
        """Our counts of the milliseconds that ``other`` calls so."""
        shift = (other.begun_ns - self.begun_ns) // NS
        return self.counts[max(0, first + shift) : max(0, end + shift)]


def longest_gap(counts: Sequence[int]) -> int:
    """The most milliseconds in a row without a call."""
    longest = now = 0
    for count in counts:
        now = 0 if count else now + 1
        longest = max(longest, now)
    return longest
