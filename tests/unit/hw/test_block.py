"""The disk: requests as a driver makes them, the order of what reaches the medium, and what hostile drivers come to."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hw.devices.block import BARRIER, BARRIER_TYPE, COMMIT, FLUSH, RO, Block, Kind, Outcome, Request
from hw.devices.disk import IDENTITY, Disk
from hw.devices.disk_image import DiskImage, ImageError, open_image
from hw.devices.medium import SWITCH_S, Answer, Medium
from hw.devices.virtio_registers import Cause, Feature, Register, Status
from hw.devices.virtqueue import INDIRECT, NEXT, SEGMENTS_A_TURN, WRITE
from hw.iommu import Buffer
from tests.unit.hw.virtio_driver import AT, FRAME_BYTES, IRQ, NUMBER, PORT, RECORD, Guest

SECTORS = 64
DATA = 0x9000
HEADERS = 0x8000


class Recorder(Medium):
    """A medium that remembers what came, and reads at once if it is told to."""

    def __init__(self) -> None:
        self.bytes = bytearray(random.Random(1).randbytes(512 * SECTORS))
        self.log: list[object] = []
        self.reads_now = False
        self.broken = False
        self.fails = 0  # so many flushes do, and those behind them do not, as on Linux
        self.gate = threading.Event()  # flushes wait for it
        self.gate.set()

    def read(self, offset: int, size: int) -> bytes:
        self._ensure()
        self.log.append(("read", offset, size))
        return bytes(self.bytes[offset : offset + size])

    def read_now(self, offset: int, size: int) -> bytes | None:
        return self.read(offset, size) if self.reads_now else None

    def write(self, offset: int, data: Buffer) -> None:
        self._ensure()
        self.log.append(("write", offset, len(data)))
        self.bytes[offset : offset + len(data)] = data

    def flush(self) -> None:
        self._ensure()
        assert self.gate.wait(20)
        if self.fails:
            self.fails -= 1
            raise OSError("what was written is lost")
        self.log.append("flush")

    def _ensure(self) -> None:
        if self.broken:
            raise OSError("the disk is gone")


class HeldMedium(Recorder):
    """With a worker of its own, itself, which finishes all that it has when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.held: list[Request] = []
        self._finished: list[Answer] = []

    def worker(self) -> HeldMedium:
        return self

    def carry_out(self, request: Request) -> None:
        self.held.append(request)

    def begin(self) -> None:
        """It begins when it is told to."""

    def let_go(self) -> None:
        for request in self.held:
            self._finished.append(Answer(request, bytes(request.size) if request.kind is Kind.IN else b""))
        os.eventfd_write(self.bell, 1)

    def finished_nowait(self) -> list[Answer]:
        finished, self._finished = self._finished, []
        return finished

    def answer_bell(self) -> None:
        os.eventfd_read(self.bell)

    def close(self) -> None:
        os.close(self.bell)


class System:
    """A guest, its disk, and the loop on which the disk works."""

    def __init__(self, medium: Medium, read_only: bool = False) -> None:
        self.guest = Guest(lambda ram, dma: Block(ram, RECORD, NUMBER, PORT, IRQ, dma, SECTORS, read_only=read_only))
        self.loop = asyncio.new_event_loop()
        self.changes = asyncio.Event()
        device = self.guest.device
        assert isinstance(device, Block)
        self.device = device
        self.counts: list[int] = []  # of requests used, at each change
        self.disk = Disk(self.loop, self.guest.bus, device, medium, self.changed)
        self.guest.bus.set_kick(lambda number: self.disk.kicked())
        self.next = 0

    def changed(self) -> None:
        self.counts.append(len(self.guest.used()))
        self.changes.set()

    def request(self, kind: int, sector: int = 0, outgoing: bytes = b"", incoming: int = 0, slot: int = 0) -> None:
        """Offer a request; its header, data and status have places of their own by ``slot``."""
        header, data = HEADERS + 64 * slot, DATA + 0x1000 * slot
        self.guest.write(header, struct.pack("<IIQ", kind, 0, sector) + b"\xff" * 4)
        first = 3 * slot
        self.guest.descriptor(first, AT + header, 16, NEXT, first + 1 if outgoing or incoming else first + 2)
        if outgoing:
            self.guest.write(data, outgoing)
            self.guest.descriptor(first + 1, AT + data, len(outgoing), NEXT, first + 2)
        elif incoming:
            self.guest.descriptor(first + 1, AT + data, incoming, NEXT | WRITE, first + 2)
        self.guest.descriptor(first + 2, AT + header + 16, 1, WRITE)
        self.guest.offer(first)

    def run(self, count: int) -> list[tuple[int, int]]:
        """Notify, and wait until so many requests are used in all, or the device needs a reset."""

        async def finished() -> None:
            while len(self.guest.used()) < count and not self.guest.device.state.status & Status.NEEDS_RESET:
                self.changes.clear()
                await self.changes.wait()

        self.guest.set(Register.QUEUE_NOTIFY, 0)
        self.loop.run_until_complete(asyncio.wait_for(finished(), 20))
        return self.guest.used()

    def turn(self) -> None:
        """Notify, and let the disk have its turn."""
        self.guest.set(Register.QUEUE_NOTIFY, 0)
        self.loop.run_until_complete(asyncio.sleep(0))

    def status(self, slot: int = 0) -> int:
        return self.guest.read(HEADERS + 64 * slot + 16, 1)[0]

    def close(self) -> None:
        self.disk.close()
        self.loop.close()


