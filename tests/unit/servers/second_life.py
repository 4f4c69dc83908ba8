"""Servers that die and are started again, on the kernel that is played: their state and its slots stay."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from libsel4py import Component, runtime
from libsel4py.environment import Environment
from libsel4py.keeper import Keeper
from libsel4py.testing import TestSystem, connect
from tests.unit.sdk.cut_memory import CutMemory

FIRST_STATE_SLOT = 10_000


class Lives:
    """One task's lives. ``fields``: of its environment."""

    def __init__(self, made: TestSystem, cls: type[Component], slots: int, state: int = 1 << 16, **fields: Any) -> None:
        self.made = made
        self.memory = CutMemory(state)
        self._cls = cls
        self._environment = Environment(
            cls.__module__, first_state_slot=FIRST_STATE_SLOT, state_slots=slots, state_bytes=state, **fields
        )

    @contextmanager
    def life(self, client: str = "ada", **options: Any) -> Iterator[Any]:
        """A client of the next life, which ends with the block. ``options``: of `connect`."""
        task = self.made.task(self._environment)
        task.keeper = Keeper.open(self.memory)
        instance = runtime.make(self._cls, task)
        with connect(instance, client=client, **options) as stub:
            yield stub

    def held(self) -> set[int]:
        """Slots of the state that hold something."""
        return {slot for slot in self.made.kernel.objects.caps if slot >= FIRST_STATE_SLOT}
