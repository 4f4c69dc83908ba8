"""What kernel functions work on: RAM, the kernel's record, the outbox, and the machine's two inlets. No other state.

`Core` is handed to every decode and perform. `Call` is one invocation as decode sees it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol

from hw.devices.device import Doorbell, Latch
from hw.ram import Ram
from kerneld import _fastpath
from kerneld.cores.trace import TRACE_BYTES, Trace
from kerneld.failures import Fault, SyscallError
from kerneld.outbox import Outbox
from kerneld.records import KernelRecord, Slot, Tcb
from kerneld.service import Service


class IoPorts(Protocol):
    """The machine's I/O port space, and registers in device memory. Widths in bytes. Devices keep their state in RAM,
    inside the open transaction.

    Attributes:
        doorbells: ports whose writes the fast path may carry out by itself. latches: likewise, and reads.
    """

    @property
    def doorbells(self) -> Sequence[Doorbell]: ...

    @property
    def latches(self) -> Sequence[Latch]: ...

    def read(self, port: int, width: int) -> int: ...

    def write(self, port: int, width: int, value: int) -> None: ...

    def has_registers(self, address: int) -> bool:
        """Whether at this physical address a page of registers begins."""

    def load(self, address: int, width: int) -> int:
        """Of the register at a physical address in such a page."""

    def store(self, address: int, width: int, value: int) -> None: ...


class NoPorts:
    """A machine without devices: reads as all ones, as an empty bus does."""

    doorbells: Sequence[Doorbell] = ()
    latches: Sequence[Latch] = ()

    def read(self, port: int, width: int) -> int:
        return (1 << 8 * width) - 1

    def write(self, port: int, width: int, value: int) -> None:
        return None

    def has_registers(self, address: int) -> bool:
        return False

    def load(self, address: int, width: int) -> int:
        return 0

    def store(self, address: int, width: int, value: int) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The last refused invocation or fault of a thread. ``label``: of the method, or Syscall.LISTEN."""

    cptr: int
    label: int
    failure: SyscallError | Fault


class Deletion(NamedTuple):
    """A capability that was deleted: what it was, where it was, who asked for it. One is made for each."""

    slot: int
    word0: int
    word1: int
    thread: int
    revoked: bool


@dataclass(slots=True)
class Diagnostics:
    """What `explain.py` tells people. Lost with the kernel's process; nothing in the kernel decides by it."""

    refusals: dict[int, Refusal] = field(default_factory=dict)
    deletions: deque[Deletion] = field(default_factory=lambda: deque(maxlen=4096))


class Place(Enum):
    """Where a thread that waits for its turn is put again: before its equals, or as one that is woken."""

    FIRST = "first"
    WOKEN = "woken"


@dataclass(slots=True)
class Core:
    """The kernel's hands.

    Attributes:
        processor_time: microseconds of processor time that a thread has used in this life, by TCB address.
        waiting_time: microseconds that it was to run in this life, and had no processor.
        now: the host's monotonic clock in microseconds.
        io_changed: called in a transaction that changes what a device sees of memory, so that nobody keeps it.
        turn_over: scheduling contexts (addresses) whose slice this transaction found to be over; those that run on them
            go behind the others. gives_way: TCBs whose caller lets another one run first, and which. Both of virtual
            cores alone (`cores/`), as is `trace`.
        put_anew: TCBs (addresses) that are taken out of their ready queue and put into it again, and where (`cores/`).
        chooses_anew: whether whom this transaction wakes goes before its equals, though the thread that runs goes on.
        take_due: by virtual time, of the contexts that are watched those whose time has come: they are not any more.
        touched: TCBs (addresses) whose state this transaction changed; the scheduler settles them before the commit.
        fast_layout: what the fast path finds records by (`fastpath.py`); None where Python does everything.
        service: what the kernel's own time is charged by (`service.py`).
        used_up: scheduling contexts (addresses) of which this transaction found a refill used up (`timeouts.py`).
    """

    ram: Ram
    kernel: KernelRecord
    outbox: Outbox
    ports: IoPorts
    processor_time: Callable[[int], int]
    now: Callable[[], int]
    waiting_time: Callable[[int], int] = lambda address: 0
    io_changed: Callable[[], None] = lambda: None
    touched: dict[int, None] = field(default_factory=dict)
    turn_over: dict[int, None] = field(default_factory=dict)
    gives_way: dict[int, int] = field(default_factory=dict)
    put_anew: dict[int, Place] = field(default_factory=dict)
    chooses_anew: bool = False
    take_due: Callable[[int], list[int]] | None = None
    trace: Trace = field(init=False)
    used_up: dict[int, None] = field(default_factory=dict)
    fast_layout: bytes | None = None
    service: Service = field(default_factory=Service)
    diagnostics: Diagnostics = field(default_factory=Diagnostics)

    def __post_init__(self) -> None:
        self.trace = Trace(self.kernel, bytearray(TRACE_BYTES if self.kernel.cores else 0))

    def forget_choices(self) -> None:
        """What this transaction has said of who is to run is done, or is rolled back."""
        self.turn_over.clear()
        self.gives_way.clear()
        self.put_anew.clear()
        self.chooses_anew = False

    def refused(self, tcb: Tcb, cptr: int, label: int, error: SyscallError) -> None:
        """Remember why, for people who ask."""
        self.diagnostics.refusals[tcb.address] = Refusal(cptr, label, error)

    def deletions(self) -> deque[Deletion]:
        """The last capabilities that were deleted, those by the fast path among them; the latest last."""
        kept = self.diagnostics.deletions
        kept.extend(Deletion(*each, True) for each in _fastpath.deletions(self.ram))
        return kept

    def tcb(self, address: int) -> Tcb:
        return Tcb(self.ram, address)

    def slot(self, address: int) -> Slot:
        return Slot(self.ram, address)


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation to decode.

    Attributes:
        thread: who invokes. slot: the invoked capability. cptr: its address as given.
        words: the message, copied once. caps: slots of the extra capabilities.
        blocking, is_call: of the system call. first_phase: of a two-phase system call.
    """

    thread: Tcb
    slot: Slot
    cptr: int
    label: int
    words: tuple[int, ...]
    caps: tuple[Slot, ...]
    blocking: bool
    is_call: bool
    first_phase: bool


class Preempted:
    """What perform returns when work remains: the thread's system call is carried out again after others had a turn."""


PREEMPTED = Preempted()
Result = tuple[int, ...] | Preempted


class Invocation(Protocol):
    """What decode returns: a frozen value that says what to do. `perform` never refuses."""

    def perform(self, core: Core) -> Result:
        """Do it; return the reply's message words."""
        ...
