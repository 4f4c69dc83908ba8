"""A program that maps files, by the scene that its description names; ends with 0 if all went as it should."""

from __future__ import annotations

import errno
import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from libsel4py import Component, Endpoint, component, uses
from libsel4py.abi import MAPPING_BASE, MAPPING_END, Rights, VMFault
from libsel4py.capabilities import Unwrapped
from libsel4py.environment import PAGED_ADDRESS
from libsel4py.errors import InvalidMessage, KernelError, RemoteError, ServerDied
from libsel4py.files import Files, MappedFile
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.file import Directory, FileError, NotPermitted, StaleHandle, TooManyOpen
from libsel4py.interfaces.mapped_files import MOST_MAPPINGS, MapAs, MappedFiles
from libsel4py.interfaces.namespace import Namespace
from libsel4py.interfaces.pager import PagerStatistics
from libsel4py.interfaces.system import System
from libsel4py.lending import lend
from libsel4py.mapping import map_memory
from tests.system.images.failing import failing_with
from tests.system.images.file_mapped import Mapped
from tests.system.images.file_server import Hold
from tests.system.images.hostile_client import WIDE, Attack

PAGE = 4096
SHARE = 64  # pages, by the description
CHANNEL = 2  # pages of the pager's: that to the file system
WAIT = 20.0  # seconds
SEED = 11
MESSAGES = 600
TEXT = b"".join(number.to_bytes(2, "little") for number in range(3 * PAGE // 2)) + b"and the rest"
FAILED = (FileError, InvalidMessage)
WILD = (1, PAGE - 1, PAGE + 8, 1 << 46, 1 << 62, (1 << 64) - PAGE, (1 << 64) - 1)


@component
class Main(Component):
    files = uses(Namespace)
    maps = uses(MappedFiles)
    pager = uses(PagerStatistics)
    other = uses(Mapped)
    reader = uses(Mapped)
    hold = uses(Hold)

    def run(self) -> int:
        with Files(self.files, self.task) as self.disk:
            getattr(self, str(self.task.environment.configuration["scene"]))()
        return 0

    @property
    def system(self) -> System:
        system: System = self.uses.system
        return system

    def put(self, data: bytes, name: str = "f") -> None:
        self.disk.path(name).write_bytes(data)
        self.disk.sync()

    def map(self, *, writable: bool = True, name: str = "f") -> MappedFile:
        return self.disk.map(name, self.maps, writable=writable)

    def reads(self) -> None:
        """Pages come when they are touched; what stands behind the end reads as zeroes; a part, and none."""
        self.put(TEXT)
        before = self.pager.statistics()
        with self.disk.map("f", self.maps) as file:
            assert len(file.memory) == len(TEXT)
            assert self.pager.statistics().faults == before.faults
            with memoryview(file.memory) as view:
                assert view[PAGE : PAGE + 9] == TEXT[PAGE : PAGE + 9]
                assert self.pager.statistics().faults == before.faults + 1
                assert bytes(view) == TEXT
            whole = map_memory(file.memory.address, 4 * PAGE, False)
            assert whole.read(len(TEXT), 4 * PAGE - len(TEXT)) == bytes(4 * PAGE - len(TEXT))
            with failing_with(TypeError):
                file.memory.write(0, b"x")
            with failing_with(ValueError, match="mapped some of these bytes"):
                self.map()
        with self.disk.map("f", self.maps, 2 * PAGE, 100) as part:
            assert part.memory.read(0, 100) == TEXT[2 * PAGE : 2 * PAGE + 100]
        self.disk.path("empty").write_bytes(b"")
        for name, offset, length in (("empty", 0, None), ("f", 1, None), ("f", 4 * PAGE, None), ("f", 0, 4 * PAGE)):
            with failing_with(ValueError, match="of the"):
                self.disk.map(name, self.maps, offset, length)
        with failing_with(FileNotFoundError):
            self.disk.map("nowhere", self.maps)
        self.task.addresses.free(self.task.addresses.allocate(1 << 40))

    def shares(self) -> None:
        """Two write to one file and see each other's stores, a third one sees them; the file has them after a flush."""
        self.put(TEXT)
        assert self.reader.open("f", True) == "PermissionError"
        assert self.reader.force("f") == ["NotPermitted", "VMFault"]
        assert (self.other.open("f", True), self.reader.open("f", False)) == ("", "")
        with self.map() as file, self.disk.open_raw("f", "r+b") as raw:
            with memoryview(file.memory) as view:
                assert self.reader.read(0, 4) == self.other.read(0, 4) == view[:4] == TEXT[:4]
                view[:4] = b"mine"
                assert self.reader.read(0, 4) == self.other.read(0, 4) == b"mine"
                self.other.store(2 * PAGE, b"theirs")
                assert view[2 * PAGE : 2 * PAGE + 6] == b"theirs"
                assert self.reader.read(2 * PAGE, 6) == b"theirs"
                file.flush()
                assert raw.readall() == b"mine" + TEXT[4 : 2 * PAGE] + b"theirs" + TEXT[2 * PAGE + 6 :]
                view[:4] = b"more"
                assert self.other.flush() == ""
                raw.seek(0)
                assert raw.read(4) == b"more"
            raw.seek(PAGE)
            raw.write(b"by a call")
            file.refresh()
            assert self.reader.read(PAGE, 9) == self.other.read(PAGE, 9) == file.memory.read(PAGE, 9) == b"by a call"
        self.other.store(0, b"once")
        self.other.close()
        assert self.disk.path("f").read_bytes()[:4] == b"once"
        assert self.reader.read(0, 4) == b"once"

    def copies(self) -> None:
        """A copy begins with what the file has; what is stored there nobody else sees, and stays where it is."""
        self.put(TEXT)
        assert self.other.open("f", True) == ""
        with self.disk.map("f", self.maps, copy=True) as mine, self.disk.map("f", self.maps, copy=True) as second:
            with memoryview(mine.memory) as view:
                assert bytes(view) == TEXT
                view[:4] = b"mine"
            assert second.memory.read(0, 4) == self.other.read(0, 4) == TEXT[:4]
            self.other.store(0, b"their")
            self.other.store(PAGE, b"theirs")
            assert self.other.flush() == ""
            mine.flush()
            mine.refresh()
            assert (mine.memory.read(0, 5), mine.memory.read(PAGE, 6)) == (b"mine" + TEXT[4:5], b"theirs")
        assert self.disk.path("f").read_bytes()[:5] == b"their"
        self.put(bytes(2 * SHARE * PAGE), "long")
        with self.disk.map("long", self.maps, copy=True) as mine:
            for page in range(SHARE):
                mine.memory.write(page * PAGE, b"mine %d" % page)
            with failing_with(VMFault):
                mine.memory.read(SHARE * PAGE, 1)
            assert all(mine.memory.read(page * PAGE, 8).startswith(b"mine %d" % page) for page in range(SHARE))
        assert self.disk.path("long").read_bytes() == bytes(2 * SHARE * PAGE)

    def shrinks(self) -> None:
        """Behind the file's end there is no memory, and what was stored there is told to be lost."""
        self.put(TEXT)
        assert self.other.open("f", True) == ""
        with self.map() as file, self.disk.open_raw("f", "r+b") as raw:
            file.memory.write(3 * PAGE, b"at the end")
            assert self.other.read(3 * PAGE, 6) == b"at the"
            raw.truncate(PAGE + 10)
            with failing_with(PermissionError) as lost:
                file.flush()
            assert "shorter" in lost.value.__notes__[0]
            file.flush()
            assert self.other.read(3 * PAGE, 6) is None
            with failing_with(VMFault):
                file.memory.write(3 * PAGE, b"again")
            file.refresh()
            assert self.other.read(2 * PAGE, 1) is None
            assert file.memory.read(PAGE, 20) == TEXT[PAGE : PAGE + 10] + bytes(10)
            file.memory.write(PAGE + 8, b"across")
            file.flush()
            assert raw.readall() == TEXT[: PAGE + 8] + b"ac"
            raw.truncate(len(TEXT))
            assert self.other.read(3 * PAGE, 6) == bytes(6)
            raw.truncate(PAGE)
        with failing_with(ServerDied):
            self.other.touch(2 * PAGE)

    def evicts(self) -> None:
        """A file of more pages than a task may have: they come and go, and nothing is lost."""
        count = 3 * SHARE
        self.put(bytes(count * PAGE))
        assert self.reader.open("f", False) == ""
        free = self.pager.statistics().free_bytes
        with self.map() as file, memoryview(file.memory) as view:
            for page in range(count):
                view[page * PAGE] = page % 251 + 1
            assert free - self.pager.statistics().free_bytes <= (SHARE + CHANNEL) * PAGE
            for page in range(count):
                assert self.reader.read(page * PAGE, 1) == bytes([page % 251 + 1])
            assert free - self.pager.statistics().free_bytes <= (2 * SHARE + CHANNEL) * PAGE
            assert all(view[page * PAGE] == page % 251 + 1 for page in range(count))
        data = self.disk.path("f").read_bytes()
        assert all(data[page * PAGE] == page % 251 + 1 for page in range(count))
        assert self.reader.read(7 * PAGE, 1) == b"\x08"
        self.reader.close()
        assert free - self.pager.statistics().free_bytes <= CHANNEL * PAGE

    def outlived(self) -> None:
        """What a task has stored is in the file when it was killed, and its part of the pager is free again."""
        self.put(TEXT)
        self.map(writable=False).close()  # the pager has its session from here on
        free = self.pager.statistics().free_bytes
        for number in range(3):
            assert self.other.open("f", True) == ""
            self.other.store(PAGE, b"life %d" % number)
            self.system.kill("other")
            self.until(lambda: self.disk.path("f").read_bytes()[PAGE : PAGE + 6] == b"life %d" % number)  # noqa: B023
        self.until(lambda: self.pager.statistics().free_bytes == free)

    def until(self, holds: Callable[[], bool]) -> None:
        """The pager hears of an end by a message, and answers this task behind that."""
        deadline = time.monotonic() + WAIT
        while not holds():
            assert time.monotonic() < deadline
            self.pager.statistics()

    def attacks(self) -> None:
        """Whatever a client says, it gets no memory, files or rights that are not its own, and others go on."""
        self.put(TEXT)
        assert (self.other.open("f", True), self.reader.open("f", False)) == ("", "")
        with self.disk.open_raw("f") as readable, self.disk.open_raw("f", "r+b") as raw:
            file, place = raw.capability(), self.task.addresses.allocate(1 << 20)
            self.attack(readable.capability(), file, place)
            free = self.pager.statistics().free_bytes
            self.attack(readable.capability(), file, place)
            assert self.pager.statistics().free_bytes == free
        assert self.other.read(0, 4) == self.reader.read(0, 4) == TEXT[:4]

    def attack(self, readable: Endpoint, file: Endpoint, place: int) -> None:
        for wild in WILD:
            self.refused(self.maps.map, file, place, wild, PAGE, MapAs.READ)
            if wild % PAGE or wild >= MAPPING_END:
                self.refused(self.maps.map, file, wild, 0, PAGE, MapAs.READ)
            self.refused(self.maps.map, file, place, 0, max(wild, 5 * PAGE), MapAs.READ)
            for act in (self.maps.unmap, self.maps.refresh, lambda each: self.maps.flush(each, 0, 1)):
                self.refused(act, wild)
        for address in (0, MAPPING_BASE - PAGE, MAPPING_END, PAGED_ADDRESS, PAGED_ADDRESS - PAGE):
            self.refused(self.maps.map, file, address, 0, 2 * PAGE, MapAs.READ)
        self.refused(self.maps.map, file, place, 0, 0, MapAs.READ)
        self.refused(self.maps.map, readable, place, 0, PAGE, MapAs.WRITE, kind=NotPermitted)
        for fake in self.fakes():
            self.refused(self.maps.map, fake, place, 0, PAGE, MapAs.READ)
        for how in (3, 255, (1 << 64) - 1):
            self.refused(self.maps.map, file, place, 0, PAGE, how)
        bare = Endpoint(self.task.slots.allocate())
        self.task.cnode.copy(bare.cptr, self.task.cnode, file.cptr, Rights.NONE)
        self.refused(self.maps.map, bare, place, 0, PAGE, MapAs.READ, kind=NotPermitted)
        self.task.delete(bare)
        self.bounds(file, place)
        with self.disk.open_raw("f") as closed:
            endpoint = Endpoint(self.task.slots.allocate())
            self.task.cnode.copy(endpoint.cptr, self.task.cnode, closed.capability().cptr)
        self.refused(self.maps.map, endpoint, place, 0, PAGE, MapAs.READ, kind=StaleHandle)
        self.task.delete(endpoint)
        self.adopts(file)

    def hammers(self) -> None:
        """Messages at random, and calls that make sense half of the time: no answer but those that are declared."""
        self.put(bytes(8 * PAGE))
        assert (self.other.open("f", True), self.reader.open("f", False)) == ("", "")
        attack = Attack(self, self.maps, random.Random(SEED))
        attack.run(MESSAGES)
        assert not attack.wrong, attack.wrong
        chance, numbers, done = random.Random(SEED), [0], Counter[str]()
        place = self.task.addresses.allocate(1 << 20)
        with self.disk.open_raw("f", "r+b") as writable, self.disk.open_raw("f") as readable:
            files = [writable.capability(), writable.capability(), readable.capability(), *self.fakes()]
            for _ in range(MESSAGES):
                page, offset, size, mapping = (
                    good if chance.random() < 0.9 else chance.choice(WIDE)
                    for good in (
                        place + chance.randrange(20) * PAGE,
                        chance.randrange(4) * PAGE,
                        chance.randrange(2 * PAGE),
                        chance.choice(numbers[-20:]),
                    )
                )
                try:
                    match chance.randrange(6):
                        case 0 | 1 | 2:
                            numbers.append(self.maps.map(chance.choice(files), page, offset, size, chance.randrange(4)))
                            done["map"] += 1
                        case 3:
                            self.maps.flush(mapping, offset, size)
                            done["flush"] += 1
                        case 4:
                            self.maps.refresh(mapping)
                            done["refresh"] += 1
                        case 5:
                            self.maps.unmap(mapping)
                            done["unmap"] += 1
                except FAILED:
                    done["refused"] += 1
                with suppress(VMFault):
                    map_memory(place, 20 * PAGE, True).write(chance.randrange(20) * PAGE, b"hammer")
        assert min(done[each] for each in ("map", "flush", "refresh", "unmap", "refused")) > 5, done
        assert self.other.read(7 * PAGE, 8) is not None
        assert self.other.read(7 * PAGE, 8) == self.reader.read(7 * PAGE, 8)
        assert self.disk.stat("f").size == 8 * PAGE

    def refused(
        self,
        act: Callable[..., object],
        *arguments: object,
        kind: type[Exception] | tuple[type[Exception], ...] = FAILED,
    ) -> None:
        with failing_with(kind):
            act(*arguments)

    def fakes(self) -> list[Endpoint]:
        """Capabilities that are no open file of the file system, one of them called one by its maker."""
        rest, directory = self.files.resolve("/f")
        assert rest == "f"
        return [endpoint_of(self.files), endpoint_of(self.maps), endpoint_of(self.other), Endpoint(directory.cptr)]

    def bounds(self, file: Endpoint, place: int) -> None:
        """So many mappings and no more, of bytes that are each mapped once."""
        self.put(bytes((MOST_MAPPINGS + 1) * PAGE), "many")
        with self.disk.open_raw("many") as many:
            numbers = [
                self.maps.map(many.capability(), place + each * PAGE, each * PAGE, PAGE, MapAs.READ)
                for each in range(MOST_MAPPINGS)
            ]
            self.refused(self.maps.map, many.capability(), place + 64 * PAGE, 0, PAGE, MapAs.READ, kind=TooManyOpen)
            self.refused(self.maps.flush, numbers[0], PAGE, 1)
            self.refused(self.maps.flush, numbers[0], 1, (1 << 64) - 1)
            self.maps.unmap(numbers.pop())
            for offset, at in ((0, 64), (9, 0)):
                self.refused(self.maps.map, many.capability(), place + at * PAGE, offset * PAGE, PAGE, MapAs.READ)
            for number in numbers:
                self.maps.unmap(number)
            self.refused(self.maps.unmap, numbers[0], kind=StaleHandle)

    def adopts(self, file: Endpoint) -> None:
        """Who is no pager has nobody else's open file as its own."""
        _, directory = self.files.resolve("/f")
        with lend(self.task, 15) as pool:
            session = Directory(Directory(directory).session(pool.untyped))
            self.refused(session.adopt, Unwrapped(file.cptr), kind=NotPermitted)
            self.refused(session.adopt, Unwrapped(endpoint_of(self.maps).cptr), kind=InvalidMessage)
            self.task.delete(endpoint_of(session))

    def restarted(self) -> None:
        """The file system's next life knows no mapping of the former: what was not flushed is told to be lost."""
        self.put(TEXT)
        file = self.map()
        file.memory.write(0, b"flushed")
        file.flush()
        self.system.kill("disk")
        file.memory.write(0, b"stored!")
        assert file.memory.read(0, 7) == b"stored!"
        with failing_with(OSError, match=r"Stale|Input/output"):
            file.flush()
        with failing_with(OSError, match="Stale") as lost:
            file.close()
        assert lost.value.errno == errno.ESTALE
        if not self.disk.exists("f"):  # it was in the server's memory
            self.put(b"flushed" + TEXT[7:])
        with self.map() as again:
            assert again.memory.read(0, len(TEXT)) == b"flushed" + TEXT[7:]
            self.system.kill("pager")
            with failing_with(VMFault):
                again.memory.read(2 * PAGE, 1)
            with failing_with(OSError, match="Stale"):
                again.flush()
            with self.map() as third:
                assert third.memory.read(0, len(TEXT)) == b"flushed" + TEXT[7:]
            with failing_with(OSError, match="Stale"):
                again.close()

    def killed(self) -> None:
        """The file system dies, or hangs, with a fault that it was asked for: a memory error, and soon."""
        for what in ("dies", "hangs"):
            self.put(TEXT)
            assert self.other.open("f", False) == ""
            file = self.map(writable=False)
            self.hold.next_read(what)
            started = time.monotonic()
            with failing_with(VMFault):
                file.memory.read(0, 1)
            with failing_with((ServerDied, KernelError, RemoteError)):
                self.other.touch(PAGE)  # in place: the task's end
            assert time.monotonic() - started < WAIT
            if what == "hangs":
                self.system.kill("disk")
            file.close()
            self.put(TEXT)
            with self.map() as again:
                assert again.memory.read(0, len(TEXT)) == TEXT
