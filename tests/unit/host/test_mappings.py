"""Frames in processes: what is handed, and what a loss means to the loser and to those who go on."""

from __future__ import annotations

import asyncio
import mmap
import os
import resource
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest

from kerneld import mapping_table
from kerneld.host import frame_memory, frame_refill, frame_stock
from kerneld.host.frame_refill import MOST_ASKED
from kerneld.host.linux import Stopping
from kerneld.host.process import Process
from kerneld.records import VSpace
from tests.unit.host.keepers import BASE, BOTH, PAGE, READ, Scene, Task, in_scene, turn

FRAME, OTHER = 0x100000, 0x200000
LARGE, LARGE_SIZE = 32 << 20, 32 << 20


def test_a_frame_is_handed_with_what_ram_has_in_it() -> None:
    async def work(scene: Scene) -> None:
        scene.ram.poke(FRAME, b"before")
        task = scene.task()
        scene.map(task, 0, BOTH, FRAME)
        scene.map(task, 0, BOTH, FRAME)
        assert task.told_ops() == ["MAP"]
        assert task.maps[BASE][:6] == b"before"
        task.maps[BASE][:5] = b"after"
        assert scene.ram.read(FRAME, 5) == b"after"
        assert task.told == [1]

    in_scene(work)


def test_a_mapping_without_write_cannot_be_made_writable() -> None:
    async def work(scene: Scene) -> None:
        task = scene.task()
        scene.map(task, 0, READ, FRAME)
        (order,) = task.read()
        with pytest.raises(PermissionError):
            mmap.mmap(order.descriptor, PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.pwrite(order.descriptor, b"x", 0)

    in_scene(work)


def test_a_mapping_without_read_is_nothing() -> None:
    async def work(scene: Scene) -> None:
        task = scene.task()
        scene.map(task, 0, 0, FRAME)
        scene.unmap(task, 0)
        assert (task.read(), len(scene.mappings)) == ([], 0)

    in_scene(work)


def test_a_process_that_keeps_what_it_lost_has_nothing() -> None:
    async def work(scene: Scene) -> None:
        loser, holder = scene.task(), scene.task()
        for task in (loser, holder):
            scene.map(task, 0, BOTH, FRAME)
            task.told_ops()
        loser.maps[BASE][:4] = b"last"
        scene.unmap(loser, 0)
        assert loser.read()[0].op.name == "UNMAP"
        await turn()
        assert not loser.has_lost_all
        assert holder.told_ops() == ["UNMAP"]
        await scene.settled()
        assert loser.has_lost_all
        assert holder.told_ops() == ["MAP"]
        assert holder.maps[BASE][:4] == b"last"
        holder.maps[BASE][:4] = b"goes"
        assert scene.ram.read(FRAME, 4) == b"goes"

    in_scene(work)


def test_a_frame_that_nobody_has_any_more_is_rams_again() -> None:
    async def work(scene: Scene) -> None:
        before = len(os.listdir("/proc/self/fd"))
        task = scene.task()
        scene.map(task, 0, BOTH, FRAME)
        task.told_ops()
        task.maps[BASE][:4] = b"kept"
        scene.unmap(task, 0)
        await scene.settled()
        task.told_ops()
        assert (task.has_lost_all, len(scene.mappings), scene.ram.read(FRAME, 4)) == (True, 0, b"kept")
        scene.map(task, 1, READ, FRAME)
        task.told_ops()
        assert task.maps[BASE + PAGE][:4] == b"kept"
        scene.unmap(task, 1)
        await scene.settled()
        assert task.told_ops() == ["UNMAP"]
        own = len(task.kept) + 2  # its control socket's two ends
        assert len(os.listdir("/proc/self/fd")) == before + own + scene.mappings.stocked

    in_scene(work)


def test_losses_of_one_turn_make_one_exchange() -> None:
    async def work(scene: Scene) -> None:
        tasks = [scene.task() for _ in range(10)]
        for task in tasks:
            scene.map(task, 0, BOTH, FRAME)
            task.told_ops()
        for task in tasks[:9]:
            scene.unmap(task, 0)
        await turn()
        assert tasks[9].told_ops() == ["UNMAP"]
        await scene.settled()
        assert tasks[9].told_ops() == ["MAP"]
        for task in tasks[:9]:
            task.read()
            assert task.has_lost_all

    in_scene(work)


def test_fewer_rights_than_before_are_a_loss() -> None:
    async def work(scene: Scene) -> None:
        task = scene.task()
        scene.map(task, 0, BOTH, FRAME)
        task.told_ops()
        scene.unmap(task, 0)
        scene.map(task, 0, READ, FRAME)
        await scene.settled()
        old = task.kept[0]
        assert os.fstat(old).st_size == 0
        assert task.told_ops() == ["UNMAP", "MAP"]
        with pytest.raises(TypeError):
            task.maps[BASE][:1] = b"x"

    in_scene(work)


def test_more_rights_than_before_are_handed_at_once() -> None:
    async def work(scene: Scene) -> None:
        task = scene.task()
        scene.map(task, 0, READ, FRAME)
        task.told_ops()
        scene.map(task, 0, BOTH, FRAME)
        assert task.told_ops() == ["MAP"]
        task.maps[BASE][:1] = b"x"
        assert scene.ram.read(FRAME, 1) == b"x"

    in_scene(work)


def test_a_process_that_has_the_frame_elsewhere_too_loses_nothing() -> None:
    async def work(scene: Scene) -> None:
        task = scene.task()
        scene.map(task, 0, BOTH, FRAME)
        scene.map(task, 1, BOTH, FRAME)
        task.told_ops()
        scene.unmap(task, 0)
        assert not scene.mappings.wait(None, lambda: None)
        assert task.told_ops() == ["UNMAP"]
        scene.map(task, 2, READ, FRAME)
        scene.unmap(task, 1)
        assert os.fstat(task.kept[0]).st_size == PAGE
        await scene.settled()
        assert os.fstat(task.kept[0]).st_size == 0

    in_scene(work)


def test_what_a_call_takes_of_one_small_frame_that_was_only_read_is_gone_without_waiting() -> None:
    async def work(scene: Scene) -> None:
        first, second = scene.task(), scene.task()
        for task in (first, second):
            scene.map(task, 0, BOTH, FRAME)
            task.told_ops()
        scene.map(first, 1, READ, OTHER)
        first.told_ops()
        scene.unmap(first, 1)
        assert os.fstat(first.kept[1]).st_size == PAGE
        assert not scene.mappings.wait(None, lambda: None)
        assert os.fstat(first.kept[1]).st_size == 0
        scene.unmap(first, 0)
        assert scene.mappings.wait(None, lambda: None), "another process may be storing to it, and has to be asked"

    in_scene(work)


def test_what_is_stored_until_the_keeper_has_unmapped_is_the_frames() -> None:
    """As by a machine's memory: who loses a page has stored to it until it is gone."""

    async def work(scene: Scene) -> None:
        loser = scene.task()
        scene.map(loser, 0, BOTH, FRAME)
        loser.told_ops()
        scene.unmap(loser, 0)
        seen: list[str] = []
        assert scene.mappings.wait(None, lambda: seen.append("gone"))
        await turn()
        assert not loser.has_lost_all
        loser.maps[BASE][:4] = b"late"
        assert loser.told_ops() == ["UNMAP"]
        await scene.settled()
        assert (seen, loser.has_lost_all, scene.ram.read(FRAME, 4)) == (["gone"], True, b"late")

    in_scene(work)


def test_so_it_is_where_it_may_only_read_from_now_on() -> None:
    async def work(scene: Scene) -> None:
        loser = scene.task()
        scene.map(loser, 0, BOTH, FRAME)
        loser.told_ops()
        scene.map(loser, 0, READ, FRAME)
        await turn()
        assert not loser.has_lost_all
        loser.maps[BASE][:4] = b"late"
        assert loser.told_ops() == ["UNMAP"]
        await scene.settled()
        assert loser.told_ops() == ["MAP"]
        assert loser.maps[BASE][:4] == b"late"

    in_scene(work)


def test_who_never_answers_is_stopped_while_the_memory_is_exchanged() -> None:
    async def work(scene: Scene) -> None:
        loser, silent = scene.task(), scene.task()
        for task in (loser, silent):
            scene.map(task, 0, BOTH, LARGE, LARGE_SIZE)
            task.told_ops()
        silent.maps[BASE][:] = b"x" * LARGE_SIZE
        scene.unmap(loser, 0)
        await turn()
        assert [order.op.name for order in silent.read()] == ["UNMAP"]
        assert not silent.process.is_stopped
        done = asyncio.ensure_future(scene.settled())
        stopped = 0
        while not done.done():
            stopped += silent.process.is_stopped
            await asyncio.sleep(0)
        assert stopped > LARGE_SIZE // frame_memory.CHUNK // 4
        loser.read()
        assert loser.has_lost_all
        assert not silent.process.is_stopped
        (order,) = silent.read()
        silent.obey(order)
        assert silent.maps[BASE][-4:] == b"xxxx"

    in_scene(work)


def test_who_has_kept_others_waiting_is_not_waited_for_so_long_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(scene: Scene) -> None:
        loser, silent = scene.task(), scene.task()
        for _ in range(3):
            for task in (loser, silent):
                scene.map(task, 0, BOTH, FRAME)
                task.told_ops()
            scene.unmap(loser, 0)
            await scene.settled()
            assert 0 < silent.process.hurried_until - scene.loop.time() < 3600
            silent.told_ops()
            monkeypatch.setattr(frame_refill, "ASK_S", 3600)

    in_scene(work)


def test_who_has_answered_at_once_is_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_refill, "HURRIED_S", 1.0)  # whatever else the host does

    async def work(scene: Scene) -> None:
        loser, holder = scene.task(), scene.task()
        for _ in range(3):
            for task in (loser, holder):
                scene.map(task, 0, BOTH, FRAME)
                task.told_ops()
            scene.unmap(loser, 0)
            await turn()
            assert holder.told_ops() == ["UNMAP"]
            await scene.settled()
            assert holder.process.hurried_until == 0
            holder.told_ops()

    in_scene(work)


