"""The disk's driver over the machine's virtio block device: conformance, order, joining, and devices gone wrong."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from hw.devices.block import BARRIER, COMMIT, Kind
from hw.devices.virtio_registers import Cause, Status
from libsel4py.dataspace import DataSpace, SharedMemory
from libsel4py.interfaces.block import (
    MOST_BUFFER_FRAMES,
    MOST_CALLS,
    BadRequest,
    Block,
    DiskError,
    ReadOnlyDisk,
    Request,
)
from libsel4py.testing.block_device import BLOCK_CHECKS, Subject
from libsel4py.watchdog import LOOK_S
from servers.block import disk as driver
from servers.block.disk import MOST_TRIES
from tests.unit.servers.disk_board import IRQ, SECTORS, Board, board

SECONDS = 10.0


@pytest.fixture
def machine() -> Iterator[Board]:
    with board() as made:
        yield made


@pytest.fixture
def disk(machine: Board) -> Iterator[Block]:
    with machine.driver() as client:
        yield client


@pytest.fixture
def space(machine: Board) -> Iterator[DataSpace]:
    with DataSpace.allocate(1 << 16) as made:
        made.attach()
        yield made


@pytest.mark.parametrize("read_only", [False, True])
@pytest.mark.parametrize("check", BLOCK_CHECKS)
def test_it_conforms(check: str, read_only: bool) -> None:
    with board(read_only) as machine, machine.driver() as disk:

        def strange() -> SharedMemory:
            return SharedMemory(machine.made.new(object()))

        BLOCK_CHECKS[check](Subject(disk, strange))


def read(space: DataSpace, offset: int, length: int) -> bytes:
    assert space.mapping is not None
    return space.mapping.read(offset, length)


def test_a_disk_that_is_slow_interrupts_when_it_is_done(machine: Board, disk: Block, space: DataSpace) -> None:
    number = disk.attach(space.share())
    machine.contents[512:1024] = b"\7" * 512
    machine.holds = True
    call = machine.calling(disk.read, number, 0, 1, 1)
    assert not call.done()
    machine.work()
    call.result(SECONDS)
    assert read(space, 0, 512) == b"\7" * 512


def test_a_lost_interrupt_delays_and_nothing_else(machine: Board, disk: Block, space: DataSpace) -> None:
    alarm = machine.main.server.alarm
    assert alarm is not None
    number = disk.attach(space.share())
    assert alarm.due() == math.inf, "nothing is under way"
    machine.contents[512:1024] = b"\7" * 512
    machine.holds = True
    for sector in (1, 2):
        call = machine.calling(disk.read, number, 512 * (sector - 1), sector, 1)
        assert alarm.due() <= time.monotonic() + LOOK_S
        alarm.ring()  # too early: it is slow, and nothing more
        assert not call.done()
        machine.finish()
        machine.bus.lines.forget(IRQ)
        alarm.ring()
        call.result(SECONDS)
        assert alarm.due() == math.inf
    assert read(space, 0, 512) == b"\7" * 512


def test_many_clients_are_under_way_at_a_time_and_end_in_any_order(
    machine: Board, disk: Block, space: DataSpace
) -> None:
    number = disk.attach(space.share())
    machine.holds = True
    calls = [machine.calling(disk.read, number, 512 * at, 10 * at, 1) for at in range(3)]
    assert [sector for _, sector, _ in machine.held] == [0, 10, 20]
    machine._held.reverse()
    machine.work(1)
    calls[2].result(SECONDS)
    assert not calls[0].done()
    assert not calls[1].done()
    machine.work()
    for call in calls:
        call.result(SECONDS)


def test_who_reads_does_not_wait_for_another_s_flush(
    machine: Board, disk: Block, space: DataSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = disk.attach(space.share())
    machine.holds = True
    flush = machine.calling(disk.flush)
    waiting = machine._held
    machine._held, machine.holds = [], False
    monkeypatch.setattr(driver, "LOOK_NS", 3_600_000_000_000)
    disk.read(number, 0, 0, 1)
    assert not flush.done()
    machine._held = waiting
    machine.work()
    flush.result(SECONDS)


def test_requests_side_by_side_go_as_one(machine: Board, disk: Block, space: DataSpace) -> None:
    number = disk.attach(space.share())
    disk.transfer(number, [Request(True, 512 * at, 8 + at, 1) for at in range(4)])
    disk.transfer(number, [Request(True, 4096 - 512 * at, 8 + at, 1) for at in range(4)])  # scattered in memory
    disk.transfer(number, [Request(True, 512 * at, 8 + 2 * at, 1) for at in range(2)])
    assert machine.done == [(Kind.OUT, 8, 2048), (Kind.OUT, 8, 2048), (Kind.OUT, 8, 512), (Kind.OUT, 10, 512)]


def test_a_client_s_lost_memory_is_no_error_of_those_it_was_joined_with(
    machine: Board, disk: Block, space: DataSpace
) -> None:
    other = machine.client(disk, 2)
    machine.holds = True
    machine.contents[512 * 101 : 512 * 102] = b"\5" * 512
    with DataSpace.allocate(4096) as lost:
        mine, theirs = disk.attach(space.share()), other.attach(lost.share())
        filling = [machine.calling(disk.transfer, mine, spread(at)) for at in range(2)]
        lost_call = machine.calling(other.read, theirs, 0, 100, 1)
        my_call = machine.calling(disk.read, mine, 0, 101, 1)
        lost.revoke()
        machine.work()
        assert (Kind.IN, 100, 1024) in machine.held or (Kind.IN, 100, 1024) in machine.done, "they were joined"
        for _ in range(1 + MOST_TRIES):
            machine.work()
        with pytest.raises(DiskError, match="status 1"):
            lost_call.result(SECONDS)
        my_call.result(SECONDS)
        for call in filling:
            call.result(SECONDS)
    assert read(space, 0, 512) == b"\5" * 512


def spread(at: int) -> list[Request]:
    """Requests that cannot be joined: two of these fill the queue."""
    return [Request(False, 8192, 300 * (at + 1) + 2 * number, 1) for number in range(32)]


def test_a_flush_waits_for_writes_that_began_before_it(machine: Board, disk: Block, space: DataSpace) -> None:
    number = disk.attach(space.share())
    machine.holds = True
    first = machine.calling(disk.write, number, 0, 1, 1)
    flush = machine.calling(disk.flush)
    second = machine.calling(disk.write, number, 0, 9, 1)
    assert machine.held == [(Kind.OUT, 1, 512), (Kind.OUT, 9, 512)]
    machine.work(1)
    assert (Kind.FLUSH, 0, 0) in machine.held
    machine.work()
    for call in (first, flush, second):
        call.result(SECONDS)
    assert [kind for kind, _, _ in machine.done] == [Kind.OUT, Kind.OUT, Kind.FLUSH]


@pytest.mark.parametrize("has_barriers", [True, False])
def test_a_commit_begins_no_epoch_before_the_last_one_is_flushed(machine: Board, has_barriers: bool) -> None:
    machine.device.OFFERED &= ~COMMIT if has_barriers else ~(COMMIT | BARRIER)
    epochs = [[Request(True, 0, 1, 1), Request(True, 512, 9, 1)], [Request(True, 1024, 1, 1)]]
    with machine.driver() as disk, DataSpace.allocate(65536) as space:
        number = disk.attach(space.share())
        machine.holds = True
        call = machine.calling(disk.commit, number, epochs)
        first = [(Kind.OUT, 1, 512), (Kind.OUT, 9, 512)]
        flush = [(Kind.FLUSH, 0, 0)]
        assert machine.held == first + flush * has_barriers
        machine.work(2)
        assert machine.held == flush
        machine.work(1)
        assert machine.held == [(Kind.OUT, 1, 512)] + flush * has_barriers
        machine.work()
        machine.work()
        call.result(SECONDS)
    assert machine.done == first + flush + [(Kind.OUT, 1, 512)] + flush


def test_a_commit_ends_with_the_epoch_that_fails(machine: Board, space: DataSpace) -> None:
    machine.device.OFFERED &= ~COMMIT
    with machine.driver() as disk:
        number = disk.attach(space.share())
        machine.holds = True
        call = machine.calling(disk.commit, number, [[Request(True, 0, 1, 1)], [Request(True, 512, 2, 1)]])
        machine.fails = True
        for _ in range(MOST_TRIES):
            machine.work()
        with pytest.raises(DiskError):
            call.result(SECONDS)
    assert not machine.held
    assert [sector for kind, sector, _ in machine.done if kind is Kind.OUT] == [1] * MOST_TRIES


@pytest.mark.parametrize("kind", [Kind.IN, Kind.OUT])
def test_what_fails_is_asked_for_again_and_not_for_ever(
    machine: Board, disk: Block, space: DataSpace, kind: Kind
) -> None:
    number = disk.attach(space.share())
    call = disk.read if kind is Kind.IN else disk.write
    machine.failing = [(kind, 5)] * (MOST_TRIES - 1)
    call(number, 0, 5, 1)
    assert machine.done == [(kind, 5, 512)]
    machine.failing = [(kind, 5)] * MOST_TRIES
    with pytest.raises(DiskError, match="status 1"):
        call(number, 0, 5, 1)
    assert machine.done == [(kind, 5, 512)]


@pytest.mark.parametrize("lacks", [0, COMMIT, COMMIT | BARRIER])
@pytest.mark.parametrize("failing", [(Kind.OUT, 1), (Kind.OUT, 2), (Kind.FLUSH, 0)])
def test_an_epoch_that_fails_is_written_again_with_its_flush(
    machine: Board, space: DataSpace, lacks: int, failing: tuple[Kind, int]
) -> None:
    machine.device.OFFERED &= ~lacks
    with machine.driver() as disk:
        number = disk.attach(space.share())
        machine.failing = [failing] * (MOST_TRIES - 1)
        disk.commit(number, [[Request(True, 0, 1, 1), Request(True, 1024, 2, 1)], [Request(True, 512, 3, 1)]])
        flush = (Kind.FLUSH, 0, 0)
        assert machine.done[-5:] == [(Kind.OUT, 1, 512), (Kind.OUT, 2, 512), flush, (Kind.OUT, 3, 512), flush]
        assert not machine.failing
        machine.failing = [failing] * MOST_TRIES
        with pytest.raises(DiskError):
            disk.commit(number, [[Request(True, 0, 1, 1), Request(True, 1024, 2, 1)], [Request(True, 512, 4, 1)]])
        assert all(sector != 4 for _, sector, _ in machine.done)


def test_who_wrote_before_a_flush_that_failed_is_told_once(machine: Board, disk: Block, space: DataSpace) -> None:
    clients = [machine.client(disk, badge) for badge in (2, 3, 4)]
    writer, asker, idle = clients
    flushed = machine.client(disk, 5)
    numbers = {client: client.attach(space.share()) for client in (*clients, flushed)}
    flushed.write(numbers[flushed], 0, 9, 1)
    flushed.flush()
    writer.write(numbers[writer], 0, 8, 1)
    machine.failing = [(Kind.FLUSH, 0)]
    with pytest.raises(DiskError, match="status 1"):
        asker.flush()
    assert not machine.failing, "a flush is not tried again"
    for client in (asker, idle, flushed):
        client.flush()
    with pytest.raises(DiskError, match="another's flush has failed"):
        writer.flush()
    writer.flush()


def test_a_commit_that_flushes_again_does_not_hide_what_its_first_flush_has_lost(
    machine: Board, disk: Block, space: DataSpace
) -> None:
    writer = machine.client(disk, 2)
    theirs, mine = writer.attach(space.share()), disk.attach(space.share())
    writer.write(theirs, 0, 8, 1)
    machine.failing = [(Kind.FLUSH, 0)]
    disk.commit(mine, [[Request(True, 0, 1, 1)]])
    with pytest.raises(DiskError, match="another's flush has failed"):
        writer.flush()
    writer.flush()


def test_calls_under_way_are_bounded_by_client(machine: Board, disk: Block, space: DataSpace) -> None:
    other = machine.client(disk, 2)
    mine, theirs = disk.attach(space.share()), other.attach(space.share())
    machine.holds = True
    calls = [machine.calling(disk.read, mine, 0, at, 1) for at in range(MOST_CALLS)]
    acts: tuple[Callable[[], None], ...] = (lambda: disk.read(mine, 0, 0, 1), disk.flush)
    for refused in acts:
        with pytest.raises(BadRequest, match="under way"):
            refused()
    calls.append(machine.calling(other.read, theirs, 0, 0, 1))
    machine.work()
    for call in calls:
        call.result(SECONDS)
    machine.holds = False
    disk.read(mine, 0, 0, 1)


def test_a_driver_that_can_owe_nobody_an_answer_waits_for_its_device(
    machine: Board, disk: Block, space: DataSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device has the client's memory until it is done: who was told of a failure before would use that for more."""
    number = disk.attach(space.share())
    machine.contents[512:1024] = b"\7" * 512
    machine.holds = True
    server, device = machine.main.server, machine.main._disk
    server.allow_deferred(0)
    interrupted, looks = device.interrupted, []

    def late() -> None:
        looks.append(len(machine.held))
        if len(looks) == 3:
            machine.finish()
        interrupted()

    monkeypatch.setattr(device, "interrupted", late)
    disk.read(number, 0, 1, 1)
    assert looks == [1, 1, 1]
    assert read(space, 0, 512) == b"\7" * 512


