"""A client that does to channels what nobody should: by the scene that its description names; 0 if all holds."""

from __future__ import annotations

import asyncio
import threading

from libsel4py import (
    Channel,
    Component,
    Endpoint,
    RangeError,
    ServerDied,
    Timeout,
    Untyped,
    aio,
    component,
    uses,
    with_timeout,
)
from libsel4py.abi import ObjectType
from libsel4py.channels import THRESHOLD
from libsel4py.errors import TooManyDeferred
from libsel4py.interfaces.system import System
from libsel4py.server import MAX_DEFERRED
from tests.system.images.called import Called, Refused
from tests.system.images.failing import failing_with

MOST, MOST_OF_THREAD = 120, 64
ROUNDS = 400
CLIENTS = 4
PATIENCE = 60.0  # seconds


@component
class Main(Component):
    service = uses(Called)

    def run(self) -> int:
        scene = str(self.task.environment.configuration["scene"])
        getattr(self, scene)()
        return 0

    def copy(self) -> Endpoint:
        slot = self.task.slots.allocate()
        self.task.cnode.copy(slot, self.task.cnode, self.task.environment.connections["service"].cptr)
        return Endpoint(slot)

    def new_channel(self) -> Channel:
        return Channel(self.task.memory.allocate(ObjectType.CHANNEL).start)

    def call(self, times: int) -> None:
        for number in range(times):
            assert self.service.add(number, 1) == number + 1

    def connect(self, count: int) -> list[Channel]:
        made = []
        for _ in range(count):
            channel = self.new_channel()
            self.copy().connect(channel)
            made.append(channel)
        return made

    def meet(self) -> None:
        """Wait for the other clients, some of which have had the server owe as many answers as it may."""
        while True:
            try:
                return with_timeout(self.service, PATIENCE).meet(CLIENTS)
            except TooManyDeferred:
                self.service.ring(0)

    def limits(self) -> None:
        """64 of a thread, 120 of the endpoint, and one more of each; the others go on by the kernel."""
        self.call(1)
        mine = self.connect(MOST_OF_THREAD)
        refused = self.new_channel()
        with failing_with(RangeError) as error:
            self.copy().connect(refused)
        assert "64" in str(error.value), error.value

        def other() -> int:
            made = self.connect(MOST - MOST_OF_THREAD)
            with failing_with(RangeError) as error:
                self.copy().connect(refused)
            assert "120" in str(error.value), error.value
            self.call(2 * THRESHOLD)
            assert self.task.channels.statistics().connected == 0
            made.pop().disconnect()
            self.copy().connect(refused)
            refused.disconnect()
            for channel in made:
                channel.disconnect()
            return len(made)

        async def both() -> int:
            return await aio.call(other)

        assert aio.run(both()) == MOST - MOST_OF_THREAD - 1
        for channel in mine:
            channel.disconnect()
        self.call(2 * THRESHOLD)

    def storm(self) -> None:
        """Connect and close, with a call between of which some are given up."""
        self.call(1)
        channel, way = self.new_channel(), self.copy()
        service = Called(way)
        pool, slots = self.task.memory.statistics().free_bytes, self.task.slots.free_count
        for number in range(ROUNDS):
            way.connect(channel)
            if number % 3:
                assert service.add(number, 1) == number + 1
            if number % 16 == 0:
                with failing_with((Timeout, TooManyDeferred)):
                    with_timeout(service, 0).wait_for_ring()
            channel.disconnect()
        assert (self.task.memory.statistics().free_bytes, self.task.slots.free_count) == (pool, slots)
        self.meet()

    def honest(self) -> None:
        self.call(100 * ROUNDS)
        self.meet()

    def greedy(self) -> None:
        """Call, go away and call again, without end."""
        impatient, refused = with_timeout(self.service, 0), 0
        while True:
            try:
                impatient.wait_for_ring()
            except Timeout:
                continue
            except TooManyDeferred:
                refused += 1
            if refused == 100:
                self.service.note("refused")

    def beside_greed(self) -> None:
        """Be answered beside it, in each of its lives."""
        system: System = self.uses.system

        async def answered() -> None:
            for lives in range(1, 4):
                while len(self.service.notes()) < lives:
                    await asyncio.sleep(0)
                assert self.service.waiting() == MAX_DEFERRED // 2
                honest = asyncio.ensure_future(aio.call(self.service.wait_for_ring))
                while self.service.waiting() == MAX_DEFERRED // 2:
                    await asyncio.sleep(0)
                self.service.ring(lives)
                assert await honest == lives
                system.kill("greedy")

        aio.run(answered())

    def mixed(self) -> None:
        """Two threads at once: short calls, long ones, failures, and capabilities both ways."""

        def all_sorts(base: int) -> int:
            for number in range(base, base + 600):
                assert self.service.add(number, base) == number + base
                data = bytes([number % 251]) * (number % 941)
                assert self.service.echo(data) == data
                if number % 7 == 0:
                    count = number % 3000
                    assert self.service.numbers(count) == list(range(count))
                if number % 11 == 0:
                    with failing_with(Refused) as refused:
                        self.service.refuse(number)
                    assert refused.value.args == (number,)
                if number % 13 == 0:
                    lent = Untyped(self.task.memory.allocate(ObjectType.UNTYPED, 12).start)
                    self.service.lend(lent)
                    self.task.memory.free(lent.cptr)
                    opened = self.service.open()
                    assert Called(opened).who() == (0, "#0")
                    self.task.delete(opened)
            return self.task.channels.statistics().calls

        async def both() -> list[int]:
            return await asyncio.gather(*(aio.call(all_sorts, base) for base in (0, 100_000, 200_000)))

        assert all(calls > 1000 for calls in aio.run(both()))

    def time_outs(self) -> None:
        """Of no sense, of none, and beyond all years."""
        for upgraded in range(2):
            for odd in (-1.0, float("-inf"), float("nan")):
                with failing_with(ValueError):
                    with_timeout(self.service, odd)
            for long in (1e8, 9e9, 1e10, 1e300, float("inf")):
                patient = with_timeout(self.service, long)
                assert patient.add(1, 2) == 3, long
                assert patient.echo(b"x" * 900) == b"x" * 900
            assert upgraded == (self.task.channels.statistics().calls > 0)
            for short in (0, 1e-12, 1e-7):
                for _ in range(20):
                    try:
                        assert with_timeout(self.service, short).add(3, 4) == 7
                    except Timeout:
                        continue
            self.call(2 * THRESHOLD)

    def cancelled(self) -> None:
        """Calls that nobody waits for any more, in the midst of them."""

        def wait() -> int:
            self.call(2 * THRESHOLD)
            return self.service.wait_for_ring()

        async def rounds() -> None:
            self.call(2 * THRESHOLD)
            for number in range(300):
                waiting = [asyncio.ensure_future(aio.call(wait)) for _ in range(3)]
                while self.service.waiting() < 2:
                    await asyncio.sleep(0)
                for each in waiting:
                    each.cancel()
                answers = await asyncio.gather(*waiting, return_exceptions=True)
                assert all(isinstance(each, asyncio.CancelledError) for each in answers), answers
                self.service.ring(number)
                assert await aio.call(self.service.add, number, 1) == number + 1

        aio.run(rounds())

    def beside_deaths(self) -> None:
        """Honest calls of two threads while the server is killed over and over."""
        system: System = self.uses.system
        self.call(1)
        stop = threading.Event()

        def go_on() -> int:
            done = number = 0
            while not stop.is_set():
                number += 1
                try:
                    assert self.service.add(number, 5) == number + 5
                    done += 1
                except ServerDied:
                    continue
            return done

        async def both() -> list[int]:
            workers = [asyncio.ensure_future(aio.call(go_on)) for _ in range(2)]
            for _ in range(8):
                await asyncio.sleep(0.12)
                system.kill("server")
            stop.set()
            return list(await asyncio.gather(*workers))

        assert all(done > 100 for done in aio.run(both()))