def test_what_is_stored_until_the_host_has_stopped_a_process_is_the_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    async def work(scene: Scene) -> None:
        loser, silent = scene.task(), scene.task()
        for task in (loser, silent):
            scene.map(task, 0, BOTH, FRAME)
            task.told_ops()
        silent.process.pid = 7

        class Slow(Stopping):
            """It has more threads than are looked at at once, and two of them run on for a while."""

            def look(self) -> bool | None:
                if not self._pid:
                    return True
                assert silent.process.is_stopped
                silent.maps[BASE][:4] = b"%4d" % len(looks)
                looks.append(silent.process.pid)
                return (False, None, False, None, True)[len(looks) - 1]

        monkeypatch.setattr("kerneld.host.process.Stopping", Slow)
        scene.unmap(loser, 0)
        await scene.settled()
        monkeypatch.undo()  # it knows what the process has mapped
        assert (looks, scene.ram.read(FRAME, 4), silent.process.is_stopped) == ([7] * 5, b"   4", False)

    in_scene(work)


def test_a_process_that_the_host_does_not_stop_keeps_nobody_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stopping, "look", lambda self: False)

    async def work(scene: Scene) -> None:
        loser, silent, trap = scene.task(), scene.task(), scene.task()
        for task in (loser, silent):
            scene.map(task, 0, BOTH, FRAME)
            scene.map(task, 1, BOTH, OTHER)
            task.told_ops()
        silent.process.pid = 7
        scene.unmap(loser, 0)
        await scene.settled()
        scene.unmap(loser, 1)
        scene.mappings.map(trap.process, BASE, BOTH, OTHER, PAGE)
        scene.mappings.frame_fd(OTHER, PAGE)
        assert loser.has_lost_all or loser.told_ops()
        await scene.settled()
        assert loser.has_lost_all

    in_scene(work)


