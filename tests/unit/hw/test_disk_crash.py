"""A kernel that dies at any store of the disk's work: the next one finishes every request, and tells of each once."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from hw.devices.block import BARRIER, BARRIER_TYPE, COMMIT, FLUSH, Kind, Outcome
from hw.devices.bus import IoBus
from hw.devices.disk import Disk
from hw.devices.virtio_registers import Register, Status
from hw.devices.virtqueue import DeviceQueue
from hw.ram import Interrupted
from libsel4py.testing.power_loss.cuts import cuts, epochs
from tests.unit.hw.test_block import DATA, Recorder, System
from tests.unit.hw.test_block_commit import Logged, answer, offer_commit

REQUESTS = 4
EPOCHS: list[dict[int, bytes]] = [{1: b"a" * 512, 2: b"b" * 512}, {1: b"c" * 512, 3: b"d" * 512}]  # sectors' contents
MOST_STORES = 80


class Crashing(System):
    """Its kernel dies at a store, and another one comes."""

    def __init__(self, medium: Recorder) -> None:
        super().__init__(medium)
        self.medium = medium
        self.deaths = 0

    def finish(self) -> None:
        """Until all requests are used, with as many kernels as that takes."""
        self.loop.set_exception_handler(lambda loop, context: self._died(context["exception"]))
        self.guest.set(Register.QUEUE_NOTIFY, 0)

        async def finished() -> None:
            while len(self.guest.used()) < REQUESTS or not self.guest.get(Register.INTERRUPT_STATUS):
                assert not self.guest.get(Register.STATUS) & Status.NEEDS_RESET
                self.changes.clear()
                await self.changes.wait()

        self.loop.run_until_complete(asyncio.wait_for(finished(), 20))

    def _died(self, error: object) -> None:
        assert isinstance(error, Interrupted), error
        self.deaths += 1
        self.disk.close()
        self.guest.set(Register.INTERRUPT_ACK, 1)  # the driver looks meanwhile: an interrupt that came early is gone
        self.disk = Disk(self.loop, self.guest.bus, self.device, self.medium, self.changes.set)
        self.changes.set()


def crashing(medium: Recorder) -> Crashing:
    system = Crashing(medium)
    system.guest.begin(FLUSH, size=16)
    system.request(Kind.OUT, 1, b"a" * 512, slot=0)
    system.request(Kind.FLUSH, slot=1)
    system.request(Kind.IN, 9, incoming=512, slot=2)
    system.request(Kind.GET_ID, incoming=20, slot=3)
    return system


def behind_a_barrier(medium: Recorder) -> Crashing:
    """As above, but made available in another order than that of their numbers."""
    system = Crashing(medium)
    system.guest.begin(FLUSH | BARRIER, size=16)
    system.request(Kind.OUT, 1, b"a" * 512, slot=2)
    system.request(Kind.FLUSH | BARRIER_TYPE, slot=0)
    system.request(Kind.OUT, 1, b"b" * 512, slot=3)
    system.request(Kind.FLUSH | BARRIER_TYPE, slot=1)
    return system


def ensure_finished(system: Crashing, medium: Recorder) -> None:
    system.finish()
    assert sorted(system.guest.used()) == [(0, 1), (3, 1), (6, 513), (9, 21)]
    assert [system.status(slot) for slot in range(REQUESTS)] == [Outcome.OK] * REQUESTS
    assert system.guest.read(DATA + 0x2000, 512) == medium.bytes[9 * 512 : 10 * 512]
    assert medium.bytes[512:1024] == b"a" * 512
    written, flushed = medium.log.index(("write", 512, 512)), len(medium.log) - 1 - medium.log[::-1].index("flush")
    assert written < flushed


@pytest.mark.parametrize("reads_now", [False, True])
@pytest.mark.parametrize("made", [False, True])
def test_at_every_store(reads_now: bool, made: bool) -> None:
    for store in range(MOST_STORES):
        medium = Recorder()
        medium.reads_now = reads_now
        system = crashing(medium)
        try:
            system.guest.ram.interrupt_at(store, made)
            ensure_finished(system, medium)
            if not system.deaths:
                assert store > 5
                return
        finally:
            system.guest.ram.disarm()
            system.close()
    raise AssertionError(f"the work has more than {MOST_STORES} stores")


def test_requests_are_done_again_in_order() -> None:
    """Each flush is of the write before it, whatever the kernel had begun when it died."""
    for store in range(MOST_STORES):
        medium = Recorder()
        system = behind_a_barrier(medium)
        try:
            system.guest.ram.interrupt_at(store, False)
            system.finish()
            assert medium.bytes[512:1024] == b"b" * 512
            # The last flush is done twice where the kernel that died had told of the write before it already.
            assert [each for each, _ in itertools.groupby(medium.log)][-2:] == [("write", 512, 512), "flush"]
            assert medium.log[0] != "flush"
            if not system.deaths:
                assert store >= 5  # marks that are made together are one store
                return
        finally:
            system.guest.ram.disarm()
            system.close()
    raise AssertionError(f"the work has more than {MOST_STORES} stores")


def test_between_the_commit_and_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    publish = DeviceQueue.publish

    def killed(queue: DeviceQueue, bus: IoBus) -> None:
        monkeypatch.setattr(DeviceQueue, "publish", publish)
        raise Interrupted("killed")

    medium = Recorder()
    system = crashing(medium)
    monkeypatch.setattr(DeviceQueue, "publish", killed)
    ensure_finished(system, medium)
    assert system.deaths == 1
    system.close()


def test_a_commit_is_begun_again_and_shows_no_epoch_without_the_one_before_it() -> None:
    """Power goes, besides, at any time: what the medium has then is a beginning of the epochs, and part of the next.

    A sector is in both epochs, of which the later one is the last (`servers/block/commits.py`, `together`).
    """
    steps = [step for epoch in EPOCHS for step in (*((sector, 1) for sector in epoch), (0, 0))]
    data = b"".join(bytes for epoch in EPOCHS for bytes in epoch.values())
    begun_again = 0
    for store in range(MOST_STORES):
        medium = Logged()
        former = bytes(medium.bytes)
        system = Crashing(medium)
        system.guest.begin(FLUSH | COMMIT, size=16)
        offer_commit(system, steps, data)
        for slot in (2, 3, 4):
            system.request(Kind.FLUSH, slot=slot)
        try:
            system.guest.ram.interrupt_at(store, False)
            system.finish()
            assert answer(system) == (len(steps), Outcome.OK)
            ensure_never_mixed(former, medium)
            begun_again += sum(1 for each in medium.cut if each == (512, b"a" * 512)) > 1
            if not system.deaths:
                assert begun_again
                return
        finally:
            system.guest.ram.disarm()
            system.close()
    raise AssertionError(f"the work has more than {MOST_STORES} stores")


def ensure_never_mixed(former: bytes, medium: Logged) -> None:
    """At each cut of the log: an epoch is there in part only where all before it are there whole."""
    first, second = EPOCHS
    randomly = random.Random(1)
    at_flush = bytearray(former)
    for epoch in epochs(medium.cut):
        for cut in cuts(epoch, randomly, 20):
            found = bytearray(at_flush)
            for offset, written in cut.written:
                found[offset : offset + len(written)] = written
            has_second = [sector for sector, data in second.items() if found[512 * sector :][:512] == data]
            if has_second:
                assert all(found[512 * sector :][:512] in (data, second.get(sector)) for sector, data in first.items())
        for offset, written in epoch.writes:
            at_flush[offset : offset + len(written)] = written
    assert all(at_flush[512 * sector :][:512] == data for sector, data in second.items())
