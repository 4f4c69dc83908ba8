"""The card's driver without a card: a client's rings, the network server's side of them, and queues that a test works.

The queues are real ones; the test is the device, and looks into the client's memory where a card would do DMA.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

from libsel4py.abi import VMFault
from libsel4py.bulk import Buffer, HostilePeer, Piece
from libsel4py.capabilities import Endpoint, Notification
from libsel4py.dataspace import DataSpace, SharedMemory
from libsel4py.deaths import DEATH_SIGNALS
from libsel4py.environment import Slot
from libsel4py.errors import ServerDied, Timeout
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.ethernet import (
    HEADROOM,
    BadOpening,
    CardState,
    Ethernet,
    buffer_bytes,
    opening_bytes,
    receive_offset,
    ring_layout,
)
from libsel4py.life import Life
from libsel4py.mapping import Mapping
from libsel4py.task import current_task
from libsel4py.testing import connect, harness
from libsel4py.virtio import DmaMemory, DriverQueue, HostileDevice
from servers.ethernet.card import HEADER_BYTES, QUEUE_BYTES
from servers.ethernet.main import Main
from servers.ethernet.opening import Opening
from servers.network.link import MOST_WAITING_BYTES, Link

BASE: Final = 1 << 32  # of the client's memory, as the card sees it
MTU: Final = 1500
FRAME: Final = bytes(range(60))


class TestCard:
    """Two queues, and what a device does with them."""

    __test__ = False

    def __init__(self) -> None:
        self._space = DataSpace.allocate(2 * QUEUE_BYTES)
        self.queues = self._space.attach()
        self.mac, self.mtu, self.is_up = b"\2\0\0\0\0\1", MTU, True
        self.begin()

    def begin(self) -> None:
        self.queues.write(0, bytes(2 * QUEUE_BYTES))
        self.received: DriverQueue[Buffer] = DriverQueue(self.queues, 16, 0)
        self.sent: DriverQueue[Piece] = DriverQueue(self.queues, 16, QUEUE_BYTES)
        self.notified: list[int] = []
        self._seen = {0: 0, QUEUE_BYTES: 0}
        self._given = {0: 0, QUEUE_BYTES: 0}

    def notify(self, queue: int) -> None:
        self.notified.append(queue)

    def works(self) -> None:
        pass

    def offered(self, at: int) -> list[tuple[int, int, int]]:
        """(head, address, length) of the requests that are new in a queue."""
        avail = at + DriverQueue.available_offset(16)
        (index,) = struct.unpack("<H", self.queues.read(avail + 2, 2))
        found = []
        while self._seen[at] != index:
            (head,) = struct.unpack("<H", self.queues.read(avail + 4 + 2 * (self._seen[at] % 16), 2))
            address, length, _, _ = struct.unpack("<QIHH", self.queues.read(at + 16 * head, 16))
            found.append((head, address, length))
            self._seen[at] += 1
        return found

    def use(self, at: int, head: int, written: int) -> None:
        """Give a request back."""
        used = at + DriverQueue.used_offset(16)
        self.queues.write(used + 4 + 8 * (self._given[at] % 16), struct.pack("<II", head, written))
        self._given[at] += 1
        self.queues.write(used + 2, struct.pack("<H", self._given[at]))


class Dma:
    def unmap(self, memory: DmaMemory) -> None:
        pass


class Driver(Ethernet):
    """The driver's part that a `Link` sees, with the card in the test's hands."""

    def start(self) -> None:
        self.card = TestCard()
        self.card.dma = Dma()  # type: ignore[attr-defined]  # what an opening asks of its card
        self.opening: Opening | None = None
        self.deaths = 0  # that come when it is to ring
        self.ends = Life(self.task)
        self.memory: Mapping

    def state(self) -> CardState:
        return CardState(self.card.mac, self.card.mtu, True, self.opening is not None, 0, 0, 0)

    def open(self, memory: SharedMemory, sending: int, receiving: int, size: int) -> None:
        space = DataSpace.receive(memory, None, self.task)
        self.memory = space.attach()
        where = DmaMemory(BASE, space.size, [])
        numbers = (sending, receiving, size)
        self.opening = Opening(self.card, space, where, numbers, 1)  # type: ignore[arg-type]  # a card's like

    def bells(self, wake: Notification) -> Notification:
        if self.deaths:
            self.deaths -= 1
            self.die()
        if self.opening is None:  # as in the driver's next life
            raise BadOpening("nothing is open")
        self.opening.wake = wake
        self.opening.pump()
        return Notification(Slot.NOTIFICATION)

    def close(self) -> None:
        self.die()

    def life(self) -> Endpoint:
        return self.ends.capability

    def next_life(self) -> None:
        """It ends, and there is the next."""
        self.die()
        former, self.ends = self.ends, Life(self.task)
        former.end()

    def die(self) -> None:
        if self.opening is not None:
            self.opening.close(self.task.delete)
            self.opening = None
            self.card.begin()


@pytest.fixture(autouse=True)
def enough_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A link's buffers are one frame, as large as the memory that a test has otherwise."""
    monkeypatch.setattr(harness, "POOL_BITS", 21)


