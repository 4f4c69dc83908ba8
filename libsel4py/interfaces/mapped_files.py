# mypy: disable-error-code="empty-body"
"""Files as memory: what a pager does for the tasks whose faults it answers (`servers.pager`).

A task hands its pager an open file, by its `File` capability, and a range of its own addresses; the file's pages are
read in when they are touched there. All who map the same file see the same pages. Errors are the file system's own
(`libsel4py.interfaces.file`). `libsel4py.files.MappedFile` is the client.

Rules: addresses and offsets are multiples of 4096. A mapping never gives more than the file was opened for. What was
stored is in the file after `flush`; before that it may be as well. A page that cannot be had (the file has become
shorter, its server is dead or slow, the task's share of pages is full of what cannot be written) is a memory error of
who touches it, and nobody waits for ever.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from libsel4py.capabilities import Endpoint
from libsel4py.interface import Interface, borrows
from libsel4py.signature import Word

MOST_MAPPINGS: Final = 16  # of one task


class MapAs(IntEnum):
    """What a mapping is for."""

    READ = 0
    WRITE = 1  # what is stored is the file's, and seen by all who map it
    COPY = 2  # a page that is stored to is the mapping's own from then on, and never written


class MappedFiles(Interface):
    """A pager's, for the tasks that it pages. Who is none of them is refused with NotPermitted."""

    @borrows
    def map(self, file: Endpoint, address: Word, offset: Word, length: Word, how: Word) -> Word:
        """Show a file's bytes from ``offset`` on at ``address``, as `MapAs` says; returns the mapping's number.

        It stays when the file is closed, until `unmap` or the task's end.

        Raises:
            NotPermitted: no file of a file system that the pager is connected to, not open for this, or ``file`` is no
            open file. StaleHandle: it is closed, or its server has gone. TooManyOpen: `MOST_MAPPINGS`, or the pager has
            no room. InvalidMessage: addresses that are none, or are taken; bytes that are not all in the file, or that
            the task has mapped already (but for copies).
        """

    def flush(self, mapping: Word, offset: Word, length: Word) -> None:
        """Write what was stored in a part of a mapping to the file, and put that on its medium. A store that leaves a
        page as it was written last is none.

        Raises:
            StaleHandle: there is no such mapping, or its file is gone with its server. NoSpace, DeviceFailed: it could
            not be written, and is still in memory. NotPermitted: the file has become shorter than what was stored; that
            is lost, and a memory error from now on.
        """

    def refresh(self, mapping: Word) -> None:
        """`flush` a whole mapping, and let all who map these bytes read them from the file again. Raises as `flush`."""

    def unmap(self, mapping: Word) -> None:
        """End a mapping. What was stored is written, and not synced. Raises as `flush`; it is ended all the same."""
