"""A server that is killed: says which life of it answers, and comes to hold as much memory as it is told."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

import os

from libsel4py import component
from libsel4py.interface import Interface
from libsel4py.signature import Word


class Mortal(Interface):
    """What the measurement asks."""

    def life(self) -> Word:
        """A number that no other life has: its process's."""

    def hold(self, size: Word) -> None:
        """Have so many bytes of private memory, each page touched."""


@component
class Main(Mortal):
    """The server."""

    def start(self) -> None:
        self._life = Word(os.getpid())
        self._held = bytearray()

    def life(self) -> Word:
        return self._life

    def hold(self, size: Word) -> None:
        self._held = bytearray(os.urandom(1)) * size
