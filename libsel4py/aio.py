"""asyncio in a sandboxed task: an event loop without file descriptors, and awaitable forms of blocking calls.

    async def both() -> None:
        lines = aio.call(self.uses.console.read_line, "name? ")
        await asyncio.gather(lines, aio.call(self.uses.clock.sleep, 10**9))

    aio.run(both())

The usual event loop wakes itself through a socket pair, which a task may not have; this one waits on a condition
variable. A blocking call occupies a thread, and a task cannot make threads: it has those that its system
description gives it (``threads = N``). `call` runs on them, never more at a time than there are; further calls
wait their turn inside of the loop.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class _ConditionSelector:
    """Stands where an event loop keeps its selector: waits until woken or until the next timer is due."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._woken = False

    def select(self, timeout: float | None) -> list[object]:
        with self._condition:
            if not self._woken and (timeout is None or timeout > 0):
                self._condition.wait_for(lambda: self._woken, timeout)
            self._woken = False
        return []

    def wake(self) -> None:
        with self._condition:
            self._woken = True
            self._condition.notify()


class TaskEventLoop(asyncio.BaseEventLoop):
    """An event loop for timers, futures and calls from other threads; it has no file descriptors and no sockets."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _ConditionSelector()

    def _process_events(self, event_list: list[object]) -> None:
        """What BaseEventLoop calls with the selector's events, of which there are none."""

    def _write_to_self(self) -> None:
        """What BaseEventLoop calls to wake the loop from another thread."""
        self._selector.wake()


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end on a `TaskEventLoop`, as `asyncio.run` does on the host's loop."""
    with asyncio.Runner(loop_factory=TaskEventLoop) as runner:
        return runner.run(main)


class Workers:
    """The task's further threads, waiting for calls.

    A thread enters `serve` (the component runtime sees to it) and stays until `close`.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._turns: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]
        self._turns = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self._expected = 0
        self._serving = 0

    @property
    def count(self) -> int:
        """How many threads there are, or will be."""
        return max(self._expected, self._serving)

    def expect(self, count: int) -> None:
        """Say how many threads the system description gives this task."""
        self._expected = count

    def serve(self) -> None:
        """A worker thread's life."""
        with self._lock:
            self._serving += 1
        try:
            while (job := self._jobs.get()) is not None:
                job()
        finally:
            with self._lock:
                self._serving -= 1

    def close(self) -> None:
        """Let each thread return when it has done what is queued."""
        for _ in range(self.count):
            self._jobs.put(None)

    def submit(self, job: Callable[[], None]) -> None:
        """Have a job done by the next worker that is free; it must not raise. For servers, which have no event loop."""
        self._jobs.put(job)

    async def call(self, function: Callable[[], Result]) -> Result:
        """Run on a worker. A cancelled call goes on there, and its result is dropped; its turn ends with it."""
        if self.count == 0:
            raise RuntimeError(
                "this task has no worker threads: give it some in its system description (threads = 2), or call "
                "without await"
            )
        loop = asyncio.get_running_loop()
        turns = self._turns.setdefault(loop, asyncio.Semaphore(self.count))
        await turns.acquire()
        future: Future[Result] = Future()
        self._jobs.put(lambda: _perform(future, function))
        waiting = asyncio.wrap_future(future, loop=loop)
        future.add_done_callback(lambda _: _release(loop, turns))
        return await waiting


def _perform(future: Future[Result], function: Callable[[], Result]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # whatever it is, it belongs to the one who awaits
        future.set_exception(error)
    else:
        future.set_result(result)


def _release(loop: asyncio.AbstractEventLoop, turns: asyncio.Semaphore) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(turns.release)


workers: Final = Workers()


async def call(function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
    """Await a blocking call: ``await aio.call(self.uses.clock.sleep, 1_000_000)``.

    Raises:
        RuntimeError: the task has no worker threads. Otherwise what the function raises.
    """
    return await workers.call(lambda: function(*args, **kwargs))
