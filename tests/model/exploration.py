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

PAGE, CHUNK = 1 << 12, 1 << 16
Pages = dict[int, bytearray]
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
        at: the state that the pair is in, if it is a known one.
    """

    pair: Pair
    operations: Mapping[str, Operation]
    first: list[bytes] = field(default_factory=list)
    normal: Pages = field(default_factory=dict)
    states: int = 0
    transitions: int = 0
    complete: bool = False
    known: set[bytes] = field(default_factory=set)
    at: Snapshot | None = None

    def __post_init__(self) -> None:
        machine = self.pair.machine
        memory = machine.slot(machine.untyped)
        used = range(0, memory.object + memory.word1, CHUNK)  # operations make no objects
        self.first = [bytes(CHUNK)] * len(used)
        self.normal = {at: bytearray(PAGE) for at in range(0, len(used) * CHUNK, PAGE)} | self._normal()
        self.first = [machine.ram.read(at, CHUNK) for at in used]

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
        if self.at is not snapshot:
            self._restore(snapshot)
        path = (*snapshot.path, name)
        try:
            if not operation(self.pair):
                return None
            self.at = None
            self.transitions += 1
            fingerprint = self._fingerprint()
            if fingerprint in self.known:
                return None
            self.pair.machine.assert_invariants(by_reference=True)
            self.pair.check_descendants()
        except AssertionError as error:
            raise AssertionError(f"after {' → '.join(path)}: {error}") from error
        self.known.add(fingerprint)
        return self._snapshot(path)

    # --- states

    def _snapshot(self, path: tuple[str, ...]) -> Snapshot:
        pages = dict(self._changed())
        expected = tuple(thread.expected for thread in self.pair.machine.threads.values())
        return Snapshot(pages, pickle.dumps(self.pair.system), expected, path)

    def _restore(self, snapshot: Snapshot) -> None:
        machine = self.pair.machine
        for number, chunk in enumerate(self.first):
            machine.ram.poke(number * CHUNK, chunk)
        for at, page in snapshot.pages.items():
            machine.ram.poke(at, page)
        for thread, expected in zip(machine.threads.values(), snapshot.expected, strict=True):
            thread.expected = expected
        machine.tells.clear()
        system = pickle.loads(snapshot.system)
        assert isinstance(system, System)
        self.pair.specification = Specification(system)
        self.at = snapshot

    def _changed(self) -> Iterator[tuple[int, bytes]]:
        """The pages that differ from the first state's, with their addresses."""
        for number, chunk in enumerate(self.first):
            start = number * CHUNK
            data = self.pair.machine.ram.read(start, CHUNK)
            if data == chunk:
                continue
            for at in range(0, CHUNK, PAGE):
                page = data[at : at + PAGE]
                if page != chunk[at : at + PAGE]:
                    yield start + at, page

    def _normal(self) -> Pages:
        """Changed pages of kernel memory, and those of threads, without what cannot matter any more."""
        machine = self.pair.machine
        pages = {at: bytearray(page) for at, page in self._changed()}
        for thread in machine.threads.values():
            for at in _pages_of(thread.tcb):
                if at not in pages:
                    pages[at] = bytearray(machine.ram.read(at, PAGE))
        outbox = layout.KERNEL_RECORD + KernelRecord.OUTBOX
        _blank(pages, layout.UNDO_LOG, layout.UNDO_LOG_BYTES)
        _blank(pages, outbox, layout.DEVICE_RECORDS - outbox)
        for thread in machine.threads.values():
            _blank_thread(pages, thread.tcb)
        return pages

    def _fingerprint(self) -> bytes:
        digest = hashlib.blake2b(digest_size=16)
        for at, page in sorted(self._normal().items()):
            if page != self.normal[at]:
                digest.update(at.to_bytes(8, "little") + page)
        return digest.digest()


def _pages_of(tcb: Tcb) -> list[int]:
    """Of a thread's record and trap frame."""
    frame = range(tcb.trap_frame, tcb.trap_frame + (1 << abi.TRAP_FRAME_BITS), PAGE) if tcb.trap_frame else ()
    return [tcb.address // PAGE * PAGE, *frame]


def _blank(pages: Pages, address: int, size: int) -> None:
    for at in range(address // PAGE * PAGE, address + size, PAGE):
        if at in pages:
            start, end = max(address - at, 0), min(address + size - at, PAGE)
            pages[at][start:end] = bytes(end - start)


def _blank_thread(pages: Pages, tcb: Tcb) -> None:
    """Leave out what the thread's record holds of things that are over."""
    at = tcb.address
    if tcb.trap_frame:
        _blank(pages, tcb.trap_frame, 1 << abi.TRAP_FRAME_BITS)
    if not tcb.in_trap:
        _blank(pages, at + Tcb.TRAP, Tcb.consumed.offset - Tcb.TRAP)
    _blank(pages, at + Tcb.consumed.offset, Tcb.TOLD - Tcb.consumed.offset)
    if not tcb.told_pending:
        _blank(pages, at + Tcb.TOLD, Tcb.NAME - Tcb.TOLD)
    else:
        _blank(pages, at + Tcb.told_tag.offset, abi.WORD_BYTES)
    if tcb.state != ThreadState.BLOCKED_ON_SEND:
        _blank(pages, at + Tcb.block_badge.offset, abi.WORD_BYTES)
        live = tcb.restart_queued << 3 | tcb.in_trap << 4 | tcb.told_pending << 5
        pages[at // PAGE * PAGE][at % PAGE + Tcb.block_word.offset] = live
    if not tcb.fault_label:
        _blank(pages, at + Tcb.FAULT_WORDS, 6 * abi.WORD_BYTES)
