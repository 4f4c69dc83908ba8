"""Which files a pager's tasks have mapped, and whose share of pages each page is.

Rules. A file is one object, by which of a file system's files it is, however many tasks map it. Each task may have so
many pages of files read in, and no more: who needs another one gives its oldest up, which is written first if need be.
A task that goes leaves no page in its name: another one that maps the file takes it over, if it has room, or it goes as
well. A task maps the same bytes once: so what its mappings take is bounded by the pages that there are.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from libsel4py.abi import MAPPING_END, Rights
from libsel4py.capabilities import Endpoint
from libsel4py.errors import InvalidMessage, KernelError
from libsel4py.interfaces.file import FileError, NotPermitted, StaleHandle, TooManyOpen
from libsel4py.interfaces.mapped_files import MOST_MAPPINGS, MapAs
from libsel4py.interfaces.memory_object import PAGE_BYTES, READ_ONLY, READ_WRITE
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.identify import identify
from libsel4py.lowlevel.vspace import OutOfAddresses
from libsel4py.pager import Pager
from libsel4py.pagers.file_store import RUN_PAGES, FileStore, Held
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.in_use import FAILURES
from libsel4py.pagers.paged_file import MOST_BYTES, PagedFile, Share, Shorter
from libsel4py.pagers.regions import Region, Space
from libsel4py.pagers.residence import Residence

LEAST_PAGES: Final = 16  # of a task's share
READ: Final = int(Rights.READ)
_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class FileMapping:
    """A part of a file as a task sees it."""

    space: Space
    region: Region
    file: PagedFile
    held: Held
    store: FileStore

    @property
    def start(self) -> int:
        """Offset in the file."""
        return self.region.offset

    @property
    def end(self) -> int:
        return self.region.offset + self.region.size


class FileMappings:
    """All of them.

    Args:
        stores: the file systems whose files can be mapped. share: pages of files that one task may have read in.
        ahead: pages behind a faulting one that are read in along with it.
    """

    def __init__(self, pager: Pager, frames: Frames, stores: Iterable[FileStore], share: int, ahead: int) -> None:
        self._pager, self._frames, self._stores = pager, frames, list(stores)
        self._share, self._ahead = share, min(ahead, share // 2)
        self._files: dict[tuple[FileStore, int, int], PagedFile] = {}
        self._mappings: dict[int, FileMapping] = {}
        self._of_region: dict[Region, FileMapping] = {}
        self._shares: dict[Space, Share] = {}
        self._last = int.from_bytes(os.urandom(4), "little") << 16  # no number of another life

    # --- what tasks ask for

    def map(self, space: Space, file: Endpoint, address: int, offset: int, length: int, how: int) -> int:
        """As `MappedFiles.map`."""
        size = -(-length // PAGE_BYTES) * PAGE_BYTES
        if not 0 < size <= MAPPING_END or offset > MOST_BYTES - size:
            raise InvalidMessage(f"{length} bytes at {offset:#x} are no part of a file that can be mapped")
        if how not in list(MapAs):
            raise InvalidMessage(f"{how} is no MapAs")
        if len(self._of(space)) >= MOST_MAPPINGS:
            raise TooManyOpen(f"a task maps at most {MOST_MAPPINGS} files: unmap one")
        found = identify(file.cptr)
        if found.type != "ENDPOINT" or "W" not in found.rights:  # what `FileStore.adopt` shows others must open nothing
            raise NotPermitted("this is no capability that a file could be asked by")
        store, held, file_bytes = self._adopt(file)
        try:
            if how == MapAs.WRITE and not held.writable:
                raise NotPermitted("the file was not opened for writing")
            if offset + size > -(-file_bytes // PAGE_BYTES) * PAGE_BYTES:
                raise InvalidMessage(f"{length} bytes at {offset:#x} are not all in the file's {file_bytes}")
            mapping = self._attach(space, store, held, address, offset, size, MapAs(how))
        except BaseException:
            with suppress(FileError):
                store.close(held)
            raise
        self._last += 1
        self._mappings[self._last] = self._of_region[mapping.region] = mapping
        return self._last

    def _adopt(self, file: Endpoint) -> tuple[FileStore, Held, int]:
        """The file system that a file is of; the others say that its capability is none of theirs."""
        for store in self._stores:
            try:
                adopted = store.adopt(file)
            except InvalidMessage:
                continue
            except (KernelError, OutOfSlots, OutOfAddresses) as error:
                raise TooManyOpen(f"the pager has no room for a session: {error}") from error
            return store, Held(store.life, adopted.number, adopted.which, adopted.writable), adopted.size
        raise NotPermitted("this is no open file of a file system that the pager is connected to")

    def _attach(
        self, space: Space, store: FileStore, held: Held, address: int, offset: int, size: int, how: MapAs
    ) -> FileMapping:
        key = store, held.life, held.which
        is_copy = how is MapAs.COPY
        file = (None if is_copy else self._files.get(key)) or PagedFile(self._frames, store, is_copy=is_copy)
        rights = READ_ONLY if how is MapAs.READ else READ_WRITE
        for each in self._of(space):
            if each.file is file and offset < each.end and each.start < offset + size:
                raise InvalidMessage("the task has mapped some of these bytes already")
        file.holders.append(held)
        try:
            region = self._pager.attach(space, address, size, file, offset, rights, ahead=self._ahead)
        except ValueError as error:
            file.holders.remove(held)
            raise InvalidMessage(str(error)) from error
        if not is_copy:
            self._files[key] = file
        self._shares.setdefault(space, Share(self._share))
        return FileMapping(space, region, file, held, store)

    def flush(self, space: Space, number: int, offset: int, length: int) -> None:
        """As `MappedFiles.flush`."""
        mapping = self._find(space, number)
        if offset > mapping.region.size or length > mapping.region.size - offset:
            raise InvalidMessage(f"{length} bytes at {offset:#x} are not all in the mapping's {mapping.region.size}")
        first = mapping.start + offset // PAGE_BYTES * PAGE_BYTES
        self._flush(mapping, first, mapping.start + offset + length)

    def _flush(self, mapping: FileMapping, first: int, end: int) -> None:
        self._write(mapping.file, first, end)
        if mapping.held.writable and not mapping.file.is_copy:
            mapping.file.sync(mapping.held)

    def refresh(self, space: Space, number: int) -> None:
        """As `MappedFiles.refresh`."""
        mapping = self._find(space, number)
        mapping.store.size(mapping.held)  # what cannot be read again is not given up
        self._write_away(mapping.file, mapping.start, mapping.end)
        self._flush(mapping, mapping.start, mapping.end)
        for offset in mapping.file.offsets(mapping.start, mapping.end):
            if offset in mapping.file.stored(offset, offset + 1):
                continue  # of a copy
            self._evict(mapping.file, offset)

    def unmap(self, space: Space, number: int) -> None:
        """As `MappedFiles.unmap`."""
        mapping = self._find(space, number)
        try:
            if not self._others_write(mapping):
                self._write_away(mapping.file, 0, MOST_BYTES)
        finally:
            self._leave(mapping)

    def leave(self, space: Space) -> None:
        """The task has ended: so do its mappings. What it has stored is written, where that can be done."""
        for number, each in list(self._mappings.items()):
            if each.space is space:
                try:
                    self.unmap(space, number)
                except FileError as error:
                    _log.warning("%s: what it stored to a mapped file is lost: %s", space.name, error)
        self._shares.pop(space, None)

    def _find(self, space: Space, number: int) -> FileMapping:
        mapping = self._mappings.get(number)
        if mapping is None or mapping.space is not space:
            raise StaleHandle(f"you have no mapping {number}: it was ended, or the pager was started again")
        return mapping

    def _of(self, space: Space) -> list[FileMapping]:
        return [each for each in self._mappings.values() if each.space is space]

    # --- pages

    def before(self, space: Space, address: int) -> None:
        """A task is about to be served at this address: if it is a file's, let it have room there."""
        region = space.find(address) if self._of_region else None
        mapping = None if region is None else self._of_region.get(region)
        if region is None or mapping is None:
            return
        share = self._shares[space]
        mapping.file.serve(share, mapping.held)
        if region.offset_of(address) in region.residence.pages:
            self._ensure_open(mapping)
            return
        all_go = True
        for file, offset in list(share.pages):
            wanted = region.ahead + 1 - share.room()
            if wanted <= 0:
                return
            self._give_up(file, offset, wanted if all_go else 1)
            all_go = all_go and (file, offset) not in share.pages

    def _ensure_open(self, mapping: FileMapping) -> None:
        """End a mapping by whose own handle the file is open no more: others' pages are none of its task's.

        Where the file system was started again, all handles are gone, and its pages are what is left of the file.
        """
        try:
            if mapping.held.life == mapping.store.life:
                mapping.store.size(mapping.held)
        except StaleHandle as error:
            if mapping.store.answers():
                _log.warning("%s: a mapping of a file is ended: %s", mapping.space.name, error)
                self._leave(mapping)
        except FileError as error:
            _log.warning("%s: %s", mapping.space.name, error)

    def _give_up(self, file: PagedFile, offset: int, pages: int = 1) -> None:
        """Let a page go, if what was stored there can be written, as what was stored to the ``pages`` from there on is
        at the same time: they may go next."""
        with suppress(FileError):
            self._write_away(file, offset, offset + pages * PAGE_BYTES)
        if not file.stored(offset, offset + 1) and file.offsets(offset, offset + 1):
            self._evict(file, offset)

    def _write(self, file: PagedFile, first: int, end: int) -> None:
        """Write what was stored there. What lies behind the file's end now is lost. Raises FileError: the first one."""
        failed: FileError | None = None
        changed = {} if file.is_copy else file.changed(first, end, PAGE_BYTES)
        for run in _runs(changed):
            pages = {offset: changed[offset] for offset in run}
            if len(pages) > 1:
                with suppress(*FAILURES):
                    file.write(pages)
                    continue
            errors = [self._write_page(file, *each) for each in pages.items()]  # of some it may succeed
            failed = failed or next((error for error in errors if error is not None), None)
        if failed is not None:
            raise failed

    def _write_page(self, file: PagedFile, offset: int, data: bytes) -> FileError | None:
        """Why it could not be written."""
        file.failed = None
        try:
            file.write({offset: data})
        except FAILURES as error:
            failed = file.failed or StaleHandle(str(error))
            if isinstance(error, Shorter):
                self._evict(file, offset)
            return failed
        return None

    def _write_away(self, file: PagedFile, first: int, end: int) -> None:
        """As `_write`, of pages that nobody is to store to afterwards without asking again: none of that is lost."""
        stored = [] if file.is_copy else file.stored(first, end)
        residence = self._residence(file)
        residence.withdraw(stored)
        try:
            self._write(file, first, end)
        finally:
            left = file.changed(first, end, PAGE_BYTES)
            for offset in stored:
                if offset not in left:
                    residence.is_written(offset)
                    file.is_written(offset)

    def _evict(self, file: PagedFile, offset: int) -> None:
        """Let a page go; what is stored there and not written is lost."""
        residence = self._residence(file)
        with suppress(*FAILURES):
            residence.evict(residence.ensure(offset, READ))

    def _residence(self, file: PagedFile) -> Residence:
        return next(each.region.residence for each in self._mappings.values() if each.file is file)

    # --- the end

    def _others_write(self, mapping: FileMapping) -> bool:
        """Whether the file can be written when this mapping is gone, so that nothing must be written now."""
        return any(each.writable for each in mapping.file.holders if each is not mapping.held)

    def _leave(self, mapping: FileMapping) -> None:
        """End a mapping. What is stored in it and cannot be written is lost with the last one."""
        file, space = mapping.file, mapping.space
        number = next(number for number, each in self._mappings.items() if each is mapping)
        others = [each for each in self._mappings.values() if each.file is file and each is not mapping]
        if others and not any(each.space is space for each in others):
            self._hand_over(file, self._shares[space], [self._shares[each.space] for each in others])
        del self._mappings[number], self._of_region[mapping.region]
        try:
            self._pager.detach(mapping.region)
        except FAILURES as error:
            _log.warning("%s: what was stored to a mapped file is lost: %s", space.name, error)
        file.holders.remove(mapping.held)
        if not others and not file.is_copy:
            del self._files[mapping.store, mapping.held.life, mapping.held.which]
        with suppress(FileError):
            mapping.store.close(mapping.held)

    def _hand_over(self, file: PagedFile, share: Share, others: list[Share]) -> None:
        for offset in list(file.charged_to(share)):
            heir = next((each for each in others if each.room() > 0), None)
            if heir is not None:
                file.recharge(offset, heir)
                continue
            self._give_up(file, offset)
            if (file, offset) in share.pages:
                _log.warning("a page of a mapped file is lost: nobody has room for it, and %s", file.failed)
                self._evict(file, offset)


def _runs(offsets: Iterable[int]) -> Iterator[list[int]]:
    """Pages that follow each other, as many at a time as go by one request. ``offsets``: sorted."""
    run: list[int] = []
    for offset in offsets:
        if run and (offset != run[-1] + PAGE_BYTES or len(run) == RUN_PAGES):
            yield run
            run = []
        run.append(offset)
    if run:
        yield run