@pytest.fixture
def medium() -> Recorder:
    return Recorder()


@pytest.fixture
def system(medium: Recorder) -> Iterator[System]:
    made = System(medium)
    made.guest.begin(FLUSH, size=16)
    yield made
    made.close()


def test_its_configuration_is_the_standards(system: System) -> None:
    assert (system.guest.configuration(0, 4), system.guest.configuration(4, 4)) == (SECTORS, 0)
    assert (system.guest.configuration(12, 4), system.guest.configuration(20, 4)) == (254, 512)


@pytest.mark.parametrize("reads_now", [False, True])
def test_it_reads(system: System, medium: Recorder, reads_now: bool) -> None:
    medium.reads_now = reads_now
    system.request(Kind.IN, 3, incoming=1024)
    assert system.run(1) == [(0, 1025)]
    assert (system.guest.read(DATA, 1024), system.status()) == (medium.bytes[1536:2560], Outcome.OK)
    assert system.guest.get(Register.INTERRUPT_STATUS) == 1


def test_it_writes_and_flushes_in_order(system: System, medium: Recorder) -> None:
    system.request(Kind.OUT, 1, b"a" * 512, slot=0)
    system.request(Kind.OUT, 5, b"b" * 512, slot=1)
    system.request(Kind.FLUSH, slot=2)
    system.request(Kind.OUT, 1, b"c" * 512, slot=3)
    assert [head for head, _ in system.run(4)] == [0, 3, 6, 9]
    assert medium.log == [("write", 512, 512), ("write", 2560, 512), "flush", ("write", 512, 512)]
    assert [system.status(slot) for slot in range(4)] == [Outcome.OK] * 4
    assert medium.bytes[512:1024] == b"c" * 512


def test_a_read_from_memory_overtakes_a_flush(system: System, medium: Recorder) -> None:
    medium.reads_now = True
    medium.gate.clear()
    system.request(Kind.FLUSH, slot=0)
    system.request(Kind.IN, 0, incoming=512, slot=1)
    assert system.run(1) == [(3, 513)]
    medium.gate.set()
    assert [head for head, _ in system.run(2)] == [3, 0]


def test_nothing_passes_a_barrier(medium: Recorder) -> None:
    system = System(medium)
    system.guest.begin(FLUSH | BARRIER, size=16)
    medium.reads_now = True
    medium.gate.clear()
    system.request(Kind.IN, 0, incoming=512, slot=0)
    system.request(Kind.OUT, 1, b"a" * 512, slot=1)
    system.request(Kind.FLUSH | BARRIER_TYPE, slot=2)
    system.request(Kind.IN, 1, incoming=512, slot=3)
    assert [head for head, _ in system.run(2)] == [0, 3]
    medium.gate.set()
    assert [head for head, _ in system.run(4)] == [0, 3, 6, 9]
    assert medium.log == [("read", 0, 512), ("write", 512, 512), "flush", ("read", 512, 512)]
    system.request(Kind.IN, 2, incoming=512, slot=0)
    assert [head for head, _ in system.run(5)][-1] == 0
    system.close()


