"""Results that are longer than a message: kept at the server until their client has fetched the last piece.

Rules: what is kept is bounded, by 64 results of 4 MiB together for each badge and 16 MiB in all; who never fetches
loses its own oldest result, or that of whoever keeps most: clients are told apart by name here, since one with many
badges is still one. A client of many threads fetches as many at once.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections import Counter, OrderedDict
from typing import Final

from libsel4py.context import per_thread
from libsel4py.errors import InvalidMessage
from libsel4py.results import piece_at

MOST_OF_CLIENT: Final = 64
MOST_BYTES_OF_CLIENT: Final = 4 << 20
MOST_BYTES: Final = 16 << 20


class LongResults:
    """Packed results that clients fetch piece by piece; of too many, the oldest is forgotten first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: dict[int, OrderedDict[int, bytes]] = {}
        self._names: dict[int, str] = {}
        # A token of a former life of the server names nothing of this one's.
        self._tokens = itertools.count(int.from_bytes(os.urandom(7), "little"))
        self._lock = threading.Lock()

    def keep(self, data: bytes) -> int:
        """Keep the bytes for the calling client; returns the token to fetch them with."""
        serving = per_thread.serving
        badge, name = (serving.caller.badge, serving.caller.name) if serving is not None else (0, "")
        with self._lock:
            self._names[badge] = name
            token = next(self._tokens)
            kept = self._kept.setdefault(badge, OrderedDict())
            kept[token] = data
            while len(kept) > MOST_OF_CLIENT or self._bytes(badge) > MOST_BYTES_OF_CLIENT:
                kept.popitem(last=False)
            while sum(map(self._bytes, self._kept)) > self._most_bytes:
                self._drop_oldest()
        return token

    def _bytes(self, badge: int) -> int:
        return sum(map(len, self._kept[badge].values()))

    def _drop_oldest(self) -> None:
        """Of whoever keeps most."""
        totals: Counter[str] = Counter()
        for badge in self._kept:
            totals[self._names[badge]] += self._bytes(badge)
        largest = max(totals, key=totals.__getitem__)
        oldest = min((next(iter(self._kept[badge])), badge) for badge in self._kept if self._names[badge] == largest)
        self._remove(oldest[1], oldest[0])

    def _remove(self, badge: int, token: int) -> None:
        del self._kept[badge][token]
        if not self._kept[badge]:
            del self._kept[badge], self._names[badge]

    def forget(self, badge: int) -> None:
        """Drop all that is kept for a client."""
        with self._lock:
            self._kept.pop(badge, None)
            self._names.pop(badge, None)

    def fetch(self, badge: int, token: int, offset: int) -> bytes:
        """The piece at ``offset``; after the last one the result is forgotten. Raises InvalidMessage."""
        with self._lock:
            data = self._kept[badge].get(token) if badge in self._kept else None
            if data is None or offset >= len(data):
                raise InvalidMessage("this long result is not kept any more: make the call again")
            piece = piece_at(data, offset)
            if offset + len(piece) >= len(data):
                self._remove(badge, token)
        return piece
