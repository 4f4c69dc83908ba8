"""A kernel that dies at any store of the interface's work: the next one goes on. Frames may be lost or come twice."""

from __future__ import annotations

import asyncio

import pytest

from hw.devices.virtio_registers import Register, Status
from hw.ram import Interrupted
from tests.unit.hw.test_net import RX, TX, System, frame

MOST_STORES = 120
FRAMES = 3


class Crashing(System):
    """Its kernel dies at a store, and another one comes."""

    deaths = 0

    def finish(self) -> None:
        """Send until all buffers are used and all frames are out, with as many kernels as that takes."""
        self.loop.set_exception_handler(lambda loop, context: self._died(context["exception"]))

        async def finished() -> None:
            while self.used(RX) < FRAMES or self.used(TX) < FRAMES or not self.guest.get(Register.INTERRUPT_STATUS):
                assert not self.guest.get(Register.STATUS) & Status.NEEDS_RESET
                self.changed.clear()
                await self.changed.wait()

        self.loop.run_until_complete(asyncio.wait_for(finished(), 20))

    def _died(self, error: object) -> None:
        assert isinstance(error, Interrupted), error
        self.deaths += 1
        self.frames.close()
        self.guest.set(Register.INTERRUPT_ACK, 1)  # the driver looks meanwhile: an interrupt that came early is gone
        for number in range(FRAMES):
            self.there.send(frame(number))  # what was lost is sent again
        self.attach()
        self.changed.set()


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("made", [False, True])
def test_at_every_store(made: bool, keeps: bool) -> None:
    for store in range(MOST_STORES):
        system = Crashing(keeps=keeps)
        sent = [frame(100 + number) for number in range(FRAMES)]
        system.buffers(FRAMES)
        for head, each in enumerate(sent):
            system.transmit(each, head)
            system.there.send(frame(head))
        try:
            system.guest.ram.interrupt_at(store, made)
            system.finish()
            assert sorted(head for head, _ in system.guest.used(RX)) == [0, 1, 2]
            assert sorted(head for head, _ in system.guest.used(TX)) == [0, 1, 2]
            got = [system.received(head, written) for head, written in system.guest.used(RX)]
            assert set(got) <= {frame(number) for number in range(FRAMES)}
            out = [system.there.recv(2000) for _ in range(FRAMES)]
            assert set(out) <= set(sent)
            if not system.deaths:
                assert store > 10
                assert (got, out) == ([frame(number) for number in range(FRAMES)], sent)
                return
        finally:
            system.guest.ram.disarm()
            system.close()
    raise AssertionError(f"the work has more than {MOST_STORES} stores")
