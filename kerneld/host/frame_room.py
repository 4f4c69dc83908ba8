"""Memory of their own for frames, where the host has little left for it: who has it and needs it no more gives it back.

A frame keeps the memfd that it was given when nobody has it mapped any more: it is mostly mapped again soon. Where
descriptors are short, such a frame is moved back to RAM. Rule: only one with little in it, since this is done at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from itertools import islice
from typing import Final

from kerneld.host.frame_memory import BLOCK, WITHDRAWN_AT_ONCE, FrameMemory
from kerneld.host.process import Process

LOOKED_AT: Final = 16


class FrameRoom:
    """Which frames have a memfd that nobody has mapped.

    Args:
        attached: whose trap frame the frame at a physical address is.
    """

    def __init__(self, memory: FrameMemory, attached: Callable[[int], Collection[Process]]) -> None:
        self._memory = memory
        self._attached = attached
        self._idle: dict[int, int] = {}  # bytes of each, by physical address

    def left(self) -> int:
        """How many frames more can have memory of their own, with that of those that nobody has mapped any more."""
        return self._memory.left + len(self._idle)

    def is_idle(self, address: int, size: int) -> None:
        """Nobody has the frame mapped any more. Its memory is given back if need be, unless it is a trap frame."""
        if address in self._memory and not self._attached(address):
            self._idle[address] = size

    def is_used(self, address: int) -> None:
        """Somebody has it mapped, or attached, or it was destroyed."""
        self._idle.pop(address, None)

    def give_own(self, address: int, size: int) -> None:
        """Give the frame, all at once, a memfd if it has none. Raises OSError: the host has nothing for it."""
        while address not in self._memory:
            try:
                self._move_now(address, size, to_own=True)
            except OSError:
                if not self.make():
                    raise

    def make(self) -> bool:
        """Where descriptors are short: move a frame that nobody has mapped any more back to RAM. False: none can be."""
        for address, size in list(islice(self._idle.items(), LOOKED_AT)):
            del self._idle[address]
            if address not in self._memory or self._attached(address):
                continue
            blocks = os.fstat(self._memory.descriptor(address, size)).st_blocks
            if blocks * BLOCK <= WITHDRAWN_AT_ONCE:
                self._move_now(address, size, to_own=False)
                return True
            self._idle[address] = size
        return False

    def _move_now(self, address: int, size: int, to_own: bool) -> None:
        if to_own and self._memory.give_fresh(address, size) >= 0:
            return
        move = self._memory.move(address, size, to_own)
        try:
            while move.step():
                continue
        except BaseException:
            move.abandon()
            raise