def test_who_answers_late_does_no_harm() -> None:
    async def work(scene: Scene) -> None:
        loser, late = scene.task(), scene.task()
        for task in (loser, late):
            scene.map(task, 0, BOTH, FRAME)
            task.told_ops()
        for _ in range(3):
            scene.unmap(loser, 0)
            await turn()
            orders = late.read()
            await scene.settled()
            for order in orders:
                late.obey(order)
            await turn()
            assert late.told_ops() == ["MAP"]
            scene.map(loser, 0, BOTH, FRAME)
            assert loser.told_ops() == ["UNMAP", "MAP"]
            await turn()
        assert not late.ended

    in_scene(work)


def test_who_answers_with_an_error_is_ended_and_nobody_waits_for_it() -> None:
    async def work(scene: Scene) -> None:
        holder, broken = scene.task(), scene.task()
        for task in (holder, broken):
            scene.map(task, 0, BOTH, FRAME)
        holder.told_ops()
        (order,) = broken.read()
        broken.obey(order, error=22)
        await turn()
        assert "did not map" in broken.ended[0]
        holder.maps[BASE][:1] = b"k"
        scene.unmap(holder, 0)
        await scene.settled()
        assert scene.ram.read(FRAME, 1) == b"k"

    in_scene(work)


def test_a_process_that_is_stopped_is_kept_stopped_and_not_waited_for() -> None:
    async def work(scene: Scene) -> None:
        loser, stopped = scene.task(), scene.task()
        for task in (loser, stopped):
            scene.map(task, 0, BOTH, LARGE, LARGE_SIZE)
            task.told_ops()
        loser.maps[BASE][:] = b"x" * LARGE_SIZE
        await turn()
        stopped.process.hold_still(True)
        scene.unmap(loser, 0)
        await asyncio.sleep(0)
        stopped.process.hold_still(False)
        assert stopped.process.is_stopped
        await scene.settled()
        assert not stopped.process.is_stopped
        assert stopped.told_ops() == ["UNMAP", "MAP"]
        assert stopped.maps[BASE][-4:] == b"xxxx"

    in_scene(work)


