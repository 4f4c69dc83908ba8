"""A conformance suite for memory objects: whatever implements `MemoryObject` can run it in a unit test.

    from libsel4py.testing import system
    from libsel4py.testing.memory_object import MEMORY_OBJECT_CHECKS, Subject, fake_frames

    @pytest.mark.parametrize("name", MEMORY_OBJECT_CHECKS)
    def test_it_is_a_memory_object(name: str) -> None:
        with system() as made:
            frames = fake_frames(made)
            MEMORY_OBJECT_CHECKS[name](Subject(lambda: Mine(frames, 16384), frames))

Each check has a stable id and a sentence, makes an object of its own, and raises AssertionError with what it saw. An
object that answers LATER is asked again as often as its `Subject.wait` returns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from libsel4py.abi import FRAME_MIN_BITS, Rights
from libsel4py.capabilities import Frame
from libsel4py.interfaces.memory_object import (
    READ_ONLY,
    READ_WRITE,
    Answer,
    Attributes,
    CopyStrategy,
    DataError,
    MemoryObject,
    Supply,
)
from libsel4py.pagers.frames import Frames
from libsel4py.testing.checks import by_id, refused, run_all
from libsel4py.testing.fake_kernel import FakeKernel
from libsel4py.testing.harness import TestSystem

PAGE: Final = 1 << FRAME_MIN_BITS
MOST_WAITS: Final = 100


class FakeContents:
    """What frames of the fake kernel hold (`pagers.frames.FrameBytes`). All capabilities to one frame see the same."""

    def __init__(self, kernel: FakeKernel) -> None:
        self._kernel = kernel
        self._bytes: dict[int, tuple[object, bytes]] = {}  # the object is kept, so that its id() stays its own

    def read(self, frame: Frame, length: int) -> bytes:
        return self._bytes.get(id(self._object(frame)), (None, b""))[1][:length].ljust(length, b"\0")

    def write(self, frame: Frame, data: bytes, at: int = 0, /) -> None:
        held = self._object(frame)
        former = self._bytes.get(id(held), (None, b""))[1]
        self._bytes[id(held)] = (held, former[:at].ljust(at, b"\0") + data + former[at + len(data) :])

    def forget(self, frame: Frame) -> None:
        """Nothing stands between."""

    def _object(self, frame: Frame) -> object:
        cap = self._kernel.objects.caps.get(frame.cptr)
        assert cap is not None, f"slot {frame.cptr} holds no frame (any more)"
        return cap.object


def fake_frames(made: TestSystem) -> Frames:
    """Frames of a test's fake system, with contents."""
    task = made.first_task
    return Frames(task.cnode, task.slots, task.memory, FakeContents(made.kernel))


@dataclass
class Subject:
    """What is examined.

    Args:
        make: a new object each time, of at least two pages. frames: those that it was made with.
        contents: what it holds at first; None leaves that open. writable: whether Write is ever granted.
        wait: lets the object make progress after it has answered LATER.
    """

    make: Callable[[], MemoryObject]
    frames: Frames
    contents: bytes | None = None
    writable: bool = True
    wait: Callable[[], None] = lambda: None
    size: int = field(default=0, init=False)

    def begin(self) -> MemoryObject:
        """A new object that a pager uses."""
        made = self.make()
        self.size = made.init(None)
        return made

    def request(self, source: MemoryObject, offset: int, access: int) -> tuple[int, Frame]:
        """The rights and the frame of a page, as a pager gets them: what is left to it, it makes."""
        return self.settle(lambda: source.data_request(offset, PAGE, access), access, None)

    def unlock(self, source: MemoryObject, offset: int, access: int, frame: Frame) -> tuple[int, Frame]:
        """The same after a request for more rights to a page whose frame is given."""
        return self.settle(lambda: source.data_unlock(offset, PAGE, access), access, frame)

    def settle(self, ask: Callable[[], Answer], access: int, former: Frame | None) -> tuple[int, Frame]:
        """Ask until the answer is final, and check its form."""
        for _ in range(MOST_WAITS):
            number, rights, frame = ask()
            assert number in list(Supply), f"an answer begins with a Supply, not {number}"
            kind = Supply(number)
            assert (frame is not None) == (kind is Supply.SUPPLIED), f"{kind.name} with frame {frame}"
            if kind is not Supply.LATER:
                break
            self.wait()
        else:
            raise AssertionError(f"the object said LATER {MOST_WAITS} times")
        assert not access & ~rights, f"access {access:#x} was asked for and rights {rights:#x} were granted"
        assert not rights & ~READ_WRITE, f"rights {rights:#x} are more than Read and Write"
        assert self.writable or not rights & Rights.WRITE, "an object that is not writable granted Write"
        if kind is Supply.UNLOCKED:
            assert former is not None, "UNLOCKED answers data_unlock alone"
            return rights, former
        if kind is Supply.UNAVAILABLE:
            assert former is None, "UNAVAILABLE answers data_request alone"
            return rights, self.frames.new(FRAME_MIN_BITS)
        assert frame is not None
        return rights, frame

    def read(self, frame: Frame) -> bytes:
        return self.frames.contents.read(frame, PAGE)


