"""A line that is raised, by the fast path: it leaves what the slow path leaves, and the handler is told at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from hw.ram import Interrupted
from kerneld import _fastpath, interrupts, layout
from kerneld.kernel import Kernel
from kerneld.records import IRQ_MASKED, IrqState, ThreadState
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Syscall
from tests.harness import Completion, Machine, Thread

IRQ, BADGE = 6, 0x40
NOTIFICATION, ENDPOINT = 100, 101
LOG_END = layout.UNDO_LOG + layout.UNDO_LOG_BYTES


@dataclass(frozen=True)
class Scene:
    """A driver, and the capabilities (the initial task's) of a line that signals it."""

    machine: Machine
    driver: Thread
    notification: int
    irq: int

    def records(self) -> bytes:
        ram = self.machine.ram
        return ram.read(LOG_END, ram.size - LOG_END)

    def fast(self) -> int | None:
        known = self.machine.kernel.fast_layout
        assert known is not None
        return _fastpath.interrupt(self.machine.ram, known, IRQ)

    def slow(self) -> None:
        self.machine.kernel.interrupt(IRQ)
        self.machine.settle()

    @property
    def state(self) -> int:
        return interrupts.state_of(self.machine.kernel.core, IRQ)


def make() -> Scene:
    machine = Machine(check=False)
    driver = machine.thread("driver")
    notification, endpoint = machine.retype(ObjectType.NOTIFICATION), machine.retype(ObjectType.ENDPOINT)
    machine.grant(driver, notification, NOTIFICATION)
    machine.grant(driver, endpoint, ENDPOINT)
    irq = machine.new_slots()
    words = (IRQ, irq, abi.WORD_BITS)
    machine.root.call(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, words, [InitialSlot.CNODE])
    signalled = machine.copy(notification, badge=BADGE)
    machine.root.call(irq, Label.IRQ_HANDLER_SET_NOTIFICATION, (), [signalled])
    machine.root.call(driver.cap, Label.TCB_BIND_NOTIFICATION, (), [notification])
    return Scene(machine, driver, notification, irq)


def idle(scene: Scene) -> None:
    """Nobody waits."""


def active(scene: Scene) -> None:
    scene.machine.root.syscall(Syscall.NB_SEND, scene.notification)


def receives(scene: Scene) -> None:
    assert scene.driver.syscall(Syscall.RECV, ENDPOINT, reply=scene.driver.reply) is None
    assert scene.driver.state is ThreadState.BLOCKED_ON_RECEIVE


def listens(scene: Scene) -> None:
    assert scene.driver.syscall(Syscall.LISTEN, ENDPOINT) is not None


def waits(scene: Scene) -> None:
    assert scene.driver.syscall(Syscall.WAIT, NOTIFICATION) is None


def is_masked(scene: Scene) -> None:
    scene.slow()


def has_none(scene: Scene) -> None:
    scene.machine.root.call(scene.irq, Label.IRQ_HANDLER_CLEAR)


def completions(thread: Thread) -> list[Completion]:
    return list(iter(thread.completion, None))


@pytest.mark.parametrize("prepare", [idle, active, receives, listens])
def test_it_leaves_what_the_slow_path_leaves(prepare: Callable[[Scene], None]) -> None:
    by_c, by_python = make(), make()
    for scene in (by_c, by_python):
        prepare(scene)
    woken = by_c.fast()
    assert woken == (by_c.driver.tcb.address if prepare is receives else 0)
    assert len(by_c.machine.kernel.outbox) == 0
    assert by_c.state == IrqState.SIGNAL | IRQ_MASKED
    by_python.slow()
    told = [completions(scene.driver) for scene in (by_c, by_python)]
    assert told[0] == told[1]
    assert [each.badge for each in told[0]] == ([BADGE] if prepare is receives else [])
    frame = by_c.driver.tcb.trap_frame - LOG_END
    records = [bytearray(scene.records()) for scene in (by_c, by_python)]
    for each in records:
        assert each[frame + abi.RECEIVE_HINT] == (prepare is listens)
        each[frame + abi.SUBMIT_CONSUMED] = 0  # the harness says it late
    assert records[0] == records[1]


@pytest.mark.parametrize("prepare", [waits, is_masked, has_none])
def test_what_is_otherwise_is_left_alone(prepare: Callable[[Scene], None]) -> None:
    scene = make()
    prepare(scene)
    before = scene.records()
    assert scene.fast() is None
    assert scene.records() == before


@pytest.mark.parametrize("line", [64, 1 << 40, (1 << 64) - 1])
def test_no_such_line(line: int) -> None:
    machine = make().machine
    assert machine.kernel.fast_layout is not None
    assert _fastpath.interrupt(machine.ram, machine.kernel.fast_layout, line) is None


@pytest.mark.parametrize("prepare", [idle, receives, listens])
@pytest.mark.parametrize("made", [False, True])
def test_a_kernel_killed_at_any_store_has_the_line_still(prepare: Callable[[Scene], None], made: bool) -> None:
    killed = 0
    while True:
        scene = make()
        prepare(scene)
        before = scene.records()
        scene.machine.ram.interrupt_at(killed, made)
        try:
            assert scene.fast() is not None
        except Interrupted:
            pass
        else:
            break
        scene.machine.kernel = Kernel(scene.machine.ram)
        assert scene.records() == before
        assert scene.fast() is not None
        assert [each.badge for each in completions(scene.driver)] == ([BADGE] if prepare is receives else [])
        killed += 1
    assert killed > 2