def test_many_clients_may_all_have_calls_under_way(machine: Board) -> None:
    clients = {f"client{number}": number for number in range(20)}
    with machine.driver() as disk, DataSpace.allocate(1 << 16) as space:
        for name, badge in clients.items():
            machine.main.server.add_client(100 + badge, name, Block)
        machine.main.start()
        machine.holds = True
        calls = []
        for badge in clients.values():
            client = machine.client(disk, 100 + badge)
            number = client.attach(space.share())
            calls += [machine.calling(client.read, number, 0, at, 1) for at in range(4)]
        while machine.held:
            machine.work()
        for call in calls:
            call.result(SECONDS)


def test_frames_of_a_client_are_bounded_and_lost_ones_do_not_count(machine: Board, disk: Block) -> None:
    with DataSpace.allocate(31 * 4096) as many, DataSpace.allocate(4096) as one:
        assert len(many.frames) == 5
        for _ in range(7):
            disk.attach(many.share())
        disk.attach(one.share())
        with pytest.raises(BadRequest, match=f"{MOST_BUFFER_FRAMES} frames"):
            disk.attach(one.share())
        many.revoke()
        assert disk.attach(one.share()) > 8


def test_addresses_of_a_detached_buffer_go_to_nobody_while_the_device_has_them(
    machine: Board, disk: Block, space: DataSpace
) -> None:
    number = disk.attach(space.share())
    machine.contents[:512] = b"\6" * 512
    machine.holds = True
    call = machine.calling(disk.read, number, 0, 0, 1)
    disk.detach(number)
    other = machine.client(disk, 2)
    with DataSpace.allocate(1 << 16) as theirs:
        mapping = theirs.attach()
        other.attach(theirs.share())
        for _ in range(MOST_TRIES):
            machine.work()
        with pytest.raises(DiskError):
            call.result(SECONDS)
        assert mapping.read(0, 512) == bytes(512), "a former owner's request has written to another client's memory"


