"""The kernel: one system call in one transaction, and what to tell afterwards.

Everything here is pure: no process, no descriptor, no clock of its own. `entry.py` calls `take` for rings that have
submissions, then carries out the outbox; `host/` does the rest. A killed kernel starts again with `Kernel(ram)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType

from hw import ring
from hw.ram import Ram
from kerneld import (
    _fastpath,
    budgets,
    channels,
    completion,
    death_notices,
    fastpath,
    faults,
    interrupts,
    ipc,
    layout,
    listening,
    scheduler,
    settling,
    syscall,
    threads,
    timeouts,
)
from kerneld.core import Core, IoPorts, NoPorts
from kerneld.cores import entering, virtual_time
from kerneld.failures import Fault, KernelBug
from kerneld.outbox import Outbox
from kerneld.records import Channel, KernelRecord, ProcessState, SchedContext, Tcb, ThreadState, VSpace
from libsel4py.abi import ExceptionNumber, FaultLabel, Status, Syscall

CANCELLABLE = (
    ThreadState.BLOCKED_ON_RECEIVE,
    ThreadState.BLOCKED_ON_SEND,
    ThreadState.BLOCKED_ON_REPLY,
    ThreadState.BLOCKED_ON_NOTIFICATION,
)


class _Transaction:
    """One transaction of the kernel. Its last act settles the threads that it has touched; if it is rolled back, it has
    touched none."""

    __slots__ = ("_core", "_transaction")

    def __init__(self, core: Core) -> None:
        self._core = core
        self._transaction = core.ram.transaction()

    def __enter__(self) -> None:
        self._transaction.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            try:
                settling.awaken(self._core)
                timeouts.raise_all(self._core)
                settling.settle(self._core)
                self._core.trace.write()
            except BaseException as bug:
                self._roll_back(type(bug), bug, bug.__traceback__)
                raise
            self._transaction.__exit__(None, None, None)
            self._core.trace.commit()
        else:
            self._roll_back(kind, error, trace)

    def _roll_back(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._core.touched.clear()
        self._core.forget_choices()
        self._core.trace.roll_back()
        self._core.used_up.clear()
        self._transaction.__exit__(kind, error, trace)


class Kernel:
    """A kernel on RAM that `boot.boot` (or an earlier kernel) has laid out."""

    def __init__(
        self,
        ram: Ram,
        ports: IoPorts | None = None,
        processor_time: Callable[[int], int] = lambda address: 0,
        now: Callable[[], int] = lambda: 0,
        fast_path: bool = True,
    ) -> None:
        if ram.word(layout.HEADER_MAGIC) != layout.MAGIC:
            raise KernelBug("RAM holds no sel4py machine (boot.boot makes one)")
        self.rolled_back = ram.recover()
        self.ram = ram
        record = KernelRecord.of(ram)
        if virtual_time.is_virtual(record):
            processor_time, now = virtual_time.clocks(record)
        self.core = Core(ram, record, Outbox(ram), ports or NoPorts(), processor_time, now)
        self.outbox = self.core.outbox
        serves_fast = fast_path and not record.cores
        found = self.core.ports
        self.fast_layout = fastpath.make_layout(record, found.doorbells, found.latches) if serves_fast else None
        self.core.fast_layout = self.fast_layout

    def take(self, tcb: Tcb) -> bool:
        """Carry out the thread's next submission, if there is one and the thread can make one: one transaction.

        Returns whether something was done. The caller carries out the outbox before it calls again.
        """
        if self.fast_layout is not None:
            try:
                if _fastpath.take(self.ram, self.fast_layout, tcb.address):
                    return True
            except BaseException:
                self.ram.recover()
                raise
        return self.take_slowly(tcb)

    def take_slowly(self, tcb: Tcb) -> bool:
        """As `take`, by the slow path, which serves all system calls."""
        frame = tcb.trap_frame
        if not frame:
            return False
        if tcb.in_trap or tcb.told_pending:
            return self._take_cancel(tcb, frame)
        if not scheduler.may_run(tcb):
            return False
        with _Transaction(self.core):
            if not budgets.can_enter(self.core, tcb):
                return True
            op = ring.take_into(self.ram, frame, tcb.consumed & 0xFFFFFFFF, tcb.address + Tcb.TRAP)
            if op is None:
                self.core.service.end()
                return False
            if op == ring.OVERRUN:
                self._overrun(tcb, frame)
            else:
                tcb.consumed = tcb.consumed + 1
                tcb.in_trap = 1
                if self.core.kernel.cores:
                    entering.enter(self.core, tcb, budgets.charge)
                syscall.handle(self.core, tcb)
        return True

    def _overrun(self, tcb: Tcb, frame: int) -> None:
        """The task has written an impossible index: it faults, and starts from an empty ring if it is resumed."""
        entry = ring.take(self.ram, frame, tcb.consumed & 0xFFFFFFFF)
        words = (0, 0, ExceptionNumber.RING_OVERRUN, entry[2] if entry is not None else 0)
        fault = Fault(FaultLabel.USER_EXCEPTION, words, "its submission index is more than a ring ahead")
        faults.raise_fault(self.core, tcb, fault)

    def _take_cancel(self, tcb: Tcb, frame: int) -> bool:
        """While a system call is blocked, the one entry that is taken is CANCEL. A fault is its handler's to end."""
        if tcb.told_pending or tcb.state not in CANCELLABLE or tcb.fault_label:
            return False
        entry = ring.take(self.ram, frame, tcb.consumed & 0xFFFFFFFF)
        if entry is None or entry[0] != Syscall.CANCEL:
            return False
        with _Transaction(self.core):
            budgets.enter(self.core, tcb)
            ipc.cancel(self.core, tcb)
            scheduler.set_state(self.core, tcb, ThreadState.RUNNING)
            completion.complete(self.core, tcb, status=Status.CANCELLED)
        return True

    @property
    def has_work(self) -> bool:
        """Whether `continue_one` has something to do."""
        return self.core.kernel.restart_head is not None or self.core.kernel.telling is not None

    def continue_one(self) -> bool:
        """Carry out one system call that was preempted, or restarted by a resume, and tell some who wait for a death
        notice. False if there are none."""
        if not self.has_work:
            return False
        with _Transaction(self.core):
            death_notices.tell_some(self.core)
            tcb = scheduler.dequeue_restart(self.core.kernel)
            if tcb is not None and tcb.in_trap and tcb.state == ThreadState.RESTART and scheduler.may_run(tcb):
                budgets.enter(self.core, tcb)
                tcb.state = ThreadState.RUNNING
                if self.core.kernel.cores:
                    entering.enter(self.core, tcb, budgets.charge)
                syscall.handle(self.core, tcb)
        return True

    @property
    def is_idle(self) -> bool:
        """Whether no virtual core runs anything. Always False where there are none."""
        return bool(self.core.kernel.cores) and not entering.runs_any(self.core)

    def pass_time(self, until_us: int) -> None:
        """Nobody runs until then, by virtual time: what that changes, changes."""
        with _Transaction(self.core):
            virtual_time.pass_until(self.core, until_us)

    def look_at_slices(self, before: Mapping[int, int]) -> dict[int, int]:
        """By the host's time: whose slice is over by now, and whose domain's turn it is.

        Args and returns: of `entering.look`.
        """
        with _Transaction(self.core):
            return entering.look(self.core, budgets.charge, before)

    def look_at_budget(self, context: int) -> None:
        """The time has come for which the scheduling context at this address was watched."""
        with _Transaction(self.core):
            budgets.look(self.core, SchedContext(self.ram, context))

    def interrupt(self, line: int) -> None:
        """A device has raised an interrupt line."""
        with _Transaction(self.core):
            interrupts.raise_line(self.core, line)

    def died(self, tcb: Tcb, status: int) -> None:
        """The thread's process has ended with this wait status: its fault handler is told, unless EXIT has told it."""
        if tcb.process == ProcessState.NONE:
            return
        with _Transaction(self.core):
            ipc.cancel(self.core, tcb)
            faults.raise_fault(self.core, tcb, faults.death(status))

    def reaped(self, tcb: Tcb) -> None:
        """The process that the thread had is gone, after `died` or EXIT: nobody has any more what it was handed."""
        with _Transaction(self.core):
            listening.forget_process(tcb)

    def limit(self, vspace: int, limited: bool) -> bool:
        """Whether the process of the VSpace at this address, which is not deleted, has its share of what the host has
        for frames: no further one is mapped there then. Nothing limits one whose threads have all ended.

        Returns whether that is something new.
        """
        space = VSpace(self.ram, vspace)
        if space.limited == limited or (limited and not threads.has_process(space)):
            return False
        with _Transaction(self.core):
            space.limited = limited
        return True

    def channel_failed(self, channel: int) -> None:
        """The host cannot hand out the page of the channel at this address, which has not been severed since."""
        with _Transaction(self.core):
            channels.sever(self.core, Channel(self.ram, channel))
