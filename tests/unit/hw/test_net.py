"""The network interface: frames as a driver moves them, back pressure, and what hostile drivers come to."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from hw.devices.device import Device
from hw.devices.net import HEADER, MAC, MTU, RECEIVED, STATUS, Net
from hw.devices.net_frames import FRAMES_A_TURN, NetFrames
from hw.devices.virtio_registers import CONFIG_INTERRUPT, USED_INTERRUPT, Cause, Feature, Register, Status
from hw.devices.virtqueue import INDIRECT, NEXT, NO_NOTIFY, SEGMENTS_A_TURN, WRITE
from tests.unit.hw.virtio_driver import AT, FRAME_BYTES, IRQ, NUMBER, PORT, RECORD, Guest

OWN_MAC = bytes.fromhex("525400123456")
BUFFERS, OUTGOING = 0x10000, 0x28000
BUFFER_BYTES = 2048
RX, TX = 0, 1
FEATURES = MAC | MTU | STATUS


class System:
    """A guest, its interface, and the other end of its link. ``keeps``: of `Guest`; without it C moves no frame."""

    def __init__(self, size: int = 8, keeps: bool = False) -> None:
        self.guest = Guest(lambda ram, dma: Net(ram, RECORD, NUMBER, PORT, IRQ, dma, OWN_MAC, 1500), keeps)
        device = self.guest.device
        assert isinstance(device, Net)
        self.device = device
        self.loop = asyncio.new_event_loop()
        self.here, self.there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.there.setblocking(False)
        self.changed = asyncio.Event()
        self.attach()
        self.guest.begin(FEATURES, size=size, queues=2)
        self.offered = [0, 0]
        self.size = size

    def attach(self) -> None:
        self.frames = NetFrames(self.loop, self.guest.bus, self.device, self.here.fileno(), self.changed.set)
        self.guest.bus.set_kick(lambda number: self.frames.kicked())

    def close(self) -> None:
        self.frames.close()
        self.loop.close()
        self.here.close()
        self.there.close()

    def offer(self, queue: int, head: int) -> None:
        self.guest.available = self.offered[queue]
        self.guest.offer(head, queue)
        self.offered[queue] = self.guest.available

    def buffers(self, count: int, size: int = BUFFER_BYTES) -> None:
        for head in range(count):
            self.guest.descriptor(head, AT + BUFFERS + BUFFER_BYTES * head, size, WRITE, queue=RX)
            self.offer(RX, head)
        self.guest.set(Register.QUEUE_NOTIFY, RX)

    def transmit(self, frame: bytes, head: int = 0) -> None:
        place = OUTGOING + BUFFER_BYTES * head
        self.guest.write(place, bytes(HEADER.size) + frame)
        self.guest.descriptor(head, AT + place, HEADER.size + len(frame), queue=TX)
        self.offer(TX, head)
        self.guest.set(Register.QUEUE_NOTIFY, TX)

    def until(self, holds: Callable[[], bool]) -> None:
        async def look() -> None:
            while not holds():
                self.changed.clear()
                await self.changed.wait()

        self.loop.run_until_complete(asyncio.wait_for(look(), 20))

    def turns(self, count: int = 4) -> None:
        """Let the loop do what it has to do."""

        async def turn() -> None:
            for _ in range(count):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turn())

    def works(self) -> int:
        """How often the interface works while nothing happens."""
        counted: list[object] = []
        change = self.guest.bus.change

        def count(device: Device, work: Callable[[], None]) -> None:
            counted.append(device)
            change(device, work)

        self.guest.bus.change = count  # type: ignore[method-assign]
        self.turns(20)
        self.guest.bus.change = change  # type: ignore[method-assign]
        return len(counted)

    def used(self, queue: int) -> int:
        return len(self.guest.used(queue))

    def wants_kicks(self) -> bool:
        return not self.device.dma.load16(self.device.queues[RX].device) & NO_NOTIFY

    def needs_reset(self) -> bool:
        return bool(self.device.state.status & Status.NEEDS_RESET)

    def received(self, head: int, written: int) -> bytes:
        found = self.guest.read(BUFFERS + BUFFER_BYTES * head, written)
        assert found[: HEADER.size] == RECEIVED
        return found[HEADER.size :]


@pytest.fixture(params=[False, True], ids=["model", "bulk"])
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    made = System(keeps=request.param)
    yield made
    made.close()


def frame(number: int, size: int = 60) -> bytes:
    return random.Random(number).randbytes(size)


def test_its_configuration_space(system: System) -> None:
    assert bytes(system.guest.configuration(at, 1) for at in range(6)) == OWN_MAC
    assert system.guest.configuration(6, 2) == 1  # the link is up
    assert system.guest.configuration(10, 2) == 1500
    assert system.guest.get(Register.DEVICE_ID) == 1


def test_frames_go_out_in_order(system: System) -> None:
    sent = [frame(number, 60 + number) for number in range(4)]
    for head, each in enumerate(sent):
        system.transmit(each, head)
    system.until(lambda: system.used(TX) == 4)
    assert [system.there.recv(2000) for _ in sent] == sent
    assert [head for head, _ in system.guest.used(TX)] == [0, 1, 2, 3]
    assert system.device.own.sent == 4
    assert system.device.own.sent_bytes == sum(map(len, sent))
    assert system.guest.get(Register.INTERRUPT_STATUS) & USED_INTERRUPT


def test_frames_come_in_order(system: System) -> None:
    sent = [frame(number, 60 + number) for number in range(3)]
    system.buffers(4)
    for each in sent:
        system.there.send(each)
    system.until(lambda: system.used(RX) == 3)
    assert [system.received(head, written) for head, written in system.guest.used(RX)] == sent
    assert system.device.own.received == 3


def test_a_frame_may_be_cut_into_descriptors(system: System) -> None:
    system.guest.write(OUTGOING, bytes(HEADER.size) + b"abcdefghijklmnopqrstuvwxyz")
    for number, (at, size) in enumerate(((0, 5), (5, 12), (17, 21))):
        system.guest.descriptor(number, AT + OUTGOING + at, size, NEXT if number < 2 else 0, number + 1, queue=TX)
    system.offer(TX, 0)
    system.guest.set(Register.QUEUE_NOTIFY, TX)
    system.until(lambda: system.used(TX) == 1)
    assert system.there.recv(2000) == b"abcdefghijklmnopqrstuvwxyz"


def test_without_buffers_frames_stay_with_the_host(system: System) -> None:
    system.there.send(frame(1))
    system.turns()
    assert system.device.own.dropped == 0
    system.buffers(1)
    system.until(lambda: system.used(RX) == 1)
    system.there.send(frame(2))
    system.turns()
    assert system.works() == 0  # it waits for buffers
    assert system.used(RX) == 1
    assert system.here.recv(2000) == frame(2)  # nobody has read it


def test_the_driver_notifies_of_buffers_only_when_there_are_none(system: System) -> None:
    assert system.wants_kicks()
    system.buffers(2)
    system.turns()
    assert not system.wants_kicks()
    system.guest.descriptor(2, AT + BUFFERS + 2 * BUFFER_BYTES, BUFFER_BYTES, WRITE, queue=RX)
    system.offer(RX, 2)  # and no word of it
    for number in range(3):
        system.there.send(frame(number))
    system.until(lambda: system.used(RX) == 3)
    system.turns()
    assert system.wants_kicks()
    system.guest.set(Register.STATUS, 0)
    system.guest.begin(FEATURES, queues=2)
    system.offered = [0, 0]
    system.turns()
    assert system.wants_kicks()
    system.buffers(1)
    system.turns()
    assert not system.wants_kicks()


def test_a_frame_that_does_not_fit_is_dropped_and_its_buffer_is_kept(system: System) -> None:
    system.buffers(1, size=HEADER.size + 60)
    system.there.send(frame(1, 61))
    system.there.send(frame(2, 60))
    system.until(lambda: system.used(RX) == 1)
    ((head, written),) = system.guest.used(RX)
    assert system.received(head, written) == frame(2, 60)
    assert system.device.own.dropped == 1


def test_a_frame_longer_than_the_link_allows_is_dropped(system: System) -> None:
    system.buffers(1)
    system.there.send(frame(1, 1519))
    system.there.send(frame(2, 1518))
    system.until(lambda: system.used(RX) == 1)
    assert system.guest.used(RX)[0][1] == HEADER.size + 1518


def test_a_full_link_keeps_frames_with_the_driver(system: System) -> None:
    filler = frame(0, 1500)
    filled = 0
    try:
        while True:
            system.here.send(filler)
            filled += 1
    except BlockingIOError:
        system.transmit(frame(1))
    system.turns()
    assert system.used(TX) == 0
    assert system.works() == 0  # it waits for room
    for _ in range(filled):
        assert system.there.recv(2000) == filler
    system.until(lambda: system.used(TX) == 1)
    assert system.there.recv(2000) == frame(1)


@pytest.mark.parametrize("keeps", [False, True])
def test_a_turn_is_bounded(keeps: bool) -> None:
    system = System(size=256, keeps=keeps)
    counts: list[int] = []
    change = system.guest.bus.change

    def counted(device: object, work: Callable[[], None]) -> None:
        before = system.device.own.sent
        change(system.device, work)
        counts.append(system.device.own.sent - before)

    system.guest.bus.change = counted  # type: ignore[method-assign,assignment]
    system.guest.write(OUTGOING, bytes(HEADER.size) + frame(1))
    for head in range(200):
        system.guest.descriptor(head, AT + OUTGOING, HEADER.size + 60, queue=TX)
        system.offer(TX, head)
    system.guest.set(Register.QUEUE_NOTIFY, TX)
    system.until(lambda: system.used(TX) == 200)
    assert max(counts) == FRAMES_A_TURN
    system.close()


def test_the_link_goes_down_when_the_other_side_ends(system: System) -> None:
    system.buffers(1)
    system.there.close()
    system.until(lambda: bool(system.device.own.is_down))
    assert system.guest.configuration(6, 2) == 0
    assert system.guest.get(Register.INTERRUPT_STATUS) & CONFIG_INTERRUPT
    system.transmit(frame(1))
    system.until(lambda: system.used(TX) == 1)  # on a cable that hangs
    assert system.device.own.sent == 0


def test_a_reset_forgets_the_driver_s_buffers(system: System) -> None:
    system.buffers(2)
    system.turns()
    system.guest.set(Register.STATUS, 0)
    system.guest.begin(FEATURES, queues=2)
    system.offered = [0, 0]
    system.there.send(frame(1))
    system.turns()
    assert system.used(RX) == 0
    system.buffers(1)
    system.until(lambda: system.used(RX) == 1)
    assert system.received(0, system.guest.used(RX)[0][1]) == frame(1)


def test_the_next_kernel_goes_on_with_the_buffers(system: System) -> None:
    system.buffers(2)
    system.turns()
    system.frames.close()  # as a kernel that dies: what it knew beside RAM is gone
    system.attach()
    system.there.send(frame(1))
    system.until(lambda: system.used(RX) == 1)
    assert system.received(0, system.guest.used(RX)[0][1]) == frame(1)


@pytest.mark.parametrize("size", [0, 13, 1519])
def test_what_is_no_frame_is_not_sent(system: System, size: int) -> None:
    system.transmit(frame(1, size))
    system.until(lambda: system.used(TX) == 1)
    assert system.device.own.refused == 1
    with pytest.raises(BlockingIOError):
        system.there.recv(2000)


def test_a_frame_in_memory_that_is_not_mapped_is_not_sent(system: System) -> None:
    system.guest.descriptor(0, AT + FRAME_BYTES, HEADER.size + 60, queue=TX)
    system.offer(TX, 0)
    system.guest.set(Register.QUEUE_NOTIFY, TX)
    system.until(lambda: system.used(TX) == 1)
    assert system.device.own.refused == 1
    assert not system.needs_reset()


def test_a_buffer_that_is_not_mapped_comes_back_empty(system: System) -> None:
    system.guest.descriptor(0, AT + FRAME_BYTES, 1600, WRITE, queue=RX)
    system.offer(RX, 0)
    system.guest.set(Register.QUEUE_NOTIFY, RX)
    system.there.send(frame(1))
    system.until(lambda: system.used(RX) == 1)
    assert system.guest.used(RX) == [(0, 0)]
    assert system.device.own.dropped == 1


@pytest.mark.parametrize(
    ("queue", "length", "flags"),
    [(TX, HEADER.size + 60, WRITE), (TX, HEADER.size - 1, 0), (RX, 1600, 0), (RX, HEADER.size - 1, WRITE)],
)
def test_a_chain_that_is_no_frame_s_stops_the_device(system: System, queue: int, length: int, flags: int) -> None:
    system.guest.descriptor(0, AT + OUTGOING, length, flags, queue=queue)
    system.offer(queue, 0)
    system.there.send(frame(1))
    system.guest.set(Register.QUEUE_NOTIFY, queue)
    system.until(system.needs_reset)
    assert system.device.state.cause == Cause.BAD_REQUEST


def test_hostile_rings(system: System) -> None:
    """Whatever stands in the queues: the loop goes on, and the device works after a reset."""
    for seed in range(150):
        chance = random.Random(seed)
        for queue in (RX, TX):
            for head in range(8):
                address = AT + chance.choice((0, OUTGOING, FRAME_BYTES - 8, FRAME_BYTES, 1 << 40))
                flags = chance.randrange(8)
                length = chance.choice((0, 1, 12, 72, 1600, 0xFFFFFFFF))
                system.guest.descriptor(head, address, length, flags, chance.randrange(10), queue)
            system.guest.write(queue * 0x4000 + 0x1000, chance.randbytes(2) + bytes([chance.randrange(12), 0]))
            system.guest.set(Register.QUEUE_NOTIFY, queue)
        system.there.send(frame(seed))
        system.turns()
        system.guest.set(Register.STATUS, 0)
        system.guest.begin(FEATURES, queues=2)
    while True:
        try:
            system.there.recv(1 << 17)
        except BlockingIOError:
            break
    system.offered = [0, 0]
    system.transmit(frame(1))
    system.until(lambda: system.used(TX) == 1)
    assert system.there.recv(2000) == frame(1)


@pytest.mark.parametrize(("mac", "mtu"), [(b"\1" + bytes(5), 1500), (b"abc", 1500), (OWN_MAC, 100), (OWN_MAC, 70000)])
def test_what_no_interface_is(mac: bytes, mtu: int) -> None:
    with pytest.raises(ValueError, match=r"address|MTU"):
        Guest(lambda ram, dma: Net(ram, RECORD, NUMBER, PORT, IRQ, dma, mac, mtu))


def test_frames_in_many_pieces_share_turns() -> None:
    system = System(size=64)
    system.guest.set(Register.STATUS, 0)
    system.guest.begin(FEATURES | int(Feature.INDIRECT_DESC), size=64, queues=2)
    system.offered = [0, 0]
    for queue, place, flags in ((RX, BUFFERS, WRITE), (TX, OUTGOING, 0)):
        parts = [struct.pack("<QIHH", AT + place, 1, NEXT | flags, number) for number in range(1, 256)]
        system.guest.write(place, b"".join(parts) + struct.pack("<QIHH", AT + place, 1, flags, 0))
        for head in range(32):
            system.guest.descriptor(head, AT + place, 16 * 256, INDIRECT, queue=queue)
            system.offer(queue, head)
    for _ in range(32):
        system.there.send(bytes(60))
    lookups = system.guest.lookups()
    system.guest.set(Register.QUEUE_NOTIFY, TX)
    system.until(lambda: system.used(TX) == 32)
    assert max(lookups) < 2 * (SEGMENTS_A_TURN + 16)
    system.close()


def test_buffers_of_more_pages_than_a_frame_has_share_turns() -> None:
    system = System(size=64)
    pages = system.guest.scatter_pages()
    for head in range(32):
        system.guest.descriptor(head, pages.address, pages.size - 4096, WRITE, queue=RX)
        system.offer(RX, head)
        system.there.send(bytes(60))
    lookups = system.guest.lookups()
    system.guest.set(Register.QUEUE_NOTIFY, RX)
    system.until(lambda: system.used(RX) == 32)
    assert max(lookups) < 2 * (SEGMENTS_A_TURN + 16)
    system.close()
