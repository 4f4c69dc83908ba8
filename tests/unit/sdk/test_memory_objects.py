"""The memory objects of the SDK are memory objects: in this process, and behind an endpoint."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from libsel4py.interfaces.memory_object import READ_ONLY, READ_WRITE, DataError, LockRequest, MemoryObject
from libsel4py.pagers.anonymous import Anonymous
from libsel4py.pagers.blob import Blob
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.shadow import fork
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


SUBJECTS: dict[str, tuple[Callable[[Frames], MemoryObject], bytes, bool]] = {
    "anonymous": (lambda frames: Anonymous(frames, 4 * PAGE), b"", True),
    "blob": (lambda frames: Blob(frames, TEXT), TEXT, True),
    "blob with room": (lambda frames: Blob(frames, TEXT, 5 * PAGE), TEXT, True),
    "read-only blob": (lambda frames: Blob(frames, TEXT, writable=False), TEXT, False),
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


def test_terminated_objects_leave_no_memory_behind() -> None:
    for make, _, writable in SUBJECTS.values():
        with system() as made:
            frames = fake_frames(made)
            before = made.first_task.memory.statistics().free_bytes, made.slots.free_count
            source = make(frames)
            source.init(None)
            source.data_request(0, PAGE, READ_WRITE if writable else READ_ONLY)
            source.data_request(PAGE, PAGE, READ_ONLY)
            source.terminate()
            below = getattr(source, "_frozen", None)
            while below is not None:  # its other shadow was never used
                below.release()
                below = getattr(below.source, "_frozen", None)
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