def used(machine: Board, *entries: tuple[int, int], ahead: int = 0) -> bool:
    """The device gives back what it likes, and nothing else."""
    queue, dma = machine.device.queues[0], machine.device.dma
    for at, entry in enumerate(entries):
        dma.write(queue.device + 4 + 8 * at, struct.pack("<II", *entry))
    dma.store16(queue.device + 2, len(entries) + ahead)
    return True


@pytest.mark.parametrize(
    ("entries", "ahead"),
    [
        (((1000, 1),), 0),  # a head that there is not
        (((5, 1),), 0),  # one that was not given
        (((0, 1 << 30),), 0),  # more than there was room for
        (((0, 1), (0, 1)), 0),  # one twice
        (((0, 1), (9, 1)), 0),  # a good one and a bad one: both end
        ((), 30000),  # an index that runs ahead
    ],
)
def test_a_device_that_gives_back_nonsense_is_reset(
    machine: Board, disk: Block, space: DataSpace, entries: tuple[tuple[int, int], ...], ahead: int
) -> None:
    number = disk.attach(space.share())

    def garbage() -> bool:
        machine.garbage = lambda: False
        return used(machine, *entries, ahead=ahead)

    machine.garbage = garbage
    with pytest.raises(DiskError, match="the disk was reset"):
        disk.transfer(number, [Request(False, 0, 0, 1), Request(False, 0, 10, 1)])
    disk.read(number, 0, 0, 1)


