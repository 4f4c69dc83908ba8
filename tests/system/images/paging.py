"""A program whose memory is paged, by the scene that its description names; ends with 0 if all went as it should."""

from __future__ import annotations

import ctypes
import time

from libsel4py import Component, component, uses
from libsel4py.abi import VMFault
from libsel4py.environment import PAGED_ADDRESS
from libsel4py.interfaces.pager import PagerStatistics
from libsel4py.mapping import map_memory
from tests.system.images.failing import failing_with
from tests.system.images.paged import Peek
from tests.system.images.stacked_pager import NIL_REPLIES
from tests.system.images.store import Contents

PAGE = 4096


@component
class Main(Component):
    pager = uses(PagerStatistics)
    other = uses(Peek)
    store = uses(Contents)

    def run(self) -> int:
        self.size = self.task.environment.paged_bytes
        self.memory = map_memory(PAGED_ADDRESS, self.size, True)
        status: int | None = getattr(self, str(self.task.environment.configuration["scene"]))()
        return status or 0

    def demand(self) -> None:
        """Zeroes at first, what was written afterwards; one fault maps several pages."""
        with memoryview(self.memory) as view:
            assert bytes(view[5:100]) == bytes(95)
            for offset in range(0, self.size, PAGE):
                view[offset] = offset // PAGE % 251
            assert all(view[offset] == offset // PAGE % 251 for offset in range(0, self.size, PAGE))
        done = self.pager.statistics()
        assert done.mapped == self.size // PAGE, done
        assert done.faults <= done.mapped // 8 + 1, done

    def arrays(self) -> None:
        """Instructions of other people's code fault as well: numpy's loops, memcpy, slices; each goes on."""
        import numpy

        pages = self.size // PAGE
        with memoryview(self.memory) as view:
            numbers = numpy.frombuffer(view, dtype="<u8")
            assert int(numbers[: pages // 4 * PAGE // 8].sum()) == 0  # reads
            numbers[pages // 4 * PAGE // 8 : pages // 2 * PAGE // 8] = 7  # writes
            assert int(numbers.sum()) == 7 * (pages // 4) * PAGE // 8
            del numbers
            whole = bytes(range(256)) * (PAGE * pages // 4 // 256)
            view[pages // 2 * PAGE : pages // 4 * 3 * PAGE] = whole  # a slice
            assert view[pages // 2 * PAGE : pages // 4 * 3 * PAGE] == whole
            ctypes.memmove(PAGED_ADDRESS + pages // 4 * 3 * PAGE, whole, len(whole))
            assert ctypes.string_at(PAGED_ADDRESS + pages // 4 * 3 * PAGE, len(whole)) == whole
        done = self.pager.statistics()
        assert (done.mapped, done.refused) == (pages, 0), done

    def contents(self) -> None:
        """What the pager's file holds, a page of zeroes behind it, and changes that stay."""
        assert self.memory.read(0, 6) == b"hello\0"
        self.memory.write(1, b"a")
        self.memory.write(3 * PAGE, b"far")
        assert self.memory.read(0, 5) == b"hallo"
        assert self.memory.read(3 * PAGE, 4) == b"far\0"

    def outside(self) -> None:
        """Behind the region's end a guarded access fails, and everything goes on."""
        beyond = map_memory(PAGED_ADDRESS, self.size + PAGE, True)
        with failing_with(VMFault):
            beyond.read(self.size, 1)
        with failing_with(VMFault):
            beyond.write(self.size - 1, b"xy")
        assert self.memory.read(self.size - 1, 1) in (b"\0", b"x")
        assert self.pager.statistics().refused == 2

    def forked(self) -> None:
        """Both see the same until one writes, and then each its own."""
        assert self.other.read(0, 5) == self.memory.read(0, 5) == b"hello"
        self.memory.write(0, b"mine!")
        self.other.write(1, b"OTHER")
        assert self.memory.read(0, 6) == b"mine!\0"
        assert self.other.read(0, 6) == b"hOTHER"
        self.other.write(PAGE, b"later")
        assert self.memory.read(PAGE, 5) == bytes(5)

    def again(self) -> int:
        """Who is started again finds what its predecessor found; the memory of others stays."""
        lives = self.other.read(100, 1)[0]
        assert self.memory.read(0, 6) == b"hello\0"
        self.memory.write(0, b"former")
        self.other.write(100, bytes([lives + 1]))
        return 1 if lives < 2 else 0

    def kept(self) -> int:
        """What the last task wrote is with the object when it has ended, and its successor finds it."""
        if self.memory.read(0, 6) != b"former":
            self.memory.write(0, b"former")
            return 1
        assert self.store.read(0, 6) == b"former"
        self.memory.write(PAGE, b"later")
        assert self.memory.read(0, 6) == b"former"
        return 0

    def cached(self) -> int:
        """The pages of an object that may be cached are there for the task's next life: nobody asks for them again."""
        if self.memory.read(0, 6) != b"former":
            self.store.cache()
            self.memory.write(0, b"former")
            return 1
        assert self.store.read(0, 6) == b"former"
        assert self.store.written() == [0]
        assert self.store.requested() == 8, self.store.requested()  # one fault, and seven pages ahead
        return 0

    def taken_over(self) -> None:
        """What an object does not take back stays with the pager, and is the object's when it takes it."""
        self.memory.write(0, b"first")
        self.store.refuse(True)
        self._await(self.store.flush(0, 16 * PAGE))
        assert self.memory.read(0, 5) == b"first"
        self.memory.write(0, b"again")
        assert self.store.written() == []
        self.store.refuse(False)
        self._await(self.store.clean(0, 16 * PAGE))
        assert self.store.read(0, 5) == b"again"
        assert self.memory.read(0, 5) == b"again"

    def deadly(self) -> None:
        """The pager dies while it holds the fault: the access fails, soon."""
        started = time.monotonic()
        with failing_with(VMFault):
            self.memory.read(0, 1)
        assert time.monotonic() - started < 10

    def nil(self) -> None:
        """An answer of label 0 without a mapping: the access faults again, as often as it is answered so."""
        assert self.memory.read(0, 5) == b"hello"
        assert self.pager.statistics().faults == NIL_REPLIES
        with memoryview(self.memory) as view:  # an instruction that nothing guards
            view[9 * PAGE] = 7
            assert view[9 * PAGE] == 7
        assert self.pager.statistics().faults == 2 * NIL_REPLIES
        assert self.pager.statistics().refused == 0

    def stacked(self) -> None:
        """The pager's pager's pager has the bytes."""
        assert self.memory.read(0, 5) == b"hello"
        assert self.memory.read(2 * PAGE, 5) == bytes(5)

    def _await(self, ticket: int) -> None:
        """The pager carries requests out when it is signalled; it answers this task behind that."""
        deadline = time.monotonic() + 10
        while not self.store.is_done(ticket):
            assert time.monotonic() < deadline, "the pager did not do what the object asked"
            self.pager.statistics()

    def written_back(self) -> None:
        """What two tasks write is in the source of a third when that has asked for it, and not before."""
        first = bytes(range(16))
        assert all(self.memory.read(number * PAGE, 16) == first for number in range(16))
        for number in (5, 0, 3):
            self.memory.write(number * PAGE + 1, b"page %d" % number)
        self.other.write(3 * PAGE + 8, b"theirs")
        assert self.store.read(0, 16) == first
        slots = self.store.free_slots()
        self._await(self.store.clean(0, 16 * PAGE))
        for number in (0, 3, 5):
            expected = bytearray(first)
            expected[1:7] = b"page %d" % number
            if number == 3:
                expected[8:14] = b"theirs"
            assert self.store.read(number * PAGE, 16) == expected == self.memory.read(number * PAGE, 16)
        assert sorted(self.store.written()) == [0, 3 * PAGE, 5 * PAGE]
        self._await(self.store.clean(0, 16 * PAGE))
        assert self.store.free_slots() == slots  # what pages come back by is deleted each time
        assert len(self.store.written()) == 3  # nothing was written to since
        self.memory.write(5 * PAGE, b"X")  # it was made read-only: this faults again
        self._await(self.store.flush(0, 16 * PAGE))
        assert self.store.read(5 * PAGE, 8) == b"Xpage 5\7"
        assert self.store.written()[3:] == [5 * PAGE]
        faults = self.pager.statistics().faults
        assert self.memory.read(5 * PAGE, 8) == b"Xpage 5\7"  # read in again
        assert self.other.read(3 * PAGE + 8, 6) == b"theirs"
        assert self.pager.statistics().faults > faults
