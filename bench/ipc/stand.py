"""A peer's client process: ``python -m bench.ipc.stand MODULE NAME``.

It starts the server as a process of its own (`fork`), prints the pids of client and server, and then answers each line
of standard input with one number:

    time SECONDS BYTES     seconds a round trip of so many bytes, over a stretch of that length
    object SECONDS WHICH   the same with one of `bench.tasks.service.OBJECTS`

A contender is a class with `server`, `calls`, and for some `objects`.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn, Protocol

from bench.tasks.service import OBJECTS
from bench.timing import seconds_per_call

Calls = Callable[[int], None]  # makes so many round trips
PR_SET_PDEATHSIG = 1
END_SECONDS = 2.0


class Contender(Protocol):
    """A connection to a server that sends back what it is sent. ``server`` is its pid, 0 if there is none."""

    server: int

    def calls(self, size: int) -> Calls:
        """Round trips of ``size`` bytes."""

    def objects(self, given: object) -> Calls:
        """Round trips of a Python object."""


def die_with_parent(parent: int) -> None:
    """End this process when ``parent`` ends, even while it is stopped. prctl(2), PR_SET_PDEATHSIG."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before that was said
        os._exit(1)


def fork(serve: Callable[[], None]) -> int:
    """A process that runs ``serve`` until it is told to end, or its parent ends; returns its pid.

    Who learns the pid may stop it, so by then it dies with its parent even so.
    """
    told, tell = os.pipe()
    parent, pid = os.getpid(), os.fork()
    if pid == 0:
        os.close(told)
        die_with_parent(parent)
        os.close(tell)
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())  # unwinds, so that files are removed
        status = 1
        try:
            serve()
        except SystemExit:
            status = 0
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    os.close(tell)
    os.read(told, 1)  # its end: the server has closed it
    os.close(told)
    return pid


def end(pid: int) -> None:
    """End a server; one that does not see to it is killed."""
    os.kill(pid, signal.SIGTERM)
    ended = os.pidfd_open(pid)
    if not select.select([ended], [], [], END_SECONDS)[0]:
        os.kill(pid, signal.SIGKILL)
    os.close(ended)
    os.waitpid(pid, 0)


def _answer(contender: Contender, order: str) -> float:
    match order.split():
        case ["time", seconds, size]:
            return seconds_per_call(contender.calls(int(size)), float(seconds))
        case ["object", seconds, which]:
            return seconds_per_call(contender.objects(OBJECTS[which][1]), float(seconds))
    raise ValueError(f"unknown order {order!r}")


def main(module: str, name: str) -> NoReturn:
    die_with_parent(os.getppid())
    contender: Contender = getattr(importlib.import_module(f"bench.ipc.{module}"), name)()
    print(os.getpid(), *([contender.server] if contender.server else []), flush=True)
    for order in sys.stdin:
        print(f"{_answer(contender, order):.12f}", flush=True)
    if contender.server:
        end(contender.server)
    del contender  # removes what files it has
    os._exit(0)  # what a library still waits for is of no interest


if __name__ == "__main__":
    main(*sys.argv[1:])
