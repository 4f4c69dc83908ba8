"""Results that are longer than a message: kept at the server until their client has fetched the last piece.

Rules: what is kept is bounded, by 4 results of at most 1 MiB for each client; a client that never fetches loses its
own oldest result and nobody else's.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from typing import Final

from libsel4py.context import per_thread
from libsel4py.errors import InvalidMessage
from libsel4py.results import piece_at

LONG_RESULTS_PER_CLIENT: Final = 4


class LongResults:
    """Packed results that clients fetch piece by piece: at most 4 a client, the oldest forgotten first."""

    def __init__(self) -> None:
        self._kept: dict[int, OrderedDict[int, bytes]] = {}
        self._tokens = itertools.count(1)
        self._lock = threading.Lock()

    def keep(self, data: bytes) -> int:
        """Keep the bytes for the calling client; returns the token to fetch them with."""
        serving = per_thread.serving
        badge = serving.caller.badge if serving is not None else 0
        with self._lock:
            token = next(self._tokens)
            kept = self._kept.setdefault(badge, OrderedDict())
            kept[token] = data
            while len(kept) > LONG_RESULTS_PER_CLIENT:
                kept.popitem(last=False)
        return token

    def forget(self, badge: int) -> None:
        """Drop all that is kept for a client."""
        with self._lock:
            self._kept.pop(badge, None)

    def fetch(self, badge: int, token: int, offset: int) -> bytes:
        """The piece at ``offset``; after the last one the result is forgotten. Raises InvalidMessage."""
        with self._lock:
            data = self._kept[badge].get(token) if badge in self._kept else None
            if data is None or offset >= len(data):
                raise InvalidMessage("this long result is not kept any more: make the call again")
            piece = piece_at(data, offset)
            if offset + len(piece) >= len(data):
                del self._kept[badge][token]
                if not self._kept[badge]:
                    del self._kept[badge]
        return piece
