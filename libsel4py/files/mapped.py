"""A file as memory, by the task's pager (`libsel4py.interfaces.mapped_files`).

    with files.map("table", self.pager, writable=True) as table:
        numbers = numpy.frombuffer(table.memory, dtype=numpy.int64)
        numbers[7] += 1                     # the page comes now
        table.flush()                       # and is in the file, and on its medium

`memory` is a `libsel4py.mapping.Mapping`: guarded to read and write, or in place. What cannot be had is VMFault there,
and the task's end where it is touched in place.
"""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import Self

from libsel4py.errors import InvalidMessage
from libsel4py.files.errors import as_os_errors
from libsel4py.files.raw import RawFile
from libsel4py.interfaces.mapped_files import MapAs, MappedFiles
from libsel4py.interfaces.memory_object import PAGE_BYTES
from libsel4py.mapping import Mapping, map_memory
from libsel4py.task import Task


class MappedFile:
    """A part of a file as memory. Made by `Files.map`; stays when the file is closed.

    Attributes:
        name: the file's path. memory: where it is.
    """

    memory: Mapping

    def __init__(
        self, pager: MappedFiles, file: RawFile, task: Task, offset: int, length: int | None, how: MapAs
    ) -> None:
        self.name = file.name
        self._pager, self._task, self._how = pager, task, how
        size = file.seek(0, 2)
        length = size - offset if length is None else length
        if offset < 0 or offset % PAGE_BYTES or length < 1 or length > size - offset:
            raise ValueError(
                f"{length} bytes at {offset} of the {size} of {file.name!r}: map bytes that there are, "
                f"from a multiple of {PAGE_BYTES} on"
            )
        self._length = length
        self._address = address = task.addresses.allocate(length)
        try:
            self._number = file.hand_over(lambda each: pager.map(each, address, offset, length, how))
            self.memory = map_memory(address, length, how is not MapAs.READ)
        except BaseException as error:
            task.addresses.free(address)
            if isinstance(error, InvalidMessage):
                raise ValueError(f"{file.name!r} cannot be mapped so: {error}") from error
            raise
        self._is_open = True

    def flush(self, offset: int = 0, length: int | None = None) -> None:
        """Write what was stored to the file, and put it on the medium.

        Raises OSError: something could not be written. ESTALE: the file's server, or the pager, was started again, and
        what was not flushed before is lost. EACCES: the file has become shorter.
        """
        length = self._length - offset if length is None else length
        if offset < 0 or not 0 <= length <= self._length - offset:
            raise ValueError(f"{length} bytes at {offset} are not all in the {self._length} that are mapped")
        with as_os_errors(self.name):
            self._pager.flush(self._number, offset, length)

    def refresh(self) -> None:
        """`flush`, and see what others have written to the file by other ways meanwhile. Raises OSError."""
        with as_os_errors(self.name):
            self._pager.refresh(self._number)

    def close(self) -> None:
        """End it. Raises BufferError: a memoryview or an array of it is in use. OSError: what was stored is lost."""
        if not self._is_open:
            return
        self.memory.release()
        self._is_open = False
        try:
            with as_os_errors(self.name):
                if self._how is MapAs.WRITE:
                    self._pager.flush(self._number, 0, self._length)
        finally:
            with suppress(OSError), as_os_errors(self.name):
                self._pager.unmap(self._number)
            self._task.addresses.free(self._address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
