"""Room for so many connections. Where it is full, who has waited longest for a client's request makes room.

So a client that connects and says nothing, however often, keeps nobody out: an honest one sends its request at once,
and what is being answered is not ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Room:
    """Of one event loop.

    Args:
        most: connections at a time.
    """

    def __init__(self, most: int) -> None:
        self._places = asyncio.Semaphore(most)
        self._patient: dict[asyncio.Timeout, None] = {}  # longest first

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """One connection's, as soon as there is one."""
        if self._places.locked():
            self._end_longest()
        async with self._places:
            yield

    @asynccontextmanager
    async def patience(self, seconds: float) -> AsyncIterator[None]:
        """While a client is waited for, which sends nothing, or in pieces. Raises TimeoutError: for so long, or room is
        needed."""
        async with asyncio.timeout(seconds) as limit:
            self._patient[limit] = None
            try:
                yield
            finally:
                self._patient.pop(limit, None)

    def _end_longest(self) -> None:
        limit = next(iter(self._patient), None)
        if limit is not None:
            del self._patient[limit]
            limit.reschedule(asyncio.get_running_loop().time())
