"""A client that counts at several counters while it kills them: nothing is lost, nothing is done twice, and no call
fails of it."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import time

from libsel4py import Component, aio, component, with_timeout
from libsel4py.interfaces.system import System
from tests.system.images.counting import PADDING, Counter, OddCount

PATIENCE = 60.0  # seconds that a call may take, whatever happens to its server
LATEST = 0.002  # seconds after a round of calls until the next kill
COUNTING = 2  # threads that count at each counter; one more ends it


class Wrong(AssertionError):
    """A count is not what this client has made it."""


@component
class Main(Component):
    """``kills`` of each counter, which are the tasks that it is connected to by their names."""

    def run(self) -> int:
        configuration = self.task.environment.configuration
        kills, seed = int(str(configuration["kills"])), int(str(configuration["seed"]))
        names = sorted(name for name in self.task.environment.connections if name.startswith("counter"))
        aio.run(self.count_and_kill(names, kills, seed))
        return 0

    async def count_and_kill(self, names: list[str], kills: int, seed: int) -> None:
        began = time.monotonic()
        stands = [Stand(name, getattr(self.uses, name), self.uses.system) for name in names]
        instants = random.Random(seed)
        seeds = [instants.getrandbits(32) for _ in stands]
        calls = [aio.call(stand.kill, kills, seed) for stand, seed in zip(stands, seeds, strict=True)]
        calls += [aio.call(stand.count, number) for stand in stands for number in stand.counting]
        ended = await asyncio.gather(*calls)
        for stand in stands:
            stand.ensure_lived(kills)
        rounds, seconds = sum(ended[len(stands) :]), time.monotonic() - began
        self.log.info(
            "%d kills of each of %d counters in %.1f s, %.1f a second; %d calls",
            kills,
            len(stands),
            seconds,
            kills * len(stands) / seconds,
            rounds,
        )


class Stand:
    """One counter, who kills it, and who counts there."""

    def __init__(self, name: str, counter: Counter, system: System) -> None:
        self.name = name
        self.counter = counter
        self.system = system
        self.killing = True
        self.counting = set(range(1, COUNTING + 1))
        self.answered = threading.Event()

    def kill(self, kills: int, seed: int) -> int:
        """End the server at random points. Not before it has answered somebody: it is the calls that it is to hit."""
        instants = random.Random(seed)
        try:
            for _ in range(kills):
                self.answered.clear()
                self.answered.wait(PATIENCE)
                time.sleep(instants.uniform(0, LATEST))
                self.system.kill(self.name)
        finally:
            self.killing = False
            while self.counting:
                self.counter.count("")  # answers who waits for the next call
        return kills

    def count(self, number: int) -> int:
        """Count by all methods, for as long as the server is killed; returns how many calls were made."""
        try:
            return self.call_all(number)
        finally:
            self.counting.remove(number)

    def call_all(self, number: int) -> int:
        counter = with_timeout(self.counter, PATIENCE)
        name, expected = f"thread {number}", 0
        for made in itertools.count(1):
            kind = made % 5
            expected += 1
            match kind:
                case 1:
                    found = counter.increment(name, 1)
                case 2:
                    found = self.oddly(counter, name)
                case 3:
                    found = counter.increment_later(name)
                case 4:
                    found = counter.increment(name, 0) + 1
                    counter.increment(name, 1)
                case _:
                    expected -= 1
                    found = counter.count(name)
                    if counter.counts()[-len(PADDING) :] != PADDING:
                        raise Wrong("a long result is not whole")
            if found != expected:
                raise Wrong(f"{self.name}, {name}: the count is {found}, and should be {expected}")
            self.answered.set()
            if not self.killing and kind == 1:
                return made
        raise AssertionError

    def oddly(self, counter: Counter, name: str) -> int:
        try:
            return int(counter.increment_oddly(name))
        except OddCount as odd:
            return int(odd.args[0])

    def ensure_lived(self, kills: int) -> None:
        """Raises Wrong."""
        lives = next(count for name, count in self.counter.counts() if name == "lives")
        if not 1 < lives <= kills + 1:  # one that was killed before it began has not counted
            raise Wrong(f"{lives} lives of {self.name} after {kills} kills")
