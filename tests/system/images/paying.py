"""Clients of `pooled`, by the scene that their description names. Each ends with 0 if all went as it should."""

from __future__ import annotations

import statistics
import threading
import time

from libsel4py import Component, NotEnoughMemory, Word, component, set_thread_entry, uses
from libsel4py.environment import DEATH_BITS
from libsel4py.interfaces.activity import Activity, ActivityGone, WeakActivity
from libsel4py.lending import donate, lend, lend_enough
from libsel4py.session import SessionEnded
from libsel4py.session_slots import LEAST_SLOT_BITS, NotEnoughSlots
from tests.system.images.donor import FIRST_BITS, LEAST, MOST_BYTES, WANTED_BITS
from tests.system.images.failing import failing_with
from tests.system.images.flooding import SMALL_BITS
from tests.system.images.pooled import Pooled

DEPTH = 4
POOL_BITS = 16
PART_BITS = 13
TIMES = 10
CALLS = 300
KEPT = 16  # objects: 4 slots at first, 4 and 8 more, each table one of the server's 3
PATIENCE_S = 2.0  # the longest that a call may take beside a flood, on a host that is busy with other things as well


@component
class Main(Component):
    service = uses(Pooled)

    def start(self) -> None:
        self._begin, self._end = threading.Event(), threading.Event()
        self._rounds: list[int] = []
        set_thread_entry(self._flood)

    def run(self) -> int:
        getattr(self, str(self.task.environment.configuration["scene"]))()
        return 0

    # --- the scenes ---

    @property
    def servers(self) -> list[Pooled]:
        return [getattr(self.uses, f"server{number}") for number in range(DEPTH)]

    def paid(self) -> None:
        """Four servers work on one packet, and it comes back whole."""
        before = self.task.memory.statistics()
        own = [server.own_memory() for server in self.servers]
        assert all(own)
        for _ in range(TIMES):
            with lend(self.task, POOL_BITS) as pool:
                assert self.service.chain(pool.untyped, DEPTH - 1) == DEPTH
                assert self.service.chain(pool.untyped, DEPTH - 1) == DEPTH
        assert [server.own_memory() for server in self.servers] == own  # the packet alone has paid
        done, enough = lend_enough(self.task, 6, POOL_BITS, lambda pool: self.service.chain(pool, DEPTH - 1))
        assert (done, enough.size_bits > 6) == (DEPTH, True)
        enough.free()
        assert self.task.memory.statistics() == before
        assert [server.sessions() for server in self.servers] == [0] * DEPTH

    def destroyed(self) -> None:
        """The packet is destroyed while all four work on it: nothing of it is left, and all four go on."""
        free = [server.free_slots() for server in self.servers]
        for _ in range(TIMES):
            packet = self.uses.bank.packet(POOL_BITS)
            with failing_with(SessionEnded):
                self.service.chain(packet, DEPTH - 1)
            assert [server.sessions() for server in self.servers] == [0] * DEPTH
            self.task.delete(packet)
        now = [server.free_slots() for server in self.servers]
        assert all(before - after <= 1 for before, after in zip(free, now, strict=True)), (free, now)

    def charged(self) -> None:
        """Four servers work on an activity that each is handed weakly: it says who pays, and they decide nothing."""
        mine = self.task.memory.statistics().free_bytes
        own = [server.own_memory() for server in self.servers]
        assert all(own)
        with lend(self.task, POOL_BITS) as pool:
            whole = Activity(self.uses.activities.open(pool.untyped))
            part = Activity(whole.child(Word(DEPTH << PART_BITS)))
            weak = part.weak()
            assert self.service.charge(weak, PART_BITS, DEPTH - 1) == DEPTH
            assert [server.own_memory() for server in self.servers] == own
            for principal in (whole, part, WeakActivity(weak)):
                assert principal.usage()[0] == DEPTH << PART_BITS
            with failing_with(NotEnoughMemory):
                self.service.charge(weak, PART_BITS, 0)
            assert self.service.overreach(weak) == []
            assert part.usage() == (DEPTH << PART_BITS, DEPTH << PART_BITS)
            with failing_with(NotEnoughMemory):
                self.service.charge(weak, PART_BITS, 0)
            part.set_limit(Word(1 << POOL_BITS))
            assert self.service.charge(weak, PART_BITS, 0) == 1
            part.destroy()
            with failing_with(ActivityGone):
                self.service.charge(weak, PART_BITS, 0)
            assert whole.usage() == (0, 1 << POOL_BITS)
            assert self.service.overreach(whole.weak()) == []
            assert self.service.charge(whole.weak(), PART_BITS, DEPTH - 1) == DEPTH
            pool.take_back()
            with failing_with(ActivityGone):
                WeakActivity(whole.weak()).memory(PART_BITS)
        assert self.task.memory.statistics().free_bytes == mine

    def undone(self) -> None:
        """A request's activity is destroyed while four servers work on it: nothing of it is left, and all go on."""
        free = [server.free_slots() for server in self.servers]
        with lend(self.task, POOL_BITS) as pool:
            whole = Activity(self.uses.activities.open(pool.untyped))
            for _ in range(TIMES):
                request = whole.child(Word(1 << POOL_BITS))
                weak = Activity(request).weak()
                self.uses.bank.destroys(request)
                with failing_with(SessionEnded):
                    self.service.charge(weak, PART_BITS, DEPTH - 1)
                assert [server.sessions() for server in self.servers] == [0] * DEPTH
                assert whole.usage() == (0, 1 << POOL_BITS)
                for used in (request, weak):
                    self.task.delete(used)
        now = [server.free_slots() for server in self.servers]
        assert all(before - after <= 1 for before, after in zip(free, now, strict=True)), (free, now)

    def told(self) -> None:
        """The server is told of what is taken back, and of a client that ends for good: nobody uses these sessions."""
        pools = [lend(self.task, POOL_BITS) for _ in range(3)]
        for pool in pools:
            self.service.open(pool.untyped)
        for pool in pools[:2]:
            pool.take_back()
        assert self.service.wait_ended(3) == 3
        assert self.service.sessions() == 1

    def upgraded(self) -> None:
        """What a session was given comes back: to this task when it says so, and to root when a client is killed.

        Root gives it to that one's next life, which could not donate as much if any of it were missing.
        """
        before = self.task.memory.statistics()
        number, donation = donate(self.task, FIRST_BITS, MOST_BYTES, self.service.open)
        with donation:
            with failing_with(NotEnoughMemory):
                self.service.grow(number, WANTED_BITS)
            grown = donation.call(
                lambda: self.service.grow(number, WANTED_BITS), lambda more: self.service.upgrade(number, more)
            )
            assert (grown, donation.bytes) == (2, MOST_BYTES)
            assert self.task.memory.statistics().free_bytes == before.free_bytes - MOST_BYTES
        assert self.task.memory.statistics() == before
        assert self.service.wait_ended(1) == 1
        free = self.service.free_slots()
        for number in range(2, 7):
            assert self.uses.donor.donate() == MOST_BYTES  # half of what it has
            self.uses.system.kill("donor")
            assert self.service.wait_ended(number) == number
        assert self.service.sessions() == 0
        assert self.service.free_slots() >= free - DEATH_BITS  # at most so many bells ring for its notices

    def shelved(self) -> None:
        """A client has a server keep objects in slots that it pays, without end: it exhausts its own, and is killed.

        What it had donated comes back to root, or its next life could not donate as much; the server has all its slots.
        """
        mine, donation = donate(
            self.task, FIRST_BITS, MOST_BYTES, lambda pool: self.service.open_shelf(pool, LEAST_SLOT_BITS), slots=LEAST
        )
        assert [self.service.keep(mine) for _ in range(LEAST)] == list(range(1, LEAST + 1))
        with failing_with(NotEnoughSlots):
            self.service.keep(mine)
        assert self.service.wait_ended(0) == 0  # the server has made its second reply object
        free = self.service.free_slots()
        for number in range(1, 4):
            assert self.uses.donor.keep(KEPT) == KEPT
            self.uses.system.kill("donor")
            assert self.service.wait_ended(number) == number
            with failing_with(NotEnoughSlots):
                self.service.keep(mine)
        assert self.service.sessions() == 1
        assert self.service.free_slots() >= free - DEATH_BITS  # at most so many bells ring for its notices
        donation.call_for_slots(
            lambda: self.service.keep(mine), lambda more, bits: self.service.upgrade_slots(mine, more, bits)
        )
        donation.free()
        assert self.service.wait_ended(4) == 4

    def leaves(self) -> None:
        """It ends with a session that it has opened."""
        self.service.open(lend(self.task, POOL_BITS).untyped)

    def flooded(self) -> None:
        """Another client opens without end: it exhausts its own memory, and this one's session goes on."""
        with lend(self.task, SMALL_BITS) as pool:
            number = self.service.open(pool.untyped)
            quiet = self._measure(number)
            self._begin.set()
            beside = self._measure(number)
            while len(self._rounds) < 2:
                beside += self._measure(number)
            self._end.set()
            self.service.close(number)
        assert len(set(self._rounds)) == 1, f"what was taken back was not whole: {self._rounds}"
        assert max(beside) < PATIENCE_S
        print(f"alone {_summary(quiet)}; beside {len(self._rounds)} floods of {self._rounds[0]}: {_summary(beside)}")

    def _flood(self) -> None:
        self._begin.wait()
        while not self._end.is_set():
            self._rounds.append(self.uses.flooder.round())

    def _measure(self, number: int) -> list[float]:
        times = []
        for _ in range(CALLS):
            start = time.perf_counter()
            assert self.service.use(number) == 1
            times.append(time.perf_counter() - start)
        return times


def _summary(times: list[float]) -> str:
    return f"median {statistics.median(times) * 1e6:.0f} us, longest {max(times) * 1e6:.0f} us"
