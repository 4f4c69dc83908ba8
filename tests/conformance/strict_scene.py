"""Programs on one virtual core, by virtual time: what each thread does, and what then happens in which order.

A program is a generator: it yields system calls, and is sent what each one brought. A thread's next system call is made
when the kernel runs it, as a process's would be; a program that ends suspends its thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

from kerneld.cores import entering, virtual_time
from kerneld.cores.record import VirtualCore
from kerneld.cores.trace import RUNS, Event
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, Syscall
from tests.conformance.scenes import SCHED_CONTROL
from tests.harness import OWN_TCB, Completion, Machine, Thread

STEP_US: Final = 20  # as long as the least budget, so that each step of a budget can be used


@dataclass(frozen=True, slots=True)
class Step:
    """A system call to make."""

    op: Syscall
    cptr: int = 0
    words: tuple[int, ...] = ()
    label: int = 0
    caps: tuple[int, ...] = ()
    reply: int = 0


YIELD: Final = Step(Syscall.YIELD)
Program: TypeAlias = Generator[Step, Completion | None, None]


def invoke(cptr: int, label: Label, words: tuple[int, ...] = (), caps: tuple[int, ...] = ()) -> Step:
    return Step(Syscall.CALL, cptr, words, label, caps)


def yields(count: int) -> Program:
    """A thread that gives its turn away so many times."""
    for _ in range(count):
        yield YIELD


def works(count: int) -> Program:
    """A thread that makes so many system calls which change nothing."""
    for _ in range(count):
        yield Step(Syscall.IDENTIFY)


def yields_to(cptr: int, count: int = 1) -> Program:
    """A thread that gives way to a scheduling context's so many times, and makes one more system call."""
    for _ in range(count):
        yield invoke(cptr, Label.SCHED_CONTEXT_YIELD_TO)
    yield from works(1)


@dataclass(slots=True)
class Stage:
    """A machine with one virtual core, whose initial task makes the scene and then stops.

    Attributes:
        results: the completions of each thread's system calls, by name.
    """

    machine: Machine = field(default_factory=lambda: Machine(cores=1, step_us=STEP_US))
    results: dict[str, list[Completion]] = field(default_factory=dict)
    _programs: dict[int, Program] = field(default_factory=dict)
    _waiting: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.machine.kernel.core.take_due = partial(virtual_time.take_due, self.machine.alarms)

    def thread(
        self,
        name: str,
        program: Program,
        *,
        priority: int = 100,
        mcp: int = 255,
        budget: int = 5000,
        period: int = 5000,
        passive: bool = False,
    ) -> Thread:
        """A thread that will carry out the program; times in microseconds."""
        machine = self.machine
        made = machine.thread(name, priority=priority, mcp=mcp, passive=passive)
        if made.sched_context:
            self.configure(made.sched_context, budget, period)
        self._programs[made.tcb.address] = program
        self.results[name] = []
        return made

    def configure(self, context: int, budget: int, period: int, extra_refills: int = 0) -> None:
        words = (budget, period, extra_refills, 0, 0)
        self.machine.root.call(SCHED_CONTROL, Label.SCHED_CONTROL_CONFIGURE_FLAGS, words, [context])

    @property
    def now_us(self) -> int:
        return self.machine.kernel.core.now()

    def current(self) -> Thread | None:
        """Whom the core runs."""
        tcb = VirtualCore.of(self.machine.ram, 0).current
        return None if tcb is None else self.machine.threads[tcb.address]

    def play(self, until: Callable[[], bool] = lambda: False) -> list[Event]:
        """Let the initial task stop, and the programs run until none can, or ``until`` says so. What happened."""
        root = self.machine.root
        assert root.syscall(Syscall.CALL, InitialSlot.TCB, label=Label.TCB_SUSPEND) is None
        begin = self.machine.kernel.core.trace.count - (self.current() is not None)
        return self._play_on(begin, until)

    def _play_on(self, begin: int, until: Callable[[], bool]) -> list[Event]:
        while not until():
            thread = self.current()
            if thread is not None:
                self._go_on(thread)
            elif not self._jump():
                break
            self._look()
        trace = self.machine.kernel.core.trace
        return trace.last(trace.count - begin)

    def _jump(self) -> bool:
        """Nobody runs: go on to when a budget is to be looked at, or the domain's turn is that somebody waits for."""
        times = [*self.machine.alarms.values()]
        turn = entering.next_look_us(self.machine.kernel.core)
        if turn is not None:
            times.append(turn)
        if not times:
            return False
        self.machine.kernel.pass_time(min(times))
        self.machine.settle()
        return True

    def _look(self) -> None:
        """Look at the budgets whose time has come, as a transaction does."""
        while any(time <= self.now_us for time in self.machine.alarms.values()):
            self.machine.kernel.pass_time(self.now_us)
            self.machine.settle()
        self.machine.run()

    def _go_on(self, thread: Thread) -> None:
        """The thread runs from the end of one system call to the next one."""
        address, name = thread.tcb.address, thread.tcb.name
        done = None
        if address in self._waiting:
            done = thread.completion()
            assert done is not None, f"{name} has the core, and its system call is not completed"
            self._waiting.discard(address)
            self.results[name].append(done)
        try:
            step = next(self._programs[address]) if done is None else self._programs[address].send(done)
        except StopIteration:
            step = invoke(OWN_TCB, Label.TCB_SUSPEND)
        info = abi.message_info(step.label, len(step.words), len(step.caps))
        thread.submit(step.op, step.cptr, info, step.words, caps=step.caps, reply=step.reply)
        self._waiting.add(address)
        self.machine.run()


def turns(events: list[Event]) -> list[str]:
    """Who ran, one after the other."""
    return [event.thread for event in events if event.what == RUNS]


def calls(events: list[Event]) -> str:
    """Whose system calls were made, by the first letters of the threads' names, one after the other."""
    return "".join(event.thread[0] for event in events if event.thread and event.what != RUNS)


def times(events: list[Event], name: str) -> list[int]:
    """When a thread made its system calls, in steps since its first one."""
    at = [event.time_us // STEP_US for event in events if event.thread == name and event.what != RUNS]
    return [each - at[0] for each in at]
