"""All that clients stand on is killed again and again, while they copy, download and type: they see a delay at most.

Nothing that was written is lost, nothing that is read is wrong, and of all the lives nothing is left.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.network.stack import is_built
from tests.system.downloads import Downloads
from tests.system.kill_scene import Scene, killed_workstation
from tests.system.supervisor import Supervisor

pytestmark = pytest.mark.skipif(not is_built(), reason="this tree was built without lwIP (sel4py doctor)")

VICTIMS = ("block", "littlefs", "ethernet", "network", "names", "console", "reincarnation")
CLIENTS = 20
LATEST_SECONDS = 0.2  # from when somebody gets something again to the next kill


class Typing:
    """A person who types one command after the other, and looks at what comes."""

    def __init__(self, scene: Scene) -> None:
        self.commands = self.refused = 0
        self._scene = scene
        self._stopping = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._stopping = True
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._stopping:
                self.commands += 1
                self.refused += not self._scene.ping()
        except BaseException as error:
            self._error = error


@contextlib.contextmanager
def loads(scene: Scene) -> Iterator[tuple[Downloads, Typing]]:
    """The clients, who go on until the end of the block, and then finish what they have begun."""
    scene.tell("start copier")
    downloads, typing = Downloads(scene.page, CLIENTS), Typing(scene)
    try:
        yield downloads, typing
    finally:
        with contextlib.ExitStack() as stack:
            stack.callback(downloads.stop)
            stack.callback(typing.stop)
    scene.tell("write /copies/stop x")
    assert scene.wait_ended("copier") == "ended", scene.log("copier")
    assert downloads.pages >= CLIENTS
    assert typing.commands > typing.refused


def rounds(kills: int, chance: random.Random) -> Iterator[tuple[str, ...]]:
    """Each victim so often alone, in another order each time; then each as often together with another one."""
    for _ in range(kills):
        yield from ((victim,) for victim in chance.sample(VICTIMS, len(VICTIMS)))
    pairs = itertools.cycle(itertools.combinations(VICTIMS, 2))
    for _ in range(kills * len(VICTIMS) // 2):
        yield tuple(chance.sample(next(pairs), 2))


def kill_all(sel4py: Supervisor, folder: Path, *, kills: int, copied: int, page: int) -> None:
    chance = random.Random(kills)
    with killed_workstation(sel4py, folder, copied, page) as scene:
        with loads(scene):
            for victim in VICTIMS:
                scene.kill([victim], chance)
        before = scene.left()
        with loads(scene) as (downloads, typing):
            for victims in rounds(kills, chance):
                time.sleep(chance.uniform(0, LATEST_SECONDS))
                scene.kill(victims, chance)
                downloads.wait_bytes()
        print(
            f"{downloads.pages} pages, {downloads.resumed} resumed; {typing.commands} commands, {typing.refused} lost"
        )
        print(scene.log("copier").splitlines()[-1])
        scene.assert_left(before)
        assert scene.ping()


@pytest.mark.slow
def test_each_is_killed_some_times(sel4py: Supervisor, tmp_path: Path) -> None:
    kill_all(sel4py, tmp_path, kills=2, copied=16 << 20, page=1 << 20)


@pytest.mark.long
@pytest.mark.timeout(3 * 3600)
def test_each_is_killed_a_hundred_times_alone_and_a_hundred_times_with_another(
    sel4py: Supervisor, tmp_path: Path
) -> None:
    kill_all(sel4py, tmp_path, kills=100, copied=256 << 20, page=4 << 20)
