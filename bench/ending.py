"""The end by SIGTERM is as that by Ctrl-C: systems, peers and folders go with whoever has made them."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

SIGNALLED = 128  # an exit status that tells of a signal is that much above its number


def unwind_on_term() -> None:
    """Have SIGTERM end this process by SystemExit, once: what it unwinds is not cut short by another one.

    A process that was forked from this one ends by it as if this had not been said: what is to be unwound is its
    parent's.
    """
    owner = os.getpid()

    def end(number: int, _: FrameType | None) -> None:
        if os.getpid() != owner:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        signal.signal(number, signal.SIG_IGN)
        sys.exit(SIGNALLED + number)

    signal.signal(signal.SIGTERM, end)