def test_a_device_that_never_does_better_is_given_up(machine: Board, disk: Block, space: DataSpace) -> None:
    number = disk.attach(space.share())
    machine.garbage = lambda: used(machine, (1000, 1))
    for _ in range(4):
        with pytest.raises(DiskError, match="was reset"):
            disk.read(number, 0, 0, 1)
    with pytest.raises(DiskError, match="given up"):
        disk.read(number, 0, 0, 1)
    with pytest.raises(DiskError, match="given up"):
        disk.flush()
    assert disk.geometry().sectors == SECTORS
    machine.change(lambda: machine.device.configuration_changed())
    machine.settle()  # it interrupts once more, and then its line is masked
    assert machine.masked


def test_a_request_that_comes_back_without_a_status_has_failed(machine: Board, disk: Block, space: DataSpace) -> None:
    number = disk.attach(space.share())
    machine.garbage = lambda: used(machine, (0, 0))
    with pytest.raises(DiskError, match="status 255"):
        disk.read(number, 0, 0, 1)


def test_a_device_that_asks_for_a_reset_gets_it(machine: Board, disk: Block, space: DataSpace) -> None:
    number = disk.attach(space.share())
    machine.holds = True
    call = machine.calling(disk.read, number, 0, 0, 1)
    machine.change(lambda: machine.device.fail(Cause.BAD_CHAIN))
    machine.settle()
    with pytest.raises(DiskError, match="asks for a reset"):
        call.result(SECONDS)
    machine._held.clear()
    machine.holds = False
    disk.read(number, 0, 0, 1)
    machine.change(lambda: machine.device.fail(Cause.BAD_CHAIN))  # while it has nothing to do
    machine.settle()
    assert not machine.device.state.status & Status.NEEDS_RESET
    disk.read(number, 0, 0, 1)