@contextmanager
def linked() -> Iterator[tuple[Driver, Link]]:
    driver = Driver()
    with connect(driver) as client:
        link = Link(client, current_task())
        link.open()
        try:
            yield driver, link
        finally:
            link.close()


def pump(driver: Driver) -> None:
    assert driver.opening is not None
    driver.opening.pump()


def receive(link: Link) -> list[bytes]:
    frames: list[bytes] = []
    while link.receive(lambda frame: frames.append(bytes(frame))):
        pass
    return frames


def test_a_frame_is_sent_from_where_the_client_put_it() -> None:
    with linked() as (driver, link):
        link.transmit(FRAME)
        link.flush()
        pump(driver)
        ((head, address, length),) = driver.card.offered(QUEUE_BYTES)
        assert driver.memory.read(address - BASE, length) == bytes(HEADER_BYTES) + FRAME
        driver.card.use(QUEUE_BYTES, head, 0)
        pump(driver)
        assert driver.opening is not None
        assert driver.opening.sent == 1


def test_a_frame_comes_to_where_the_client_reads_it() -> None:
    with linked() as (driver, link):
        head, address, length = driver.card.offered(0)[0]
        assert length == HEADER_BYTES + buffer_bytes(MTU) - HEADROOM
        driver.memory.write(address - BASE, bytes(HEADER_BYTES) + FRAME)
        driver.card.use(0, head, HEADER_BYTES + len(FRAME))
        pump(driver)
        assert receive(link) == [FRAME]
        assert link.received_bytes == len(FRAME)


def test_buffers_go_round_for_ever() -> None:
    with linked() as (driver, link):
        for number in range(1000):
            frame = struct.pack("<I", number) * 15
            link.transmit(frame)
            link.flush()
            pump(driver)
            ((head, out, length),) = driver.card.offered(QUEUE_BYTES)
            driver.card.use(QUEUE_BYTES, head, 0)
            if not number:
                room = driver.card.offered(0)
            head, at, _ = room.pop(0)
            driver.memory.write(at - BASE, driver.memory.read(out - BASE, length))
            driver.card.use(0, head, length)
            pump(driver)
            room += driver.card.offered(0)
            assert receive(link) == [frame]
        assert link.dropped == 0


def test_frames_without_a_buffer_wait_for_one_in_order() -> None:
    with linked() as (driver, link):
        for number in range(400):
            link.transmit(struct.pack("<I", number) * 15)
        came: list[int] = []
        while len(came) < 400:
            link.flush()
            pump(driver)
            offered = driver.card.offered(QUEUE_BYTES)
            assert offered, f"nothing is sent any more after {len(came)} frames"
            for head, address, _ in offered:
                came.append(int.from_bytes(driver.memory.read(address - BASE + HEADER_BYTES, 4), "little"))
                driver.card.use(QUEUE_BYTES, head, 0)
        assert came == list(range(400))
        assert link.dropped == 0


def test_frames_that_wait_are_bounded() -> None:
    with linked() as (_, link):
        while not link.dropped:
            link.transmit(bytes(1500))
        assert link.sent_bytes < 2 * MOST_WAITING_BYTES


def test_a_frame_that_is_too_short_goes_back_to_the_card() -> None:
    with linked() as (driver, link):
        offered = driver.card.offered(0)
        driver.card.use(0, offered[0][0], HEADER_BYTES + 3)
        pump(driver)
        assert receive(link) == []
        assert driver.opening is not None
        assert driver.opening.dropped == 1
        assert len(driver.card.offered(0)) == 1


def test_a_device_that_gives_back_what_it_has_not_is_hostile() -> None:
    with linked() as (driver, _):
        driver.card.use(QUEUE_BYTES, 3, 0)
        with pytest.raises(HostileDevice):
            pump(driver)


