"""Who pays for frames' memory, and who is refused more where the host has little left."""

from __future__ import annotations

import os

import pytest

from kerneld.host import descriptors
from kerneld.host.frame_memory import FrameMemory
from kerneld.host.frame_shares import LOOKED_AT_EVERY, SHARE
from tests.unit.host.keepers import BOTH, PAGE, READ, Scene, Task, in_scene, turn

FRAMES, OTHERS = 0x100000, 0x2000000
LIMIT = 5 * LOOKED_AT_EVERY  # frames that the host has something for: one process is limited with 64 of them


class Limits(dict[int, bool]):
    """What the kernel was told last, by VSpace."""

    def __init__(self, scene: Scene, monkeypatch: pytest.MonkeyPatch, limit: int = LIMIT) -> None:
        monkeypatch.setattr(FrameMemory, "left", property(lambda memory: max(limit - len(memory), 0)))
        scene.mappings.shares.use_limit(self.__setitem__)

    def of(self, task: Task) -> bool:
        return self.get(task.process.vspace, False)


async def map_some(scene: Scene, task: Task, count: int, first: int = 0, frames: int = FRAMES) -> None:
    for page in range(first, first + count):
        scene.map(task, page, BOTH, frames + page * PAGE)
        task.told_ops()
    await turn()


def test_who_takes_much_is_limited_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(scene: Scene) -> None:
        limits = Limits(scene, monkeypatch)
        greedy, small = scene.task(), scene.task()
        await map_some(scene, greedy, 4 * LOOKED_AT_EVERY - 1)
        assert not limits.of(greedy)
        await map_some(scene, greedy, LOOKED_AT_EVERY // 2, 4 * LOOKED_AT_EVERY - 1)
        assert limits.of(greedy)
        await map_some(scene, small, LOOKED_AT_EVERY // 4, frames=OTHERS)
        assert not limits.of(small)
        assert (greedy.ended, small.ended) == ([], [])

    in_scene(work)


def test_who_has_let_go_of_enough_may_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(scene: Scene) -> None:
        limits = Limits(scene, monkeypatch)
        task = scene.task()
        count = 4 * LOOKED_AT_EVERY + 8
        await map_some(scene, task, count)
        assert limits.of(task)
        for page in range(LOOKED_AT_EVERY):
            scene.unmap(task, page)
        await scene.settled()
        await turn()
        assert scene.mappings.shares[task.process] == count - LOOKED_AT_EVERY
        assert not limits.of(task)
        for page in range(LOOKED_AT_EVERY, count):
            scene.mappings.gone(FRAMES + page * PAGE)
        assert scene.mappings.shares[task.process] == 0

    in_scene(work)


def test_one_pays_for_what_many_share_and_the_next_where_that_one_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(scene: Scene) -> None:
        shares = scene.mappings.shares
        first, second, third = (scene.task() for _ in range(3))
        for page in range(3):
            for task in (first, second, third):
                scene.map(task, page, BOTH if task is first else READ, FRAMES + page * PAGE)
            scene.map(first, 10 + page, READ, FRAMES + page * PAGE)

        def counts() -> list[int]:
            return [shares[task.process] for task in (first, second, third)]

        assert counts() == [3, 0, 0]
        scene.unmap(first, 0)
        assert counts() == [3, 0, 0]  # it has it a second time
        scene.unmap(first, 10)
        assert counts() == [2, 1, 0]
        scene.map(first, 1, 0, FRAMES + PAGE)  # with no right nobody reaches it
        scene.unmap(first, 11)
        assert counts() == [1, 2, 0]
        first.kill()
        second.kill()
        await turn()
        assert counts() == [0, 0, 3]
        third.kill()
        await turn()
        assert counts() == [0, 0, 0]

    in_scene(work)


def test_a_process_that_has_far_more_is_ended_and_the_others_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one that was started with a full table: no Map of it is refused."""

    async def work(scene: Scene) -> None:
        limits = Limits(scene, monkeypatch)
        greedy, small = scene.task(), scene.task()
        for page in range(LIMIT + 1):
            await map_some(scene, greedy, 1, page)
        assert "far more than its share" in greedy.ended[0]
        await map_some(scene, small, SHARE, frames=OTHERS)
        assert (small.ended, len(small.maps), limits.of(small)) == ([], SHARE, False)
        await turn()
        assert scene.mappings.shares[greedy.process] == 0

    in_scene(work)


def test_a_vspace_is_not_limited_for_what_a_process_before_had(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(scene: Scene) -> None:
        limits = Limits(scene, monkeypatch)
        task = scene.task()
        limits[task.process.vspace] = True
        scene.mappings.shares.begins(task.process)
        await turn()
        assert not limits.of(task)
        limits[task.process.vspace] = True
        scene.mappings.shares.begins(task.process)
        task.kill()
        await turn()
        assert limits.of(task)  # the VSpace may be gone: nothing is said of it

    in_scene(work)


def test_what_the_host_has_left_counts_descriptors_and_mappings(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(scene: Scene) -> None:
        memory = scene.mappings._memory
        before = memory.left
        task = scene.task()
        await map_some(scene, task, 3)
        # A socket's two ends, the stock's table; each descriptor that the task was handed, and what it mapped by it.
        assert before - memory.left == 3 + 2 + 1 + 2 * len(task.kept)
        assert scene.mappings._room.left() == memory.left
        spare = os.open("/dev/null", os.O_RDONLY)
        now = memory.left
        os.close(spare)
        assert memory.left == now + 1
        monkeypatch.setattr("kerneld.host.frame_memory.most_mappings", lambda: 0)
        assert memory.left == 0

    if not descriptors.count_open():
        pytest.skip("this host does not count a process's descriptors")
    in_scene(work)
