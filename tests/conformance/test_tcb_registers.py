"""Registers of threads: read, written, copied (manual 6.1.2)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py import abi
from libsel4py.abi import Label
from tests.conformance.scenes import read_registers, write_registers
from tests.harness import OWN_TCB, Machine, Thread

REGISTERS = tuple(range(1000, 1000 + abi.REGISTERS))
SUSPEND_SOURCE, RESUME_TARGET, FRAME, INTEGER = 1, 2, 4, 8
FRAME_REGISTERS = 18  # rip to r15


@pytest.fixture
def thread(machine: Machine) -> Thread:
    return machine.thread("thread")


def test_TCB0001_registers_round_trip(machine: Machine, thread: Thread) -> None:
    """What WriteRegisters writes ReadRegisters reads, in the order of seL4's user context."""
    write_registers(thread, REGISTERS)
    assert read_registers(thread) == REGISTERS
    assert thread.tcb.rip == 1000


@pytest.mark.parametrize("count", range(1, abi.REGISTERS + 1))
def test_TCB0002_partial_registers(machine: Machine, thread: Thread, count: int) -> None:
    """A count below twenty reads and writes the first registers alone."""
    write_registers(thread, REGISTERS)
    write_registers(thread, (7,) * count)
    assert read_registers(thread) == (7,) * count + REGISTERS[count:]
    assert read_registers(thread, count) == (7,) * count


def test_TCB0003_count_below_words(machine: Machine, thread: Thread) -> None:
    """WriteRegisters writes as many registers as its count says, whatever else the message holds."""
    write_registers(thread, REGISTERS, count=2)
    assert read_registers(thread, 3) == (1000, 1001, 0)


def test_TCB0004_count_above_registers(machine: Machine, thread: Thread) -> None:
    """A count above twenty writes all twenty registers, if as many words were sent."""
    write_registers(thread, (*REGISTERS, 1, 2, 3))
    assert read_registers(thread) == REGISTERS


def test_TCB0005_read_suspends(machine: Machine, thread: Thread) -> None:
    """ReadRegisters with its suspend flag stops the thread; without it the thread goes on."""
    read_registers(thread)
    assert thread.state is ThreadState.RUNNING
    read_registers(thread, flags=1)
    assert thread.state is ThreadState.INACTIVE


def test_TCB0006_write_resumes(machine: Machine) -> None:
    """WriteRegisters with its resume flag lets the thread run; without it the thread stays as it is."""
    thread = machine.thread("thread", start=False)
    write_registers(thread, (3,))
    assert thread.state is ThreadState.INACTIVE
    write_registers(thread, (3,), flags=1)
    assert thread.state is ThreadState.RUNNING


@pytest.mark.parametrize("flags", range(16))
def test_TCB0007_copy_registers(machine: Machine, flags: int) -> None:
    """CopyRegisters copies frame or integer registers, suspends the source, resumes the target, by its flags."""
    source, target = machine.thread("source"), machine.thread("target", start=False)
    write_registers(source, REGISTERS)
    machine.root.call(target.cap, Label.TCB_COPY_REGISTERS, (flags,), [source.cap])
    after = read_registers(target)
    assert after[:FRAME_REGISTERS] == (REGISTERS[:FRAME_REGISTERS] if flags & FRAME else (0,) * FRAME_REGISTERS)
    assert after[FRAME_REGISTERS:] == (REGISTERS[FRAME_REGISTERS:] if flags & INTEGER else (0, 0))
    assert source.state is (ThreadState.INACTIVE if flags & SUSPEND_SOURCE else ThreadState.RUNNING)
    assert target.state is (ThreadState.RUNNING if flags & RESUME_TARGET else ThreadState.INACTIVE)


def test_TCB0008_tls_base(machine: Machine, thread: Thread) -> None:
    """SetTLSBase sets the register fs_base, also the caller's own."""
    machine.root.call(thread.cap, Label.TCB_SET_TLS_BASE, (0x7000,))
    assert read_registers(thread)[abi.REGISTER_NAMES.index("fs_base")] == 0x7000
    thread.call(OWN_TCB, Label.TCB_SET_TLS_BASE, (0x8000,))
    assert read_registers(thread)[abi.REGISTER_NAMES.index("fs_base")] == 0x8000


def test_TCB0009_flags(machine: Machine, thread: Thread) -> None:
    """SetFlags clears, then sets, and returns the flags that hold now."""
    assert machine.root.call(thread.cap, Label.TCB_SET_FLAGS, (0, 1)) == (1,)
    assert machine.root.call(thread.cap, Label.TCB_SET_FLAGS, (0, 0)) == (1,)
    assert machine.root.call(thread.cap, Label.TCB_SET_FLAGS, (1, 0)) == (0,)
