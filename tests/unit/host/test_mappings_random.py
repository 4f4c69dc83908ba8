"""Any order of maps, losses, answers and deaths: in the end each process has what it may have, and nothing else."""

from __future__ import annotations

import asyncio
import fcntl
import os
import random

import pytest

from kerneld.host import frame_refill
from kerneld.host.process import Phase
from libsel4py.abi import ControlOp
from tests.unit.host.keepers import BASE, BOTH, PAGE, READ, Order, Scene, Task, in_scene, turn

FRAMES = [0x100000 + number * 0x10000 for number in range(4)]
NEW = 0x400000  # from here on: frames that nobody has had
PAGES = range(6)
STEPS = 250


class Careless(Task):
    """Obeys, also where what it was handed is gone meanwhile."""

    def obey(self, order: Order, error: int = 0) -> None:
        if order.op == ControlOp.MAP and not os.fstat(order.descriptor).st_size:
            self.maps.pop(order.address, None)
            self.answer(order, error)
        else:
            super().obey(order, error)


class Play:
    """What the kernel would tell, at random, and what comes of it.

    Attributes:
        table: frame and rights of each mapping, by task and page.
        fast: mappings that were the fast path's.
    """

    def __init__(self, scene: Scene, seed: int) -> None:
        self.scene = scene
        self.random = random.Random(seed)
        self.fast = 0
        self.frames = list(FRAMES)
        self.tasks = [self.new_task() for _ in range(3)]
        self.table: dict[tuple[Careless, int], tuple[int, int]] = {}

    def new_task(self) -> Careless:
        task = Careless(self.scene)
        self.scene.tasks.append(task)
        return task

    async def step(self) -> None:
        task, page, frame = self.random.choice(self.tasks), self.random.choice(PAGES), self.random.choice(self.frames)
        match self.random.randrange(18):
            case 0 | 1 | 2 | 3 | 4:
                self.map(task, page, frame, self.random.choice((0, READ, BOTH, BOTH)))
            case 5 | 6 | 7:
                self.unmap(task, page)
            case 8 | 9 | 10:
                orders = task.read()
                for order in orders:
                    task.obey(order)
            case 11:
                self.destroy(frame)
            case 12 if self.random.random() < 0.2:
                self.kill(task)
            case 13:
                self.scene.mappings.frame_fd(frame, PAGE)
            case 14:
                await asyncio.sleep(self.random.choice((0, 0, 0.002)))
            case 15 | 16:
                self.map_new(task)
            case _:
                await turn()

    def map(self, task: Careless, page: int, frame: int, rights: int) -> None:
        before = self.table.get((task, page))
        if before is not None:
            frame = before[0]
            if before[1] & ~rights:
                self.scene.unmap(task, page)
        self.table[task, page] = frame, rights
        if before is None and self.random.random() < 0.8 and self.scene.map_fast(task, page, rights, frame):
            self.scene.mappings.first_maps.note()
            self.fast += 1
        else:
            self.scene.map(task, page, rights, frame)

    def map_new(self, task: Careless) -> None:
        """Each page that the task has not mapped gets a new frame."""
        for page in PAGES:
            if (task, page) not in self.table:
                self.frames.append(NEW + len(self.frames) * PAGE)
                self.map(task, page, self.frames[-1], BOTH)

    def unmap(self, task: Careless, page: int) -> None:
        if self.table.pop((task, page), None) is not None:
            self.scene.unmap(task, page)

    def destroy(self, frame: int) -> None:
        for (task, page), (mapped, _) in list(self.table.items()):
            if mapped == frame:
                self.unmap(task, page)
        self.scene.mappings.gone(frame)

    def kill(self, task: Careless) -> None:
        task.kill()
        self.tasks[self.tasks.index(task)] = self.new_task()
        self.table = {key: value for key, value in self.table.items() if key[0] is not task}

    async def quiet(self) -> None:
        """All answer, until nothing is told any more."""
        for _ in range(3):
            done = asyncio.Event()
            waits = self.scene.mappings.wait(None, done.set)
            while (waits and not done.is_set()) or any(task.told_ops() for task in self.tasks):
                await asyncio.sleep(0.001)

    def check(self) -> None:
        memory = self.scene.mappings._memory
        inodes = {frame: os.fstat(memory.descriptor(frame, PAGE)).st_ino for frame in self.frames if frame in memory}
        for task in self.tasks:
            assert (task.ended, task.process.phase) == ([], Phase.LIVE)
            may: dict[int, int] = {}
            for page in PAGES:
                frame, rights = self.table.get((task, page), (0, 0))
                assert (BASE + page * PAGE in task.maps) == bool(rights), (page, frame, rights)
                if rights:
                    self.scene.ram.poke(frame, os.urandom(8))
                    assert task.maps[BASE + page * PAGE][:8] == self.scene.ram.read(frame, 8)
                    may[inodes[frame]] = may.get(inodes[frame], 0) | rights
            for kept in task.kept:
                status = os.fstat(kept)
                writable = fcntl.fcntl(kept, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
                has = (BOTH if writable else READ) if status.st_size else 0
                assert not has & ~may.get(status.st_ino, 0), "it has kept what it has lost"
        held = {(task, address) for task, uses in self.scene.mappings._held.items() for address in uses}
        assert len(held) == len(self.table)
        assert not self.scene.mappings._barrier


@pytest.mark.parametrize("seed", range(12))
def test_in_the_end_each_has_what_it_may_have(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frame_refill, "ASK_S", 0.003)

    async def work(scene: Scene) -> None:
        play = Play(scene, seed)
        for _ in range(STEPS):
            await play.step()
        await play.quiet()
        play.check()
        assert play.fast > 10

    in_scene(work)