def test_a_client_that_breaks_the_rings_rules_is_hostile() -> None:
    with linked() as (driver, _):
        driver.memory.write(0, b"\xff" * 8)
        with pytest.raises(HostilePeer):
            pump(driver)


def test_a_client_that_takes_its_memory_back_is_seen() -> None:
    with linked() as (driver, link):
        assert link._space is not None
        link._space.revoke()
        with pytest.raises(VMFault):
            pump(driver)


def test_a_frame_that_leaves_no_room_for_its_header_is_not_sent() -> None:
    with linked() as (driver, link):
        buffer = link._out.acquire_nowait()
        assert buffer is not None
        link._out.submit(buffer, 60, 0)
        pump(driver)
        assert driver.card.offered(QUEUE_BYTES) == []
        assert driver.opening is not None
        assert driver.opening.dropped == 1


def test_a_driver_that_comes_back_is_opened_again() -> None:
    with linked() as (driver, link):
        assert not link.look()
        driver.die()
        assert link.look()
        link.transmit(FRAME)
        link.flush()
        pump(driver)
        assert len(driver.card.offered(QUEUE_BYTES)) == 1


def test_a_driver_that_was_given_up_is_one_that_has_ended() -> None:
    """Its endpoint is gone, and the capability to it names nothing."""
    with linked() as (_, link):
        current_task().cnode.delete(endpoint_of(link._card).cptr)
        for _ in range(2):
            with pytest.raises(ServerDied, match="cannot be opened"):
                link.look()
            assert not link.is_open


def test_the_drivers_end_is_told_and_its_next_life_is_watched_as_well() -> None:
    driver, told = Driver(), []
    with connect(driver) as client:
        link = Link(client, current_task(), lambda: told.append(link.is_open))
        link.open()
        for number in range(3):
            driver.next_life()
            current_task().deaths.signalled(DEATH_SIGNALS)
            assert told == [False] * (number + 1)
            assert link.look()
            assert link.is_open
        link.close()
        driver.next_life()
        current_task().deaths.signalled(DEATH_SIGNALS)
        assert len(told) == 3, "who has closed the link is told no more"
        assert len(current_task().deaths) == 0


def test_a_driver_that_ends_before_it_is_opened_is_told_of_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was watched was its former life: who has the card open by the next one opens it again, and watches that."""
    driver, told = Driver(), []
    with connect(driver) as client:
        link = Link(client, current_task(), lambda: told.append(None))
        state = link._card.state

        def slow() -> CardState:
            driver.next_life()
            return state()

        monkeypatch.setattr(link._card, "state", slow)
        link.open()
        monkeypatch.undo()
        assert link.is_open
        current_task().deaths.signalled(DEATH_SIGNALS)
        assert told == [None]
        assert link.look()
        driver.next_life()
        current_task().deaths.signalled(DEATH_SIGNALS)
        assert told == [None, None]
        link.close()


def test_a_driver_that_does_not_answer_in_time_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with linked() as (driver, link):

        def busy() -> CardState:
            raise Timeout

        monkeypatch.setattr(link._looked_at, "state", busy)
        assert not link.look()
        assert link.is_open
        link.transmit(FRAME)
        link.flush()
        pump(driver)
        assert len(driver.card.offered(QUEUE_BYTES)) == 1


class WholeDriver(Main):
    """The driver itself, with the card in the test's hands."""

    def __init__(self) -> None:
        pass  # there are no devices

    def start(self) -> None:
        self.card = TestCard()
        self.card.dma = self  # type: ignore[attr-defined]  # what it asks of its card
        self.card.acknowledge = lambda: None  # type: ignore[attr-defined]
        self._card = self.card  # type: ignore[assignment]  # a card's like
        self._opening = None
        self._memory = None
        self._sent = self._received = self._dropped = 0
        self._life = Life(self.task)
        self._bell = Notification(Slot.NOTIFICATION)

    def map(self, space: DataSpace) -> DmaMemory:
        assert space.mapping is not None
        self.memory = space.mapping
        return DmaMemory(BASE, space.size, [])

    def unmap(self, memory: DmaMemory) -> None:
        pass


def test_a_frame_whose_interrupt_was_lost_comes_with_its_clients_next_look() -> None:
    driver = WholeDriver()
    with connect(driver) as client:
        link = Link(client, current_task())
        link.open()
        head, address, _ = driver.card.offered(0)[0]
        driver.memory.write(address - BASE, bytes(HEADER_BYTES) + FRAME)
        driver.card.use(0, head, HEADER_BYTES + len(FRAME))
        assert receive(link) == []
        assert not link.look()
        assert receive(link) == [FRAME]
        link.close()


