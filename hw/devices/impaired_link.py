"""A bad link, for tests: hands frames on with loss, repetition, other order and delay, the same for the same seed.

Time is the event loop's. Frames go from one descriptor (SOCK_SEQPACKET) to another, in both directions, each with its
own chance; nothing else is changed in them.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass

from hw.devices.frame_link import FrameLink


@dataclass(frozen=True, slots=True)
class Impairment:
    """Chances from 0 to 1 for each frame. ``reordered``: is held back by ``delay`` seconds more than the others."""

    lost: float = 0.0
    repeated: float = 0.0
    reordered: float = 0.0
    delay: float = 0.0


class ImpairedLink:
    """Between two sockets, which stay the caller's."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, one: socket.socket, other: socket.socket, worse: Impairment, seed: int
    ) -> None:
        self._loop = loop
        self._worse = worse
        self._random = random.Random(seed)
        self.lost = self.repeated = self.reordered = 0
        self._closed = False
        self._one = self._link(one, lambda frame: self._hand_on(self._other, frame))
        self._other = self._link(other, lambda frame: self._hand_on(self._one, frame))

    def close(self) -> None:
        self._closed = True
        self._one.close()
        self._other.close()

    def _link(self, end: socket.socket, received: Callable[[bytes], None]) -> FrameLink:
        return FrameLink(self._loop, end, received, _nothing, _nothing, _nothing)

    def _hand_on(self, to: FrameLink, frame: bytes) -> None:
        worse, chance = self._worse, self._random.random
        if chance() < worse.lost:
            self.lost += 1
            return
        count = 1
        if chance() < worse.repeated:
            self.repeated += 1
            count = 2
        for _ in range(count):
            delay = worse.delay
            if chance() < worse.reordered:
                self.reordered += 1
                delay = 2 * worse.delay + 0.001
            if delay:
                self._loop.call_later(delay, self._send, to, frame)
            else:
                to.send(frame)

    def _send(self, to: FrameLink, frame: bytes) -> None:
        if not self._closed:
            to.send(frame)


def _nothing() -> None:
    """There is nothing to do."""