def test_a_barrier_that_was_not_agreed_to_is_no_request(system: System) -> None:
    system.request(Kind.FLUSH | BARRIER_TYPE)
    system.run(1)
    assert system.status() == Outcome.UNSUPP


def test_a_turn_moves_about_a_mebibyte(medium: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hw.devices.disk.BYTES_A_TURN", 1024)
    medium.reads_now = True
    system = System(medium)
    system.guest.begin(size=16)
    for slot in range(5):
        system.request(Kind.IN, slot, incoming=512, slot=slot)
    system.run(5)
    assert system.counts == [2, 4, 5]
    system.close()


def test_what_waits_at_a_reset_is_forgotten(medium: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hw.devices.disk.BYTES_A_TURN", 512)
    medium.reads_now = True
    system = System(medium)
    system.guest.begin(size=16)
    for slot in range(5):
        system.request(Kind.IN, slot, incoming=512, slot=slot)
    system.guest.set(Register.QUEUE_NOTIFY, 0)
    system.loop.run_until_complete(asyncio.sleep(0))
    system.guest.set(Register.STATUS, 0)
    system.guest.begin(size=16)
    system.request(Kind.GET_ID, incoming=20)
    assert system.run(1) == [(0, 21)]
    system.close()
    assert len(medium.log) < 5


def test_a_busy_kernel_does_not_keep_the_thread_waiting(system: System) -> None:
    assert sys.getswitchinterval() <= SWITCH_S  # 5 ms by default, three times a request


def test_it_says_its_name(system: System) -> None:
    system.request(Kind.GET_ID, incoming=20)
    system.run(1)
    assert system.guest.read(DATA, 20) == IDENTITY


@pytest.mark.parametrize(
    ("kind", "sector", "outgoing", "incoming", "outcome"),
    [
        (Kind.IN, SECTORS, b"", 512, Outcome.IOERR),
        (Kind.IN, SECTORS - 1, b"", 1024, Outcome.IOERR),
        (Kind.IN, 2**64 - 1, b"", 512, Outcome.IOERR),
        (Kind.IN, 0, b"", 511, Outcome.IOERR),
        (Kind.OUT, SECTORS, b"x" * 512, 0, Outcome.IOERR),
        (Kind.OUT, 0, b"x" * 100, 0, Outcome.IOERR),
        (Kind.GET_ID, 0, b"", 4, Outcome.IOERR),
        (99, 0, b"", 0, Outcome.UNSUPP),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    system: System, medium: Recorder, kind: int, sector: int, outgoing: bytes, incoming: int, outcome: Outcome
) -> None:
    system.request(kind, sector, outgoing, incoming)
    assert system.run(1) == [(0, 1)]
    assert (system.status(), medium.log) == (outcome, [])


def test_a_disk_that_is_read_only_takes_no_writes(medium: Recorder) -> None:
    system = System(medium, read_only=True)
    system.guest.begin(RO, size=16)
    system.request(Kind.OUT, 0, b"x" * 512)
    system.run(1)
    assert (system.status(), medium.log) == (Outcome.IOERR, [])
    system.close()


def test_a_medium_that_fails_is_told_and_the_device_goes_on(system: System, medium: Recorder) -> None:
    medium.broken = True
    for slot, kind in enumerate((Kind.IN, Kind.OUT, Kind.FLUSH)):
        data = b"x" * 512 if kind is Kind.OUT else b""
        system.request(kind, 0, data, 512 if kind is Kind.IN else 0, slot)
    system.run(3)
    assert [system.status(slot) for slot in range(3)] == [Outcome.IOERR] * 3
    medium.broken = False
    system.request(Kind.IN, 0, incoming=512, slot=3)
    system.run(4)
    assert system.status(3) == Outcome.OK


def test_what_is_under_way_at_a_reset_changes_nothing_afterwards(system: System, medium: Recorder) -> None:
    system.request(Kind.IN, 0, incoming=512)
    system.guest.set(Register.QUEUE_NOTIFY, 0)
    system.loop.run_until_complete(asyncio.sleep(0))  # taken, and given to the thread
    system.guest.set(Register.STATUS, 0)
    system.guest.write(DATA, bytes(512))
    system.guest.begin(FLUSH, size=16)
    system.request(Kind.GET_ID, incoming=20, slot=1)
    assert system.run(1) == [(3, 21)]
    assert system.guest.read(DATA, 512) == bytes(512)


def test_a_read_behind_a_reset_finds_what_was_written_before_it(system: System, medium: Recorder) -> None:
    medium.reads_now = True
    medium.gate.clear()
    system.request(Kind.FLUSH, slot=0)
    system.request(Kind.OUT, 2, b"w" * 512, slot=1)
    system.turn()  # the thread has both, and is at the first
    system.guest.set(Register.STATUS, 0)
    system.guest.begin(FLUSH, size=16)
    system.request(Kind.IN, 2, incoming=512, slot=2)
    system.turn()
    assert system.guest.used() == []
    medium.gate.set()
    assert system.run(1) == [(6, 513)]
    assert system.guest.read(DATA + 0x2000, 512) == b"w" * 512


def test_a_driver_that_resets_again_and_again_has_the_thread_hold_no_more(system: System, medium: Recorder) -> None:
    medium.gate.clear()
    for _ in range(50):
        for slot in range(5):
            system.request(Kind.FLUSH, slot=slot)
        system.turn()
        system.guest.set(Register.STATUS, 0)
        system.guest.begin(FLUSH, size=16)
    system.request(Kind.FLUSH, slot=0)
    medium.gate.set()
    assert system.run(1) == [(0, 1)]
    assert medium.log == ["flush"] * 6


def flush(system: System) -> int:
    """A flush's outcome."""
    before = len(system.guest.used())
    system.request(Kind.FLUSH)
    system.run(before + 1)
    return system.status()


def test_a_flush_that_fails_while_its_driver_is_reset_fails_the_next_driver_s_first(
    system: System, medium: Recorder
) -> None:
    medium.gate.clear()
    medium.fails = 1
    system.request(Kind.FLUSH, slot=0)
    system.request(Kind.FLUSH, slot=1)  # of the same driver, which is told of neither
    system.turn()
    system.guest.set(Register.STATUS, 0)
    system.guest.begin(FLUSH, size=16)
    medium.gate.set()
    assert [flush(system), flush(system)] == [Outcome.IOERR, Outcome.OK]


def test_a_driver_that_is_reset_behind_a_flush_that_failed_may_have_told_nobody(
    system: System, medium: Recorder
) -> None:
    medium.fails = 1
    assert flush(system) == Outcome.IOERR
    for _ in range(2):
        system.guest.set(Register.STATUS, 0)
        system.guest.begin(FLUSH, size=16)
        assert flush(system) == Outcome.IOERR
    assert flush(system) == Outcome.OK
    system.guest.set(Register.STATUS, 0)
    system.guest.begin(FLUSH, size=16)
    assert flush(system) == Outcome.OK


def test_a_flush_that_is_under_way_is_waited_for(system: System, medium: Recorder) -> None:
    medium.gate.clear()
    system.request(Kind.FLUSH)
    system.turn()
    assert not system.disk.finish(time.monotonic() + 0.001)
    medium.gate.set()
    assert system.disk.finish(time.monotonic() + 20)
    assert system.guest.used() == [(0, 1)]


def test_a_flush_is_waited_for_beside_a_thousand_other_descriptors(high_numbers: None) -> None:
    medium = HeldMedium()
    system = System(medium)
    system.guest.begin(FLUSH, size=16)
    system.request(Kind.FLUSH)
    system.turn()
    assert not system.disk.finish(time.monotonic() + 0.001)
    medium.let_go()
    assert system.disk.finish(time.monotonic() + 20)
    system.close()


def test_a_queue_that_is_stopped_gives_nothing_back_and_goes_on_at_its_next_chain() -> None:
    medium = HeldMedium()
    system = System(medium)
    system.guest.begin(FLUSH, size=16)
    system.request(Kind.IN, 1, incoming=512, slot=0)
    system.turn()
    system.guest.write(DATA, b"s" * 512)
    system.guest.set(Register.QUEUE_READY, 0)
    medium.let_go()
    system.turn()
    assert (system.guest.read(DATA, 512), system.status(), system.guest.used()) == (b"s" * 512, 0xFF, [])
    system.guest.set(Register.QUEUE_READY, 1)
    system.request(Kind.GET_ID, incoming=20, slot=1)
    assert system.run(1) == [(3, 21)]
    system.close()


def test_a_kernel_that_comes_after_does_again_what_was_under_way(system: System, medium: Recorder) -> None:
    system.request(Kind.OUT, 2, b"z" * 512)
    chains: list[object] = []
    system.guest.bus.change(system.device, lambda: chains.extend(system.device.requests.take(4)))
    assert chains
    assert medium.log == []
    system.disk.close()
    system.disk = Disk(system.loop, system.guest.bus, system.device, medium, system.changes.set)
    assert system.run(1) == [(0, 1)]
    assert (medium.log, system.status()) == ([("write", 1024, 512)], Outcome.OK)


@pytest.mark.parametrize("kind", [Kind.IN, Kind.OUT])
def test_data_that_cannot_be_reached_is_that_requests_error(system: System, medium: Recorder, kind: Kind) -> None:
    system.request(kind, 0, b"x" * 512 if kind is Kind.OUT else b"", 512 if kind is Kind.IN else 0)
    system.guest.descriptor(1, AT + FRAME_BYTES, 512, NEXT | (WRITE if kind is Kind.IN else 0), 2)
    assert system.run(1) == [(0, 1)]
    assert system.status() == Outcome.IOERR
    assert ("write", 0, 512) not in medium.log


@pytest.mark.parametrize("taken", ["status", "header"])
def test_a_header_that_is_not_mapped_stops_the_device(system: System, taken: str) -> None:
    bad = AT + FRAME_BYTES
    system.guest.descriptor(0, bad if taken == "header" else AT + HEADERS, 16, NEXT, 1)
    system.guest.descriptor(1, AT + DATA, 512, NEXT | WRITE, 2)
    system.guest.descriptor(2, bad if taken == "status" else AT + HEADERS + 16, 1, WRITE)
    system.guest.offer(0)
    system.run(1)
    assert system.device.state.cause == Cause.DMA_FAULT


def test_a_chain_that_is_no_request_stops_the_device(system: System) -> None:
    system.guest.descriptor(0, AT + HEADERS, 16)
    system.guest.offer(0)
    system.run(1)
    assert system.device.state.cause == Cause.BAD_REQUEST


@pytest.mark.parametrize("kind", [Kind.IN, Kind.OUT])
def test_many_requests_in_many_pieces_share_turns(kind: Kind) -> None:
    medium = HeldMedium()
    system = System(medium)
    system.guest.begin(FLUSH | int(Feature.INDIRECT_DESC), size=16)
    system.guest.write(HEADERS, struct.pack("<IIQ", kind, 0, 0))
    flags = WRITE if kind is Kind.IN else 0
    sizes = [2] * 253 + [6]
    table = struct.pack("<QIHH", AT + HEADERS, 16, NEXT, 1)
    for number, size in enumerate(sizes, 2):
        table += struct.pack("<QIHH", AT + DATA, size, NEXT | flags, number)
    system.guest.write(0x20000, table + struct.pack("<QIHH", AT + HEADERS + 16, 1, WRITE, 0))
    for head in range(15):
        system.guest.descriptor(head, AT + 0x20000, 16 * 256, INDIRECT)
        system.guest.offer(head)
    lookups = system.guest.lookups()
    system.guest.set(Register.QUEUE_NOTIFY, 0)
    while len(medium.held) < 15:
        system.loop.run_until_complete(asyncio.sleep(0))
    medium.let_go()
    assert len(system.run(15)) == 15
    assert max(lookups) < 2 * (SEGMENTS_A_TURN + 16)
    system.close()


@pytest.mark.parametrize("kind", [Kind.OUT, Kind.GET_ID, Kind.COMMIT])
def test_requests_for_more_pages_than_they_move_bytes_share_turns(medium: Recorder, kind: Kind) -> None:
    system = System(medium)
    system.guest.begin(FLUSH | COMMIT, size=64)
    pages = system.guest.scatter_pages()
    for slot in range(16):
        head, header = 3 * slot, HEADERS + 64 * slot
        system.guest.write(header, struct.pack("<IIQ", kind, 1, 0) + bytes(16) + b"\xff")
        is_read = kind is Kind.OUT  # by the device, up to a page that is not there
        size = pages.size - 32 if is_read else pages.size - 4096
        system.guest.descriptor(head, AT + header, 32 if kind is Kind.COMMIT else 16, NEXT, head + 1)
        system.guest.descriptor(head + 1, pages.address, size, NEXT if is_read else NEXT | WRITE, head + 2)
        system.guest.descriptor(head + 2, AT + header + 32, 1, WRITE)
        system.guest.offer(head)
    lookups = system.guest.lookups()
    assert len(system.run(16)) == 16
    assert max(lookups) < 2 * (SEGMENTS_A_TURN + 64)
    system.close()


def test_random_requests_never_end_the_disk(system: System, medium: Recorder) -> None:
    randomly = random.Random(3)
    for _ in range(300):
        system.guest.set(Register.STATUS, 0)
        system.guest.begin(FLUSH, size=16)
        for _ in range(4):
            system.guest.write(
                HEADERS, struct.pack("<IIQ", randomly.choice((0, 1, 4, 8, 77)), 0, randomly.randrange(70))
            )
            for number in range(3):
                address = randomly.choice((AT + HEADERS, AT + DATA, AT + FRAME_BYTES - 8))
                flags = randomly.choice((0, NEXT, WRITE, NEXT | WRITE))
                system.guest.descriptor(number, address, randomly.choice((1, 16, 512, 513)), flags, number + 1)
            system.guest.offer(0)
            system.guest.set(Register.QUEUE_NOTIFY, 0)
            system.loop.run_until_complete(asyncio.sleep(0))
    system.guest.set(Register.STATUS, 0)
    system.guest.begin(FLUSH, size=16)
    system.request(Kind.FLUSH, slot=1)
    assert system.run(1)[-1] == (3, 1)


class TestImage:
    """The file behind it."""

    def test_what_is_no_regular_file_is_refused_by_its_name(self) -> None:
        for size in (None, 4096):
            with pytest.raises(ImageError, match="/dev/null is no regular file"):
                open_image(Path("/dev/null"), size, read_only=False)

    def test_it_is_made_sparse_and_locked(self, tmp_path: Path) -> None:
        path = tmp_path / "disk.img"
        with pytest.raises(ImageError, match="give it a size"):
            open_image(path, None, read_only=False)
        first = open_image(path, 1 << 30, read_only=False)
        assert (path.stat().st_size, path.stat().st_blocks) == (1 << 30, 0)
        with pytest.raises(ImageError, match="in use"):
            open_image(path, None, read_only=True)
        image = DiskImage(first)
        assert image.sectors == 1 << 21
        image.write(1 << 20, b"abc")
        image.flush()
        assert image.read((1 << 20) - 1, 5) == b"\0abc\0"
        assert bytes(image.read_now((1 << 20) - 1, 5) or b"\0abc\0") == b"\0abc\0"
        os.close(first)

    @pytest.mark.parametrize(
        ("number", "asked"), [(errno.EAGAIN, 2), (errno.EIO, 2), (errno.EOPNOTSUPP, 1), (errno.EINVAL, 1)]
    )
    def test_what_does_not_come_at_once_is_read_by_the_thread(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, asked: int
    ) -> None:
        calls = []

        def refuse(*arguments: object) -> int:
            calls.append(arguments)
            raise OSError(number, "refused")

        monkeypatch.setattr(os, "preadv", refuse)
        descriptor = open_image(tmp_path / "disk.img", 4096, read_only=False)
        image = DiskImage(descriptor)
        assert [image.read_now(0, 512), image.read_now(0, 512)] == [None, None]
        assert (len(calls), image.read(0, 512)) == (asked, bytes(512))
        os.close(descriptor)

    def test_an_image_that_becomes_shorter_is_an_error_of_the_disk(self, tmp_path: Path) -> None:
        path = tmp_path / "disk.img"
        descriptor = open_image(path, 4096, read_only=False)
        image = DiskImage(descriptor)
        os.truncate(path, 1024)
        with pytest.raises(OSError, match="shorter than 4096 bytes"):
            image.read(512, 1024)
        os.close(descriptor)

    def test_a_size_that_is_none_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "disk.img"
        path.write_bytes(b"x" * 100)
        with pytest.raises(ImageError, match="has 100 bytes"):
            open_image(path, None, read_only=True)