def test_a_process_that_has_a_frame_very_often_is_stopped_rather_than_asked() -> None:
    async def work(scene: Scene) -> None:
        loser, holder = scene.task(), scene.task()
        scene.map(loser, 0, BOTH, FRAME)
        loser.told_ops()
        for page in range(MOST_ASKED + 10):
            scene.map(holder, page, BOTH, FRAME)
        while holder.told_ops():
            await turn()
        scene.unmap(loser, 0)
        await scene.settled()
        seen: list[str] = []
        while told := holder.told_ops():
            seen += told
            await turn()
        assert seen == ["MAP"] * (MOST_ASKED + 10)

    in_scene(work)


def test_a_process_that_is_killed_while_it_is_asked_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_refill, "ASK_S", 3600)

    async def work(scene: Scene) -> None:
        loser, dying, holder = scene.task(), scene.task(), scene.task()
        for task in (loser, dying, holder):
            scene.map(task, 0, BOTH, FRAME)
            task.told_ops()
        scene.unmap(loser, 0)
        await turn()
        assert (loser.told_ops(), holder.told_ops()) == (["UNMAP"], ["UNMAP"])
        dying.kill()
        await scene.settled()
        assert holder.told_ops() == ["MAP"]

    in_scene(work)


def test_the_death_of_a_process_takes_nothing_from_others() -> None:
    async def work(scene: Scene) -> None:
        dying, holder = scene.task(), scene.task()
        for task in (dying, holder):
            scene.map(task, 0, BOTH, FRAME)
            task.told_ops()
        dying.kill()
        await turn()
        assert (holder.read(), len(scene.mappings)) == ([], 1)
        holder.kill()
        await turn()
        other = scene.task()
        scene.map(other, 3, BOTH, FRAME)
        assert other.told_ops() == ["MAP"]

    in_scene(work)


@pytest.mark.parametrize("turns", [0, 1, 4])
def test_a_frame_that_is_destroyed_in_the_midst_of_it_leaves_nothing(turns: int) -> None:
    async def work(scene: Scene) -> None:
        loser, holder = scene.task(), scene.task()
        for task in (loser, holder):
            scene.map(task, 0, BOTH, LARGE, LARGE_SIZE)
            task.told_ops()
        loser.maps[BASE][:] = b"x" * LARGE_SIZE
        scene.unmap(loser, 0)
        for _ in range(turns):
            await asyncio.sleep(0)
            holder.told_ops()
        scene.unmap(holder, 0)
        scene.mappings.gone(LARGE)
        await scene.settled()
        for task in (loser, holder):
            task.read()
            assert task.has_lost_all
        assert len(scene.mappings) == 0

    in_scene(work)


