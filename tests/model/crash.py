"""A kernel that is killed at a store: interrupt a transaction anywhere, start a new kernel on what is left, compare.

An interruption is a kill: nothing of the kernel's code runs afterwards, so the transaction stays open in RAM until the
next kernel rolls it back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

import pytest

from hw.ram import Interrupted, Ram
from kerneld import layout
from kerneld.kernel import Kernel
from tests.harness import Machine
from tests.model.scenarios import Trap

Step = Callable[[Kernel], object]
LOG_HEAD = 64  # bytes: how many entries there are, and how many transactions were committed


class KilledTransaction:
    """A transaction as a killed process leaves it: when it is interrupted, nobody rolls it back."""

    def __init__(self, ram: Ram) -> None:
        self._ram = ram

    def __enter__(self) -> Ram:
        self._ram.begin()
        return self._ram

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._ram.commit()
        elif not issubclass(kind, Interrupted):
            self._ram.recover()


@contextmanager
def killing() -> Iterator[None]:
    """Within this context an interrupted transaction stays as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ram, "transaction", lambda ram: KilledTransaction(ram))
        yield


class Image:
    """All of RAM, as it was, but the undo log's entries and the bytes to ``leave_out`` (address, how many).

    As bytearrays, which are compared with memory where it lies.
    """

    def __init__(self, machine: Machine, leave_out: tuple[int, int] = (0, 0)) -> None:
        self._window = window = machine.window
        entries, end, size = layout.UNDO_LOG + LOG_HEAD, layout.UNDO_LOG + layout.UNDO_LOG_BYTES, len(window)
        at, length = leave_out
        parts = [(0, entries), (end, at), (at + length, size)] if length else [(0, entries), (end, size)]
        self.parts = [(start, bytearray(window[start:stop])) for start, stop in parts]

    def is_now(self) -> bool:
        """Whether RAM holds the same."""
        return all(part == self._window[start : start + len(part)] for start, part in self.parts)


@dataclass(slots=True)
class Crashes:
    """Interrupts every transaction of a system call at every store.

    Attributes:
        interrupted: stores interrupted so far, before and after counted apart. transactions: how many there were.
    """

    machine: Machine
    fast_path: bool = True
    interrupted: int = 0
    transactions: int = 0

    def carry_out(self, trap: Trap) -> None:
        """Submit a system call and carry it out to its end, killing the kernel on the way again and again."""
        trap.submit()
        free = self._reused(trap)
        self.crash_everywhere(lambda kernel: kernel.take(trap.thread.tcb), free)
        self.settle()
        while self.machine.kernel.has_work:
            self.crash_everywhere(lambda kernel: kernel.continue_one(), free)
            self.settle()

    def _reused(self, trap: Trap) -> tuple[int, int]:
        """(address, bytes) of memory that no object covers and that this system call zeroes outside of the log."""
        if not trap.reuses:
            return (0, 0)
        slot = self.machine.slot(trap.reuses)
        return slot.object, slot.word1

    def settle(self) -> None:
        """Tell what is to be told, killing the kernel while it empties its outbox; then check the invariants."""
        self.machine.carry_out_tells()
        if len(self.machine.kernel.outbox):
            self.crash_everywhere(lambda kernel: kernel.outbox.clear(), (0, 0))
        self.machine.assert_invariants()

    def crash_everywhere(self, step: Step, free: tuple[int, int]) -> None:
        """One transaction: each store interrupted before and after it is made, then the transaction as a whole."""
        machine = self.machine
        before = machine.ram.read(0, machine.ram.size)
        self._restore(before)  # to what a new kernel knows: diagnostics die with the old one
        step(machine.kernel)
        stores = machine.ram.stores
        after = Image(machine)
        self._restore(before)
        begun = Image(machine, free)
        for store in range(stores):
            for made in (False, True):
                self._interrupt(step, store, made)
                assert begun.is_now(), f"store {store} of {stores} is not undone"
        step(machine.kernel)
        assert after.is_now(), "a system call ends in another way when it was interrupted before"
        self.transactions += 1

    def _interrupt(self, step: Step, store: int, made: bool) -> None:
        machine = self.machine
        machine.ram.interrupt_at(store, made)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ram, "recover", lambda ram: 0)
            with pytest.raises(Interrupted):
                step(machine.kernel)
        assert machine.ram.word(layout.UNDO_LOG) == store + 1, "the interrupted transaction is still in the log"
        self._new_kernel()
        assert machine.kernel.rolled_back == store + 1
        self.interrupted += 1

    def _restore(self, ram: bytes) -> None:
        self.machine.ram.poke(0, ram)
        self._new_kernel()

    def _new_kernel(self) -> None:
        self.machine.kernel = self.machine.new_kernel(Kernel, fast_path=self.fast_path)
