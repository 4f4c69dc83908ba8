# mypy: disable-error-code="empty-body"
"""A task that maps pages on, takes them back, and looks at its memory, as it is told."""

from __future__ import annotations

import os

from libsel4py import Interface, component, uses
from libsel4py.abi import VMFault
from libsel4py.environment import PAGED_ADDRESS
from libsel4py.interfaces.mapper import Mapper
from libsel4py.mapping import map_memory


class Member(Interface):
    def look(self, page: int) -> str:
        """Which of ``r`` and ``w`` the task can do in a page of its paged memory: by guarded accesses."""

    def read(self, page: int) -> bytes:
        """A page's first bytes."""

    def write(self, page: int, data: bytes) -> None:
        """Change them."""

    def accept(self, window: int, sender: str) -> None:
        """As `Mapper` has it; so are the next three."""

    def map(self, send: int, receiver: str, hot_spot: int) -> int: ...
    def grant(self, send: int, receiver: str, hot_spot: int) -> int: ...
    def unmap(self, page: int, own: bool) -> int: ...
    def end(self) -> None:
        """End with status 1."""


@component
class Main(Member):
    mapper = uses(Mapper)

    def start(self) -> None:
        self.memory = map_memory(PAGED_ADDRESS, self.task.environment.paged_bytes, True)

    def look(self, page: int) -> str:
        try:
            byte = self.memory.read(page << 12, 1)
        except VMFault:
            return ""
        try:
            self.memory.write(page << 12, byte)
        except VMFault:
            return "r"
        return "rw"

    def read(self, page: int) -> bytes:
        return self.memory.read(page << 12, 8).rstrip(b"\0")

    def write(self, page: int, data: bytes) -> None:
        self.memory.write(page << 12, data)

    def accept(self, window: int, sender: str) -> None:
        self.mapper.accept(window, sender)

    def map(self, send: int, receiver: str, hot_spot: int) -> int:
        return self.mapper.map(send, receiver, hot_spot)

    def grant(self, send: int, receiver: str, hot_spot: int) -> int:
        return self.mapper.grant(send, receiver, hot_spot)

    def unmap(self, page: int, own: bool) -> int:
        return self.mapper.unmap(page, own)

    def end(self) -> None:
        os._exit(1)
