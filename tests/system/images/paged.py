# mypy: disable-error-code="empty-body"
"""A task with a pager that lets others look into its memory."""

from __future__ import annotations

from libsel4py import Interface, component
from libsel4py.environment import PAGED_ADDRESS
from libsel4py.mapping import map_memory


class Peek(Interface):
    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the task's paged memory."""

    def write(self, offset: int, data: bytes) -> None:
        """Change them."""


@component
class Main(Peek):
    def start(self) -> None:
        self.memory = map_memory(PAGED_ADDRESS, self.task.environment.paged_bytes, True)

    def read(self, offset: int, length: int) -> bytes:
        return self.memory.read(offset, length)

    def write(self, offset: int, data: bytes) -> None:
        self.memory.write(offset, data)
