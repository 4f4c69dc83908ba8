"""Faults of memory that is not there: VMFault (manual, 6.2.6; SEL4_API 2.4)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py import abi
from libsel4py.abi import FaultLabel, InitialSlot, PageFault, Rights, Syscall
from tests.conformance.scenes import UNKNOWN_SYSCALL, faulting, got, next_fault, reply_to_fault
from tests.harness import Completion, Machine, Thread
from tests.mapping_scene import READ_WRITE, MappingScene

ADDRESS = abi.MAPPING_BASE + (1 << 30)
IP = 0x1234
READ, WRITE, FETCH = PageFault.NONE, PageFault.WRITE, PageFault.FETCH
TRY_AGAIN, NOBODY = 0, 1


def touch(thread: Thread, kind: int = READ) -> Completion | None:
    """The thread's process has touched the address."""
    return thread.syscall(Syscall.FAULT, words=(ADDRESS, IP, kind))


def map_there(machine: Machine, rights: int = READ_WRITE) -> None:
    """Map a frame at the address, in the address space that all threads of the harness have."""
    scene = MappingScene(machine)
    assert scene.map(scene.frame(), ADDRESS, rights, space=InitialSlot.VSPACE)[0] == 0


def answer(done: Completion | None) -> int:
    return got(done).registers[0]


@pytest.mark.parametrize("kind", [READ, WRITE, FETCH])
def test_VMFAULT0001_message(machine: Machine, kind: PageFault) -> None:
    """A VMFault message has four words: instruction pointer, address, whether it was a fetch, and the FSR."""
    thread, endpoint = faulting(machine)
    assert touch(thread, kind) is None
    fault = got(next_fault(machine, endpoint))
    assert fault.label == FaultLabel.VM_FAULT
    assert fault.words == (IP, ADDRESS, int(kind is FETCH), kind | PageFault.USER)


def test_VMFAULT0002_fewer_rights(machine: Machine) -> None:
    """The FSR of a write to memory that is mapped for reading says that something is mapped there."""
    thread, endpoint = faulting(machine)
    map_there(machine, Rights.READ)
    assert touch(thread, WRITE) is None
    assert got(next_fault(machine, endpoint)).words[3] == PageFault.PRESENT | PageFault.USER | WRITE


def test_VMFAULT0003_map_and_reply(machine: Machine) -> None:
    """A handler that maps a frame there and replies lets the thread go on: the instruction is tried again."""
    thread, endpoint = faulting(machine)
    touch(thread, WRITE)
    got(next_fault(machine, endpoint))
    map_there(machine)
    reply_to_fault(machine)
    assert answer(thread.completion()) == TRY_AGAIN
    assert thread.state is ThreadState.RUNNING


def test_VMFAULT0004_reply_alone(machine: Machine) -> None:
    """A reply without a mapping restarts the thread as well, which faults again."""
    thread, endpoint = faulting(machine)
    touch(thread)
    first = got(next_fault(machine, endpoint))
    reply_to_fault(machine, (9, 9, 9, 9))
    assert answer(thread.completion()) == TRY_AGAIN
    assert touch(thread) is None
    assert got(next_fault(machine, endpoint)).words == first.words


def test_VMFAULT0005_other_label(machine: Machine) -> None:
    """A reply with another label than 0 leaves the thread Inactive, where seL4 restarts it; a resume faults again."""
    thread, endpoint = faulting(machine)
    touch(thread)
    got(next_fault(machine, endpoint))
    reply_to_fault(machine, label=1)
    assert thread.state is ThreadState.INACTIVE
    machine.root.call(thread.cap, abi.Label.TCB_RESUME)
    assert got(next_fault(machine, endpoint)).label == FaultLabel.VM_FAULT


def test_VMFAULT0006_no_handler(machine: Machine) -> None:
    """A thread without a fault handler that touches memory that is not there becomes Inactive."""
    thread = machine.thread("lonely")
    assert touch(thread) is None
    assert thread.state is ThreadState.INACTIVE


def test_VMFAULT0007_suspended(machine: Machine) -> None:
    """A thread that is suspended in a VMFault and resumed looks again: memory that came meanwhile is there."""
    thread, endpoint = faulting(machine)
    touch(thread)
    got(next_fault(machine, endpoint))
    machine.root.call(thread.cap, abi.Label.TCB_SUSPEND)
    map_there(machine)
    machine.root.call(thread.cap, abi.Label.TCB_RESUME)
    assert answer(thread.completion()) == TRY_AGAIN
    assert got(next_fault(machine, endpoint)).label == 0


def test_VMFAULT0008_guarded(machine: Machine) -> None:
    """A guarded access (sel4py's own) fails where another would stop the thread: without a handler, or by a label."""
    assert answer(touch(machine.thread("lonely"), PageFault.GUARDED)) == NOBODY
    thread, endpoint = faulting(machine)
    assert touch(thread, PageFault.GUARDED) is None
    assert got(next_fault(machine, endpoint)).words[3] == PageFault.GUARDED | PageFault.USER
    reply_to_fault(machine, label=1)
    assert answer(thread.completion()) == NOBODY
    assert thread.state is ThreadState.RUNNING


def test_VMFAULT0009_identify(machine: Machine) -> None:
    """IDENTIFY tells of a reply object whether a thread waits there for the answer to a VMFault: no call, no other."""

    def owes() -> int:
        return got(machine.root.syscall(Syscall.IDENTIFY, machine.root.reply)).words[3]

    thread, endpoint = faulting(machine)
    assert owes() == 0
    touch(thread)
    assert owes() == 0
    got(next_fault(machine, endpoint))
    assert owes() == 1
    machine.root.call(thread.cap, abi.Label.TCB_SUSPEND)
    assert owes() == 0
    machine.root.call(thread.cap, abi.Label.TCB_RESUME)
    got(next_fault(machine, endpoint))
    assert owes() == 1
    reply_to_fault(machine)
    assert owes() == 0
    got(thread.completion())
    assert thread.syscall(UNKNOWN_SYSCALL) is None
    got(next_fault(machine, endpoint))
    assert owes() == 0
