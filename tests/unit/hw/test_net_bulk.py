"""Frames that C moves, against the model: a driver and a link cannot tell which of the two has done it."""

from __future__ import annotations

import random
import socket
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from hw import _net
from hw.devices.net import HEADER, NetRecord
from hw.devices.net_frames import BYTES_A_TURN, FRAMES_A_TURN, HELD, RESETS
from hw.devices.virtio_registers import Register, Status, VirtioRecord
from hw.devices.virtqueue import NEXT, WRITE
from hw.ram import Ram, RamError
from tests.unit.hw.test_net import BUFFER_BYTES, BUFFERS, OUTGOING, RX, TX, System, frame
from tests.unit.hw.virtio_driver import AT, FRAME_BYTES, RECORD

SEEDS = 200
ROUNDS = 4
QUEUE_BYTES = 0x8000  # of both
SIZES = (14, 60, 1514, 1518)  # of frames
COUNTERS = ("is_down", "received", "received_bytes", "sent", "sent_bytes", "dropped", "refused")


class CountedMover:
    """Counts the frames that C has moved, and how often it has left a turn to the model that it could have had."""

    def __init__(self, found: Counter[str], make: Callable[..., _net.Mover], *arguments: object) -> None:
        self._found = found
        self._mover = make(*arguments)
        ram, page, self._desk = arguments[0], arguments[1], arguments[4]
        assert isinstance(ram, Ram)
        assert isinstance(page, int)
        self._own = NetRecord(ram, page + VirtioRecord.OWN)

    def turn(self, reads: bool) -> int:
        is_held = bool(self._desk[HELD])  # type: ignore[index]
        sent, received = self._own.sent, self._own.received
        bits = self._mover.turn(reads)
        self._found["sent"] += self._own.sent - sent
        self._found["received"] += self._own.received - received
        self._found["left"] += bool(bits & _net.LEFT) and not is_held
        return bits


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    found: Counter[str] = Counter()
    monkeypatch.setattr(_net, "Mover", partial(CountedMover, found, _net.Mover))
    return found


@contextmanager
def pair(size: int = 8) -> Iterator[tuple[System, System]]:
    """The model alone, and the model with C."""
    with ExitStack() as stack:
        systems = System(size), System(size, keeps=True)
        for each in systems:
            stack.callback(each.close)
        yield systems


def sent_out(system: System) -> list[bytes]:
    found = []
    while True:
        try:
            found.append(system.there.recv(1 << 17))
        except (BlockingIOError, ConnectionError):
            return found


def seen(system: System) -> dict[str, object]:
    """All that driver and link can see, but what is in buffers that the device still has."""
    guest, own = system.guest, system.device.own
    return {
        "queues": guest.read(0, QUEUE_BYTES),
        "registers": [guest.get(register) for register in (Register.STATUS, Register.INTERRUPT_STATUS)],
        "cause": system.device.state.cause,
        "counted": [getattr(own, name) for name in COUNTERS],
        "frames": [guest.read(BUFFERS + BUFFER_BYTES * head, written) for head, written in guest.used(RX)],
        "sent": sent_out(system),
    }


def memory(system: System, chance: random.Random, hostility: float = 0) -> None:
    """A driver's memory at the start of a case: mostly as it should be. The device's port knows the mapping."""
    system.device.dma.ensure(AT, 8, write=False)

    def pick(usual: int, *others: int) -> int:
        return chance.choice(others) if chance.random() < hostility else usual

    system.guest.write(BUFFERS, chance.randbytes(FRAME_BYTES - BUFFERS))
    for queue, flag, place in ((RX, WRITE, BUFFERS), (TX, 0, OUTGOING)):
        for head in range(system.size):
            address = pick(AT + place + BUFFER_BYTES * head, 0, AT + FRAME_BYTES - 8, AT + FRAME_BYTES, 1 << 63)
            size = HEADER.size + chance.choice(SIZES) if queue == TX else BUFFER_BYTES
            length = pick(size, 0, 1, 12, 13, 72, 5000, 0xFFFFFFFF)
            flags = pick(flag, WRITE - flag, NEXT | flag, 4, 7)
            system.guest.descriptor(head, address, length, flags, chance.randrange(10), queue)
        heads = list(range(system.size))
        chance.shuffle(heads)
        for head in heads:
            system.offer(queue, pick(head, 0, 7, 8, 65535))
        if chance.random() < hostility / 4:
            system.guest.write(queue * 0x4000 + 0x1002, chance.randbytes(2))
        system.guest.write(queue * 0x4000 + 0x1000, bytes([chance.randrange(2), 0]))  # NO_INTERRUPT


