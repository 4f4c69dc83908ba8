"""The memory objects of the SDK are memory objects: in this process, and behind an endpoint."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from libsel4py.interfaces.memory_object import READ_ONLY, READ_WRITE, DataError, LockRequest, MemoryObject
from libsel4py.pagers.anonymous import Anonymous
from libsel4py.pagers.blob import Blob
from libsel4py.pagers.data_pages import DataPages, PagesObject
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.shadow import Shadow, fork
from libsel4py.testing import system
from libsel4py.testing.memory_object import MEMORY_OBJECT_CHECKS, PAGE, Subject, check_memory_object, fake_frames

TEXT = bytes(range(256)) * 40 + b"the end"  # 2.5 pages


def _shadow(frames: Frames) -> MemoryObject:
    below = Blob(frames, TEXT)
    below.init(None)
    return fork(below, len(TEXT), frames)[0]


def _shadow_of_shadow(frames: Frames) -> MemoryObject:
    below = _shadow(frames)
    below.init(None)
    return fork(below, len(TEXT), frames)[1]


def _pages(frames: Frames, *, writable: bool = True) -> MemoryObject:
    """A data space's, of a file that is kept elsewhere."""
    kept = bytearray(TEXT)

    def store(offset: int, data: bytes) -> None:
        kept[offset : offset + len(data)] = data

    pages = DataPages(frames, len(TEXT), fetch=lambda at, length: bytes(kept[at : at + length]), store=store)
    return pages.object(writable=writable)


SUBJECTS: dict[str, tuple[Callable[[Frames], MemoryObject], bytes, bool]] = {
    "anonymous": (lambda frames: Anonymous(frames, 4 * PAGE), b"", True),
    "blob": (lambda frames: Blob(frames, TEXT), TEXT, True),
    "blob with room": (lambda frames: Blob(frames, TEXT, 5 * PAGE), TEXT, True),
    "read-only blob": (lambda frames: Blob(frames, TEXT, writable=False), TEXT, False),
    "pages of a data space": (_pages, TEXT, True),
    "pages to read": (lambda frames: _pages(frames, writable=False), TEXT, False),
    "shadow": (_shadow, TEXT, True),
    "shadow of a shadow": (_shadow_of_shadow, TEXT, True),
}


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("check", MEMORY_OBJECT_CHECKS)
def test_it_conforms(subject: str, check: str) -> None:
    make, contents, writable = SUBJECTS[subject]
    with system() as made:
        frames = fake_frames(made)
        MEMORY_OBJECT_CHECKS[check](Subject(lambda: make(frames), frames, contents, writable))


class _Forgetful(Anonymous):
    """A wrong one: what comes back is thrown away."""

    def data_return(self, offset: int, length: int, frame: object, dirty: bool, keep: bool) -> None:
        super().data_return(offset, length, frame, dirty, keep)  # type: ignore[arg-type]
        if not keep:
            self._frames.free(self._pages.pop(offset))


def test_the_suite_finds_an_object_that_forgets() -> None:
    with system() as made:
        frames = fake_frames(made)
        with pytest.raises(AssertionError, match="lost") as found:
            check_memory_object(Subject(lambda: _Forgetful(frames, 4 * PAGE), frames))
    assert "MO-05" in found.value.__notes__[0]


def _shadows_beside(source: MemoryObject) -> list[Shadow]:
    """All shadows of what it stands on."""
    found: list[Shadow] = []
    while isinstance(source, Shadow):
        found += source._frozen.shadows
        source = source._frozen.source
    return found


def test_terminated_objects_leave_no_memory_behind() -> None:
    for make, _, writable in SUBJECTS.values():
        with system() as made:
            frames = fake_frames(made)
            before = made.first_task.memory.statistics().free_bytes, made.slots.free_count
            source = make(frames)
            source.init(None)
            source.data_request(0, PAGE, READ_WRITE if writable else READ_ONLY)
            source.data_request(PAGE, PAGE, READ_ONLY)
            others = _shadows_beside(source)
            source.terminate()
            if isinstance(source, PagesObject):  # these are their server's until that closes them
                source.pages.close()
            for other in others:  # they were never used
                other.terminate()
            assert (made.first_task.memory.statistics().free_bytes, made.slots.free_count) == before


