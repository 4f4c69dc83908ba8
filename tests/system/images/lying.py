"""A server that answers what its interface does not say, once it is told to lie, until its life ends."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

import os

from libsel4py import component
from libsel4py.interface import Interface
from libsel4py.signature import Word


class Lying(Interface):
    """Its lives, and what they say."""

    def life(self) -> Word:
        """A number that no other life has: its process's."""

    def lie(self) -> None:
        """From now on say what is wrong."""

    def say(self) -> str:
        """A word; a lie is a number."""


@component
class Main(Lying):
    """The server."""

    lies = False

    def life(self) -> Word:
        return Word(os.getpid())

    def lie(self) -> None:
        self.lies = True

    def say(self) -> str:
        return 7 if self.lies else "truth"  # type: ignore[return-value]  # so it is to be
