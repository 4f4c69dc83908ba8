"""The virtio transport and its queues, as a driver finds them, and what a hostile driver comes to."""

from __future__ import annotations

import random
import struct

import pytest

from hw.devices.virtio import VirtioDevice
from hw.devices.virtio_registers import CONFIG, REQUIRED, Cause, Feature, Register, Status
from hw.devices.virtqueue import INDIRECT, NEXT, NO_INTERRUPT, SEGMENTS_A_TURN, WRITE, Chain, DeviceQueue
from hw.iommu import DmaPort, Segment
from hw.ram import Ram
from tests.unit.hw.virtio_driver import AT, FRAME_BYTES, IRQ, NUMBER, PORT, RECORD, Guest

BUFFER = 0x8000


class Plain(VirtioDevice):
    """Two queues, and eight bytes of configuration."""

    DEVICE_ID = 42
    QUEUES = 2
    OFFERED = 1 << 3

    def configuration(self) -> bytes:
        return bytes(range(1, 9))


def make(ram: Ram, dma: DmaPort) -> Plain:
    return Plain(ram, RECORD, NUMBER, PORT, IRQ, dma)


@pytest.fixture
def guest() -> Guest:
    return Guest(make)


def queue(guest: Guest, index: int = 0) -> DeviceQueue:
    return DeviceQueue(guest.device, index)


def take(guest: Guest, most: int = 64, index: int = 0) -> list[Chain]:
    found: list[Chain] = []
    guest.bus.change(guest.device, lambda: found.extend(queue(guest, index).take(most)))
    return found


def give_back(guest: Guest, *used: tuple[int, int]) -> None:
    guest.bus.change(guest.device, lambda: queue(guest).give_back(used))
    queue(guest).publish(guest.bus)


def cause(guest: Guest) -> Cause:
    needs_reset = bool(guest.get(Register.STATUS) & Status.NEEDS_RESET)
    found = Cause(guest.device.state.cause)
    assert needs_reset == (found is not Cause.NONE)
    return found


def test_it_says_what_it_is(guest: Guest) -> None:
    assert [guest.get(register) for register in (0, 4, 8)] == [int.from_bytes(b"virt", "little"), 2, 42]
    assert guest.get(Register.VENDOR_ID) == int.from_bytes(b"SEL4", "little")
    offered = guest.get(Register.DEVICE_FEATURES)
    guest.set(Register.DEVICE_FEATURES_SEL, 1)
    assert offered | guest.get(Register.DEVICE_FEATURES) << 32 == REQUIRED | Feature.INDIRECT_DESC | 1 << 3
    guest.set(Register.DEVICE_FEATURES_SEL, 2)
    assert guest.get(Register.DEVICE_FEATURES) == 0


def test_registers_answer_in_their_width_and_the_configuration_in_any(guest: Guest) -> None:
    assert guest.get(Register.MAGIC_VALUE, 2) == 0
    assert [guest.get(CONFIG + offset, width) for offset, width in ((0, 1), (2, 2), (4, 4), (6, 4), (100, 4))] == [
        1,
        0x0403,
        0x08070605,
        0x0807,
        0,
    ]
    assert guest.get(Register.CONFIG_GENERATION) == 0


@pytest.mark.parametrize("features", [0, int(Feature.VERSION_1), int(Feature.ACCESS_PLATFORM), REQUIRED | 1 << 5])
def test_a_driver_must_accept_what_is_required_and_nothing_that_is_not_offered(guest: Guest, features: int) -> None:
    guest.accept(features)
    guest.set(Register.STATUS, Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK)
    guest.set(Register.STATUS, guest.get(Register.STATUS) | Status.DRIVER_OK)
    assert guest.get(Register.STATUS) == Status.ACKNOWLEDGE | Status.DRIVER
    assert not guest.device.is_live