@pytest.mark.parametrize("turns", [0, 1, 4, 40])
def test_a_device_has_all_bytes_of_a_frame_that_is_destroyed_in_the_midst_of_it(turns: int) -> None:
    async def work(scene: Scene) -> None:
        loser, holder = scene.task(), scene.task()
        for task in (loser, holder):
            scene.map(task, 0, BOTH, LARGE, LARGE_SIZE)
            task.told_ops()
        loser.maps[BASE][:] = b"x" * LARGE_SIZE
        scene.unmap(loser, 0)
        for _ in range(turns):
            await asyncio.sleep(0)
            holder.told_ops()
        scene.mappings.gone(LARGE)
        scene.mappings.gone(LARGE)
        assert scene.ram.read(LARGE, LARGE_SIZE) == b"x" * LARGE_SIZE
        await scene.settled()
        for task in (loser, holder):
            task.read()
            assert task.has_lost_all
        assert len(scene.mappings) == 0
        assert scene.ram.read(LARGE, LARGE_SIZE) == b"x" * LARGE_SIZE
        scene.map(holder, 0, READ, LARGE)
        assert holder.told_ops()[-1] == "MAP"
        assert holder.maps[BASE][:] == b"x" * PAGE

    in_scene(work, LARGE)


@pytest.mark.parametrize("turns", [0, 1, 2, 5])
def test_a_device_has_all_bytes_of_a_frame_that_is_destroyed_while_it_is_handed_for_the_first_time(turns: int) -> None:
    async def work(scene: Scene) -> None:
        task = scene.task()
        scene.ram.poke(LARGE, b"x" * LARGE_SIZE)
        scene.map(task, 0, BOTH, LARGE, LARGE_SIZE)
        for _ in range(turns):
            await asyncio.sleep(0)
        scene.ram.poke(LARGE, b"y")  # by the device, where it is now
        scene.mappings.gone(LARGE)
        assert scene.ram.read(LARGE, LARGE_SIZE) == b"y" + b"x" * (LARGE_SIZE - 1)
        await scene.settled()
        assert len(scene.mappings) == 0
        task.read()
        assert task.has_lost_all

    in_scene(work, LARGE)


@pytest.mark.parametrize("size", [PAGE, LARGE_SIZE])
def test_who_loses_a_device_s_frame_loses_it_and_the_device_and_the_others_go_on(size: int) -> None:
    async def work(scene: Scene) -> None:
        loser, holder = scene.task(), scene.task()
        for task in (loser, holder):
            scene.map(task, 0, BOTH, LARGE, size)
            await scene.settled()
            task.told_ops()
        loser.maps[BASE][:5] = b"drawn"
        scene.unmap(loser, 0)
        done = asyncio.Event()
        if scene.mappings.wait(None, done.set):
            while not done.is_set():
                await asyncio.sleep(0)
                holder.told_ops()
        holder.told_ops()
        loser.read()
        assert loser.has_lost_all
        assert holder.maps[BASE][:5] == b"drawn"
        holder.maps[BASE][:5] = b"again"
        assert scene.ram.read(LARGE, 5) == b"again"

    in_scene(work, LARGE)


def test_nobody_is_handed_anything_before_it_runs_and_what_it_lost_by_then_was_never_there() -> None:
    async def work(scene: Scene) -> None:
        holder, young = scene.task(), scene.task(live=False)
        scene.map(holder, 0, BOTH, FRAME)
        holder.told_ops()
        scene.map(young, 0, BOTH, FRAME)
        scene.map(young, 1, BOTH, FRAME)
        scene.unmap(young, 0)
        assert not scene.mappings.wait(None, lambda: None)
        young.live()
        assert young.told_ops() == ["MAP"]

    in_scene(work)


def test_who_waits_waits_for_what_began_before_and_for_what_its_own_process_is_told() -> None:
    async def work(scene: Scene) -> None:
        task, young = scene.task(), scene.task(live=False)
        assert not scene.mappings.wait(task.process, lambda: None)
        scene.map(young, 0, BOTH, LARGE, LARGE_SIZE)
        assert not scene.mappings.wait(task.process, lambda: None)
        seen: list[str] = []
        assert scene.mappings.wait(young.process, lambda: seen.append("told"))
        young.live()
        assert seen == ["told"]
        scene.unmap(young, 0)
        assert scene.mappings.wait(task.process, lambda: seen.append("gone"))
        await turn()
        assert seen == ["told"]
        assert young.told_ops() == ["MAP", "UNMAP"]
        await scene.settled()
        assert seen == ["told", "gone"]

    in_scene(work)