_refused = partial(refused, DataError)


def _mo_01(subject: Subject) -> None:
    """MO-01 init says a size of two pages or more, and a second pager is refused."""
    source = subject.begin()
    assert subject.size >= 2 * PAGE, f"the object has {subject.size} bytes"
    _refused("a second init", lambda: source.init(None))


def _mo_02(subject: Subject) -> None:
    """MO-02 A page is supplied for reading, with what the object holds; the last one is filled with zeroes."""
    source = subject.begin()
    last = (subject.size - 1) // PAGE * PAGE
    for offset in (0, PAGE, last):
        _, frame = subject.request(source, offset, READ_ONLY)
        if subject.contents is not None:
            expected = subject.contents[offset : offset + PAGE].ljust(PAGE, b"\0")
            assert subject.read(frame) == expected, f"the page at {offset:#x} holds something else"


def _mo_03(subject: Subject) -> None:
    """MO-03 Asked twice for one page, the object names the same bytes."""
    source = subject.begin()
    _, first = subject.request(source, 0, READ_ONLY)
    _, second = subject.request(source, 0, READ_ONLY)
    assert subject.read(first) == subject.read(second)


def _mo_04(subject: Subject) -> None:
    """MO-04 What is no page is refused: a length that is no power of two, too small or 0, a crooked or far offset."""
    source = subject.begin()
    for offset, length in ((0, 0), (0, 3 * PAGE), (0, PAGE // 2), (8, PAGE), (PAGE, 2 * PAGE), (1 << 63, PAGE)):
        _refused(
            f"data_request({offset:#x}, {length:#x})",
            lambda offset=offset, length=length: source.data_request(offset, length, READ_ONLY),  # type: ignore[misc]
        )
    _refused(
        "a page behind the end", lambda: source.data_request((subject.size + PAGE - 1) // PAGE * PAGE, PAGE, READ_ONLY)
    )


def _mo_05(subject: Subject) -> None:
    """MO-05 What is written to a page that was granted for writing and returned dirty is there at the next request."""
    source = subject.begin()
    if not subject.writable:
        _refused("a request for writing", lambda: source.data_request(0, PAGE, READ_WRITE))
        return
    _, frame = subject.request(source, 0, READ_WRITE)
    subject.frames.contents.write(frame, b"written")
    source.data_return(0, PAGE, frame, True, False)
    _, again = subject.request(source, 0, READ_ONLY)
    assert subject.read(again).startswith(b"written"), "what was returned dirty is lost"


def _mo_06(subject: Subject) -> None:
    """MO-06 A page that was supplied for reading can be unlocked for writing, or that is refused."""
    source = subject.begin()
    rights, frame = subject.request(source, PAGE, READ_ONLY)
    before = subject.read(frame)
    if not subject.writable:
        _refused("data_unlock for writing", lambda: source.data_unlock(PAGE, PAGE, READ_WRITE))
        return
    if not rights & Rights.WRITE:
        rights, frame = subject.unlock(source, PAGE, READ_WRITE, frame)
    assert subject.read(frame) == before, "unlocking a page changed its contents"
    subject.frames.contents.write(frame, b"unlocked")
    source.data_return(PAGE, PAGE, frame, True, False)
    assert subject.read(subject.request(source, PAGE, READ_ONLY)[1]).startswith(b"unlocked")


def _mo_07(subject: Subject) -> None:
    """MO-07 A page that is returned and kept goes on: it can be returned again, and unlocked again."""
    source = subject.begin()
    access = READ_WRITE if subject.writable else READ_ONLY
    _, frame = subject.request(source, 0, access)
    if subject.writable:
        subject.frames.contents.write(frame, b"first")
    source.data_return(0, PAGE, frame, subject.writable, True)
    if subject.writable:
        _, frame = subject.unlock(source, 0, READ_WRITE, frame)
        subject.frames.contents.write(frame, b"again")
    source.data_return(0, PAGE, frame, subject.writable, False)
    if subject.writable:
        assert subject.read(subject.request(source, 0, READ_ONLY)[1]).startswith(b"again")


def _mo_08(subject: Subject) -> None:
    """MO-08 A dirty page that was never supplied is refused, as is one with crooked offset, and the object goes on."""
    source = subject.begin()
    foreign = subject.frames.new(FRAME_MIN_BITS)
    subject.frames.contents.write(foreign, b"forged")
    _refused("a page that was never supplied", lambda: source.data_return(PAGE, PAGE, foreign, True, False))
    _refused("a crooked offset", lambda: source.data_return(8, PAGE, foreign, True, False))
    _refused("unlocking behind the end", lambda: source.data_unlock(1 << 62, PAGE, READ_ONLY))
    assert not subject.read(subject.request(source, PAGE, READ_ONLY)[1]).startswith(b"forged")


def _mo_09(subject: Subject) -> None:
    """MO-09 lock_next says None when nothing is asked for, and completing an unknown ticket does no harm."""
    source = subject.begin()
    while (request := source.lock_next()) is not None:
        source.lock_completed(request.ticket)
    source.lock_completed(1 << 40)
    assert source.lock_next() is None


def _mo_10(subject: Subject) -> None:
    """MO-10 After terminate everything is refused, terminating twice does no harm, and no frame is left."""
    source = subject.begin()
    subject.request(source, 0, READ_ONLY)
    source.terminate()
    source.terminate()
    _refused("a request after terminate", lambda: source.data_request(0, PAGE, READ_ONLY))
    _refused("an unlock after terminate", lambda: source.data_unlock(0, PAGE, READ_ONLY))
    _refused("init after terminate", lambda: source.init(None))


def _mo_11(subject: Subject) -> None:
    """MO-11 Before init everything is refused."""
    source = subject.make()
    _refused("a request before init", lambda: source.data_request(0, PAGE, READ_ONLY))
    _refused("a return before init", lambda: source.data_return(0, PAGE, subject.frames.new(12), True, False))


def _mo_12(subject: Subject) -> None:
    """MO-12 It says how it may be treated, by a strategy that is known, and being told that this is so does no harm."""
    source = subject.begin()
    attributes = source.attributes()
    assert isinstance(attributes, Attributes), f"attributes are {attributes!r}"
    assert attributes.copy_strategy in list(CopyStrategy), f"nobody knows the strategy {attributes.copy_strategy!r}"
    for _ in range(2):
        source.change_completed(attributes)
    assert source.attributes() == attributes, "attributes changed because they were in force"
    subject.request(source, 0, READ_ONLY)


def _mo_13(subject: Subject) -> None:
    """MO-13 A page that is returned dirty and kept, and then let go, is there at the next request."""
    if not subject.writable:
        return
    source = subject.begin()
    _, frame = subject.request(source, 0, READ_WRITE)
    subject.frames.contents.write(frame, b"kept")
    source.data_return(0, PAGE, frame, True, True)
    source.data_return(0, PAGE, frame, False, False)
    _, again = subject.request(source, 0, READ_ONLY)
    assert subject.read(again).startswith(b"kept"), "what was returned dirty is lost when it is let go"


MEMORY_OBJECT_CHECKS: Final = by_id(
    (
        _mo_01,
        _mo_02,
        _mo_03,
        _mo_04,
        _mo_05,
        _mo_06,
        _mo_07,
        _mo_08,
        _mo_09,
        _mo_10,
        _mo_11,
        _mo_12,
        _mo_13,
    )
)


def check_memory_object(subject: Subject) -> None:
    """Run all checks. Raises AssertionError, with the id and sentence of the check that failed as a note."""
    run_all(MEMORY_OBJECT_CHECKS, subject)


__all__ = ["MEMORY_OBJECT_CHECKS", "FakeContents", "Subject", "check_memory_object", "fake_frames"]
