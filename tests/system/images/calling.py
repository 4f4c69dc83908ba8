"""A client that calls often, by the scene that its description names; ends with 0 if all went as it should."""

from __future__ import annotations

import asyncio
import threading

from libsel4py import (
    Channel,
    Component,
    InvalidCapability,
    Notification,
    ServerDied,
    Timeout,
    Untyped,
    aio,
    component,
    signal_many,
    uses,
    verify,
    with_timeout,
)
from libsel4py.abi import ObjectType
from libsel4py.channels import THRESHOLD
from libsel4py.interfaces.system import System
from libsel4py.server_loop import listening
from tests.system.images.called import Called, Refused
from tests.system.images.failing import failing_with

PATIENCE = 30.0  # seconds
LIVES = 5


@component
class Main(Component):
    service = uses(Called)

    def run(self) -> int:
        scene = str(self.task.environment.configuration["scene"])
        getattr(self, scene)()
        return 0

    # --- what the scenes are made of ---

    @property
    def calls(self) -> int:
        """How many calls of this thread went by channel."""
        return self.task.channels.statistics().calls

    def call(self, times: int, service: Called | None = None) -> None:
        service = service or self.service
        for number in range(times):
            assert service.add(number, 1) == number + 1

    def upgrade(self) -> None:
        """Call until calls go by channel."""
        self.call(THRESHOLD)
        assert self.calls == 1, self.task.channels.statistics()

    # --- the scenes ---

    def interface(self) -> None:
        """All that an interface can do, before and after."""
        service = self.service
        self.everything(service)
        self.call(THRESHOLD)
        before = self.calls
        assert before > 0, self.task.channels.statistics()
        self.everything(service)
        self.call(100)
        assert self.calls > before + 100
        taken = service.taken()
        assert taken == self.calls, f"{taken} taken, {self.task.channels.statistics()}"
        assert self.task.channels.statistics().connected == 1

    def everything(self, service: Called) -> None:
        verify(service)
        assert service.who()[1] == self.task.name
        for size in (0, 23, 24, 25, 500, 940):
            data = bytes(index % 251 for index in range(size))
            assert service.echo(data) == data
        assert service.numbers(3000) == list(range(3000))
        with failing_with(Refused) as refused:
            service.refuse(7)
        assert refused.value.args == (7,)
        before = service.notes()
        service.note("one")
        service.note("two")
        assert service.notes() == [*before, "one", "two"]
        lent = Untyped(self.task.memory.allocate(ObjectType.UNTYPED, 12).start)
        service.lend(lent)
        self.task.memory.free(lent.cptr)
        opened = service.open()
        assert Called(opened).who() == (0, "#0")
        self.task.delete(opened)

    def choices(self) -> None:
        """What the description says of a connection."""
        self.call(1)  # the server listens
        fast, slow = self.uses.fast, self.uses.slow
        self.call(1, fast)
        assert self.calls == 1
        self.call(2 * THRESHOLD, slow)
        assert self.calls == 1
        self.call(THRESHOLD)
        assert self.calls > 1

    def time_limits(self) -> None:
        """A call that is given up, and what comes behind it."""
        self.upgrade()
        for _ in range(3):
            with failing_with(Timeout):
                with_timeout(self.service, 0.05).wait_for_ring()
            given_up = self.calls
            self.call(2 * THRESHOLD)  # through the kernel, while the server has the request
            assert self.calls == given_up, self.task.channels.statistics()
            self.service.ring(1)
            self.call(10)
            assert self.calls >= given_up + 9
        statistics = self.task.channels.statistics()
        assert (statistics.severed, statistics.abandoned) == (0, 3), statistics

    def deferred(self) -> None:
        """Each thread has a channel of its own, and waits at it."""
        self.upgrade()

        def wait() -> tuple[int, int]:
            self.call(2 * THRESHOLD)
            return self.service.wait_for_ring(), self.calls

        async def both() -> tuple[int, int]:
            waiting = asyncio.ensure_future(aio.call(wait))
            while not self.service.waiting():
                await asyncio.sleep(0)
            self.service.ring(41)
            return await waiting

        value, calls = aio.run(both())
        assert value == 41
        assert calls > THRESHOLD
        assert self.calls > 1

    def severed(self) -> None:
        """The only channel ends while a thread waits there for its answer."""
        slow = self.uses.slow
        self.call(1, slow)  # the server listens

        def wait() -> None:
            self.upgrade()
            with failing_with(InvalidCapability):
                self.service.wait_for_ring()

        async def both() -> None:
            waiting = asyncio.ensure_future(aio.call(wait))
            while not (waiting.done() or slow.waiting()):
                await asyncio.sleep(0)
            self.task.channels.forget(self.task.environment.connections["service"].cptr)
            await waiting

        aio.run(both())

    def signals(self) -> None:
        """Another thread waits for what this one signals, by channel and through the kernel."""
        task, ready = self.task, threading.Event()
        waited_for = Notification(task.memory.allocate(ObjectType.NOTIFICATION).start)

        def wait() -> int:
            seen = 0
            with listening(waited_for):
                ready.set()
                while seen != 0b1111:
                    seen |= waited_for.wait(PATIENCE)
            return seen

        def signal() -> None:
            assert ready.wait(PATIENCE)
            signallers = [Notification(task.slots.allocate()) for _ in range(4)]
            for number, signaller in enumerate(signallers):
                task.cnode.mint(signaller.cptr, task.cnode, waited_for.cptr, 1 << number)
            for signaller in signallers[:3]:
                signaller.connect(Channel(task.memory.allocate(ObjectType.CHANNEL).start))
            signallers[0].signal()
            signal_many(signallers[1:])

        async def both() -> int:
            waiting = asyncio.ensure_future(aio.call(wait))
            await asyncio.sleep(0)
            signal()
            return await waiting

        assert aio.run(both()) == 0b1111

    def badges(self) -> None:
        """Two clients, each with its own channel, are told apart."""
        self.upgrade()
        patient = with_timeout(self.service, PATIENCE)
        patient.meet(2)
        for _ in range(200):
            assert self.service.who()[1] == self.task.name
        assert self.calls > 200
        patient.meet(2)  # the other one has found the same

    def restarted(self) -> None:
        """The server is killed while its client calls."""
        system: System = self.uses.system
        self.call(2 * THRESHOLD)
        for _ in range(LIVES):
            self.call(10)
            system.kill("server")
            self.call_again()
            before = self.calls
            self.call(10)
            assert self.calls == before + 10, self.task.channels.statistics()
            with failing_with(ServerDied):
                self.service.die()
            self.call_again()
        assert self.service.taken() > 0

    def call_again(self) -> None:
        """One call, repeated as long as its server dies with it."""
        while True:
            try:
                return self.call(1)
            except ServerDied:
                continue
