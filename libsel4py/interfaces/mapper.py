# mypy: disable-error-code="empty-body"
"""L4's map, grant and unmap between tasks: asked of who holds all their pages (`servers/mapper`).

In L4 mappings travel in messages between the two; here the sender asks the mapper, and the receiver has said before
what it takes (L4: its receive window). Pages are flexpages (`libsel4py.pagers.flexpages.Flexpage.word`) of the caller's
addresses; tasks are named as in their system description.
"""

from __future__ import annotations

from libsel4py.errors import ServiceError
from libsel4py.interface import Interface
from libsel4py.signature import Word


class NotTaken(ServiceError):
    """The other task does not take pages of the caller, or cannot take these."""


class Mapper(Interface):
    """What a task that the mapper is the pager of may do with its pages."""

    def accept(self, window: Word, sender: str) -> None:
        """Let a task (any, if ``sender`` is empty) map pages within this flexpage, in the place of what is there.

        There is one window, which stays open until the next call; the nil flexpage 0 closes it.

        Raises:
            NotTaken: it is no flexpage, or not within the memory that the mapper gives the caller.
        """

    def map(self, send: Word, receiver: str, hot_spot: Word) -> Word:
        """Let another task see the caller's pages, with at most these rights; returns how many there were.

        Where the flexpages differ in size, ``hot_spot`` says which part of the larger one is meant (`overlap`).

        Raises:
            NotTaken: nothing more is mapped; pages before the one that failed are.
        """

    def grant(self, send: Word, receiver: str, hot_spot: Word) -> Word:
        """Give the caller's pages away: it has them no more. What it had mapped on stays. As `map` otherwise."""

    def unmap(self, page: Word, own: bool) -> Word:
        """Take the flexpage's rights from all who have the caller's pages from it, directly or not, and with ``own``
        from the caller too (L4: flush). Returns those of them that somebody had. Without Read nothing is left.

        Raises:
            NotTaken: it is no flexpage.
        """
