"""A machine whose time is virtual goes on at the time at which it was saved, whatever the host's clock says."""

from __future__ import annotations

from kerneld import refills, resumption
from kerneld.records import KernelRecord, SchedContext
from libsel4py.abi import Label
from tests.conformance.scenes import SCHED_CONTROL
from tests.harness import Machine

HOST_US = 1 << 50


def test_budgets_begin_anew_by_the_machines_time() -> None:
    machine = Machine(cores=1, step_us=10)
    thread = machine.thread("bounded", start=False)
    machine.root.call(SCHED_CONTROL, Label.SCHED_CONTROL_CONFIGURE_FLAGS, (500, 5000, 0, 0, 0), [thread.sched_context])
    context = thread.tcb.sched_context
    assert context is not None
    saved_us = KernelRecord.of(machine.ram).virtual_us
    resumption.prepare(machine.ram, lambda: HOST_US)
    assert KernelRecord.of(machine.ram).virtual_us == saved_us
    assert resumption.clock(machine.ram, lambda: HOST_US)() == saved_us
    assert refills.head(SchedContext(machine.ram, context.address))[0] <= saved_us


def test_a_domains_turn_begins_anew_by_another_hosts_time() -> None:
    machine = Machine(cores=1)
    with machine.ram.transaction():
        KernelRecord.of(machine.ram).domain_until = HOST_US
    resumption.prepare(machine.ram, lambda: 5)
    assert KernelRecord.of(machine.ram).domain_until < HOST_US
