"""A client that lends memory, by the scene that its description names; ends with 0 if all went as it should."""

from __future__ import annotations

import asyncio
import zlib
from pathlib import Path

from libsel4py import Component, RemoteError, aio, component, uses
from libsel4py.abi import Rights, VMFault
from libsel4py.bell import Bell
from libsel4py.bulk import Layout, Producer
from libsel4py.dataspace import DataSpace
from libsel4py.interfaces.system import System
from tests.system.images.failing import failing_with
from tests.system.images.lent import Lent

PAGE = 4096


@component
class Main(Component):
    service = uses(Lent)

    def run(self) -> int:
        getattr(self, str(self.task.environment.configuration["scene"]))()
        return 0

    def shared(self) -> None:
        """What one writes the other reads, in place, in memory of one frame and of several; all of it comes back."""
        before = self.task.memory.statistics().free_bytes
        for size in (PAGE, 5 << 20):
            with DataSpace.allocate(size) as space:
                mapping = space.attach()
                assert self.service.keep(space.share()) == size
                mapping.write(size - 5, b"hello")
                assert self.service.read(size - 5, 5) == b"hello"
                assert self.service.try_write(size - 5, b"HE") == ""
                with memoryview(mapping) as view:
                    assert bytes(view[size - 5 :]) == b"HEllo"
                self.service.fill(3)
                with memoryview(mapping) as view:
                    assert view == b"\x03" * size
                self.service.drop()
        assert self.task.memory.statistics().free_bytes == before

    def numpy(self) -> None:
        """Both use it as an array, without copying."""
        try:
            import numpy
        except ImportError:
            print("numpy is not installed: nothing was tried", flush=True)
            return
        with DataSpace.allocate(1 << 20) as space:
            numbers = numpy.frombuffer(memoryview(space.attach()), dtype="<u4")
            self.service.keep(space.share())
            numbers[:] = numpy.arange(len(numbers))
            assert self.service.count_up() == len(numbers)
            assert int(numbers[1000]) == 1001
            assert int(numbers.sum()) == sum(range(1, len(numbers) + 1))
            del numbers
            self.service.drop()

    def read_only(self) -> None:
        """What is handed over to be read cannot be written, in no way."""
        for size in (PAGE, 3 * PAGE):
            with DataSpace.allocate(size) as space:
                mapping = space.attach()
                mapping.write(0, b"keep")
                self.service.keep(space.share(Rights.READ))
                assert self.service.read(0, 4) == b"keep"
                assert self.service.try_write(0, b"x") == "TypeError"
                with failing_with(RemoteError, match="modify read-only memory"):
                    self.service.fill(1)
                assert mapping.read(0, 4) == b"keep"
                self.service.drop()
        with DataSpace.allocate(PAGE) as space:  # and one's own
            mapping = space.attach(Rights.READ)
            with failing_with(TypeError):
                mapping.write(0, b"x")

    def revoked(self) -> None:
        """Who has lost it gets VMFault from a guarded access; its contents stay with the giver."""
        for size in (PAGE, 3 * PAGE):
            with DataSpace.allocate(size) as space:
                mapping = space.attach()
                mapping.write(size - 4, b"mine")
                first = space.share()
                self.service.keep(first)
                space.drop(first)
                assert self.service.read(size - 4, 4) == b"mine"
                space.revoke()
                with failing_with(RemoteError, match=r"VMFault.*no memory at 0x"):
                    self.service.read(size - 4, 4)
                assert self.service.try_write(0, b"x") == "VMFault"
                assert mapping.read(size - 4, 4) == b"mine"
                self.service.keep(space.share())
                assert self.service.read(size - 4, 4) == b"mine"
                space.revoke()
                with failing_with(RemoteError, match="VMFault"):
                    self.service.read(0, 1)
                mapping.write(0, b"still")
                assert mapping.read(0, 5) == b"still"
            with failing_with(ValueError, match="not in a mapping of 0 bytes"):
                mapping.read(0, 1)

    def detached(self) -> None:
        """One's own guarded access after the frame was unmapped."""
        with DataSpace.allocate(PAGE) as space:
            mapping = space.attach()
            mapping.write(0, b"1")
            space.frames[0].unmap()
            with failing_with(VMFault):
                mapping.read(0, 1)
            with failing_with(VMFault):
                mapping.load_word(0)

    def ring(self) -> None:
        """More bytes than there is memory go through a ring, whichever side is faster."""
        layout = Layout(buffers=8, buffer_bytes=40_000)
        pieces, checksum = 500, 0
        data = Path(__file__).read_bytes() * 12
        with Bell.allocate() as bell, DataSpace.allocate(layout.size) as space:
            peer = self.service.open_ring(space.share(), layout.buffers, layout.buffer_bytes)
            self.service.use_bell(bell.peer)
            producer = Producer(space.attach(), layout, peer.signal, bell.wait)

            async def both() -> int:
                digest = asyncio.ensure_future(aio.call(self.service.digest, pieces))
                await asyncio.sleep(0)
                nonlocal checksum
                for number in range(pieces):
                    length = (number * 7919) % 40_001
                    part = data[:length]
                    buffer = producer.acquire(timeout=30)
                    buffer.view[:length] = part
                    checksum = zlib.crc32(part, checksum)
                    producer.submit(buffer, length, tag=number)
                return await digest

            assert aio.run(both()) == checksum
            producer.close()
            self.service.drop()

    def killed(self) -> None:
        """A taker's death takes its mappings with it, and nothing of the giver's."""
        system: System = self.uses.system
        with DataSpace.allocate(2 * PAGE) as space:
            mapping = space.attach()
            self.service.keep(space.share())
            mapping.write(0, b"alive")
            system.kill("server")
            assert mapping.read(0, 5) == b"alive"
            again = space.share()
            self.service.keep(again)
            assert self.service.read(0, 5) == b"alive"
            self.service.drop()
