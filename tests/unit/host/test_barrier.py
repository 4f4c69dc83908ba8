"""Who waits at the barrier, and for whom; work that is done a piece at a time."""

from __future__ import annotations

import asyncio
from functools import partial

from kerneld.host.barrier import Barrier
from kerneld.host.chores import Chores
from kerneld.service import Service


def test_nobody_waits_where_nothing_has_begun() -> None:
    assert not Barrier().wait(lambda: None)


def test_who_waits_waits_for_those_before_and_not_for_those_behind() -> None:
    barrier = Barrier()
    called: list[str] = []
    barrier.begin("a")
    barrier.begin("b")
    assert barrier.wait(lambda: called.append("first"))
    barrier.begin("c")
    assert barrier.wait(lambda: called.append("second"))
    barrier.end("b")
    assert not called
    barrier.end("a")
    assert called == ["first"]
    barrier.end("c")
    assert called == ["first", "second"]
    assert len(barrier) == 0


def test_one_of_several_parts_ends_with_the_last() -> None:
    barrier = Barrier()
    called: list[int] = []
    barrier.begin("a")
    barrier.begin("a")
    assert barrier.wait(lambda: called.append(1))
    barrier.end("a")
    assert not called
    barrier.end("a")
    assert called == [1]


def test_pieces_of_chores_take_turns_and_others_have_theirs() -> None:
    seen: list[str] = []
    left = {"long": 50, "short": 2}

    def piece(name: str) -> bool:
        seen.append(name)
        left[name] -= 1
        return left[name] > 0

    async def work() -> None:
        chores = Chores(asyncio.get_running_loop(), Service())
        chores.add(partial(piece, "long"))
        chores.add(partial(piece, "short"))
        assert not seen
        while len(chores):
            await asyncio.sleep(0)

    asyncio.run(work())
    assert seen[:5] == ["long", "short", "long", "short", "long"]
    assert len(seen) == 52


def test_a_chore_is_paid_for_by_whom_the_kernel_worked_for() -> None:
    now = 0
    service = Service(lambda: now)
    left = {"first": 3, "second": 2, "nobody's": 5}

    def piece(name: str, us: int) -> bool:
        nonlocal now
        now += us
        left[name] -= 1
        if not left[name] and name == "second":
            chores.add(partial(one_more, 1000))
        return left[name] > 0

    def one_more(us: int) -> bool:
        nonlocal now
        now += us
        return False

    async def work() -> None:
        nonlocal chores
        chores = Chores(asyncio.get_running_loop(), service)
        chores.add(partial(piece, "nobody's", 1 << 20))
        service.begin(64)
        chores.add(partial(piece, "first", 10))
        errand = chores.errand()
        service.end()
        service.begin(128)
        chores.add(partial(piece, "second", 7))
        service.end()
        chores.add(partial(one_more, 100), errand)
        while len(chores):
            await asyncio.sleep(0)

    chores: Chores
    asyncio.run(work())
    assert (service.take(64), service.take(128)) == (130, 1014)