def test_a_trap_frame_that_another_process_loses_costs_its_owner_the_life() -> None:
    async def work(scene: Scene) -> None:
        owner, other = scene.task(), scene.task()
        lost: list[int] = []
        scene.mappings.use_attached(lambda frame: {owner.process} if frame == FRAME else set(), lost.append)
        scene.mappings.frame_fd(FRAME, PAGE)
        for task in (owner, other):
            scene.map(task, 0, BOTH, FRAME)
            task.told_ops()
        scene.unmap(owner, 0)
        assert owner.told_ops() == ["UNMAP"]
        assert not scene.mappings.wait(None, lambda: None)
        scene.unmap(other, 0)
        await scene.settled()
        assert lost == [FRAME]

    in_scene(work)


def test_a_frame_becomes_a_trap_frame_only_after_its_losers_have_lost_it() -> None:
    async def work(scene: Scene) -> None:
        loser = scene.task()
        scene.map(loser, 0, BOTH, FRAME)
        loser.told_ops()
        loser.maps[BASE][:4] = b"told"
        scene.unmap(loser, 0)
        descriptor = scene.mappings.frame_fd(FRAME, PAGE)
        assert loser.has_lost_all
        assert os.pread(descriptor, 4, 0) == b"told"
        await scene.settled()
        assert os.pread(scene.mappings.frame_fd(FRAME, PAGE), 4, 0) == b"told"

    in_scene(work)


def test_a_thousand_losses_leave_no_descriptor() -> None:
    async def work(scene: Scene) -> None:
        loser, holder = scene.task(), scene.task()
        scene.map(holder, 0, BOTH, FRAME)
        holder.told_ops()
        before = len(os.listdir("/proc/self/fd"))
        for number in range(1000):
            holder.maps[BASE][:4] = number.to_bytes(4, "little")
            scene.map(loser, 0, BOTH, FRAME)
            loser.told_ops()
            scene.unmap(loser, 0)
            await turn()
            told = holder.told_ops()
            if number % 20:  # otherwise it is waited for in vain
                loser.told_ops()
            await scene.settled()
            loser.told_ops()
            assert told + holder.told_ops() == ["UNMAP", "MAP"]
            assert loser.has_lost_all
            assert holder.maps[BASE][:4] == number.to_bytes(4, "little")
            for task in (loser, holder):
                for descriptor in task.kept[:-1] if task is holder else task.kept:
                    os.close(descriptor)
                task.kept = task.kept[-1:] if task is holder else []
        assert len(os.listdir("/proc/self/fd")) <= before

    in_scene(work)


def test_where_no_descriptors_are_left_a_process_is_ended_and_one_that_nobody_needs_is_used_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(frame_stock, "FIRST_MADE", 1)
    monkeypatch.setattr(frame_stock, "MOST_MADE", 1)  # nothing is there ahead

    async def work(scene: Scene) -> None:
        idle = scene.task()
        scene.map(idle, 0, BOTH, OTHER)
        idle.told_ops()
        idle.maps[BASE][:4] = b"idle"
        idle.kill()
        await turn()
        below = [0, 0, 1 << 20, 0, 0]
        monkeypatch.setattr(frame_stock, "below_for_frames", lambda: below.pop(0))
        task = scene.task()
        scene.map(task, 0, BOTH, FRAME)
        assert task.told_ops() == ["MAP"]
        assert (len(scene.mappings), scene.ram.read(OTHER, 4)) == (1, b"idle")
        poor = scene.task()
        scene.map(poor, 0, BOTH, OTHER)
        await turn()
        assert "the host has nothing for the memory" in poor.ended[0]

    in_scene(work)


