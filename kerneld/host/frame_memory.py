"""The frames that have memory of their own.

A frame's bytes begin in RAM's memfd. When it is handed to a process it becomes a memfd of its own, laid over RAM's
window at its physical address, so that kernel and devices go on seeing one contiguous RAM. The memfd is sealed against
growing: to truncate it takes the memory away from whoever has it mapped, and nothing can bring it back.

A frame's bytes can *move* to another file: from RAM to a memfd of its own, from there to another one, or back to RAM.
They move a chunk at a time, holes stay holes, a chunk of zeroes becomes one, and what has moved shows in the window at
once: what kernel and devices write meanwhile is not lost. Once all has moved the old memfd is truncated, from its end
on and a part at a time, since giving a gigabyte back takes the host a tenth of a second. What is gone cannot be
reached: nobody reads zeroes there.

Rule: physical address and size name a frame; a frame that is destroyed is forgotten here (`gone`) before its memory
is used again. RAM's bytes go with the frame; those of a device's memory, which lies behind RAM in the same memfd and
window, are the device's and outlive it: they move back.

The monitor keeps, for a kernel that is started again:

    frame:ADDRESS   the memfd of a frame that has moved; its bytes
    move:ADDRESS    of a frame of several chunks that moves: the target, or another opening of the source where RAM is
                    the target; the frame's bytes, and which of both. The file's offset is how much has moved: it
                    outlives this process, and nobody else has this opening
    gone:INODE      what is to be withdrawn
    stock:NUMBER    memory that was made ahead for a frame of 4 KiB, whose it may have become (frame_stock.py). Where
                    the frame has an entry of its own as well, that one counts: its bytes have moved there

All of a chunk is copied before it counts as moved, and nothing is taken away before: whoever goes on finds each byte in
one place. A memfd that has not the size that was noted was withdrawn.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, cast

from hw.ram import Ram
from hw.window import discard, map_fixed
from kerneld.host import frame_stock
from kerneld.host.descriptors import below_for_frames, count_open
from kerneld.host.fd_store import FdStore, Inheritance, Kept
from kerneld.host.frame_stock import FrameStock, make_memory

CHUNK: Final = 1 << 19
WITHDRAWN_AT_ONCE: Final = 4 << 20
BLOCK: Final = 512  # bytes that st_blocks counts in
A_FRAME: Final = 2  # mappings at the host: its own, and what it cuts off of RAM's
MAPPINGS_KEPT: Final = 2048  # for the kernel's code and heap, channels' pages and devices
Withdraw: TypeAlias = Callable[[int, str, Callable[[], None]], None]


class OwnMemory(NamedTuple):
    """A frame's memfd, and what the monitor keeps it under. `size` in bytes.

    Attributes:
        number: of one that is from the stock; -1 of others.
    """

    descriptor: int
    size: int
    key: str
    number: int = -1


class FrameMemory:
    """The frames that have memory of their own, by physical address.

    Args:
        withdraw: takes the memory of a descriptor, which is kept under this key, away from all who have it
            (`withdraw_some`), and closes it; calls the function when that is done.
        devices_from: the physical address from which on memory is devices'; None: there is none.
    """

    def __init__(
        self, ram: Ram, ram_fd: int, store: FdStore, withdraw: Withdraw, devices_from: int | None = None
    ) -> None:
        self.ram = ram
        self._ram_fd = ram_fd
        self._store = store
        self._withdraw = withdraw
        self._devices_from = ram.size if devices_from is None else devices_from
        self._stock = FrameStock(store)
        self._frames: dict[int, OwnMemory] = {}
        self._moves: dict[int, Move] = {}  # under way, by the frame's address
        self._copied = bytearray(CHUNK)
        self._buffer = memoryview(self._copied)

    def __len__(self) -> int:
        return len(self._frames)

    def __contains__(self, address: int) -> bool:
        return address in self._frames

    @property
    def stocked(self) -> int:
        """Descriptors of what was made ahead."""
        return self._stock.descriptors

    @property
    def stocked_untold(self) -> int:
        """How many of them the monitor does not keep yet."""
        return self._stock.untold

    @property
    def left(self) -> int:
        """How many frames more the host has descriptors and mappings for."""
        descriptors = below_for_frames() - max(count_open(), len(self._frames)) + self._stock.ready
        mappings = (most_mappings() - MAPPINGS_KEPT) // A_FRAME - len(self._frames) - len(self._moves)
        return max(min(descriptors, mappings), 0)

    def make_ahead(self) -> bool:
        """Do a little of what a next frame will need. False if there was nothing to do."""
        return self._stock.make_ahead()

    def own_memory(self) -> Iterator[tuple[int, int, int]]:
        """Physical address, descriptor and bytes of each; what has moved already follows."""
        for address, frame in self._frames.items():
            yield address, frame.descriptor, frame.size
        for address, move in self._moves.items():
            if move.target is not None:
                yield address, move.target.descriptor, move.at

    def size(self, address: int) -> int:
        """Bytes of a frame that has memory of its own. Raises KeyError: it has none."""
        return self._frames[address].size

    def descriptor(self, address: int, size: int) -> int:
        """The memfd of a frame that has one. It stays ours: duplicate it, or attach it to a message.

        Raises:
            KeyError: it has none. ValueError: another size was given before.
        """
        frame = self._frames[address]
        if frame.size != size:
            raise ValueError(f"the frame at {address:#x} has {frame.size} bytes, not {size}: it was not forgotten")
        return frame.descriptor

    def move(self, address: int, size: int, to_own: bool, withdrawn: Callable[[], None] | None = None) -> Move:
        """Begin to move a frame's bytes to a new memfd of its own, or to RAM. `withdrawn`: of `Move`.

        Raises:
            ValueError: as `descriptor`. OSError: the host has no more descriptors or memory.
        """
        source = self.descriptor(address, size) if address in self._frames else None
        target = self._new(address, size, source is None) if to_own else None
        move = Move(self, address, size, source, target, withdrawn or _nothing)
        if size > CHUNK:
            move.progress = target.descriptor if target is not None else _reopened(source)
            self._store.keep(f"move:{address:x}", move.progress, (size, to_own))
        self._moves[address] = move
        return move

    def give_fresh(self, address: int, size: int) -> int:
        """Give a small frame that is in RAM, and of which nothing is stored there, memory of its own: a move at once.

        Returns its descriptor, as `descriptor`; -1, and nothing was done, where it has some or takes a move (`move`).

        Raises:
            OSError: as `move`.
        """
        if size != frame_stock.SIZE or address in self._frames or address in self._moves:
            return -1
        self._ensure_mappings()
        laid = self._stock.lay(self.ram, self._ram_fd, address)
        if laid is None:
            return -1
        number, descriptor = laid
        self._frames[address] = OwnMemory(descriptor, size, frame_stock.key(number), number)
        return descriptor

    def shared(self) -> tuple[object, ...]:
        """What the fast path needs to do as `give_fresh` (first_maps.py): what is next in the stock, and the stock's
        table; which frames have memory, or move; how many may have some; RAM's descriptor."""
        most = (most_mappings() - MAPPINGS_KEPT) // A_FRAME
        return *self._stock.shared, self._frames, self._moves, most, self._ram_fd

    def given(self, address: int) -> None:
        """The fast path has done as `give_fresh`."""
        number, descriptor = self._stock.laid(address)
        self._frames[address] = OwnMemory(descriptor, frame_stock.SIZE, frame_stock.key(number), number)

    def is_device(self, address: int) -> bool:
        """Whether the frame there is of a device's memory."""
        return address >= self._devices_from

    def gone(self, address: int) -> None:
        """The frame was destroyed: whoever has it mapped loses it. The window shows RAM there."""
        frame = self._frames.pop(address, None)
        if frame is not None:
            if self.is_device(address):
                self._copy_back(address, frame)
            map_fixed(self.ram, address, frame.size, self._ram_fd, address)
            self._withdraw(frame.descriptor, frame.key, partial(self._forget, frame))

    def _copy_back(self, address: int, frame: OwnMemory) -> None:
        """Put a device's bytes where they are found without the frame. A kernel that dies meanwhile has not told yet
        that the frame is gone, so that the next one does all of this again."""
        discard(self._ram_fd, address, frame.size)
        at = 0
        while (at := _next_data(frame.descriptor, at)) < frame.size:
            read = os.preadv(frame.descriptor, [self._buffer[: frame.size - at]], at)
            os.pwrite(self._ram_fd, self._buffer[:read], address + at)
            at += read

    def _forget(self, frame: OwnMemory) -> None:
        """The monitor does not keep it any more under the frame's key."""
        if frame.number >= 0:
            self._stock.free(frame.number)

    def close(self) -> None:
        """Close the descriptors; the mappings stay until the window is unmapped."""
        self._stock.close()
        for frame in self._frames.values():
            os.close(frame.descriptor)
        for move in self._moves.values():
            move.close()
        self._frames.clear()
        self._moves.clear()

    def _new(self, address: int, size: int, from_ram: bool) -> OwnMemory:
        """Memory for a frame. What moves from RAM and is small comes from the stock."""
        self._ensure_mappings()
        if size == frame_stock.SIZE and from_ram:
            number, descriptor = self._stock.take()
            return OwnMemory(descriptor, size, frame_stock.key(number), number)
        return OwnMemory(make_memory(f"sel4py-frame-{address:x}", size), size, _key(address))

    def _ensure_mappings(self) -> None:
        if (len(self._frames) + len(self._moves) + 1) * A_FRAME + MAPPINGS_KEPT > most_mappings():
            raise OSError(errno.ENOMEM, "the mappings that are left to the kernel (vm.max_map_count) are few")

    # --- what a move asks for

    def copy_some(self, move: Move) -> None:
        """Move the next chunk, with the hole before it, and show it in the window."""
        source, source_base = (self._ram_fd, move.address) if move.source is None else (move.source, 0)
        own = move.target
        target, target_base = (self._ram_fd, move.address) if own is None else (own.descriptor, 0)
        data = min(_next_data(source, source_base + move.at) - source_base, move.size)
        end = min(data + CHUNK, move.size)
        if data < end:
            read = os.preadv(source, [self._buffer[: end - data]], source_base + data)
            if not self._copied.startswith(bytes(read)):
                os.pwrite(target, self._buffer[:read], target_base + data)
            elif own is None:  # what was zeroed, or only read, needs no page
                discard(self._ram_fd, move.address + data, read)
        # From here on it counts as moved. Only then may the window change: what is stored by it is to be in the target.
        if end < move.size:
            os.lseek(move.progress, end, os.SEEK_SET)
        else:
            self._keep_moved(move)
        map_fixed(self.ram, move.address + move.at, end - move.at, target, target_base + move.at)
        if move.source is None and data < end:
            # Covered from now on; when the frame is gone, zeroes are to show, not what it once held.
            discard(self._ram_fd, move.address + data, end - data)
        move.at = end

    def _keep_moved(self, move: Move) -> None:
        move_key = [f"move:{move.address:x}"] if move.progress >= 0 else []
        before, target = self._frames.get(move.address), move.target
        gone = "" if before is None else _gone_key(before.descriptor)
        if target is not None and target.number >= 0:
            self._stock.use(target.number, move.address)
        elif target is not None:
            self._store.keep(target.key, target.descriptor, move.size, gone, move_key)
        if before is not None and (target is None or before.key != target.key):
            self._store.rename(before.key, gone, move_key)
            self._forget(before)

    def moved(self, move: Move) -> None:
        """All of it shows in the window: the memfd that it was in is withdrawn."""
        del self._moves[move.address]
        if move.target is None:
            self._frames.pop(move.address, None)
            move.close()
        else:
            self._frames[move.address] = move.target
        if move.source is not None:
            self._withdraw(move.source, _gone_key(move.source), move.withdrawn)
        else:
            move.withdrawn()

    def abandoned(self, move: Move) -> None:
        """The frame is destroyed while it moves. Its bytes are nobody's any more."""
        del self._moves[move.address]
        map_fixed(self.ram, move.address, move.size, self._ram_fd, move.address)
        target = move.target
        if target is not None:
            os.ftruncate(target.descriptor, 0)
            if target.number >= 0:
                self._store.drop(target.key)
                self._forget(target)
        if move.progress >= 0:
            self._store.drop(f"move:{move.address:x}")
        move.close()

    # --- a kernel before this one

    def restore(self, inherited: Inheritance) -> None:
        """Lay the frames' own memory over the window as a kernel before this one had it; finish what it had begun."""
        moves = dict(inherited.take_all("move"))
        for name, kept in inherited.take_all("frame"):
            address = int(name, 16)
            size = _whole_size(kept)
            if size is None:
                self._withdraw(kept.descriptor, kept.key, _nothing)
                continue
            is_covered = name not in moves or _is_to_own(moves[name])
            self._lay_over(address, OwnMemory(kept.descriptor, size, kept.key), is_covered)
        for address, (number, descriptor) in self._stock.restore(inherited):
            frame = OwnMemory(descriptor, frame_stock.SIZE, frame_stock.key(number), number)
            if address and address not in self._frames:
                self._lay_over(address, frame, is_covered=True)
            else:
                self._withdraw(descriptor, frame.key, partial(self._forget, frame))
        for _, kept in inherited.take_all("gone"):
            self._withdraw(kept.descriptor, kept.key, _nothing)
        for name, kept in moves.items():
            self._restore_move(int(name, 16), kept)

    def _lay_over(self, address: int, frame: OwnMemory, is_covered: bool) -> None:
        map_fixed(self.ram, address, frame.size, frame.descriptor, 0)
        # That RAM has nothing below it is sooner seen than made.
        if is_covered and _next_data(self._ram_fd, address) < address + frame.size:
            discard(self._ram_fd, address, frame.size)
        self._frames[address] = frame

    def _restore_move(self, address: int, kept: Kept) -> None:
        size, to_own = cast(tuple[int, bool], kept.note)
        frame = self._frames.get(address)
        if os.fstat(kept.descriptor).st_size != size or (not to_own and frame is None):
            self._store.drop(kept.key)
            os.close(kept.descriptor)
            return
        target = OwnMemory(kept.descriptor, size, _key(address)) if to_own else None
        move = Move(self, address, size, None if frame is None else frame.descriptor, target, _nothing)
        move.progress = kept.descriptor
        move.at = os.lseek(kept.descriptor, 0, os.SEEK_CUR)
        if move.at:
            base = 0 if to_own else address
            below = self._ram_fd if target is None else target.descriptor
            map_fixed(self.ram, address, move.at, below, base)
            if to_own and frame is None:
                discard(self._ram_fd, address, move.at)
        self._moves[address] = move
        while move.step():
            continue


