# mypy: disable-error-code="empty-body"
"""An ordinary server, written with the SDK: what an interface's calls cost above bare ones."""

from __future__ import annotations

from libsel4py import Interface, component

Record = dict[str, list[int]]

PACKED_BYTES = 480  # of RECORD as msgpack
RECORD: Record = {
    "rectangle": [0, 0, 1920, 1080],
    "flags": [1],
    "histogram": [7 * number for number in range(128)],
    "samples": [1000 * number for number in range(34)],
}


class Service(Interface):
    """Adds, and gives back."""

    def add(self, a: int, b: int) -> int:
        """Their sum."""

    def keep(self, record: Record) -> Record:
        """The same record."""


@component
class Main(Service):
    """Answers."""

    def add(self, a: int, b: int) -> int:
        return a + b

    def keep(self, record: Record) -> Record:
        return record
