# mypy: disable-error-code="empty-body"
"""A memory object: where the contents of pages come from and go to, behind a pager (Mach's external pager protocol).

A pager maps pages and answers faults; it knows nothing of files. A memory object knows contents, and nothing of address
spaces. One pager uses one object at one time; many threads of many spaces may so see the same pages.

Rules:
- An offset is a byte count from the object's start, a length a power of two of at least 4096, and the offset a multiple
  of it. Whoever is asked refuses all else with `DataError`; both sides check, since either may be hostile.
- The pager calls, the object never does: what it wants of its pager (Mach's ``lock_request``) it keeps ready, signals,
  and is asked for (`lock_next`). So two single-threaded tasks cannot wait for each other.
- A pager carries out `MOST_REQUESTS` behind one signal. An object with more of them says None and signals again; one
  that asks on, or takes the pager's patience for asking, is used no more: whoever touches its pages has a memory error.
- A frame that an answer names stays the object's. It says who may write by the rights in its answer: the pager maps
  with these at most, asks again (`data_unlock`) when somebody wants more, and so the object learns what becomes dirty.
- A frame that `data_return` names is the object's for the length of the call alone.
- How the object may be treated (`Attributes`) is asked when a pager begins, and again when the object has signalled.

Source: Mach 3 Kernel Interfaces, chapter "External Memory Management" (data_request, data_supply, data_unavailable,
data_error, data_unlock, data_return, lock_request, lock_completed, change_attributes, change_completed, terminate).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import msgspec

from libsel4py.abi import FRAME_MAX_BITS, FRAME_MIN_BITS, Rights
from libsel4py.capabilities import Frame, Notification
from libsel4py.errors import ServiceError
from libsel4py.interface import Interface, borrows
from libsel4py.signature import Word

PAGE_BYTES: Final = 1 << FRAME_MIN_BITS
READ_ONLY: Final = int(Rights.READ)
READ_WRITE: Final = int(Rights.READ | Rights.WRITE)
MOST_REQUESTS: Final = 1024  # that an object has of its pager behind one signal


class DataError(ServiceError):
    """The object has no such data, or cannot get it: whoever touches the page gets a memory error."""


class Supply(IntEnum):
    """First word of an answer to `data_request` and `data_unlock`."""

    SUPPLIED = 0  # map this frame (Mach's data_supply)
    UNAVAILABLE = 1  # no data here yet: the pager fills in a page of zeroes of its own (data_unavailable)
    UNLOCKED = 2  # to data_unlock: the page that you have may be mapped with these rights
    LATER = 3  # not yet: I signal you, then ask again


Answer = tuple[Word, Word, Frame | None]  # Supply, rights that the page may be mapped with, frame


class LockRequest(msgspec.Struct, frozen=True):
    """What an object wants done to resident pages.

    Attributes:
        ticket: names it in `lock_completed`. offset, length: bytes; any multiple of 4096.
        clean: return what is dirty. flush: unmap, return and forget all of it. prohibited: rights that are taken away
        from mappings, and from what later answers gave (until `data_unlock` gives them again).
    """

    ticket: int
    offset: int
    length: int
    clean: bool = False
    flush: bool = False
    prohibited: int = 0


class CopyStrategy(IntEnum):
    """How a pager may copy the object's contents. The numbers are Mach's, whose 1 (CALL) is not known here."""

    NONE = 0  # at once: the contents may change without the pager's doing
    DELAY = 2  # page by page when somebody writes: only what pagers return changes the contents
    TEMPORARY = 3  # as DELAY, and nobody wants the contents when the object is used no more


class Attributes(msgspec.Struct, frozen=True):
    """How an object may be treated.

    Attributes:
        may_cache: pages may stay with the pager while nobody maps the object. copy_strategy: how copies are made.
    """

    may_cache: bool = False
    copy_strategy: CopyStrategy = CopyStrategy.DELAY


class MemoryObject(Interface):
    """Contents of memory, by pages."""

    @borrows
    def init(self, wake: Notification | None) -> Word:
        """A pager begins to use the object; returns its size in bytes.

        Args:
            wake: signalled when `lock_next` has something, `attributes` have changed, or what was `Supply.LATER` is
                there. None: it just asks. An object that signals keeps it (`pagers.states.Wake`); else it goes.
        Raises:
            DataError: the object is terminated, or has a pager already. A pager in another task that died and was
                started again may begin again: all that it had is returned, and is not resident any more.
        """

    def data_request(self, offset: Word, length: Word, access: Word) -> Answer:
        """The contents of a page. ``access`` (`abi.Rights`) is what the thread wants that waits for it.

        The answer may grant more than ``access``: what is granted is what mappings get, and a page that was granted
        with Write counts as dirty. Asked twice, it names the same page.

        Raises:
            DataError: the data cannot be had, or not with this access.
        """

    def data_unlock(self, offset: Word, length: Word, access: Word) -> Answer:
        """More rights to a page that the pager has. A `Supply.SUPPLIED` frame takes the place of the former one.

        Raises:
            DataError: these rights are not to be had, or the page was never supplied.
        """

    @borrows
    def data_return(self, offset: Word, length: Word, frame: Frame, dirty: bool, keep: bool) -> None:
        """A page comes back. Nobody can write to it while this call lasts.

        Args:
            dirty: it may have changed; write it away. keep: the pager goes on using it, for reading.
        Raises:
            DataError: the page was never supplied, or cannot be written; then it is lost unless the pager keeps it.
        """

    def lock_next(self) -> LockRequest | None:
        """The oldest request that the pager has not been given yet, or None; None at the latest behind `MOST_REQUESTS`
        in a row."""

    def lock_completed(self, ticket: Word) -> None:
        """The request of this ticket is carried out. An unknown ticket is no error."""

    def attributes(self) -> Attributes:
        """How the object may be treated from now on."""

    def change_completed(self, attributes: Attributes) -> None:
        """The pager goes by these attributes, which had changed since it asked before."""

    def terminate(self) -> None:
        """The pager uses the object no more, and has returned what is dirty and not temporary. Twice is no error."""


def supplied(frame: Frame, rights: int) -> Answer:
    """The answer with a frame."""
    return int(Supply.SUPPLIED), rights, frame


def unavailable(rights: int = READ_WRITE) -> Answer:
    """The answer that leaves the page to the pager, as zeroes."""
    return int(Supply.UNAVAILABLE), rights, None


def unlocked(rights: int) -> Answer:
    """The answer that leaves the page as it is, with these rights."""
    return int(Supply.UNLOCKED), rights, None


def later() -> Answer:
    """The answer that lets the thread wait."""
    return int(Supply.LATER), 0, None


def ensure_page(offset: int, length: int, size: int) -> None:
    """Refuse what is no page of an object of ``size`` bytes. Raises DataError."""
    if length & (length - 1) or not PAGE_BYTES <= length <= 1 << FRAME_MAX_BITS:
        raise DataError(f"a page of {length} bytes: pages are powers of two from {PAGE_BYTES} up")
    if offset % length:
        raise DataError(f"offset {offset:#x} is no multiple of the page's {length} bytes")
    if offset >= size:
        raise DataError(f"offset {offset:#x} is behind the object's {size} bytes")