def test_memory_of_former_trap_frames_is_given_back_where_no_descriptors_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are charged to nobody: who has had many threads would keep all others from having frames."""
    monkeypatch.setattr(frame_stock, "FIRST_MADE", 1)
    monkeypatch.setattr(frame_stock, "MOST_MADE", 1)  # nothing is there ahead

    async def work(scene: Scene) -> None:
        thread = scene.task()
        attached: dict[int, set[Process]] = {}
        scene.mappings.use_attached(lambda frame: attached.get(frame, set()), lambda frame: None)
        for frame in (OTHER, LARGE):
            attached[frame] = {thread.process}
            scene.mappings.frame_fd(frame, PAGE)
            scene.ram.poke(frame, b"trap")
        scene.mappings.detached(LARGE)  # it has another one yet
        del attached[OTHER]
        scene.mappings.detached(OTHER)
        below = [0, 0, 1 << 20]
        monkeypatch.setattr(frame_stock, "below_for_frames", lambda: below.pop(0))
        task = scene.task()
        scene.map(task, 0, BOTH, FRAME)
        assert (task.told_ops(), task.ended) == (["MAP"], [])
        assert {address for address, _, _ in scene.mappings.own_memory()} == {LARGE, FRAME}
        assert scene.ram.read(OTHER, 4) == scene.ram.read(LARGE, 4) == b"trap"

    in_scene(work)


def test_what_is_lost_is_taken_away_even_where_no_descriptor_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(scene: Scene) -> None:
        loser, holder = scene.task(), scene.task()
        for task in (loser, holder):
            scene.map(task, 0, BOTH, FRAME)
            task.told_ops()
        holder.maps[BASE][:4] = b"kept"
        monkeypatch.setattr(frame_stock, "below_for_frames", lambda: 0)
        scene.unmap(loser, 0)
        await turn()
        holder.told_ops()
        await scene.settled()
        loser.read()
        assert (loser.has_lost_all, scene.ram.read(FRAME, 4)) == (True, b"kept")
        assert len(holder.ended) == 1

    in_scene(work)


def test_ten_thousand_frames_are_mapped_within_the_hosts_limits() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 10_000
    if hard * 3 // 4 < count:
        pytest.skip(f"the host lets a process have {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def work(scene: Scene) -> None:
        task = scene.task()
        for page in range(count):
            scene.map(task, page, READ if page % 2 else BOTH, FRAME + page * PAGE)
        seen = 0
        while told := task.told_ops():
            seen += len(told)
            task.maps.clear()
            for descriptor in task.kept:
                os.close(descriptor)
            task.kept.clear()
            await turn()
        assert (seen, len(scene.mappings), task.ended) == (count, count, [])

    try:
        in_scene(work)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_large_frame_stalls_nobody() -> None:
    """The longest time between two turns of the loop, while 32 MiB are mapped, exchanged, and given back."""

    async def work(scene: Scene) -> None:
        loser, holder = scene.task(), scene.task()
        scene.ram.poke(LARGE, b"x" * LARGE_SIZE)
        pieces = 0

        async def count() -> None:
            nonlocal pieces
            while True:
                pieces += 1
                await asyncio.sleep(0)

        counting = asyncio.ensure_future(count())
        for task in (loser, holder):
            scene.map(task, 0, BOTH, LARGE, LARGE_SIZE)
        await scene.settled()
        assert pieces >= LARGE_SIZE // frame_memory.CHUNK // 4
        assert [task.told_ops() for task in (loser, holder)] == [["MAP"], ["MAP"]]
        pieces = 0
        scene.unmap(loser, 0)
        while not (told := holder.told_ops()):
            await asyncio.sleep(0)
        assert told == ["UNMAP"]
        await scene.settled()
        assert pieces >= LARGE_SIZE // frame_memory.CHUNK // 4
        counting.cancel()
        assert holder.told_ops() == ["MAP"]
        assert bytes(holder.maps[BASE][-4:]) == b"xxxx"

    in_scene(work)


def test_a_task_is_a_scene_of_its_own() -> None:
    """What the tests above stand on: a task that obeys sees the frame, and its descriptors are its own."""

    async def work(scene: Scene) -> None:
        task: Task = scene.task()
        scene.map(task, 0, BOTH, FRAME)
        (order,) = task.read()
        task.obey(order)
        assert not task.has_lost_all

    in_scene(work)


class Unwalked(dict[Any, Any]):
    """Nobody may go through all of it."""

    def values(self) -> NoReturn:
        raise AssertionError("somebody looks at all mappings of the frame")

    __iter__ = items = values


def test_an_exchange_looks_at_no_mapping_of_a_hoard_by_itself(many_descriptors: None) -> None:
    async def work(scene: Scene) -> None:
        hoarder, other = scene.task(), scene.task()
        count = 40 * MOST_ASKED
        for page in range(count):
            scene.map(hoarder, page, BOTH, FRAME)
        scene.map(other, 0, BOTH, FRAME)
        other.told_ops()
        (use,) = scene.mappings._uses.values()
        use.holdings = Unwalked(use.holdings)
        scene.unmap(other, 0)
        await turn()
        while (orders := hoarder.read()) or use.refill is not None:
            for order in orders:
                hoarder.answer(order)
            await turn()
        other.read()
        assert other.has_lost_all
        assert not hoarder.ended
        assert not use.unhanded
        use.holdings = dict(dict.items(use.holdings))

    in_scene(work)


def test_the_kernel_keeps_mappings_of_the_host_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that lets a process have many descriptors refuses its 65,531st mapping, and then every one."""

    async def work(scene: Scene) -> None:
        most = 5 * frame_memory.A_FRAME + frame_memory.MAPPINGS_KEPT
        monkeypatch.setattr(frame_memory, "most_mappings", lambda: most)
        greedy, other = scene.task(live=False), scene.task()
        for page in range(8):
            scene.map(greedy, page, BOTH, FRAME + 2 * page * PAGE)
        await turn()
        assert "the host has nothing for the memory" in greedy.ended[0]
        scene.map(other, 0, BOTH, OTHER)
        assert other.told_ops() == ["MAP"]
        assert not other.ended

    in_scene(work)


