"""Long work of the host's part, a piece at a time between the kernel's turns: copying, giving memory back, handing out.

A piece takes some hundred microseconds at the most. Pieces of all chores take turns, so that a small one does not wait
for a large one.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Final

TURN_NS: Final = 300_000

Piece = Callable[[], bool]  # does the next piece; False once there is none left


class Chores:
    """What is left to do."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pieces: deque[Piece] = deque()
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, piece: Piece) -> None:
        """Have `piece` called until it returns False, the first time after the tells at hand are done."""
        self._pieces.append(piece)
        self._wake()

    def close(self) -> None:
        """Do nothing any more."""
        self._pieces.clear()

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        end = time.monotonic_ns() + TURN_NS
        while self._pieces:
            piece = self._pieces.popleft()
            if piece():
                self._pieces.append(piece)
            if time.monotonic_ns() > end:
                break
        if self._pieces:
            self._wake()