def test_a_queue_is_what_the_driver_sets_up(guest: Guest) -> None:
    guest.begin()
    guest.set(Register.QUEUE_SEL, 1)
    assert (guest.get(Register.QUEUE_SIZE_MAX), guest.get(Register.QUEUE_READY)) == (256, 0)
    guest.set(Register.QUEUE_SEL, 2)
    assert (guest.get(Register.QUEUE_SIZE_MAX), guest.get(Register.QUEUE_READY)) == (0, 0)


@pytest.mark.parametrize("ready", [1, 3, 0xFFFF_FFFF])
@pytest.mark.parametrize(
    ("size", "descriptors", "driver", "device"),
    [
        (0, AT, AT, AT),
        (3, AT, AT, AT),
        (512, AT, AT, AT),
        (8, AT + 8, AT, AT),
        (8, AT, AT + 1, AT),
        (8, AT, AT, AT + 2),
    ],
)
def test_a_queue_that_is_none_stops_the_device(
    guest: Guest, size: int, descriptors: int, driver: int, device: int, ready: int
) -> None:
    guest.begin()
    guest.set_up(1, size, descriptors, driver, device, ready)
    assert guest.get(Register.QUEUE_READY) == 0
    assert cause(guest) is Cause.BAD_REGISTER
    assert guest.get(Register.INTERRUPT_STATUS) == 2


def test_chains_come_in_order_with_what_is_read_and_what_is_written(guest: Guest) -> None:
    guest.begin()
    guest.descriptor(0, AT + BUFFER, 16, NEXT, 5)
    guest.descriptor(5, AT + BUFFER + 16, 7, NEXT | WRITE, 2)
    guest.descriptor(2, AT + BUFFER + 64, 1, WRITE)
    guest.descriptor(7, AT + BUFFER + 100, 9)
    guest.offer(7)
    guest.offer(0)
    assert queue(guest).has_more()
    first, second = take(guest)
    assert first == Chain(7, (Segment(AT + BUFFER + 100, 9),), ())
    assert second.head == 0
    assert second.readable == (Segment(AT + BUFFER, 16),)
    assert second.writable == (Segment(AT + BUFFER + 16, 7), Segment(AT + BUFFER + 64, 1))
    assert not queue(guest).has_more()
    assert take(guest) == []


def test_no_more_are_taken_than_asked_for(guest: Guest) -> None:
    guest.begin()
    for head in range(5):
        guest.descriptor(head, AT + BUFFER, 1)
        guest.offer(head)
    assert [len(take(guest, 2)) for _ in range(3)] == [2, 2, 1]


def test_a_table_of_its_own_is_followed_if_that_was_negotiated(guest: Guest) -> None:
    table = struct.pack("<QIHH", AT + BUFFER, 3, NEXT, 1) + struct.pack("<QIHH", AT + BUFFER + 3, 4, WRITE, 0)
    for features, wanted in ((0, Cause.BAD_CHAIN), (int(Feature.INDIRECT_DESC), Cause.NONE)):
        guest.set(Register.STATUS, 0)
        guest.begin(features)
        guest.write(0x9000, table)
        guest.descriptor(3, AT + 0x9000, 32, INDIRECT)
        guest.offer(3)
        chains = take(guest)
        assert cause(guest) is wanted
    assert chains == [Chain(3, (Segment(AT + BUFFER, 3),), (Segment(AT + BUFFER + 3, 4),))]


def test_used_chains_interrupt_unless_the_driver_does_not_want_it(guest: Guest) -> None:
    guest.begin()
    guest.descriptor(1, AT + BUFFER, 1)
    for flags, interrupt in ((0, 1), (NO_INTERRUPT, 0)):
        guest.write(0x1000, struct.pack("<H", flags))
        guest.offer(1)
        take(guest)
        give_back(guest, (1, 77))
        assert guest.used()[-1] == (1, 77)
        assert guest.get(Register.INTERRUPT_STATUS) == interrupt
        assert guest.device.raised() == bool(interrupt)
        guest.set(Register.INTERRUPT_ACK, 3)
        assert not guest.device.raised()


