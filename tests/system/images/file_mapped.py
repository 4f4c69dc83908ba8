# mypy: disable-error-code="empty-body"
"""A task that maps files for others: it does what it is told with them."""

from __future__ import annotations

from libsel4py import Interface, component, uses
from libsel4py.abi import VMFault
from libsel4py.files import Files
from libsel4py.files.mapped import MappedFile
from libsel4py.interfaces.file import FileError
from libsel4py.interfaces.mapped_files import MapAs, MappedFiles
from libsel4py.interfaces.namespace import Namespace
from libsel4py.mapping import map_memory


class Mapped(Interface):
    def open(self, path: str, writable: bool) -> str:
        """Map a file; the name of the error, or nothing."""

    def read(self, offset: int, length: int) -> bytes | None:
        """Guarded; None where the memory is not there."""

    def store(self, offset: int, data: bytes) -> None:
        """In place."""

    def touch(self, offset: int) -> int:
        """A byte, in place."""

    def flush(self) -> str:
        """The name of the error, or nothing."""

    def close(self) -> None: ...

    def force(self, path: str) -> list[str]:
        """Try to write to a file that is open for reading, by the pager; what came of it."""


@component
class Main(Mapped):
    files = uses(Namespace)
    maps = uses(MappedFiles)

    def start(self) -> None:
        self.disk = Files(self.files, self.task)

    def open(self, path: str, writable: bool) -> str:
        try:
            self.file: MappedFile = self.disk.map(path, self.maps, writable=writable)
        except (OSError, ValueError) as error:
            return type(error).__name__
        return ""

    def read(self, offset: int, length: int) -> bytes | None:
        try:
            return self.file.memory.read(offset, length)
        except VMFault:
            return None

    def store(self, offset: int, data: bytes) -> None:
        with memoryview(self.file.memory) as view:
            view[offset : offset + len(data)] = data

    def touch(self, offset: int) -> int:
        with memoryview(self.file.memory) as view:
            return view[offset]

    def flush(self) -> str:
        try:
            self.file.flush()
        except OSError as error:
            return type(error).__name__
        return ""

    def close(self) -> None:
        self.file.close()

    def force(self, path: str) -> list[str]:
        address = self.task.addresses.allocate(4096)
        with self.disk.open_raw(path) as file:
            try:
                self.maps.map(file.capability(), address, 0, 4096, MapAs.WRITE)
                return ["mapped for writing"]
            except FileError as error:
                told = [type(error).__name__]
            number = self.maps.map(file.capability(), address, 0, 4096, MapAs.READ)
        memory = map_memory(address, 4096, True)
        assert len(memory.read(0, 1)) == 1
        try:
            memory.write(0, b"forced")
            told.append("written")
        except VMFault:
            told.append("VMFault")
        memory.release()
        self.maps.unmap(number)
        self.task.addresses.free(address)
        return told
