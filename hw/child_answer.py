"""What can be found out only by doing it, and changes who does it: done in a child, which says what it found."""

from __future__ import annotations

import os
from collections.abc import Callable


def answer_of_child(work: Callable[[], bytes]) -> bytes:
    """What ``work`` returns in a forked child that then ends; b"" where it raises, or is ended before.

    Raises:
        OSError: the host has no process or descriptor left.
    """
    told, tell = os.pipe2(os.O_CLOEXEC)
    with os.fdopen(told, "rb") as answer:
        try:
            child = os.fork()
            if child == 0:
                try:
                    os.write(tell, work())
                finally:
                    os._exit(0)
        finally:
            os.close(tell)
        words = answer.read()
    os.waitpid(child, 0)
    return words
