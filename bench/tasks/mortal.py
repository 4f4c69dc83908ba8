"""A server that is killed: says which life of it answers, and holds as much memory as its description says."""

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


@component
class Main(Mortal):
    """The server. Setting ``bytes``: private memory that it touches when it starts."""

    def start(self) -> None:
        size = int(str(self.task.environment.configuration.get("bytes", 0)))
        self._held = bytearray(os.urandom(1)) * size
        self._life = Word(os.getpid())

    def life(self) -> Word:
        return self._life