class Move:
    """A frame's bytes on their way. `source`, `target`: memory of the frame's own, None for RAM's.

    Attributes:
        at: bytes that have moved.
        withdrawn: called once all has moved and nobody has any more what was there before.
    """

    def __init__(
        self,
        memory: FrameMemory,
        address: int,
        size: int,
        source: int | None,
        target: OwnMemory | None,
        withdrawn: Callable[[], None],
    ) -> None:
        self._memory = memory
        self.address = address
        self.size = size
        self.source = source
        self.target = target
        self.withdrawn = withdrawn
        self.at = 0
        self.progress = -1  # the opening whose offset says how much has moved, of more than one chunk

    def step(self) -> bool:
        """Move the next chunk. False once all has moved."""
        self._memory.copy_some(self)
        if self.at < self.size:
            return True
        self._memory.moved(self)
        return False

    def close(self) -> None:
        """Close what is the move's own: it is not done."""
        for descriptor in {self.progress, -1 if self.target is None else self.target.descriptor} - {-1}:
            os.close(descriptor)

    def abandon(self) -> None:
        """The frame is destroyed; call `gone` of the memory next."""
        self._memory.abandoned(self)


def withdraw_some(descriptor: int) -> bool:
    """Take the last part of a memfd's memory away from all who have it mapped. False once nothing is left."""
    status = os.fstat(descriptor)
    if status.st_blocks * BLOCK <= WITHDRAWN_AT_ONCE:
        os.ftruncate(descriptor, 0)
        return False
    os.ftruncate(descriptor, max(status.st_size - WITHDRAWN_AT_ONCE, 0))
    return True


@cache
def most_mappings() -> int:
    """How many mappings the host lets a process have."""
    return int(Path("/proc/sys/vm/max_map_count").read_text())


def _next_data(descriptor: int, offset: int) -> int:
    """Where the file has data next, at or behind an offset."""
    try:
        return os.lseek(descriptor, offset, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return 1 << 62


def _nothing() -> None:
    """Nobody waits for it."""


def _key(address: int) -> str:
    return f"frame:{address:x}"


def _gone_key(descriptor: int) -> str:
    return f"gone:{os.fstat(descriptor).st_ino:x}"


def _is_to_own(kept: Kept) -> bool:
    return cast(tuple[int, bool], kept.note)[1]


def _whole_size(kept: Kept) -> int | None:
    """The bytes of a frame's memory; None of one that was withdrawn."""
    size = os.fstat(kept.descriptor).st_size
    return size if size == kept.note else None


def _reopened(descriptor: int | None) -> int:
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