def test_a_clients_end_has_the_card_begun_anew_before_its_next_life_asks() -> None:
    driver = WholeDriver()
    with connect(driver) as client:
        link = Link(client, current_task())
        link.open()
        assert link._space is not None
        opened = driver.card.received
        current_task().memory.free(link._space.frames[0].cptr)
        driver.task.deaths.signalled(DEATH_SIGNALS)
        assert driver.card.received is not opened, "the card has a queue without the client's buffers"
        assert driver._opening is None
        begun = driver.card.received
        Link(client, current_task()).open()
        assert driver.card.received is begun, "and that is enough"


def test_an_opening_whose_memory_is_gone_is_over_at_the_next_look() -> None:
    driver = WholeDriver()
    with connect(driver) as client:
        link = Link(client, current_task())
        link.open()
        assert link._space is not None
        link._space.revoke()  # the memory itself is there still: nobody is told
        assert client.state().is_open is False
        assert driver._opening is None
        assert len(driver.task.deaths) == 0, "nothing is watched any more"


def test_a_driver_that_ends_while_it_is_being_opened_is_opened_again() -> None:
    driver = Driver()
    with connect(driver) as client:
        driver.deaths = 2
        link = Link(client, current_task())
        link.open()
        assert link.is_open
        assert not link.look()
        link.close()


def test_a_driver_that_ends_with_its_answer_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with linked() as (driver, link):
        bells = link._card.bells

        def dead(wake: Notification) -> Notification:
            monkeypatch.setattr(link._card, "bells", bells)
            driver.die()
            raise ServerDied("the driver has died")

        monkeypatch.setattr(link._card, "bells", dead)
        link.open()
        assert not link.look()


def test_a_driver_that_always_ends_is_given_up() -> None:
    with linked() as (driver, link):
        driver.deaths = 1 << 20
        with pytest.raises(BadOpening):
            link.open()
        driver.deaths = 0
        assert link.look()
        assert link.is_open


@pytest.mark.parametrize("numbers", [(0, 1, 2048), (257, 1, 2048), (1, 1, 64), (1, 1, 1 << 20), (256, 256, 65600)])
def test_numbers_that_no_card_takes_are_refused(numbers: tuple[int, int, int]) -> None:
    with connect(Driver()) as client, DataSpace.allocate(8192) as space, pytest.raises(BadOpening):
        client.open(space.share(), *numbers)


def test_the_two_rings_do_not_overlap() -> None:
    size = buffer_bytes(MTU)
    assert receive_offset(7, size) >= ring_layout(7, size).size
    assert opening_bytes(7, 9, size) == receive_offset(7, size) + ring_layout(9, size).size


def test_a_client_that_writes_anything_anywhere_is_hostile_or_harmless() -> None:
    chooser = random.Random(11)
    hostile = 0
    with linked() as (driver, link):
        queues = ring_layout(256, buffer_bytes(MTU)).data
        for _ in range(150):
            link.look()
            room = driver.card.offered(0)
            for _ in range(20):
                start = chooser.choice((0, receive_offset(256, buffer_bytes(MTU))))
                at = start + chooser.choice((0, 8, 64, 128, 136, queues // 2, chooser.randrange(queues - 64)))
                driver.memory.write(at, chooser.choice((b"\1", chooser.randbytes(8), chooser.randbytes(32))))
                if room:
                    driver.card.use(0, room.pop()[0], chooser.randrange(buffer_bytes(MTU) - HEADROOM))
                try:
                    pump(driver)
                except HostilePeer:
                    hostile += 1
                    break
            driver.die()
    assert hostile > 50


def test_a_device_that_writes_anything_anywhere_is_hostile_or_harmless() -> None:
    chooser = random.Random(12)
    hostile = 0
    with linked() as (driver, link):
        for _ in range(150):
            link.look()
            for _ in range(20):
                at = chooser.choice((0, QUEUE_BYTES)) + chooser.randrange(DriverQueue.bytes_of(16))
                driver.card.queues.write(at, chooser.randbytes(chooser.randrange(1, 9)))
                link.transmit(FRAME)
                link.flush()
                try:
                    pump(driver)
                except HostileDevice:
                    hostile += 1
                    break
            driver.die()
    assert hostile > 10
