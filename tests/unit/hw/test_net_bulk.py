"""Frames that C moves, against the model: a driver and a link cannot tell which of the two has done it."""

from __future__ import annotations

import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from hw import _net
from hw.devices.net import HEADER
from hw.devices.net_frames import BYTES_A_TURN, FRAMES_A_TURN
from hw.devices.virtio_registers import Register, Status
from hw.devices.virtqueue import NEXT, WRITE
from hw.ram import RamError
from tests.unit.hw.test_net import BUFFER_BYTES, BUFFERS, OUTGOING, RX, TX, System, frame
from tests.unit.hw.virtio_driver import AT, FRAME_BYTES, RECORD

SEEDS = 200
ROUNDS = 4
QUEUE_BYTES = 0x8000  # of both
SIZES = (14, 60, 1514, 1518)  # of frames
COUNTERS = ("is_down", "received", "received_bytes", "sent", "sent_bytes", "dropped", "refused")
Move = Callable[..., tuple[int, int, int]]


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, int]]:
    """Frames that C has moved, and how often it has left a turn to the model, by function and outcome."""
    found: Counter[tuple[str, int]] = Counter()

    def counted(name: str, move: Move) -> Move:
        def called(*arguments: object) -> tuple[int, int, int]:
            outcome, count, size = move(*arguments)
            found[name, outcome] += count or outcome == _net.UNUSUAL
            return outcome, count, size

        return called

    for name in ("transmit", "receive"):
        monkeypatch.setattr(_net, name, counted(name, getattr(_net, name)))
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


def test_random_and_hostile_rings(moved: Counter[tuple[str, int]]) -> None:
    failed = 0
    for seed in range(SEEDS):
        with pair() as systems:
            model, bulk = (case(system, random.Random(seed)) for system in systems)
            assert bulk == model, f"seed {seed}"
            failed += bool(bulk[-1]["registers"][0] & Status.NEEDS_RESET)  # type: ignore[index]
    assert SEEDS // 10 < failed < SEEDS // 2
    assert moved["transmit", _net.DONE] > SEEDS
    assert moved["receive", _net.LATER] > SEEDS
    assert moved["transmit", _net.UNUSUAL] > SEEDS // 10
    assert moved["receive", _net.UNUSUAL] > SEEDS // 10


def test_all_of_ram_but_how_far_it_has_looked(moved: Counter[tuple[str, int]]) -> None:
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
    assert moved["receive", _net.DONE] + moved["receive", _net.LATER] == moved["transmit", _net.DONE] == systems[1].size


@pytest.mark.parametrize("queue", [RX, TX])
def test_memory_that_is_taken_away_is_not_reached(moved: Counter[tuple[str, int]], queue: int) -> None:
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
    assert moved["transmit", _net.DONE] >= 1


@pytest.mark.parametrize("spans", [b"", bytes(32), b"\xff" * 32, b"\xff" * 31])
def test_a_table_that_knows_nothing_leaves_all_to_the_model(spans: bytes) -> None:
    with pair() as (_, system):
        memory(system, random.Random(0))
        before = system.guest.ram.read(RECORD, system.guest.ram.size - RECORD)
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with here, there:
            there.send(frame(1))
            for move in (_net.transmit, _net.receive):
                with system.guest.ram.transaction():
                    done = move(system.guest.ram, RECORD, spans, here.fileno(), 1518, FRAMES_A_TURN, BYTES_A_TURN)
                assert done == (_net.UNUSUAL, 0, 0)
            assert there.fileno() >= 0
        assert system.guest.ram.read(RECORD, system.guest.ram.size - RECORD) == before


@pytest.mark.parametrize("page", [RECORD + 4, 1 << 40, (1 << 64) - 8])
def test_a_page_that_is_none_is_refused(page: int) -> None:
    with pair() as (_, system), pytest.raises((ValueError, RamError)):
        _net.transmit(system.guest.ram, page, b"", 0, 1518, 1, 1)
