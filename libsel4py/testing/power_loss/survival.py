"""Rebuilds the medium in each state that the power can leave, mounts it, and compares."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from libsel4py.filesystem.volume import Volume
from libsel4py.littlefs.store import MemoryStore
from libsel4py.testing.power_loss.cuts import Cut, Kind, Piece, cuts, epochs
from libsel4py.testing.power_loss.work import Tree, Work, random_work, read_tree

Mount = Callable[[MemoryStore], Volume]


class Lost(AssertionError):
    """A state that does not mount, or holds what it must not; the text says which one and what it should hold."""


@dataclass
class Found:
    """States that were looked at, by kind; ``again``: those of work that went on after one of them."""

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
        again: of so many states the next one is mounted for writing, and the power goes in what is done there. In turn
            the first time was the power, too, or the server's end alone: then the medium still has in its cache what
            was written and not flushed, shows it, and may lose it yet.
        problems: what a check of the whole medium finds; asked as often.
    """

    def __init__(
        self,
        mount: Mount,
        randomly: random.Random,
        samples: int = 4,
        again: int = 0,
        problems: Callable[[MemoryStore], list[str]] | None = None,
    ) -> None:
        self.found = Found()
        self._mount = mount
        self._randomly = randomly
        self._samples = samples
        self._again = again
        self._problems = problems

    def look(self, medium: bytes, log: list[Piece | None], work: Work, most: int | None = None, since: int = 0) -> None:
        """Look at the states of a log, ``most`` of them at most. Raises Lost with the first that is not as it must be.

        Args:
            medium: what it held before the log.
            since: flushes before this position in the log end epochs that are not looked at.
        """
        image = bytearray(medium)
        for number, epoch in enumerate(epochs(log)):
            allowed = work.allowed(epoch.end)
            for cut in cuts(epoch, self._randomly, self._samples) if epoch.end > since else ():
                if most is not None and self.found.total >= most:
                    return
                self._look_at(image, number, cut, allowed)
            for offset, data in epoch.writes:
                image[offset : offset + len(data)] = data

    def _look_at(self, image: bytearray, number: int, cut: Cut, allowed: list[Tree]) -> None:
        before = bytes(image)
        for offset, data in cut.written:
            image[offset : offset + len(data)] = data
        try:
            held = self._held(image, allowed)
            self.found.states[cut.kind] += 1
            if self._again and self.found.total % self._again == 0:
                self._go_on(before, image, cut, held)
        except Exception as error:
            where = [(offset, len(data)) for offset, data in cut.written]
            raise Lost(f"flush {number}, {cut.kind.value}, written (offset, bytes) {where}: {error}") from error
        finally:
            image[:] = before

    def _held(self, image: bytearray, allowed: list[Tree]) -> Tree:
        held = read_tree(self._mount(MemoryStore(data=image, read_only=True)))
        if held not in allowed:
            raise Lost(f"it holds {_shown(held)}, and not one of {[_shown(tree) for tree in allowed]}")
        return held

    def _go_on(self, before: bytes, image: bytearray, cut: Cut, held: Tree) -> None:
        """Work on what was left, and let the power go at each write of that, too."""
        by_power = self.found.total // self._again % 2 == 0
        store = MemoryStore(data=bytearray(image))
        log: list[Piece | None] = [] if by_power else [*cut.written]
        store.log = log
        since = len(log)
        if self._problems is not None and (found := self._problems(store)):
            raise Lost(f"a check finds: {'; '.join(found)}")
        work = Work(self._mount(store), lambda: len(log), held)
        for operation in random_work(self._randomly, work, 3, len(before) // 5):
            work.do(operation)
        second = Survival(self._mount, self._randomly, 1)
        second.look(bytes(image) if by_power else before, log, work, since=since)
        self.found.again += second.found.total


def _shown(tree: Tree) -> dict[str, str]:
    return {path: "directory" if held is None else f"{len(held)} bytes, {hash(held):x}" for path, held in tree.items()}