def test_a_blob_writes_back_what_was_written_and_no_byte_more() -> None:
    with system() as made:
        frames = fake_frames(made)
        file = io.BytesIO(TEXT)
        blob = Blob(frames, file)
        blob.init(None)
        last = len(TEXT) // PAGE * PAGE
        _, _, frame = blob.data_request(last, PAGE, READ_WRITE)
        assert frame is not None
        frames.contents.write(frame, b"THE" + bytes(PAGE - 3))
        blob.data_return(last, PAGE, frame, True, False)
        written = file.getvalue()
        assert len(written) == len(TEXT)
        assert written[:last] == TEXT[:last]
        assert written[last : last + 4] == b"THE\0"


def test_a_source_that_fails_is_a_memory_error() -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("no such disk")

    with system() as made:
        blob = Blob(fake_frames(made), Broken(TEXT))
        blob.init(None)
        with pytest.raises(DataError, match="no such disk"):
            blob.data_request(0, PAGE, READ_ONLY)


class Piecemeal(io.BytesIO):
    """Gives and takes at most 1,000 bytes at once, as a source without a buffer of its own may."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(1000 if size is None else min(size, 1000))

    def write(self, data: Any, /) -> int:
        return super().write(data[:1000])


def test_a_source_that_gives_and_takes_a_little_at_once_loses_nothing() -> None:
    with system() as made:
        frames = fake_frames(made)
        file = Piecemeal(TEXT)
        blob = Blob(frames, file)
        blob.init(None)
        _, _, frame = blob.data_request(0, PAGE, READ_WRITE)
        assert frame is not None
        assert frames.contents.read(frame, PAGE) == TEXT[:PAGE]
        frames.contents.write(frame, b"first")
        blob.data_return(0, PAGE, frame, True, False)
        assert file.getvalue() == b"first" + TEXT[5:]


def test_a_source_that_has_become_shorter_is_a_memory_error_and_nothing_is_written_over_it() -> None:
    with system() as made:
        file = io.BytesIO(TEXT)
        blob = Blob(fake_frames(made), file)
        blob.init(None)
        file.truncate(100)
        with pytest.raises(DataError, match="the source ends at 0x64"):
            blob.data_request(0, PAGE, READ_WRITE)
        blob.terminate()
        assert file.getvalue() == TEXT[:100]


def test_what_is_written_back_is_in_the_file_when_the_page_is_returned(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(TEXT)
    with system() as made, path.open("r+b") as file:
        frames = fake_frames(made)
        blob = Blob(frames, file)
        blob.init(None)
        _, _, frame = blob.data_request(0, PAGE, READ_WRITE)
        assert frame is not None
        frames.contents.write(frame, b"first")
        blob.data_return(0, PAGE, frame, True, True)
        assert path.read_bytes() == b"first" + TEXT[5:]


def test_a_source_that_takes_nothing_is_a_memory_error() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any, /) -> int:
            return 0

    with system() as made:
        frames = fake_frames(made)
        blob = Blob(frames, Full(TEXT))
        blob.init(None)
        _, _, frame = blob.data_request(0, PAGE, READ_WRITE)
        assert frame is not None
        with pytest.raises(DataError, match="takes nothing at 0x0"):
            blob.data_return(0, PAGE, frame, True, False)


def test_what_a_blob_wants_of_its_pager_is_handed_out_in_order() -> None:
    with system() as made:
        blob = Blob(fake_frames(made), TEXT)
        blob.init(None)
        first = blob.lock(0, PAGE, clean=True)
        second = blob.lock(0, 2 * PAGE, flush=True)
        assert blob.lock_next() == LockRequest(first, 0, PAGE, clean=True)
        blob.lock_completed(first)
        assert blob.is_completed(first)
        assert not blob.is_completed(second)
        assert blob.lock_next() == LockRequest(second, 0, 2 * PAGE, flush=True)
        assert blob.lock_next() is None
