# mypy: disable-error-code="empty-body"
"""An ordinary server, written with the SDK: what an interface's calls cost above bare ones."""

from __future__ import annotations

from libsel4py import Interface, component

Record = dict[str, str]

PACKED_BYTES = 480  # of MESSAGE, and of RECORD, as msgpack
MESSAGE = (bytes(range(1, 240)) * 2)[:477]
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

    def echo(self, message: bytes) -> bytes:
        """The same message."""

    def keep(self, record: Record) -> Record:
        """The same record."""


OBJECTS: dict[str, tuple[str, object]] = {"message": ("echo", MESSAGE), "record": ("keep", RECORD)}  # and their methods


@component
class Main(Service):
    """Answers."""

    def add(self, a: int, b: int) -> int:
        return a + b

    def echo(self, message: bytes) -> bytes:
        return message

    def keep(self, record: Record) -> Record:
        return record
