"""The replies that a server owes: how many, and to whom.

A client need not wait for what it is owed: it can call, go away and call again, or call from many threads. So it has a
share. It is owed no more replies than could still be owed to others: one client alone has half of all, each of two a
third, and whoever is owed none gets one as long as any is left. A server that knows a single client leaves all to it.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection

from libsel4py.errors import TooManyDeferred


class Owed:
    """Counts them. Any thread may use it.

    Args:
        most: of all clients. clients: the names of those that are known; a caller may be another one.
    """

    def __init__(self, most: int, clients: Callable[[], Collection[str]]) -> None:
        self._most = most
        self._clients = clients
        self._is_shared = True
        self._by_client: Counter[str] = Counter()  # of those alone that are owed some
        self._lock = threading.Lock()

    def allow(self, most: int) -> None:
        """From now on so many, without shares."""
        self._most, self._is_shared = most, False

    def count(self, client: str | None = None) -> int:
        """How many are owed to this client, or to all."""
        with self._lock:
            return self._by_client.total() if client is None else self._by_client[client]

    def add(self, client: str) -> None:
        """Owe this client one more. Raises TooManyDeferred: it has its share, or as many are owed as may be."""
        with self._lock:
            own, left = self._by_client[client], self._most - self._by_client.total()
            if left <= 0:
                raise TooManyDeferred(f"{self._most} calls wait for their replies already; ask again later")
            if own >= left and self._is_shared and set(self._clients()) != {client}:
                raise TooManyDeferred(
                    f"{own} calls of {client} wait for their replies already, and {left} are left to others;"
                    " ask again when one is answered"
                )
            self._by_client[client] = own + 1

    def remove(self, client: str) -> None:
        """One has been answered, or could not be kept."""
        with self._lock:
            self._by_client[client] -= 1
            if not self._by_client[client]:
                del self._by_client[client]
