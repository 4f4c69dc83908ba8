"""How many of a server's slots the sessions of its clients may take, for servers that hold what sessions bring."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Protocol

from libsel4py.task import Task

LEAST_FREE_SLOTS: Final = 64  # kept for what the server itself needs; of the others one client has half
OF_A_CLIENT: Final = 2  # parts, of which it may take one


class TakesSlots(Protocol):
    """A session."""

    @property
    def slots(self) -> int:
        """How many of the server's slots it takes."""


class SlotShares:
    """Made when the server begins. ``holds``: what takes slots beside the session itself, for people."""

    def __init__(self, task: Task, holds: str) -> None:
        self._free = task.slots
        self._all = task.slots.free_count - LEAST_FREE_SLOTS
        self._holds = holds

    def lacking(self, *shares: tuple[Collection[TakesSlots], int]) -> str:
        """Why a client is given no more of them; "" if it is.

        ``shares``: sessions of its, and of how many equal parts of all slots these may take one.
        """
        if self._free.free_count < LEAST_FREE_SLOTS:
            return "the server has no slots left: close sessions, or give it a larger CNode"
        for sessions, parts in shares:
            taken, most = sum(each.slots for each in sessions), self._all // parts
            if taken > most:
                return (
                    f"{len(sessions)} sessions with their {self._holds} take {taken} slots of the server, of "
                    f"{most}: close some, attach buffers of fewer frames, or give the server a larger CNode"
                )
        return ""