def test_indices_wrap_round(guest: Guest) -> None:
    guest.begin()
    guest.descriptor(0, AT + BUFFER, 1)
    with guest.ram.transaction():
        guest.device.queues[0].taken = 65534
        guest.device.queues[0].used = 65534
    guest.available = 65534
    for _ in range(5):
        guest.offer(0)
        assert [chain.head for chain in take(guest)] == [0]
        give_back(guest, (0, 1))
    assert guest.device.queues[0].used == 3


def restarted(guest: Guest) -> DeviceQueue:
    """As a kernel that is started again has it: a new device on the same record."""
    guest.device = make(guest.ram, guest.iommu.port(NUMBER))
    made = queue(guest)
    made.recover(guest.bus)
    return made


def recover(guest: Guest) -> list[Chain]:
    """What is to be done again by a kernel that is started again."""
    made = restarted(guest)
    return taken(guest, made) if made.is_behind else []


def taken(guest: Guest, queue: DeviceQueue, most: int = 64) -> list[Chain]:
    """What a queue gives that lives as long as its kernel."""
    found: list[Chain] = []
    guest.bus.change(guest.device, lambda: found.extend(queue.take(most)))
    return found


def test_what_was_taken_and_not_given_back_is_found_again(guest: Guest) -> None:
    guest.begin(size=256)
    for head in (3, 200, 64):
        guest.descriptor(head, AT + BUFFER + head, 1)
        guest.offer(head)
    take(guest)
    give_back(guest, (200, 0))
    assert [(chain.head, chain.readable[0].address) for chain in recover(guest)] == [
        (3, AT + BUFFER + 3),
        (64, AT + BUFFER + 64),
    ]


def test_what_is_found_again_comes_before_all_else_and_in_bounded_parts(guest: Guest) -> None:
    guest.begin(Feature.INDIRECT_DESC, size=256)
    table = b"".join(struct.pack("<QIHH", AT + BUFFER, 1, NEXT if at < 254 else 0, at + 1) for at in range(255))
    guest.write(BUFFER, table)
    for head in range(256):
        guest.descriptor(head, AT + BUFFER, len(table), INDIRECT)
        guest.offer(head)
    assert sum(len(take(guest)) for _ in range(256)) == 256
    give_back(guest, (0, 0), (1, 0))
    again = restarted(guest)
    guest.offer(0)
    found: list[int] = []
    while chains := taken(guest, again):
        assert sum(chain.segments for chain in chains) <= SEGMENTS_A_TURN
        found += [chain.head for chain in chains]
    assert found == [*range(2, 256), 0]
    assert not again.is_behind


def test_what_was_to_be_found_again_is_forgotten_by_a_reset(guest: Guest) -> None:
    guest.begin()
    for head in (0, 1):
        guest.descriptor(head, AT + BUFFER, 1)
        guest.offer(head)
    take(guest)
    again = restarted(guest)
    guest.set(Register.STATUS, 0)
    guest.begin()
    guest.descriptor(1, AT + BUFFER, 1)
    guest.offer(1)
    assert [chain.head for chain in taken(guest, again)] == [1]
    assert (again.is_behind, again.has_more()) == (False, False)


def test_what_was_given_back_and_not_published_is_published_by_the_next_kernel(guest: Guest) -> None:
    guest.begin()
    guest.descriptor(0, AT + BUFFER, 1)
    guest.offer(0)
    take(guest)
    guest.bus.change(guest.device, lambda: queue(guest).give_back([(0, 5)]))
    guest.set(Register.INTERRUPT_ACK, 1)  # it came, the driver looked, and there was nothing
    assert guest.used() == []
    assert recover(guest) == []
    assert (guest.used(), guest.get(Register.INTERRUPT_STATUS)) == ([(0, 5)], 1)


