"""A machine's state put aside, to begin again from it: RAM, and what the harness knows beside it."""

from __future__ import annotations

from dataclasses import dataclass

from kerneld.kernel import Kernel
from tests.harness import Machine


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Restored as often as wanted. A kernel that was interrupted is replaced by a new one on the same RAM."""

    ram: bytes
    expected: dict[int, int]
    next_slot: int

    @classmethod
    def of(cls, machine: Machine) -> Checkpoint:
        expected = {address: thread.expected for address, thread in machine.threads.items()}
        return cls(machine.ram.read(0, machine.ram.size), expected, machine.next_slot)

    def restore(self, machine: Machine) -> None:
        """Threads that were made since are forgotten; those that ended since must be given back by the caller."""
        machine.ram.disarm()
        machine.ram.recover()
        machine.ram.poke(0, self.ram)
        for address in list(machine.threads):
            if address not in self.expected:
                del machine.threads[address]
        for address, expected in self.expected.items():
            machine.threads[address].expected = expected
        machine.next_slot = self.next_slot
        machine.tells.clear()
        machine.kernel = Kernel(machine.ram, machine.ports)
