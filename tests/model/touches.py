"""FAULT in the specification: an instruction has touched memory that the kernel maps, and that was not there."""

from __future__ import annotations

from libsel4py.abi import PageFault, Rights, Syscall
from tests.model.capability import Kind
from tests.model.derivation import Mapped
from tests.model.system import Completion, State, System, Thread

VSPACE = 1  # of a TCB's slots
TOLD_BY_TASK = PageFault.WRITE | PageFault.FETCH | PageFault.GUARDED


def missed(system: System, thread: Thread) -> tuple[int, int, int, int] | None:
    """The words of the VM_FAULT that the thread's handler is told; None if the access may be tried again."""
    call = thread.submission
    assert call is not None
    address, instruction, kind, _ = call.registers
    kind &= TOLD_BY_TASK
    mapped = _mapping(system, thread, address)
    needed = Rights.WRITE if kind & PageFault.WRITE else Rights.READ
    if mapped is not None and not kind & PageFault.FETCH and mapped.rights & needed:
        return None
    present = PageFault.PRESENT if mapped is not None else 0
    return instruction, address, int(bool(kind & PageFault.FETCH)), int(kind | PageFault.USER | present)


def _mapping(system: System, thread: Thread, address: int) -> Mapped | None:
    space = system.inside(thread, VSPACE)
    if space is None or space.kind is not Kind.VSPACE:
        return None
    for holding in system.tree:
        mapped = holding.mapped
        if mapped is None or mapped.space != space.address:
            continue
        if mapped.address <= address < mapped.address + (1 << holding.capability.bits):
            return mapped
    return None


def fail_guarded(system: System, thread: Thread) -> bool:
    """Let a thread go on that nobody can answer any more, if its access was guarded."""
    call = thread.submission
    if call is None or call.op != Syscall.FAULT or not call.registers[2] & PageFault.GUARDED:
        return False
    thread.fault = None
    system.complete(thread, Completion(registers=(1, 0, 0, 0)))
    system.set_state(thread, State.RUNNING)
    return True


def stop(system: System, thread: Thread) -> None:
    """Nobody will answer the thread's fault: it stops for good, unless the access was guarded."""
    if not fail_guarded(system, thread):
        system.set_state(thread, State.INACTIVE)