def case(system: System, chance: random.Random) -> list[dict[str, object]]:
    memory(system, chance, chance.choice((0, 0, 0.05, 0.4)))
    found = []
    for _ in range(ROUNDS):
        for queue in (RX, TX):
            system.guest.set(Register.QUEUE_NOTIFY, queue)
        for _ in range(chance.randrange(4)):
            system.there.send(frame(chance.randrange(1000), chance.choice((1, *SIZES, 1519, 4000))))
        system.turns(24)
        found.append(seen(system))
        if chance.random() < 0.5:
            system.guest.set(Register.INTERRUPT_ACK, 1)
        if chance.random() < 0.5:
            head = chance.randrange(system.size)
            system.offer(TX, head)  # perhaps one that is under way
    return found


def test_random_and_hostile_rings(moved: Counter[str]) -> None:
    failed = 0
    for seed in range(SEEDS):
        with pair() as systems:
            model, bulk = (case(system, random.Random(seed)) for system in systems)
            assert bulk == model, f"seed {seed}"
            failed += bool(bulk[-1]["registers"][0] & Status.NEEDS_RESET)  # type: ignore[index]
    assert SEEDS // 10 < failed < SEEDS // 2
    assert min(moved["sent"], moved["received"], moved["left"]) > SEEDS


def test_all_of_ram_but_how_far_it_has_looked(moved: Counter[str]) -> None:
    """Where every buffer is used, the model and C leave the same record."""
    with pair() as systems:
        for system in systems:
            memory(system, random.Random(0))
            for number in range(system.size):
                system.there.send(frame(number))
            for queue in (RX, TX):
                system.guest.set(Register.QUEUE_NOTIFY, queue)
            system.turns(24)
            assert system.used(RX) == system.used(TX) == system.size
        pages = [system.guest.ram.read(RECORD, system.guest.ram.size - RECORD) for system in systems]
        assert pages[0] == pages[1]
    assert moved["received"] == moved["sent"] == systems[1].size


@pytest.mark.parametrize("queue", [RX, TX])
def test_memory_that_is_taken_away_is_not_reached(moved: Counter[str], queue: int) -> None:
    """The mapping goes after C has come to know it: the driver's frame is refused, the buffer comes back empty."""
    with pair() as systems:
        for system in systems:
            for _ in range(2):
                system.transmit(frame(1))
                system.turns()
            assert len(sent_out(system)) == 2
            before = system.guest.read(OUTGOING, FRAME_BYTES - OUTGOING)
            system.guest.mapped = BUFFERS
            system.guest.iommu.forget()
            if queue == RX:
                system.buffers(2)
                system.there.send(frame(2))
            else:
                system.transmit(frame(3), head=1)
            system.turns(12)
            assert system.guest.read(OUTGOING + BUFFER_BYTES * 2, 64) == before[BUFFER_BYTES * 2 :][:64]
        model, bulk = map(seen, systems)
        assert bulk == model
        assert bulk["sent"] == []
    assert moved["sent"] >= 1


@pytest.mark.parametrize("rows", [[], [0] * 4, [(1 << 64) - 1] * 4])
def test_a_table_that_knows_nothing_leaves_all_to_the_model(rows: list[int]) -> None:
    with pair() as (_, system):
        memory(system, random.Random(0))
        ram, dma = system.guest.ram, system.device.dma
        before = ram.read(RECORD, ram.size - RECORD)
        table, desk = array("Q", [len(rows) // 4, *rows]), array("Q", [0, system.device.own.resets, 0, 0])
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with here, there:
            there.send(frame(1))
            mover = _net.Mover(ram, RECORD, table, dma.counts, desk, here.fileno(), 1518, FRAMES_A_TURN, BYTES_A_TURN)
            assert mover.turn(True) == _net.LEFT
            assert here.recv(4096) == frame(1)
        assert ram.read(RECORD, ram.size - RECORD) == before


@pytest.mark.parametrize("word", [HELD, RESETS])
def test_what_python_holds_is_left_to_it(word: int) -> None:
    with pair() as (_, system):
        memory(system, random.Random(0))
        ram, dma = system.guest.ram, system.device.dma
        desk = array("Q", [0, system.device.own.resets, 0, 0])
        desk[word] += 1
        mover = _net.Mover(ram, RECORD, dma.table, dma.counts, desk, system.here.fileno(), 1518, 64, 1 << 20)
        assert mover.turn(True) == _net.LEFT
        desk[word] -= 1
        assert mover.turn(True) & (_net.LEFT | _net.MOVED) == _net.MOVED
        assert sent_out(system)


@pytest.mark.parametrize("page", [RECORD + 4, 1 << 40, (1 << 64) - 8])
def test_a_page_that_is_none_is_refused(page: int) -> None:
    counts, desk = array("Q", bytes(40)), array("Q", bytes(32))
    with pair() as (_, system), pytest.raises((ValueError, RamError)):
        _net.Mover(system.guest.ram, page, array("Q", [0]), counts, desk, 0, 1518, 1, 1)