def test_a_client_has_its_partition_alone(machine: Board, space: DataSpace) -> None:
    machine.contents[446:462] = struct.pack("<B3xB3xII", 0, 0x83, 100, 50)
    machine.contents[510:512] = b"\x55\xaa"
    with machine.driver({"partitions": {"test": 1}}) as disk:
        number = disk.attach(space.share())
        assert disk.geometry().sectors == 50
        machine.contents[512 * 149 : 512 * 150] = b"\4" * 512
        disk.read(number, 0, 49, 1)
        assert read(space, 0, 512) == b"\4" * 512
        with pytest.raises(BadRequest):
            disk.read(number, 0, 50, 1)


@pytest.mark.parametrize(
    ("numbers", "text"), [({"other": 1}, "gives test no partition"), ({"test": 2}, "the disk has not")]
)
def test_who_has_no_partition_has_nothing(machine: Board, numbers: dict[str, int], text: str) -> None:
    machine.contents[446:462] = struct.pack("<B3xB3xII", 0, 0x83, 100, 50)
    machine.contents[510:512] = b"\x55\xaa"
    with machine.driver({"partitions": dict(numbers)}) as disk, pytest.raises(BadRequest, match=text):
        disk.geometry()


def test_readers_cannot_write(machine: Board, space: DataSpace) -> None:
    with machine.driver({"readers": ["test"]}) as disk:
        number = disk.attach(space.share())
        assert disk.geometry().read_only
        with pytest.raises(ReadOnlyDisk):
            disk.write(number, 0, 0, 1)
        disk.read(number, 0, 0, 1)
