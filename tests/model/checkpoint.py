"""A machine's state put aside, to begin again from it: RAM, and what the harness knows beside it."""

from __future__ import annotations

from dataclasses import dataclass

from kerneld.kernel import Kernel
from tests.harness import Machine, Thread


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Restored as often as wanted. The kernel is replaced by a new one on the same RAM."""

    ram: bytes
    threads: tuple[tuple[int, Thread, int], ...]
    ended: tuple[tuple[int, Thread], ...]
    next_slot: int

    @classmethod
    def of(cls, machine: Machine) -> Checkpoint:
        threads = tuple((address, thread, thread.expected) for address, thread in machine.threads.items())
        ram = machine.ram.read(0, machine.ram.size)
        return cls(ram, threads, tuple(machine.ended.items()), machine.next_slot)

    def restore(self, machine: Machine, *, fast_path: bool = True) -> None:
        """Begin again; without the ``fast_path`` the new kernel does everything in Python."""
        machine.ram.disarm()
        machine.ram.recover()
        machine.ram.poke(0, self.ram)
        machine.threads = {address: thread for address, thread, _ in self.threads}
        for _, thread, expected in self.threads:
            thread.expected = expected
        machine.ended = dict(self.ended)
        machine.next_slot = self.next_slot
        machine.tells.clear()
        machine.alarms.clear()
        machine.used.clear()
        machine.kernel = machine.new_kernel(Kernel, fast_path=fast_path)
