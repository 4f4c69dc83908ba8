"""The event loop without file descriptors, and calls on worker threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from libsel4py import aio
from libsel4py.testing import Events, connect, worker_threads
from tests.unit.sdk.services import Painter


def test_the_loop_opens_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*arguments: object) -> None:
        raise PermissionError("a task has no sockets")

    monkeypatch.setattr(socket, "socketpair", refuse)
    monkeypatch.setattr(socket, "socket", refuse)

    async def timers() -> list[str]:
        done: list[str] = []

        async def one(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            done.append(name)

        await asyncio.gather(one("late", 0.02), one("early", 0.0))
        return done

    assert aio.run(timers()) == ["early", "late"]


def test_calls_run_beside_each_other_on_worker_threads() -> None:
    together = threading.Barrier(2)

    async def both() -> tuple[int, int]:
        return await asyncio.gather(aio.call(together.wait, 10), aio.call(together.wait, 10))

    with worker_threads(2):
        assert sorted(aio.run(both())) == [0, 1]


def test_no_more_calls_run_than_there_are_threads() -> None:
    running: list[int] = []
    most: list[int] = []

    def work(number: int) -> int:
        running.append(number)
        most.append(len(running))
        running.remove(number)
        return number

    async def many() -> list[int]:
        return await asyncio.gather(*(aio.call(work, number) for number in range(50)))

    with worker_threads(2):
        assert aio.run(many()) == list(range(50))
    assert max(most) <= 2


def test_interface_calls_can_be_awaited() -> None:
    painter = Painter()
    with connect(painter) as studio, worker_threads(2):

        async def ask() -> tuple[str, int]:
            waiting = asyncio.create_task(aio.call(studio.wait_for_ring, "x"))
            await aio.call(painter.deferred.wait_for, lambda count: count == 1)
            total = await aio.call(studio.add, 2, b=3)
            painter.ring()
            return await waiting, total

        assert aio.run(ask()) == ("ring 1 for test", 5)


def test_exceptions_come_back_and_threads_go_on() -> None:
    async def fail() -> str:
        with pytest.raises(ZeroDivisionError):
            await aio.call(lambda: 1 // 0)
        return await aio.call(lambda: "still here")

    with worker_threads(1):
        assert aio.run(fail()) == "still here"


def test_a_cancelled_call_ends_with_its_turn() -> None:
    started: Events[str] = Events()
    release = threading.Event()

    def slow() -> None:
        started.add("slow")
        release.wait(10)

    async def cancel() -> str:
        task = asyncio.create_task(aio.call(slow))
        await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, lambda: started.wait_for(lambda _: True))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
        return await aio.call(lambda: "next")

    with worker_threads(1):
        assert aio.run(cancel()) == "next"


def test_a_task_without_threads_is_told_so() -> None:
    with pytest.raises(RuntimeError, match=r"give it some in its system description \(threads = 2\)"):
        aio.run(aio.call(print))
