"""Rebuilds the medium in each state that the power can leave, mounts it, and compares."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from libsel4py.filesystem.volume import Volume
from libsel4py.littlefs.store import MemoryStore
from libsel4py.testing.power_loss.cuts import Cut, Epoch, Kind, cuts, epochs
from libsel4py.testing.power_loss.work import Tree, Work, random_work, read_tree

Mount = Callable[[MemoryStore], Volume]


class Lost(AssertionError):
    """A state that does not mount, or holds what it must not; the text says which one and what it should hold."""


@dataclass
class Found:
    """States that were looked at, by kind; ``again``: those after whose recovery the power went once more."""

    states: Counter[Kind] = field(default_factory=Counter)
    again: int = 0

    @property
    def total(self) -> int:
        return sum(self.states.values())


class Survival:
    """Looks at all states of one piece of work.

    Args:
        mount: makes a volume of a medium. Raises whatever it likes: that is a loss.
        randomly: chooses what is sampled.
        samples: how many longer and how many torn sequences of each epoch.
        again: of so many states the next one is mounted for writing, and the power goes again in what is done there.
    """

    def __init__(self, mount: Mount, randomly: random.Random, samples: int = 4, again: int = 0) -> None:
        self.found = Found()
        self._mount = mount
        self._randomly = randomly
        self._samples = samples
        self._again = again

    def look(self, medium: bytes, log: list[tuple[int, bytes] | None], work: Work, most: int | None = None) -> None:
        """Look at the states of a log, ``most`` of them at most. Raises Lost with the first one that is not as it must be.

        Args:
            medium: what it held before the log.
        """
        image = bytearray(medium)
        for number, epoch in enumerate(epochs(log)):
            allowed = work.allowed(epoch.begin, epoch.end)
            for cut in cuts(epoch, self._randomly, self._samples):
                if most is not None and self.found.total >= most:
                    return
                self._look_at(image, epoch, number, cut, allowed)
            for offset, data in epoch.writes:
                image[offset : offset + len(data)] = data

    def _look_at(self, image: bytearray, epoch: Epoch, number: int, cut: Cut, allowed: list[Tree]) -> None:
        before = [(offset, bytes(image[offset : offset + len(data)])) for offset, data in cut.written]
        for offset, data in cut.written:
            image[offset : offset + len(data)] = data
        try:
            held = self._held(image, allowed)
            self.found.states[cut.kind] += 1
            if self._again and self.found.total % self._again == 0:
                self._go_on(image, held)
        except Exception as error:
            where = [(offset, len(data)) for offset, data in cut.written]
            raise Lost(f"flush {number}, {cut.kind.value}, written (offset, bytes) {where}: {error}") from error
        finally:
            for offset, data in reversed(before):
                image[offset : offset + len(data)] = data

    def _held(self, image: bytearray, allowed: list[Tree]) -> Tree:
        held = read_tree(self._mount(MemoryStore(data=image, read_only=True)))
        if held not in allowed:
            raise Lost(f"it holds {_shown(held)}, and not one of {[_shown(tree) for tree in allowed]}")
        return held

    def _go_on(self, image: bytearray, held: Tree) -> None:
        """Work on what was left, and let the power go at each write of that, too."""
        medium = bytes(image)
        store = MemoryStore(data=bytearray(medium))
        store.log = log = []
        work = Work(self._mount(store), lambda: len(log), held)
        for operation in random_work(self._randomly, work, 3, len(medium) // 5):
            work.do(operation)
        second = Survival(self._mount, self._randomly, 1)
        second.look(medium, log, work)
        self.found.again += second.found.total


def _shown(tree: Tree) -> dict[str, str]:
    return {path: "directory" if held is None else f"{len(held)} bytes, {hash(held):x}" for path, held in tree.items()}