def test_a_process_that_kept_its_trap_frame_is_forgotten_when_it_ends() -> None:
    async def work(scene: Scene) -> None:
        attached: list[Process] = []
        scene.mappings.use_attached(lambda frame: attached, lambda frame: None)
        for _ in range(3):
            task = scene.task()
            attached[:] = [task.process]
            scene.map(task, 0, BOTH, FRAME)
            task.told_ops()
            scene.unmap(task, 0)
            await turn()
            task.told_ops()
            assert not task.has_lost_all
            attached.clear()
            task.kill()
            await turn()
        assert not scene.mappings._uses

    in_scene(work)


def test_who_does_not_take_the_first_mapping_of_a_frame_is_ended_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def work(scene: Scene) -> None:
        deaf, other = scene.task(), scene.task()

        def full(data: bytes, descriptors: Sequence[int]) -> None:
            deaf.process.refuse("its control socket is full")

        monkeypatch.setattr(deaf.process.control, "_hand", full)
        scene.map(deaf, 0, BOTH, FRAME)
        monkeypatch.undo()
        assert deaf.ended == ["its control socket is full"]
        await turn()
        scene.map(other, 0, BOTH, FRAME)
        assert other.told_ops() == ["MAP"]
        other.maps[BASE][:4] = b"mine"
        assert scene.ram.read(FRAME, 4) == b"mine"
        assert list(scene.mappings._uses[FRAME].given) == [other.process]
        assert [each.process for each in scene.mappings._uses[FRAME].holdings.values()] == [other.process]

    in_scene(work)


@pytest.mark.parametrize("owed", [False, True])
def test_who_loses_a_frame_when_another_kernel_has_begun_has_nothing(owed: bool) -> None:
    """Also one that is told to begin anew and has not said that it has: what it was handed before it may have kept."""

    async def work(scene: Scene) -> None:
        task = scene.task()
        scene.map(task, 0, BOTH, LARGE, 2 * PAGE)
        task.told_ops()
        with scene.next_kernel(task, BASE, LARGE, 2 * PAGE) as mappings:
            mappings.restore(task.process, owed)
            mappings.finish_restore()
            mappings.unmap(task.process, BASE)
            await scene.settled(mappings)
            assert task.has_lost_all

    in_scene(work)


@pytest.mark.parametrize("owed", [False, True])
def test_what_is_stored_until_then_is_the_frames_where_another_kernel_has_begun(owed: bool) -> None:
    """The table has the mapping no more, and the process has it until its keeper has done what it was told."""

    async def work(scene: Scene) -> None:
        task = scene.task()
        scene.map(task, 0, BOTH, FRAME)
        task.told_ops()
        with scene.next_kernel(task, BASE, FRAME, PAGE) as mappings:
            with scene.ram.transaction():
                mapping_table.remove(VSpace(scene.ram, task.process.vspace), BASE)
            mappings.lost(task.process, FRAME, PAGE)
            mappings.restore(task.process, owed)
            mappings.finish_restore()
            await turn()
            assert not task.has_lost_all
            task.maps[BASE][:4] = b"late"
            assert task.told_ops() == ["UNMAP"]
            await scene.settled(mappings)
            assert (task.has_lost_all, scene.ram.read(FRAME, 4)) == (True, b"late")

    in_scene(work)
