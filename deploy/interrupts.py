"""Signals that raise, Ctrl-C above all, are kept back while littlefs works on an image.

Its callbacks cannot raise: what is raised in one is lost, and littlefs goes on with whatever bytes it has. So the
signals' handlers run where littlefs does not: at `let_interrupts`, and when the work is over.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Held:
    """Stands where a signal's handler was, and remembers that the signal came."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number
        self.former = signal.getsignal(number)
        self._came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self._came = True

    def let(self) -> None:
        """What the signal means, if it has come."""
        if self._came and callable(self.former):
            self._came = False
            self.former(self.number, None)


@contextmanager
def held_interrupts() -> Iterator[None]:
    """Nothing is raised inside by a signal, but by `let_interrupts`; what has come by the end is raised there."""
    if threading.current_thread() is not threading.main_thread():  # where no signal raises
        yield
        return
    held = [_Held(number) for number in _SIGNALS if callable(signal.getsignal(number))]
    try:
        for each in held:
            signal.signal(each.number, each)
        yield
    finally:
        for each in held:
            signal.signal(each.number, each.former)
        for each in held:
            each.let()


def let_interrupts() -> None:
    """Raise what a signal means that was kept back, if one was. littlefs is not at work."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if isinstance(handler, _Held):
                handler.let()
