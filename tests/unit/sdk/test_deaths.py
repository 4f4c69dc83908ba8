"""Watching in servers and in programs: who is called, once, and what is given back."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from libsel4py import Timeout
from libsel4py.abi import DeathNoticeState, ObjectType
from libsel4py.capabilities import Death, DeathNotice, Endpoint, Untyped
from libsel4py.death_waiting import wait_for_death
from libsel4py.deaths import DEATH_SIGNALS
from libsel4py.environment import DEATH_BITS, SIGNAL_BADGE
from libsel4py.errors import DeleteFirst, InvalidCapability
from libsel4py.server import Server
from libsel4py.task import Task
from libsel4py.testing import TestSystem, in_background

DESTROYED = Death(DeathNoticeState.DESTROYED)


@pytest.fixture
def task(fake: TestSystem) -> Task:
    return fake.first_task


def endpoint(task: Task) -> Endpoint:
    return Endpoint(task.memory.allocate(ObjectType.ENDPOINT).start)


def take_signal(task: Task, server: Server) -> int:
    """Let the server have what its notification was signalled with; those bits."""
    badge = task.notification.poll()
    if badge:
        server.signalled(badge)
    return badge


def test_a_server_is_called_once_and_the_notice_is_given_back(task: Task) -> None:
    server, told = Server(Endpoint(0), task), list[Death]()
    target = endpoint(task)
    free = task.memory.statistics().free_bytes
    task.deaths.watch(target, told.append)
    assert take_signal(task, server) == 0
    task.memory.free(target.cptr)
    badge = take_signal(task, server)
    assert badge & SIGNAL_BADGE
    assert badge & DEATH_SIGNALS
    assert told == [DESTROYED]
    assert take_signal(task, server) == 0
    assert len(task.deaths) == 0
    assert task.memory.statistics().free_bytes == free + 32


def test_those_that_live_are_not_called(task: Task) -> None:
    server, told = Server(Endpoint(0), task), list[int]()
    targets = [endpoint(task) for _ in range(3 * DEATH_BITS)]
    for number, target in enumerate(targets):
        task.deaths.watch(target, lambda death, number=number: told.append(number))  # type: ignore[misc]
    for number in (5, 20, 6):
        task.memory.free(targets[number].cptr)
    take_signal(task, server)
    assert sorted(told) == [5, 6, 20]
    assert len(task.deaths) == 3 * DEATH_BITS - 3


def test_a_cancelled_watch_is_silent(task: Task) -> None:
    server, told = Server(Endpoint(0), task), list[Death]()
    target = endpoint(task)
    watch = task.deaths.watch(target, told.append)
    watch.cancel()
    watch.cancel()
    task.memory.free(target.cptr)
    take_signal(task, server)
    assert told == []


def test_one_that_raises_keeps_the_others_from_nothing(task: Task, caplog: pytest.LogCaptureFixture) -> None:
    server, told = Server(Endpoint(0), task), list[Death]()
    targets = [endpoint(task) for _ in range(2)]

    def fail(death: Death) -> None:
        raise ZeroDivisionError

    task.deaths.watch(targets[0], fail)
    task.deaths.watch(targets[1], told.append)
    for target in targets:
        task.memory.free(target.cptr)
    take_signal(task, server)
    assert told == [DESTROYED]
    assert "after a death raised" in caplog.text


def test_what_cannot_be_watched_leaves_nothing_behind(task: Task) -> None:
    memory = Untyped(task.memory.allocate(ObjectType.UNTYPED, 12).start)
    free = task.memory.statistics().free_bytes
    with pytest.raises(InvalidCapability):
        task.deaths.watch(memory, lambda death: None)
    assert len(task.deaths) == 0
    assert task.memory.statistics().free_bytes == free


def test_a_notice_of_lent_memory_tells_of_its_end(task: Task) -> None:
    server, told = Server(Endpoint(0), task), list[Death]()
    lent = Untyped(task.memory.allocate(ObjectType.UNTYPED, 12).start)
    slot = task.slots.allocate()
    lent.retype(ObjectType.DEATH_NOTICE, 0, task.cnode, slot, 1)
    task.deaths.watch_memory(DeathNotice(slot), told.append)
    task.cnode.revoke(lent.cptr)
    take_signal(task, server)
    assert told == [DESTROYED]


def test_a_notice_watches_one_thing(task: Task) -> None:
    notice = DeathNotice(task.memory.allocate(ObjectType.DEATH_NOTICE).start)
    notice.watch(endpoint(task), task.notification)
    with pytest.raises(DeleteFirst):
        notice.watch(endpoint(task), task.notification)
    notice.cancel()
    assert notice.read() == Death(DeathNoticeState.IDLE)


def test_a_program_waits(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    target = endpoint(task)
    free = task.memory.statistics().free_bytes
    with pytest.raises(Timeout):
        wait_for_death(target, 0.01, task)
    assert task.memory.statistics().free_bytes == free
    asked, watch = threading.Event(), DeathNotice.watch

    def watch_and_say(*arguments: Any) -> None:
        watch(*arguments)
        asked.set()

    monkeypatch.setattr(DeathNotice, "watch", watch_and_say)
    waiting = in_background(lambda: wait_for_death(target, 20, task))
    assert asked.wait(20)
    task.memory.free(target.cptr)
    assert waiting.result(20) == DESTROYED
