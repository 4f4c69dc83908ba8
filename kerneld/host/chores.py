"""Long work of the host's part, a piece at a time between the kernel's turns: copying, giving memory back, handing out.

A piece takes some hundred microseconds at the most. Pieces of all chores take turns, so that a small one does not wait
for a large one. Whoever the kernel worked for when a chore was added pays for its pieces (kerneld/service.py).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from kerneld.service import Service

TURN_NS: Final = 300_000

Piece = Callable[[], bool]  # does the next piece; False once there is none left


class Chores:
    """What is left to do.

    Args:
        service: by which it is paid for.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, service: Service) -> None:
        self._loop = loop
        self._service = service
        self._pieces: deque[tuple[Piece, AbstractContextManager[None]]] = deque()
        self._scheduled = False

    def __len__(self) -> int:
        return len(self._pieces)

    def errand(self) -> AbstractContextManager[None]:
        """Within it, whoever the kernel works for now pays."""
        return self._service.errand()

    def add(self, piece: Piece, errand: AbstractContextManager[None] | None = None) -> None:
        """Have `piece` called until it returns False, the first time after the tells at hand are done. Within an
        errand, if somebody else is to pay than whoever the kernel works for now."""
        self._pieces.append((piece, self.errand() if errand is None else errand))
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
            piece, errand = self._pieces.popleft()
            with errand:
                is_left = piece()
            if is_left:
                self._pieces.append((piece, errand))
            if time.monotonic_ns() > end:
                break
        if self._pieces:
            self._wake()
