# mypy: disable-error-code="empty-body"
"""Memory windows: parts of a task's paged memory, each a capability, and what is seen in each (RefOS); and memory that
is sent out of line, moved or copied on write (Mach).

Asked of `servers/windows`, which is the pager of the tasks concerned. Addresses are the caller's, within its paged
memory; sizes in bytes. Addresses and sizes are multiples of 4096.
"""

from __future__ import annotations

from libsel4py.capabilities import Endpoint
from libsel4py.errors import ServiceError
from libsel4py.interface import Interface
from libsel4py.signature import Word


class BadWindow(ServiceError):
    """There can be no such window, or is none: the text says why."""


class Windows(Interface):
    """A task's own address space."""

    def create(self, address: Word, size: Word) -> Endpoint:
        """A window, whose capability (`MemoryWindow`) this is. Nothing is seen in it yet: each access is a fault.

        Raises:
            BadWindow: it is outside of the paged memory, or overlaps another, or there are too many.
        """

    def get(self, address: Word) -> Endpoint:
        """The window that an address lies in. Raises BadWindow if it lies in none."""

    def take(self, parcel: Word) -> Endpoint:
        """What `MemoryWindow.send` sent to the caller, as a window at addresses that were free.

        Raises:
            BadWindow: there is no such parcel for the caller, or there is no room for it.
        """


class ProvidedWindow(Interface):
    """One window, for whoever is to provide what is seen there, and is not to learn what else its task keeps there.

    Each method raises BadWindow where the window is gone: it was deleted or moved, or its task has ended.
    """

    def bounds(self) -> tuple[Word, Word]:
        """Where it begins, and its size."""

    def show(self, memory: Endpoint, offset: Word, can_write: bool) -> None:
        """As `MemoryWindow.show`."""

    def hide(self) -> None:
        """Show no more what was shown by this capability. Raises BadWindow: the window shows something else."""


class MemoryWindow(Interface):
    """One window. Whoever has its capability decides what its task sees there, and may send it to whom he likes.

    Each method raises BadWindow where the window is gone: it was deleted or moved, or its task has ended.
    """

    def bounds(self) -> tuple[Word, Word]:
        """Where it begins, and its size."""

    def provided(self) -> Endpoint:
        """The same window as a `ProvidedWindow`: what is handed to another task that is to show something there."""

    def resize(self, size: Word) -> None:
        """Let it be larger or smaller. What is behind its end is seen no more; what is shown there stays as it is.

        Raises:
            BadWindow: as `Windows.create`.
        """

    def zero(self) -> None:
        """Show memory of the pager's, zeroes at first. Raises BadWindow: the window shows something."""

    def show(self, memory: Endpoint, offset: Word, can_write: bool) -> None:
        """Show a memory object (`MemoryObject`) from ``offset`` on: it is asked for each page that is touched.

        Raises:
            BadWindow: the window shows something, or the object refuses.
        """

    def hide(self) -> None:
        """Show nothing any more. What was written goes back to the object; a window's own memory is freed."""

    def send(self, receiver: str, deallocate: bool) -> Word:
        """Send what the window shows to another task; returns the parcel's number, by which that one can `take` it.

        The receiver sees the bytes as they are now: pages are copied when either side writes to them first. With
        ``deallocate`` nothing is copied: the window itself goes, and the sender's accesses fault from now on.

        Raises:
            BadWindow: it shows nothing, or another task's object, which cannot be copied; there is no such receiver;
                too much of the sender's was not taken yet.
        """

    def delete(self) -> None:
        """Hide what it shows, and give up its addresses."""
