"""Every state that a small system can get into: breadth first, each state once.

A state is what kernel memory says. What cannot matter any more (entries taken, completions told, the words of a system
call that has ended) is left out of its fingerprint, so that equal states are found to be equal and the search ends.
"""

from __future__ import annotations

import hashlib
import pickle
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from kerneld import layout
from kerneld.records import KernelRecord, Tcb, ThreadState
from libsel4py import abi
from tests.model.pair import Pair
from tests.model.specification import Specification
from tests.model.system import System

PAGE = 4096
Operation = Callable[[Pair], bool]  # whether it could be carried out


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A state: the pages that differ from the first state's, and the specification's state."""

    pages: dict[int, bytes]
    system: bytes
    expected: tuple[int, ...]
    path: tuple[str, ...]


@dataclass(slots=True)
class Explorer:
    """Carries out operations on a pair until nothing new comes.

    Attributes:
        states: how many were found. transitions: system calls carried out. complete: whether no state was left out.
    """

    pair: Pair
    operations: Mapping[str, Operation]
    used: int = 0
    first: bytes = b""
    normal: bytes = b""
    states: int = 0
    transitions: int = 0
    complete: bool = False
    known: set[bytes] = field(default_factory=set)

    def __post_init__(self) -> None:
        machine = self.pair.machine
        memory = machine.slot(machine.untyped)
        self.used = -(-(memory.object + memory.word1) // PAGE) * PAGE  # operations make no objects
        self.first = machine.ram.read(0, self.used)
        self.normal = self._normal()

    def explore(self, longest: int, most: int) -> None:
        """All sequences of at most ``longest`` operations, until there are ``most`` states."""
        start = self._snapshot(())
        self.known.add(self._fingerprint())
        waiting = deque([start])
        self.complete = True
        while waiting:
            snapshot = waiting.popleft()
            if len(snapshot.path) >= longest or len(self.known) >= most:
                self.complete = False
                break
            for name, operation in self.operations.items():
                found = self._step(snapshot, name, operation)
                if found is not None:
                    waiting.append(found)
        self.states = len(self.known)

    def _step(self, snapshot: Snapshot, name: str, operation: Operation) -> Snapshot | None:
        """The state behind one operation, if it is new."""
        self._restore(snapshot)
        path = (*snapshot.path, name)
        try:
            if not operation(self.pair):
                return None
            self.transitions += 1
            fingerprint = self._fingerprint()
            if fingerprint in self.known:
                return None
            self.pair.machine.assert_invariants()
            self.pair.check_descendants()
        except AssertionError as error:
            raise AssertionError(f"after {' → '.join(path)}: {error}") from error
        self.known.add(fingerprint)
        return self._snapshot(path)

    # --- states

    def _snapshot(self, path: tuple[str, ...]) -> Snapshot:
        pages = dict(_changed(self.pair.machine.ram.read(0, self.used), self.first))
        expected = tuple(thread.expected for thread in self.pair.machine.threads.values())
        return Snapshot(pages, pickle.dumps(self.pair.system), expected, path)

    def _restore(self, snapshot: Snapshot) -> None:
        machine = self.pair.machine
        machine.ram.poke(0, self.first)
        for at, page in snapshot.pages.items():
            machine.ram.poke(at, page)
        for thread, expected in zip(machine.threads.values(), snapshot.expected, strict=True):
            thread.expected = expected
        machine.tells.clear()
        system = pickle.loads(snapshot.system)
        assert isinstance(system, System)
        self.pair.specification = Specification(system)

    def _normal(self) -> bytes:
        """Kernel memory without what cannot matter any more."""
        machine = self.pair.machine
        ram = bytearray(machine.ram.read(0, self.used))
        outbox = layout.KERNEL_RECORD + KernelRecord.OUTBOX
        _blank(ram, layout.UNDO_LOG, layout.UNDO_LOG_BYTES)
        _blank(ram, outbox, layout.DEVICE_RECORDS - outbox)
        for thread in machine.threads.values():
            _blank_thread(ram, thread.tcb)
        return bytes(ram)

    def _fingerprint(self) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for at, page in _changed(self._normal(), self.normal):
            digest.update(at.to_bytes(8, "little") + page)
        return digest.digest()


def _changed(ram: bytes, first: bytes) -> Iterator[tuple[int, bytes]]:
    """The pages that differ, with their addresses."""
    for at in range(0, len(ram), PAGE):
        page = ram[at : at + PAGE]
        if page != first[at : at + PAGE]:
            yield at, page


def _blank(ram: bytearray, address: int, size: int) -> None:
    ram[address : address + size] = bytes(size)


def _blank_thread(ram: bytearray, tcb: Tcb) -> None:
    """Leave out what the thread's record holds of things that are over."""
    at = tcb.address
    if tcb.trap_frame:
        _blank(ram, tcb.trap_frame, 1 << abi.TRAP_FRAME_BITS)
    if not tcb.in_trap:
        _blank(ram, at + Tcb.TRAP, Tcb.consumed.offset - Tcb.TRAP)
    _blank(ram, at + Tcb.consumed.offset, Tcb.TOLD - Tcb.consumed.offset)
    if not tcb.told_pending:
        _blank(ram, at + Tcb.TOLD, Tcb.NAME - Tcb.TOLD)
    else:
        _blank(ram, at + Tcb.told_tag.offset, abi.WORD_BYTES)
    if tcb.state != ThreadState.BLOCKED_ON_SEND:
        _blank(ram, at + Tcb.block_badge.offset, abi.WORD_BYTES)
        live = tcb.restart_queued << 3 | tcb.in_trap << 4 | tcb.told_pending << 5
        ram[at + Tcb.block_word.offset : at + Tcb.block_word.offset + 1] = bytes([live])
    if not tcb.fault_label:
        _blank(ram, at + Tcb.FAULT_WORDS, 6 * abi.WORD_BYTES)
