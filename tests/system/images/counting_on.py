"""A client that counts while it kills the counter: nothing is lost, nothing is done twice, and no call fails of it."""

from __future__ import annotations

import itertools
import random
import time

from libsel4py import Component, aio, component, uses, with_timeout
from libsel4py.interfaces.system import System
from tests.system.images.counting import PADDING, Counter, OddCount

PATIENCE = 60.0  # seconds that a call may take, whatever happens to its server
LATEST = 0.002  # seconds after a round of calls until the next kill
THREADS = 3  # of which one ends the server, and two count


class Wrong(AssertionError):
    """A count is not what this client has made it."""


@component
class Main(Component):
    counter = uses(Counter)

    def run(self) -> int:
        configuration = self.task.environment.configuration
        kills, seed = int(str(configuration["kills"])), int(str(configuration["seed"]))
        aio.run(self.count_and_kill(kills, seed))
        return 0

    async def count_and_kill(self, kills: int, seed: int) -> None:
        self.killing, self.counting, self.rounds = True, THREADS - 1, [0] * THREADS
        counting = (aio.call(self.count, number) for number in range(1, THREADS))
        ended = await aio.asyncio.gather(aio.call(self.kill, kills, seed), *counting)
        lives = next(count for name, count in self.counter.counts() if name == "lives")
        self.log.info("%d kills, %d lives, rounds of calls: %s", kills, lives, ended[1:])
        if not 1 < lives <= kills + 1:  # one that was killed before it began has not counted
            raise Wrong(f"{lives} lives after {kills} kills")

    def kill(self, kills: int, seed: int) -> None:
        """End the server at random points. Not before it has answered somebody: it is the calls that it is to hit."""
        system: System = self.uses.system
        instants = random.Random(seed)
        try:
            for _ in range(kills):
                before = sum(self.rounds)
                while sum(self.rounds) == before:
                    time.sleep(0)
                until = time.perf_counter() + instants.uniform(0, LATEST)
                while time.perf_counter() < until:
                    time.sleep(0)
                system.kill("counter")
        finally:
            self.killing = False
            while self.counting:
                self.counter.count("")  # answers who waits for the next call

    def count(self, number: int) -> int:
        """Count by all methods, for as long as the server is killed; returns how often one was called."""
        try:
            return self.call_all(number)
        finally:
            self.counting -= 1

    def call_all(self, number: int) -> int:
        counter = with_timeout(self.counter, PATIENCE)
        name, expected = f"thread {number}", 0
        for kind in itertools.cycle(range(5)):
            expected += 1
            match kind:
                case 0:
                    found = counter.increment(name, 1)
                case 1:
                    found = self.oddly(counter, name)
                case 2:
                    found = counter.increment_later(name)
                case 3:
                    found = counter.increment(name, 0) + 1
                    counter.increment(name, 1)
                case _:
                    expected -= 1
                    found = counter.count(name)
                    if counter.counts()[-len(PADDING) :] != PADDING:
                        raise Wrong("a long result is not whole")
            if found != expected:
                raise Wrong(f"{name}: the count is {found}, and should be {expected}")
            self.rounds[number] += 1
            if not self.killing and not kind:
                return self.rounds[number]
        raise AssertionError

    def oddly(self, counter: Counter, name: str) -> int:
        try:
            return int(counter.increment_oddly(name))
        except OddCount as odd:
            return int(odd.args[0])
