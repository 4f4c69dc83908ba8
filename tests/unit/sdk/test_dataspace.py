"""Data spaces: made of frames that fit, attached in one piece, handed on by capability, taken back."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from libsel4py import Interface, Untyped, component
from libsel4py.abi import MAPPING_BASE, Error, Label, ObjectType, Rights
from libsel4py.capabilities import CNode, Frame
from libsel4py.dataspace import DataSpace, NotADataSpace, SharedMemory
from libsel4py.errors import NotEnoughMemory, VMFault
from libsel4py.mapping import Mapping
from libsel4py.testing import TestSystem, connect
from libsel4py.testing.fake_memory import FakeFrame
from libsel4py.testing.fake_objects import FakeEndpoint, FakeUntyped

PAGE = 4096


class Lent(Interface):
    def read(self, memory: SharedMemory, offset: int, length: int) -> bytes: ...

    def fill(self, memory: SharedMemory, value: int) -> None: ...

    def keep(self, memory: SharedMemory) -> int: ...

    def peek(self, offset: int) -> int: ...

    def nothing(self) -> None: ...


@component
class Taker(Lent):
    kept: DataSpace

    def read(self, memory: SharedMemory, offset: int, length: int) -> bytes:
        with DataSpace.receive(memory, most_bytes=1 << 20) as space:
            return space.attach(Rights.READ).read(offset, length)

    def fill(self, memory: SharedMemory, value: int) -> None:
        with DataSpace.receive(memory) as space, memoryview(space.attach()) as view:
            view[:] = bytes([value]) * len(view)

    def keep(self, memory: SharedMemory) -> int:
        self.kept = DataSpace.receive(memory)
        self.kept.attach()
        return self.kept.size

    def peek(self, offset: int) -> int:
        assert self.kept.mapping is not None
        return self.kept.mapping.read(offset, 1)[0]

    def nothing(self) -> None:
        """The server has a slot ready for a capability."""


@pytest.fixture
def pool(fake: TestSystem) -> TestSystem:
    """A task with 16 MiB more."""
    fake.first_task.memory.add(Untyped(fake.new(FakeUntyped(24))), 24)
    return fake


@contextmanager
def ready(taker: Lent) -> Iterator[None]:
    taker.nothing()
    yield


@contextmanager
def nothing_left(fake: TestSystem) -> Iterator[None]:
    """The block leaves capabilities, slots, addresses, memory and mappings as they were."""

    def state() -> tuple[object, ...]:
        task, objects = fake.first_task, fake.kernel.objects
        free = task.memory.statistics().free_bytes
        return set(objects.caps), task.slots.free_count, task.addresses.free_bytes, free, dict(objects.space.mapped)

    before = state()
    yield
    assert state() == before


def _frame_bits(fake: TestSystem, space: DataSpace) -> list[int]:
    objects = [fake.kernel.objects.caps[frame.cptr].object for frame in space.frames]
    return [each.size_bits for each in objects if isinstance(each, FakeFrame)]


@pytest.mark.parametrize(
    ("size", "bits"),
    [(1, [12]), (PAGE, [12]), (PAGE + 1, [13]), (3 * PAGE, [13, 12]), (5 << 20, [22, 20]), (1 << 23, [23])],
)
def test_frames_are_chosen_to_fit(pool: TestSystem, size: int, bits: list[int]) -> None:
    with nothing_left(pool), DataSpace.allocate(size) as space:
        assert _frame_bits(pool, space) == bits
        assert space.size == sum(1 << each for each in bits)


def test_smaller_frames_where_memory_is_in_pieces(pool: TestSystem) -> None:
    with nothing_left(pool):
        taken = [DataSpace.allocate(1 << 20) for _ in range(18)]
        for each in taken[::2]:
            each.close()
        with DataSpace.allocate(2 << 20) as space:
            assert _frame_bits(pool, space) == [20, 20]
            assert space.attach().size == 2 << 20
        for each in taken[1::2]:
            each.close()


def test_memory_that_is_not_there_takes_nothing(pool: TestSystem) -> None:
    with nothing_left(pool), pytest.raises(NotEnoughMemory):
        DataSpace.allocate(64 << 20)
    with pytest.raises(ValueError, match="ask for 1 or more"):
        DataSpace.allocate(0)


def test_what_no_receiver_would_take_whole_is_not_made(pool: TestSystem) -> None:
    """Of 64 GiB and one page there would be 65 frames, and a taker takes 64."""
    with nothing_left(pool), pytest.raises(ValueError, match="it would have 65 frames"):
        DataSpace.allocate((64 << 30) + PAGE)


def test_it_is_seen_in_one_piece_and_without_copying(pool: TestSystem) -> None:
    with nothing_left(pool), DataSpace.allocate(5 << 20) as space:
        mapping = space.attach()
        assert mapping.address % (4 << 20) == 0
        assert (len(mapping), mapping.size, mapping.writable, space.mapping) == (5 << 20, 5 << 20, True, mapping)
        with memoryview(mapping) as view:
            assert (view.nbytes, view.format, view.readonly) == (5 << 20, "B", False)
            view[(4 << 20) - 2 : (4 << 20) + 2] = b"abcd"
            assert mapping.read((4 << 20) - 3, 6) == b"\0abcd\0"
            mapping.write((4 << 20) - 1, b"XY")
            assert bytes(view[(4 << 20) - 2 : (4 << 20) + 2]) == b"aXYd"
        mapping.copy(0, mapping, (4 << 20) - 2, 4)
        assert mapping.read(0, 4) == b"aXYd"


def test_numpy_uses_it_in_place(pool: TestSystem) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    with DataSpace.allocate(1 << 20) as space:
        mapping = space.attach()
        numbers = numpy.frombuffer(mapping, dtype="<u4")
        numbers[:] = range(len(numbers))
        assert mapping.read(400, 4) == (100).to_bytes(4, "little")
        with pytest.raises(BufferError):
            space.detach()
        del numbers


def test_it_cannot_be_detached_while_somebody_looks_at_it(pool: TestSystem) -> None:
    with nothing_left(pool), DataSpace.allocate(PAGE) as space:
        view = memoryview(space.attach())
        with pytest.raises(BufferError):
            space.detach()
        assert space.mapping is not None
        view[0] = 7
        view.release()
        mapping = space.mapping
        space.detach()
        space.detach()
        with pytest.raises(ValueError, match="released"):
            mapping.read(0, 1)
        assert space.attach().read(0, 1) == b"\7"


def test_reading_only(pool: TestSystem) -> None:
    with DataSpace.allocate(PAGE) as space:
        mapping = space.attach(Rights.READ)
        assert not mapping.writable
        assert memoryview(mapping).readonly
        with pytest.raises(TypeError, match="read-only"):
            mapping.write(0, b"x")
        with pytest.raises(TypeError):
            memoryview(mapping)[0] = 1
        with pytest.raises(ValueError, match="attached already"):
            space.attach()
        space.detach()
        with pytest.raises(ValueError, match="cannot be read"):
            space.attach(Rights.WRITE)


def test_a_place_of_ones_own_choice(pool: TestSystem) -> None:
    with nothing_left(pool), DataSpace.allocate(3 * PAGE) as space, DataSpace.allocate(PAGE) as other:
        place = MAPPING_BASE + (1 << 32)
        assert space.attach(address=place).address == place
        with pytest.raises(ValueError, match="in use already"):
            other.attach(address=place + 2 * PAGE)
        assert other.attach(address=place + 3 * PAGE).address == place + 3 * PAGE


def test_a_refused_mapping_leaves_nothing_mapped(pool: TestSystem) -> None:
    with DataSpace.allocate(5 << 20) as space:
        with nothing_left(pool):
            second = space.frames[1].cptr
            pool.kernel.objects.caps[second].object = FakeFrame(23)  # aligned otherwise than it should be
            with pytest.raises(Exception, match="not aligned"):
                space.attach()
        pool.kernel.objects.caps[second].object = FakeFrame(20)
        space.attach()


@pytest.mark.parametrize("size", [PAGE, 7 * PAGE])
def test_it_travels_by_capability(pool: TestSystem, size: int) -> None:
    with connect(Taker) as taker, nothing_left(pool), DataSpace.allocate(size) as space:
        mapping = space.attach()
        shared = space.share()
        taker.fill(shared, 9)
        assert mapping.read(0, size) == b"\x09" * size
        mapping.write(size - 3, b"end")
        readable = space.share(Rights.READ)
        assert taker.read(readable, size - 3, 3) == b"end"
        with pytest.raises(Exception, match="modify read-only memory"):
            taker.fill(readable, 1)
        space.drop(readable)
        assert taker.read(shared, 0, 1) == b"\x09"
        with pytest.raises(ValueError, match="not in list"):
            space.drop(readable)


@pytest.mark.parametrize("size", [PAGE, 7 * PAGE])
def test_who_has_received_it_keeps_it(pool: TestSystem, size: int) -> None:
    server = Taker()
    with connect(server) as taker, ready(taker), nothing_left(pool), DataSpace.allocate(size) as space:
        shared = space.share()
        taker.keep(shared)
        space.drop(shared)
        space.attach().write(3, b"\x08")
        assert taker.peek(3) == 8
        with pytest.raises(ValueError, match="only the task that allocated it"):
            server.kept.revoke()
        server.kept.close()


@pytest.mark.parametrize("size", [PAGE, 7 * PAGE])
@pytest.mark.parametrize("how", ["revoke", "close"])
def test_the_giver_takes_it_back(pool: TestSystem, size: int, how: str) -> None:
    server = Taker()
    with connect(server) as taker, ready(taker), nothing_left(pool):
        space = DataSpace.allocate(size)
        mapping, shared = space.attach(), space.share()
        mapping.write(size - 1, b"\x05")
        assert taker.keep(shared) == size
        assert taker.peek(size - 1) == 5
        if how == "revoke":
            space.revoke()
        else:
            space.close()
        with pytest.raises(Exception, match="no memory at"):
            taker.peek(size - 1)
        if how != "close":
            assert mapping.read(size - 1, 1) == b"\x05"
        server.kept.close()
        space.close()


def test_a_taker_hands_on_no_more_than_it_has(pool: TestSystem) -> None:
    with nothing_left(pool), DataSpace.allocate(3 * PAGE) as space, pool_copy(space.share(Rights.READ)) as copied:
        assert copied.rights == Rights.READ
        assert not copied.attach().writable
        with pool_copy(copied.share()) as again:
            assert again.rights == Rights.READ
            space.revoke()
            with pytest.raises(Exception, match="slot is empty"):
                again.attach()


@contextmanager
def pool_copy(shared: SharedMemory) -> Iterator[DataSpace]:
    """What a second taker in the same task would have."""
    from libsel4py.task import current_task

    task = current_task()
    slot = task.slots.allocate()
    task.cnode.copy(slot, task.cnode, shared.cptr)
    with DataSpace.receive(SharedMemory(slot)) as space:
        yield space


def _table(fake: TestSystem, *contents: object) -> SharedMemory:
    """A CNode as a hostile giver may make it."""
    task = fake.first_task
    table = CNode(task.memory.allocate(ObjectType.CNODE, 3).start)
    for index, made in enumerate(contents):
        table.copy(index, task.cnode, fake.new(made), dest_depth=3)
    return SharedMemory(table.cptr)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ((), "nothing in it"),
        ((FakeEndpoint(),), "endpoint in it"),
        ((FakeFrame(12), FakeUntyped(12)), "untyped in it"),
        ((FakeFrame(12), FakeFrame(13)), "largest first"),
        ((FakeFrame(20), FakeFrame(20), FakeFrame(20)), "3145728 bytes; 2097152 are taken at most"),
    ],
)
def test_hostile_data_spaces_are_refused_whole(pool: TestSystem, contents: tuple[object, ...], message: str) -> None:
    table = _table(pool, *contents)
    with nothing_left(pool), pytest.raises(NotADataSpace, match=message):
        DataSpace.receive(table, most_bytes=2 << 20)


@pytest.mark.parametrize("made", [FakeEndpoint(), FakeUntyped(13)])
def test_a_capability_that_is_no_memory_is_refused(pool: TestSystem, made: object) -> None:
    slot = pool.new(made)
    with nothing_left(pool), pytest.raises(NotADataSpace, match="made of frames"):
        DataSpace.receive(SharedMemory(slot))
    with pytest.raises(NotADataSpace, match="null in it"):
        DataSpace.receive(Frame(3999))


def test_running_out_of_slots_takes_nothing(pool: TestSystem) -> None:
    with DataSpace.allocate(7 * PAGE) as space:
        held = pool.slots.allocate_range(pool.slots.free_count)
        with nothing_left(pool), pytest.raises(MemoryError, match="free slots in a row"):
            space.share()
        pool.slots.free_range(held)
        pool.kernel.objects.refuse(Label.CNODE_COPY, Error.ILLEGAL_OPERATION)
        with nothing_left(pool), pytest.raises(Exception, match="do not permit"):
            space.share()


def test_a_closed_data_space_says_so() -> None:
    from libsel4py.testing import system

    with system():
        space = DataSpace.allocate(PAGE)
        space.close()
        space.close()
        for use in (space.attach, space.share):
            with pytest.raises(ValueError, match="closed"):
                use()


def test_guarded_reads_say_what_is_missing(pool: TestSystem) -> None:
    with DataSpace.allocate(2 * PAGE) as space:
        mapping: Mapping = space.attach()
        space.frames[0].unmap()
        with pytest.raises(VMFault, match="no memory at 0x") as caught:
            mapping.read(PAGE, 8)
        assert (caught.value.address, caught.value.kind) == (mapping.address + PAGE, "read")