def test_the_driver_sees_nothing_that_a_dying_kernel_takes_back(guest: Guest) -> None:
    guest.begin()
    guest.descriptor(0, AT + BUFFER, 1)
    guest.offer(0)

    def dies() -> None:
        queue(guest).take(4)
        queue(guest).give_back([(0, 5)])
        raise InterruptedError

    with pytest.raises(InterruptedError):
        guest.bus.change(guest.device, dies)
    assert (guest.used(), recover(guest)) == ([], [])
    assert [chain.head for chain in take(guest)] == [0]


def test_a_driver_that_asks_for_interrupts_meanwhile_gets_its_interrupt(guest: Guest) -> None:
    guest.begin()
    guest.descriptor(0, AT + BUFFER, 1)
    guest.offer(0)
    guest.write(0x1000, struct.pack("<H", NO_INTERRUPT))
    take(guest)
    guest.bus.change(guest.device, lambda: queue(guest).give_back([(0, 5)]))
    guest.write(0x1000, struct.pack("<H", 0))
    queue(guest).publish(guest.bus)
    assert guest.get(Register.INTERRUPT_STATUS) == 1


def test_a_driver_that_asks_for_interrupts_as_the_kernel_dies_gets_its_interrupt(guest: Guest) -> None:
    """It has seen no used chain, and sleeps; the kernel has shown the chain then, and died before it looked again."""
    guest.begin()
    guest.descriptor(0, AT + BUFFER, 1)
    guest.offer(0)
    guest.write(0x1000, struct.pack("<H", NO_INTERRUPT))
    take(guest)
    guest.bus.change(guest.device, lambda: queue(guest).give_back([(0, 5)]))
    queue(guest).publish(guest.bus)
    assert guest.get(Register.INTERRUPT_STATUS) == 0
    guest.write(0x1000, struct.pack("<H", 0))
    assert recover(guest) == []
    assert guest.get(Register.INTERRUPT_STATUS) == 1


def test_a_reset_forgets_everything(guest: Guest) -> None:
    guest.begin()
    guest.descriptor(0, AT + BUFFER, 1)
    guest.offer(0)
    take(guest)
    guest.set(Register.STATUS, 0)
    assert [guest.get(register) for register in (Register.STATUS, Register.INTERRUPT_STATUS, Register.QUEUE_READY)] == [
        0,
        0,
        0,
    ]
    assert not guest.device.features
    guest.begin()
    guest.descriptor(0, AT + BUFFER, 1)
    guest.offer(0)
    assert len(take(guest)) == 1


def test_notifying_asks_for_the_host_while_the_device_is_live(guest: Guest) -> None:
    guest.set(Register.QUEUE_NOTIFY, 0)
    assert guest.kicks == 0
    guest.begin()
    before = guest.kicks
    guest.set(Register.QUEUE_NOTIFY, 1)
    guest.set(Register.QUEUE_NOTIFY, 2)  # there is no such queue
    assert guest.kicks == before + 1


