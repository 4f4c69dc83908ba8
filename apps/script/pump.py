"""Who makes system calls for a program's threads: a thread that the program has made for itself cannot.

Rules. The task's first thread calls for itself; any other hands its call to a worker, and waits. Workers are the
description's further ``threads``; where there are none, the program runs in a thread of its own, and the task's first
one is its worker (`run_beside`). What must not run twice at a time is called under a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from libsel4py import aio

Result = TypeVar("Result")


def call(function: Callable[[], Result], lock: AbstractContextManager[object] | None = None) -> Result:
    """What the function returns or raises, run by a thread that may trap."""
    if threading.current_thread() is threading.main_thread():
        with lock or nullcontext():
            return function()
    future: Future[Result] = Future()

    def job() -> None:
        try:
            with lock or nullcontext():
                result = function()
        except BaseException as error:  # it belongs to the one who waits
            future.set_exception(error)
        else:
            future.set_result(result)

    aio.workers.submit(job)
    return future.result()


def run_beside(function: Callable[[], Result]) -> Result:
    """Run it in a thread of its own, for which this one makes system calls until it is done."""
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # it belongs to the one who waits
            future.set_exception(error)
        finally:
            aio.workers.close()

    threading.Thread(target=work, name="program", daemon=True).start()
    aio.workers.serve()
    return future.result()
