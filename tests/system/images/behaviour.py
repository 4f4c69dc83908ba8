"""A boot image that ends in the way its first argument says."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading

RETURN, RAISE, SEGFAULT, WAIT, EXIT, REPORT, EXIT_TEXT, COUNT = range(8)


def open_descriptors() -> list[int]:
    found = []
    for descriptor in range(1024):
        try:
            os.fstat(descriptor)
        except OSError:
            continue
        found.append(descriptor)
    return found


def main(what: int, value: int = 0, *rest: int) -> int | None:
    if what == RETURN:
        return value
    if what == RAISE:
        raise LookupError("the image failed on purpose")
    if what == SEGFAULT:
        faulthandler._sigsegv()  # type: ignore[attr-defined]
    if what == WAIT:
        print("waiting", flush=True)
        threading.Event().wait()
    if what == COUNT:
        for _ in range(value):
            pass
    if what == EXIT:
        sys.exit(value)
    if what == EXIT_TEXT:
        sys.exit("ended with a text")
    if what == REPORT:
        print(dict(os.environ), open_descriptors(), os.getsid(0) == os.getpid(), sys.stdin.read() == "")
        print((value, *rest))
    return None