class TestHostileDriver:
    """Whatever it writes, it comes to a cause and a reset."""

    def test_an_index_that_runs_ahead(self, guest: Guest) -> None:
        told: list[Cause] = []
        guest.device.failed = told.append
        guest.begin()
        guest.write(0x1002, struct.pack("<H", 9))
        assert take(guest) == []
        assert cause(guest) is Cause.BAD_INDEX
        assert told == [Cause.BAD_INDEX]
        assert guest.device.raised()

    @pytest.mark.parametrize(
        "descriptors",
        [
            {0: (1, NEXT, 0)},  # a loop
            {0: (1, NEXT, 1), 1: (1, NEXT, 0)},
            {0: (1, NEXT, 8)},  # out of the table
            {0: (1, NEXT, 0xFFFF)},
            {0: (0, 0, 0)},  # no bytes
            {0: (1, WRITE | NEXT, 1), 1: (1, 0, 0)},  # read behind written
            {0: (16, INDIRECT | NEXT, 1), 1: (1, 0, 0)},
            {0: (15, INDIRECT, 0)},
            {0: (1, NEXT, 1), 1: (16, INDIRECT, 0)},
            {0: (16 * 257, INDIRECT, 0)},
        ],
    )
    def test_a_chain_that_is_none(self, guest: Guest, descriptors: dict[int, tuple[int, int, int]]) -> None:
        guest.begin(int(Feature.INDIRECT_DESC))
        for number, (length, flags, following) in descriptors.items():
            guest.descriptor(number, AT + BUFFER, length, flags, following)
        guest.offer(0)
        assert take(guest) == []
        assert cause(guest) is Cause.BAD_CHAIN
        assert guest.device.queues[0].taken == 1 or not guest.device.is_live

    def test_a_head_that_is_none_or_under_way(self, guest: Guest) -> None:
        guest.begin()
        guest.offer(8)
        assert take(guest) == []
        assert cause(guest) is Cause.BAD_CHAIN
        guest.set(Register.STATUS, 0)
        guest.begin()
        guest.descriptor(1, AT + BUFFER, 1)
        guest.offer(1)
        guest.offer(1)
        take(guest)
        assert cause(guest) is Cause.BAD_CHAIN

    @pytest.mark.parametrize("what", range(3))
    def test_a_queue_outside_of_the_io_space(self, guest: Guest, what: int) -> None:
        guest.begin()
        guest.set(Register.STATUS, 0)
        addresses = [AT, AT + 0x1000, AT + 0x2000]
        addresses[what] = AT + FRAME_BYTES
        guest.set(Register.STATUS, Status.ACKNOWLEDGE | Status.DRIVER)
        guest.accept(REQUIRED)
        guest.set(Register.STATUS, Status.FEATURES_OK)
        guest.set_up(0, 8, *addresses)
        guest.set(Register.STATUS, Status.DRIVER_OK)
        guest.available, guest.size = 0, 8
        guest.descriptor(0, AT + BUFFER, 1)
        guest.offer(0)
        for chain in take(guest):
            give_back(guest, (chain.head, 0))
        assert cause(guest) is Cause.DMA_FAULT

    def test_it_takes_the_memory_away(self, guest: Guest) -> None:
        guest.begin()
        guest.descriptor(0, AT + BUFFER, 1)
        guest.offer(0)
        take(guest)
        guest.mapped = 0
        assert queue(guest).has_more()
        give_back(guest, (0, 0))
        assert cause(guest) is Cause.DMA_FAULT

    def test_random_rings_and_registers(self, guest: Guest) -> None:
        randomly = random.Random(7)
        stops = set()
        for turn in range(10_000):
            if turn % 20 == 0:
                guest.set(Register.STATUS, 0)
                guest.begin(int(Feature.INDIRECT_DESC), size=randomly.choice((1, 2, 8, 256)))
            if randomly.random() < 0.5:
                at, length = randomly.choice((0, 0x1000, 0x2000, 0x9000)), randomly.randrange(1, 300)
                guest.write(at, randomly.randbytes(length))
            if randomly.random() < 0.7:
                flags = randomly.choice((0, NEXT, WRITE, NEXT | WRITE, INDIRECT, 0xFFFF))
                address = randomly.choice((AT + 0x9000, AT + FRAME_BYTES - 1, 0, 2**64 - 1))
                length = randomly.choice((0, 1, 16, 64, 2**32 - 1))
                guest.descriptor(randomly.randrange(8), address, length, flags, randomly.randrange(9))
                guest.offer(randomly.randrange(9))
            if randomly.random() < 0.2:
                guest.set(randomly.choice(list(Register)), randomly.getrandbits(32), randomly.choice((1, 2, 4)))
            chains = take(guest)
            give_back(guest, *((chain.head, randomly.getrandbits(32)) for chain in chains))
            stops.add(Cause(guest.device.state.cause))
        assert {Cause.NONE, Cause.BAD_CHAIN, Cause.BAD_INDEX} <= stops
