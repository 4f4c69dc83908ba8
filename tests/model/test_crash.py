"""A kernel killed at any store loses nothing and leaves nothing half done.

For every invocation and system call: each logged store is interrupted, before and after it is made; a new kernel rolls
back; RAM is then what it was, bit for bit, and the same system call ends as if nothing had happened.
"""

from __future__ import annotations

from functools import cache

import pytest

from kerneld import layout
from kerneld.records import Slot
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, Syscall
from tests.harness import Machine
from tests.model.all_scenarios import SCENARIOS
from tests.model.channel_scenarios import CHANNEL, connected
from tests.model.checkpoint import Checkpoint
from tests.model.crash import Crashes, killing
from tests.model.scenarios import RECEIVER, Scenario, Stage, waiting_server


@cache
def stage() -> tuple[Stage, Checkpoint]:
    machine = Machine(layout.MINIMUM_RAM, check=False, vspace_bits=abi.VSPACE_MIN_BITS)
    made = Stage.new(machine)
    return made, Checkpoint.of(machine)


def fresh() -> Stage:
    made, checkpoint = stage()
    checkpoint.restore(made.machine)
    return made


def crash(scenario: Scenario, *, fast_path: bool) -> Crashes:
    on = fresh()
    trap = scenario.prepare(on)
    on.machine.assert_invariants()
    crashes = Crashes(on.machine, fast_path)
    with killing():
        crashes.carry_out(trap)
    done = trap.thread.completion()
    if trap.thread is on.root and trap.op == Syscall.CALL and done is not None:
        assert done.label == trap.error, "the scenario is not what it says"
    return crashes


def _identity(scenario: Scenario) -> str:
    return f"{scenario.covers.name}-{scenario.name}"


@cache
def interrupted(scenario: Scenario, fast_path: bool) -> int:
    """How many stores of the scenario's system call were interrupted, each before and after it was made."""
    return crash(scenario, fast_path=fast_path).interrupted


@pytest.mark.parametrize("scenario", SCENARIOS, ids=_identity)
def test_a_killed_kernel_undoes_a_system_call(scenario: Scenario) -> None:
    assert interrupted(scenario, False), "every system call stores something"


@pytest.mark.parametrize("scenario", [row for row in SCENARIOS if isinstance(row.covers, Syscall)], ids=_identity)
def test_a_killed_kernel_undoes_what_the_fast_path_did(scenario: Scenario) -> None:
    assert interrupted(scenario, True), "every system call stores something"


def test_stores_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    total = sum(interrupted(scenario, False) for scenario in SCENARIOS)
    with capsys.disabled():
        print(f"\n{total} stores interrupted in {len(SCENARIOS)} scenarios")
    assert total > 5000


def _connected(on: Stage) -> int:
    """The client has channels, and takes such as well; the address of one of them."""
    connected(on, 2)
    assert on.client.syscall(Syscall.LISTEN, RECEIVER) is not None
    slot = Slot(on.machine.ram, on.machine.slot(on.client.cnode).object + CHANNEL * Slot.SIZE)
    return slot.object


def _used_up(on: Stage, event: str) -> int:
    """The address of the client's context: its budget is used up, which is told; or there is some again."""
    machine = on.machine
    configure = (Label.SCHED_CONTROL_CONFIGURE_FLAGS, (1000, 10_000, 0, 5, 0), (on.client.sched_context,))
    on.root.call(InitialSlot.FIRST_FREE, *configure)
    if event == "used_up":
        on.root.call(on.client.cap, Label.TCB_SET_TIMEOUT_ENDPOINT, (), (on.endpoint,))
    else:
        machine.pass_time(1000, on.client)
    machine.clock.advance(1000 if event == "used_up" else 9000)
    machine.used[on.client.tcb.address] = machine.clock()
    return machine.slot(on.client.sched_context).object


@pytest.mark.parametrize(
    "event", ["interrupt", "death", "death_with_channels", "reaped", "channel_failed", "used_up", "refilled"]
)
def test_a_killed_kernel_undoes_an_event(event: str) -> None:
    """What is no system call is a transaction as well: a device's interrupt, a process's end."""
    on = fresh()
    channel = _connected(on) if event in ("death_with_channels", "reaped", "channel_failed") else 0
    if event == "reaped":
        on.machine.died(on.server, 9)
    else:
        waiting_server(on)
    handler = on.machine.new_slots()
    words = (5, handler, abi.WORD_BITS)
    on.root.call(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, words, (InitialSlot.CNODE,))
    on.root.call(handler, Label.IRQ_HANDLER_SET_NOTIFICATION, (), (on.notification,))
    context = _used_up(on, event) if event in ("used_up", "refilled") else 0
    crashes = Crashes(on.machine)
    with killing():
        if context:
            crashes.crash_everywhere(lambda kernel: kernel.look_at_budget(context), (0, 0))
        elif event == "interrupt":
            crashes.crash_everywhere(lambda kernel: kernel.interrupt(5), (0, 0))
        elif event.startswith("death"):
            crashes.crash_everywhere(lambda kernel: kernel.died(on.client.tcb, 9), (0, 0))
        elif event == "reaped":
            crashes.crash_everywhere(lambda kernel: kernel.reaped(on.server.tcb), (0, 0))
        else:
            crashes.crash_everywhere(lambda kernel: kernel.channel_failed(channel), (0, 0))
        crashes.settle()
    assert crashes.interrupted


def test_every_invocation_and_system_call_has_a_scenario() -> None:
    covered = {scenario.covers for scenario in SCENARIOS}
    assert covered == {*Label, *Syscall}
