"""A server in a few lines: answers `Ping`. Copy it to begin one of your own."""

from libsel4py import component
from libsel4py.interfaces.ping import Ping


@component
class Main(Ping):
    """Answers what it is sent, and counts."""

    def __init__(self) -> None:
        self._count = 0

    def ping(self, value: int) -> int:
        self._count += 1
        return value

    def count(self) -> int:
        return self._count
