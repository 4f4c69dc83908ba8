"""Data spaces: memory that tasks share by capability, and use in place.

    space = DataSpace.allocate(5 << 20)          # from the task's pool: frames of 4 MiB and 1 MiB
    with space, memoryview(space.attach()) as memory:
        service.fill(space.share(Rights.READ))   # a method with a parameter `memory: SharedMemory`

    def fill(self, memory: SharedMemory) -> None:      # at the server
        with DataSpace.receive(memory, most_bytes=16 << 20) as space:
            data = space.attach().read(0, space.size)

    DataSpace.of_device(device, 4096)        # the next page of a device's memory: its registers, or what it shows

A data space is a row of frames, largest first. Of one frame it travels as that frame's capability, of more as that of a
CNode that holds them in order (a message brings one capability). Its size does not change.

Rules. Who allocates it can take it back at any time: `DataSpace.revoke` takes it from all others at once. Nobody else
can take it from anybody, and there is no taking it from one alone: as in seL4, copies of a frame's capability stand
beside each other, below the one that was made with the frame. A taker believes nothing: `DataSpace.receive` copies the
capabilities to slots of its own and asks the kernel what they are. What is handed on has the rights that were asked
for, and never more than its source. One thread at a time uses a `DataSpace`; the memory itself may be used by all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Final, NoReturn

from libsel4py.abi import (
    FRAME_MAX_BITS,
    FRAME_MIN_BITS,
    SLOT_BITS,
    CapType,
    ObjectType,
    Rights,
)
from libsel4py.capabilities import Capability, CNode, Frame, Untyped
from libsel4py.environment import Device
from libsel4py.errors import KernelError, NotEnoughMemory, ServiceError
from libsel4py.lowlevel.identify import Identity, identify
from libsel4py.mapping import Mapping, map_memory
from libsel4py.task import Task, current_task

MOST_FRAMES: Final = 64  # of one data space
READ_WRITE: Final = Rights.READ | Rights.WRITE
_LETTERS: Final = {"R": Rights.READ, "W": Rights.WRITE}


class SharedMemory(Capability):
    """A data space on its way: the capability of its one frame, or of a CNode that holds its frames in order.

    A type for parameters and results of interfaces; `DataSpace.share` makes it, `DataSpace.receive` takes it.
    """

    __slots__ = ()


class NotADataSpace(ServiceError):
    """What came as a data space is none: no frames, frames in no order that fits, too many, or too large."""


class DataSpace:
    """Memory of one or more frames. Made by `allocate`, `of_device` and `receive`; a context manager that closes it.

    Attributes:
        frames: its capabilities, slots of the task's CNode. size: in bytes, a multiple of 4096.
        rights: what its capabilities permit at most.
    """

    def __init__(
        self, task: Task, frames: list[Frame], sizes: list[int], rights: Rights, allocated: bool, made: bool = True
    ) -> None:
        self.frames = tuple(frames)
        self.size = sum(sizes)
        self.rights = rights
        self._task = task
        self._sizes = tuple(sizes)
        self._allocated = allocated  # from the task's pool
        self._made = made  # by the task
        self._shares: list[SharedMemory] = []
        self._mapping: Mapping | None = None

    @classmethod
    def allocate(cls, size: int, task: Task | None = None) -> DataSpace:
        """Zeroed memory of ``size`` bytes, rounded up to 4096, from the task's pool.

        Raises:
            NotEnoughMemory: the pool has not got it, or only in more than 64 pieces. OutOfSlots.
            ValueError: ``size`` is below 1, or takes more than 64 frames even so: some sizes above 46 GiB do.
        """
        task = task or current_task()
        if size < 1:
            raise ValueError(f"cannot allocate a data space of {size} bytes: ask for 1 or more")
        wanted = list(_frame_bits(size))[::-1]  # the next one last
        if len(wanted) > MOST_FRAMES:
            raise ValueError(
                f"{size} bytes in one data space: it would have {len(wanted)} frames, and {MOST_FRAMES} travel"
            )
        made: list[tuple[int, Frame]] = []
        with ExitStack() as undo:
            while wanted:
                bits = wanted.pop()
                try:
                    frame = Frame(task.memory.allocate(ObjectType.FRAME, bits).start)
                except NotEnoughMemory:
                    if bits == FRAME_MIN_BITS or len(made) + len(wanted) + 2 > MOST_FRAMES:
                        raise
                    wanted = sorted([*wanted, bits - 1, bits - 1])  # no such block is whole any more: two halves
                    continue
                undo.callback(task.memory.free, frame.cptr)
                made.append((bits, frame))
            undo.pop_all()
        frames, sizes = [frame for _, frame in made], [1 << bits for bits, _ in made]
        return cls(task, frames, sizes, READ_WRITE, allocated=True)

    @classmethod
    def of_device(cls, device: Device, size: int, task: Task | None = None) -> DataSpace:
        """The next ``size`` bytes of a device's memory, rounded up to 4096: behind those that were given out before.

        They hold what the device, or who had them last, has put there. When all that was made of the memory is closed,
        the next call begins at its start again.

        Raises:
            ValueError: the device has no memory, or ``size`` is below 1.
            NotEnoughMemory: so much is not left of it. OutOfSlots.
        """
        task = task or current_task()
        if size < 1 or not device.memory:
            raise ValueError(f"cannot have {size} bytes of a device with {device.memory_bytes} bytes of memory")
        frames: list[Frame] = []
        sizes = [1 << bits for bits in _frame_bits(size)]
        with ExitStack() as undo:
            for each in sizes:
                slot = task.slots.allocate()
                undo.callback(task.slots.free, slot)
                Untyped(device.memory).retype(ObjectType.FRAME, each.bit_length() - 1, task.cnode, slot)
                undo.callback(task.cnode.delete, slot)
                frames.append(Frame(slot))
            undo.pop_all()
        return cls(task, frames, sizes, READ_WRITE, allocated=False)

    @classmethod
    def receive(
        cls, memory: SharedMemory | Frame, most_bytes: int | None = None, task: Task | None = None
    ) -> DataSpace:
        """A data space that another task has handed over. ``memory`` and its slot are the data space's from now on.

        Args:
            most_bytes: how large it may be; None for any size.
        Raises:
            NotADataSpace: it is none, or larger; then ``memory`` is as it was, and still the caller's.
            OutOfSlots: as above.
        """
        task = task or current_task()
        found = identify(memory.cptr)
        with ExitStack() as undo:
            if found.type == CapType.CNODE.name:
                frames = _copy_frames(task, CNode(memory.cptr), found.size_bits - SLOT_BITS, undo)
            else:
                frames = [Frame(memory.cptr)]
            kinds = [identify(frame.cptr) for frame in frames]  # of our own slots: nobody changes these
            sizes = _sizes(kinds, most_bytes)
            undo.pop_all()
        if found.type == CapType.CNODE.name:
            task.delete(memory)
        rights = READ_WRITE
        for kind in kinds:
            rights &= _rights(kind)
        return cls(task, frames, sizes, rights, allocated=False, made=False)

    @property
    def frame_bytes(self) -> tuple[int, ...]:
        """The size of each of its frames."""
        return self._sizes

    @property
    def mapping(self) -> Mapping | None:
        """Where the task sees it; None while it is not attached."""
        return self._mapping

    def attach(self, rights: Rights = READ_WRITE, address: int | None = None) -> Mapping:
        """Map it into the task's own address space, in one piece; returns the mapping.

        Args:
            rights: those that it lacks are left out; without WRITE a store through the mapping faults.
            address: where; None for a place that is free. A multiple of the largest frame's size.
        Raises:
            ValueError: it is closed, or attached already, there is no right to read it, or the address is in use.
            KernelError: the kernel refused, most often NotEnoughMemory: the table of mappings is full. Nothing is
                mapped then.
            OutOfAddresses: no place is left.
        """
        self._ensure_open()
        rights &= self.rights
        if self._mapping is not None:
            raise ValueError("this data space is attached already: detach it, or use its mapping")
        if not rights & Rights.READ:
            raise ValueError("this data space cannot be read: its capability has no Read right, or none was asked for")
        addresses = self._task.addresses
        with ExitStack() as undo:
            if address is None:
                address = addresses.allocate(self.size)
            else:
                addresses.reserve(address, self.size)
            undo.callback(addresses.free, address)
            at = address
            for frame, size in zip(self.frames, self._sizes, strict=True):
                frame.map(at, rights, vspace=self._task.vspace)
                undo.callback(_unmap, frame)
                at += size
            self._mapping = map_memory(address, self.size, bool(rights & Rights.WRITE))
            undo.pop_all()
        return self._mapping

    def detach(self) -> None:
        """Unmap it; nothing happens if it is not attached.

        Raises:
            BufferError: a memoryview (or an array) of the mapping is still in use. It stays attached.
        """
        mapping = self._mapping
        if mapping is None:
            return
        mapping.release()
        self._mapping = None
        for frame in self.frames:
            _unmap(frame)
        self._task.addresses.free(mapping.address)

    def share(self, rights: Rights = READ_WRITE) -> SharedMemory:
        """A capability to hand on, with at most these rights. Who receives it has a copy.

        Raises:
            NotEnoughMemory, OutOfSlots: it needs a slot; of more than one frame also a CNode from the pool.
        """
        self._ensure_open()
        shared = self._share_one(rights) if len(self.frames) == 1 else self._share_many(rights)
        self._shares.append(shared)
        return shared

    def drop(self, shared: SharedMemory) -> None:
        """Give up what `share` made, once it is handed on; who has received it keeps what it has.

        Of more than one frame: those lose it who have not called `DataSpace.receive` yet.

        Raises:
            ValueError: it was not made by this data space, or is dropped already.
        """
        self._shares.remove(shared)
        if len(self.frames) == 1:
            self._task.delete(shared)
        else:
            self._task.memory.free(shared.cptr)

    def revoke(self) -> None:
        """Take it away from everybody else, at once; what `share` made is gone as well.

        Raises:
            ValueError: it was received. Only who made it can do that.
        """
        if not self._made:
            raise ValueError("this data space was received: only the task that allocated it can revoke it")
        for shared in list(self._shares):
            self.drop(shared)
        for frame in self.frames:
            self._task.cnode.revoke(frame.cptr)

    def close(self) -> None:
        """Detach it and give up its capabilities; if it was allocated, its memory, which all others lose.

        Raises:
            BufferError: as `detach`. Nothing is given up then.
        """
        self.detach()
        for shared in list(self._shares):
            self.drop(shared)
        for frame in self.frames:
            if self._allocated:
                self._task.memory.free(frame.cptr)
            else:
                self._task.delete(frame)
        self.frames, self._sizes, self.size = (), (), 0

    def __enter__(self) -> DataSpace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ensure_open(self) -> None:
        if not self.frames:
            raise ValueError("this data space is closed")

    def _share_one(self, rights: Rights) -> SharedMemory:
        slot = self._task.slots.allocate()
        try:
            self._task.cnode.copy(slot, self._task.cnode, self.frames[0].cptr, rights)
        except BaseException:
            self._task.slots.free(slot)
            raise
        return SharedMemory(slot)

    def _share_many(self, rights: Rights) -> SharedMemory:
        radix = (len(self.frames) - 1).bit_length()
        table = CNode(self._task.memory.allocate(ObjectType.CNODE, radix).start)
        try:
            for index, frame in enumerate(self.frames):
                table.copy(index, self._task.cnode, frame.cptr, rights, dest_depth=radix)
        except BaseException:
            self._task.memory.free(table.cptr)
            raise
        return SharedMemory(table.cptr)


def _frame_bits(size: int) -> Iterator[int]:
    """Sizes of frames that hold so many bytes, largest first: its binary digits, in whole pages."""
    pages = -(-size >> FRAME_MIN_BITS)
    largest = FRAME_MAX_BITS - FRAME_MIN_BITS
    yield from [FRAME_MAX_BITS] * (pages >> largest)
    for bit in range(largest - 1, -1, -1):
        if pages >> bit & 1:
            yield FRAME_MIN_BITS + bit


def _unmap(frame: Frame) -> None:
    with suppress(KernelError):  # revoked meanwhile: it is unmapped
        frame.unmap()


def _copy_frames(task: Task, table: CNode, radix: int, undo: ExitStack) -> list[Frame]:
    """Copies of what a CNode holds, up to the first empty slot, in slots of our own."""
    frames: list[Frame] = []
    for index in range(min(1 << radix, MOST_FRAMES)):
        slot = task.slots.allocate()
        try:
            task.cnode.copy(slot, table, index, READ_WRITE, src_depth=radix)
        except KernelError:
            task.slots.free(slot)
            break
        frames.append(Frame(slot))
        undo.callback(task.delete, frames[-1])
    return frames


def _sizes(kinds: list[Identity], most_bytes: int | None) -> list[int]:
    """Bytes of each frame. Raises NotADataSpace."""
    strange = [kind.type for kind in kinds if kind.type != CapType.FRAME.name]
    if strange or not kinds:
        _refuse(f"a data space is made of frames; this has {', '.join(strange).lower() or 'nothing'} in it")
    bits = [kind.size_bits for kind in kinds]
    if bits != sorted(bits, reverse=True):
        _refuse("the frames of a data space come largest first, so that they fit together at one address")
    size = sum(1 << each for each in bits)
    if most_bytes is not None and size > most_bytes:
        _refuse(f"this data space has {size} bytes; {most_bytes} are taken at most")
    return [1 << each for each in bits]


def _rights(kind: Identity) -> Rights:
    rights = Rights.NONE
    for letter in kind.rights:
        rights |= _LETTERS.get(letter, Rights.NONE)
    return rights


def _refuse(text: str) -> NoReturn:
    raise NotADataSpace(text)
