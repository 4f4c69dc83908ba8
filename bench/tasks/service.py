# mypy: disable-error-code="empty-body"
"""An ordinary server, written with the SDK: what an interface's calls cost above bare ones."""

from __future__ import annotations

from libsel4py import Interface, component

Record = dict[str, str]

PACKED_BYTES = 480  # of RECORD as msgpack
RECORD: Record = {
    "path": "/var/log/console.log",
    "author": "driver@node-17.example.org",
    "subject": "what a message of this length costs",
    "body": "all work and no play " * 17 + "and so on",
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
