"""A pager for tests in one process, where nobody faults: it reads all pages at once."""

from __future__ import annotations

from dataclasses import dataclass

from libsel4py import Endpoint, Frame, component, uses
from libsel4py.abi import FRAME_MIN_BITS, ObjectType, Rights
from libsel4py.errors import InvalidMessage
from libsel4py.interfaces.file import Directory, StaleHandle
from libsel4py.interfaces.mapped_files import MappedFiles
from libsel4py.interfaces.memory_object import PAGE_BYTES
from libsel4py.mapping import Mapping, map_memory
from libsel4py.pagers.file_store import FileStore, Held


@dataclass
class Shown:
    """One mapping."""

    held: Held
    offset: int
    frames: list[Frame]
    memory: Mapping


@component
class EagerPager(MappedFiles):
    disk = uses(Directory)

    def start(self) -> None:
        self.store = FileStore(self.disk, self.task, handles=8)
        self.shown: dict[int, Shown] = {}
        self.numbers = 0

    def map(self, file: Endpoint, address: int, offset: int, length: int, how: int) -> int:
        adopted = self.store.adopt(file)
        held = Held(self.store.life, adopted.number, adopted.which, adopted.writable)
        if adopted.size > 1 << 20:
            self.store.close(held)
            raise InvalidMessage("a large file")
        frames = []
        for at in range(0, length, PAGE_BYTES):
            frames.append(Frame(self.task.memory.allocate(ObjectType.FRAME, FRAME_MIN_BITS).start))
            frames[-1].map(address + at, Rights.READ | Rights.WRITE, vspace=self.task.vspace)
        memory = map_memory(address, len(frames) * PAGE_BYTES, True)
        for at in range(0, length, PAGE_BYTES):
            memory.write(at, self.store.read(held, offset + at, PAGE_BYTES))
        self.numbers += 1
        self.shown[self.numbers] = Shown(held, offset, frames, memory)
        return self.numbers

    def flush(self, mapping: int, offset: int, length: int) -> None:
        found = self._find(mapping)
        for at in range(offset // PAGE_BYTES * PAGE_BYTES, offset + length, PAGE_BYTES):
            self.store.overwrite(found.held, found.offset + at, found.memory.read(at, PAGE_BYTES))
        self.store.sync(found.held)

    def refresh(self, mapping: int) -> None:
        found = self._find(mapping)
        for at in range(0, found.memory.size, PAGE_BYTES):
            found.memory.write(at, self.store.read(found.held, found.offset + at, PAGE_BYTES))

    def unmap(self, mapping: int) -> None:
        found = self._find(mapping)
        del self.shown[mapping]
        found.memory.release()
        for frame in found.frames:
            self.task.memory.free(frame.cptr)
        self.store.close(found.held)

    def _find(self, mapping: int) -> Shown:
        found = self.shown.get(mapping)
        if found is None:
            raise StaleHandle(f"no mapping {mapping}")
        return found
