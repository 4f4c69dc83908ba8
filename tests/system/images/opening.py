"""A task that opens data spaces of all kinds and drives each by the same operations; ends with 0 if all went well."""

from __future__ import annotations

from collections.abc import Callable

from libsel4py import Component, component, uses
from libsel4py.abi import VMFault
from libsel4py.environment import PAGED_ADDRESS
from libsel4py.errors import InvalidMessage
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.data_space import (
    AT_POSITION,
    MOST_OPEN,
    DataGone,
    DataSpaces,
    NoRoom,
    NoSuchData,
    NotPossible,
    OpenData,
    OpenFlags,
    Whence,
)
from libsel4py.interfaces.windows import BadWindow, MemoryWindow, Windows
from libsel4py.mapping import map_memory
from tests.system.images.failing import failing_with

PAGE = 4096
BOTH = OpenFlags.READ | OpenFlags.WRITE
HAS_SIZE = ("memory", "file")
MILLISECOND = 1_000_000


@component
class Main(Component):
    windows = uses(Windows)

    def run(self) -> int:
        self.view = map_memory(PAGED_ADDRESS, self.task.environment.paged_bytes, True)
        for kind in str(self.task.environment.configuration["kinds"]).split():
            self.drive(kind)
        return 0

    def open(self, kind: str, flags: int = BOTH | OpenFlags.CREATE, size: int = 3 * PAGE) -> OpenData:
        server: DataSpaces = getattr(self.uses, kind)
        return OpenData(server.open({"file": "files/a.bin"}.get(kind, kind), flags, size))

    def drive(self, kind: str) -> None:
        """The same for each kind: what it has works, and what it has not is refused in the same way."""
        server: DataSpaces = getattr(self.uses, kind)
        for name, flags in (("nothing of this name", BOTH), (kind, 0), (kind, 1 << 9)):
            with failing_with(NoSuchData):
                server.open(name, flags, PAGE)
        space = self.open(kind)
        getattr(self, f"bytes_of_{kind}")(space)
        self.sized(space) if kind in HAS_SIZE else self.streaming(space)
        space.close()
        for call in (space.size, space.close, lambda: space.read(0, 8)):
            with failing_with(DataGone):
                call()
        if kind in HAS_SIZE:
            self.closed_while_shown(kind)
        self.flags(kind)
        many = [self.open(kind, BOTH, 1) for _ in range(MOST_OPEN)]
        with failing_with(NoRoom):
            self.open(kind, BOTH, 1)
        many[0].close()
        self.open(kind, BOTH, 1)
        server.close_all()
        with failing_with(DataGone):
            many[1].size()
        self.open(kind, BOTH, 1).close()

    # --- reading and writing, getc and putc

    def bytes_of_memory(self, space: OpenData) -> None:
        assert space.read(0, 4 * PAGE) == bytes(3 * PAGE)
        data = bytes(range(251)) * 12
        space.write(PAGE - 1000, data)
        assert space.read(PAGE - 1000, len(data)) == data
        self.positioned(space)

    def bytes_of_file(self, space: OpenData) -> None:
        assert (space.size(), space.read(0, 100)) == (0, b"")
        space.expand(3 * PAGE)
        self.bytes_of_memory(space)

    def positioned(self, space: OpenData) -> None:
        assert space.seek(10, Whence.START) == 10
        for byte in b"putc":
            space.put_byte(byte)
        assert space.seek(-4, Whence.POSITION) == 10
        assert bytes(space.get_byte() or 0 for _ in range(4)) == b"putc"
        space.write(AT_POSITION, b"goes on")
        assert space.read(10, 11) == b"putcgoes on"
        assert space.seek(-2, Whence.END) == space.size() - 2
        assert [space.get_byte() is None for _ in range(3)] == [False, False, True]
        for offset, whence in ((-1, Whence.START), (-(1 << 40), Whence.END), (0, 9)):
            with failing_with(NotPossible):
                space.seek(offset, whence)

    def bytes_of_timer(self, space: OpenData) -> None:
        before = int.from_bytes(space.read(0, 8), "little")
        space.write(0, (2 * MILLISECOND).to_bytes(8, "little"))
        assert int.from_bytes(space.read(0, 8), "little") >= before + 2 * MILLISECOND
        for call in (lambda: space.read(0, 7), lambda: space.write(0, b"soon"), space.get_byte):
            with failing_with(NotPossible):
                call()

    def bytes_of_serial(self, space: OpenData) -> None:
        space.write(0, b"serial says: type xyz\r\n" + b"." * 2000)
        space.put_byte(ord("!"))
        assert bytes(space.get_byte() or 0 for _ in range(3)) == b"xyz"

    def bytes_of_console(self, space: OpenData) -> None:
        space.write(0, b"console says: type two lines\n")
        assert space.read(0, 800) == b"first\n"
        assert bytes(space.get_byte() or 0 for _ in range(4)) == "zwö".encode()
        assert space.read(0, 800) == b"\n"

    # --- size, expand, datamap

    def streaming(self, space: OpenData) -> None:
        window = MemoryWindow(self.windows.create(PAGED_ADDRESS, PAGE))
        calls: dict[str, Callable[[], object]] = {
            "size": space.size,
            "expand": lambda: space.expand(PAGE),
            "seek": lambda: space.seek(0, Whence.START),
            "map": lambda: space.map(window),
        }
        for name, call in calls.items():
            with failing_with(NotPossible):
                raise AssertionError(f"{name} gave {call()!r}")
        window.delete()

    def sized(self, space: OpenData) -> None:
        assert space.size() == 3 * PAGE
        with failing_with(NotPossible):
            space.expand(3 * PAGE)
        with failing_with(NotPossible):
            space.write(3 * PAGE, b"behind the end")
        space.expand(4 * PAGE)
        assert space.read(3 * PAGE, 2 * PAGE) == bytes(PAGE)
        window = MemoryWindow(self.windows.create(PAGED_ADDRESS, 2 * PAGE))
        other = MemoryWindow(self.windows.create(PAGED_ADDRESS + 4 * PAGE, PAGE))
        space.write(PAGE, b"written before")
        space.map(window, PAGE, can_write=True)
        space.map(other, PAGE)
        assert self.view.read(0, 14) == self.view.read(4 * PAGE, 14) == b"written before"
        self.view.write(PAGE + 5, b"mapped")
        assert space.read(2 * PAGE + 5, 6) == b"mapped"
        space.write(PAGE + 8, b"BY CALL")
        assert self.view.read(0, 15) == self.view.read(4 * PAGE, 15) == b"written BY CALL"
        assert self.faults(4 * PAGE, write=True)
        window.hide()
        assert self.faults(0)
        space.map(window, 2 * PAGE)
        assert self.view.read(5, 6) == b"mapped"
        for each in (window, other):
            each.delete()

    def closed_while_shown(self, kind: str) -> None:
        """What a window shows ends with the data space; the window can show something else."""
        space, other = (
            self.open(kind, size=12 * PAGE),
            self.open(kind, size=12 * PAGE),
        )
        if kind == "file":
            space.expand(12 * PAGE)
        window = MemoryWindow(self.windows.create(PAGED_ADDRESS, 12 * PAGE))
        space.map(window, 0, can_write=True)
        self.view.write(0, b"stays")
        space.close()
        assert self.faults(0)
        assert self.faults(11 * PAGE)
        with failing_with(BadWindow):  # what it would give back nobody takes: the file has it already
            window.hide()
        other.map(window, 0)
        assert self.view.read(0, 5) == (b"stays" if kind == "file" else bytes(5))
        window.delete()
        other.close()

    def flags(self, kind: str) -> None:
        """A capability does what it was opened for."""
        reads, writes = self.open(kind, OpenFlags.READ), self.open(kind, OpenFlags.WRITE)
        with failing_with(NotPossible):
            reads.write(0, bytes(8))
        with failing_with(NotPossible):
            writes.read(0, 8)
        if kind in HAS_SIZE:
            with failing_with(NotPossible):
                reads.memory(True)
            with failing_with(NotPossible):
                writes.memory(False)
            self.initialised(kind)
        with failing_with((NotPossible, InvalidMessage)):
            reads.init_data(endpoint_of(writes), 0)
        reads.close()
        writes.close()

    def initialised(self, kind: str) -> None:
        """New memory has a file's bytes first, read as they are touched, and is its own from then on."""
        if kind == "memory":
            return
        memory, source = self.open("memory", size=12 * PAGE), self.open("file", OpenFlags.READ)
        memory.init_data(endpoint_of(source), PAGE)
        assert memory.read(0, PAGE + 20) == source.read(PAGE, PAGE + 20)
        assert memory.read(8, 7) == b"BY CALL"
        window = MemoryWindow(self.windows.create(PAGED_ADDRESS, 12 * PAGE))
        memory.map(window, 0, can_write=True)
        assert self.view.read(PAGE + 5, 6) == b"mapped"
        self.view.write(8, b"by copy")
        assert (memory.read(8, 7), source.read(PAGE + 8, 7)) == (b"by copy", b"BY CALL")
        with failing_with(NotPossible):
            memory.init_data(endpoint_of(source), 0)
        source.close()
        assert self.faults(11 * PAGE)  # which nobody has touched, nor a pager ahead of him
        window.delete()
        memory.close()

    def faults(self, offset: int, *, write: bool = False) -> bool:
        try:
            self.view.write(offset, b"!") if write else self.view.read(offset, 1)
        except VMFault:
            return True
        return False
