"""Syscall.FAULT: an instruction of the thread has touched memory that the kernel maps, and that is not there.

Where the VSpace's table has a mapping that allows the access, the process has not done yet what it was told, or the
host is about to give it the memory anew: the instruction is tried again. Of a device's registers, where never anything
is mapped at the host, the access is done here (`register_access.py`). Else the thread's fault handler is told, as of
any fault, and its reply ends the system call (`fault_messages.py`): label 0 for another try.

An access is *guarded* where the thread can go on without it (`libsel4py.abi.PageFault.GUARDED`): what would stop it for
good ends its system call instead, with word 0 = 1.

Rule: the address, the instruction pointer and what the access was are the task's own words. They decide nothing but
what its own handler is told.
"""

from __future__ import annotations

from typing import Final

from kerneld import completion, listening, mapping_table, mappings, register_access, scheduler
from kerneld.core import Core, Refusal
from kerneld.failures import Fault
from kerneld.mapping_table import Mapping
from kerneld.records import Tcb, ThreadState
from libsel4py import abi
from libsel4py.abi import FaultAnswer, FaultLabel, PageFault, Rights, Syscall

_FAULT: Final = Syscall.FAULT & abi.WORD_MASK
# Plain numbers: every page that is missed comes by here.
_WRITE: Final = int(PageFault.WRITE)
_FETCH: Final = int(PageFault.FETCH)
_GUARDED: Final = int(PageFault.GUARDED)
_TOLD_BY_TASK: Final = _WRITE | _FETCH | _GUARDED
_USER: Final = int(PageFault.USER)
_PRESENT: Final = int(PageFault.PRESENT)
_NEEDED_TO_WRITE: Final = int(Rights.WRITE)
_NEEDED_TO_READ: Final = int(Rights.READ)
_NOBODY_RESOLVES: Final = (int(FaultAnswer.NOBODY), 0, 0, 0)


def look_up(core: Core, tcb: Tcb) -> None:
    """Return if the access may be tried again, or was done.

    Raises:
        Fault: a VM_FAULT, of the words FaultIP, Addr, PrefetchFault, FSR.
    """
    address, kind = tcb.mr0, tcb.mr2 & _TOLD_BY_TASK
    space = listening.address_space(tcb)
    mapping = mapping_table.find(space, address) if space is not None else None
    if mapping is not None and _allows(mapping, kind):
        if not mapping.is_registers:
            mappings.takes_memory(core, tcb.address)  # as such a system call it ends when what is under way is done
            return
        value = register_access.perform(core, mapping, address, is_store=bool(kind & _WRITE), access=tcb.mr3)
        if value is not None:
            completion.complete(core, tcb, registers=(int(FaultAnswer.DONE), value, 0, 0))
            return
    status = kind | _USER | (0 if mapping is None else _PRESENT)
    words = (tcb.mr1, address, int(kind & _FETCH != 0), status)
    raise Fault(FaultLabel.VM_FAULT, words, _sentence(address, tcb.mr1, kind, mapping))


def remember(core: Core, tcb: Tcb) -> None:
    """The thread's fault ends without an answer: for people who ask why. Where something was mapped, they were told
    when it came; where nothing was, it may have been the fast path's."""
    if tcb.fault_label != FaultLabel.VM_FAULT or tcb.fault_word3 & _PRESENT:
        return
    words = (tcb.fault_word0, tcb.fault_word1, tcb.fault_word2, tcb.fault_word3)
    fault = Fault(FaultLabel.VM_FAULT, words, _sentence(words[1], words[0], words[3], None))
    core.diagnostics.refusals[tcb.address] = Refusal(tcb.cptr, tcb.info >> 12, fault)


def fail_guarded(core: Core, tcb: Tcb) -> bool:
    """End the guarded FAULT of a thread that nobody can answer any more. False if it is none: the thread stops."""
    if not tcb.in_trap or tcb.op != _FAULT or not tcb.mr2 & _GUARDED:
        return False
    tcb.fault_label = FaultLabel.NULL_FAULT
    completion.complete(core, tcb, registers=_NOBODY_RESOLVES)
    scheduler.set_state(core, tcb, ThreadState.RUNNING)
    return True


def stop(core: Core, tcb: Tcb) -> None:
    """The thread's fault is one that nobody will answer: it stops for good, unless the access was guarded."""
    remember(core, tcb)
    if not fail_guarded(core, tcb):
        scheduler.set_state(core, tcb, ThreadState.INACTIVE)


def end(core: Core, tcb: Tcb) -> None:
    """The handler has answered: the instruction is tried again."""
    if tcb.in_trap:
        completion.complete(core, tcb)
    scheduler.set_state(core, tcb, ThreadState.RESTART)


def _allows(mapping: Mapping, kind: int) -> bool:
    """Whether a mapping is good for such an access. Managed memory is never run."""
    needed = _NEEDED_TO_WRITE if kind & _WRITE else _NEEDED_TO_READ
    return not kind & _FETCH and bool(mapping.rights & needed)


def _sentence(address: int, ip: int, kind: int, mapping: Mapping | None) -> str:
    what = "wrote to" if kind & _WRITE else "ran into" if kind & _FETCH else "read from"
    if mapping is None:
        why = "nothing is mapped"
    elif _allows(mapping, kind):
        why = "a device's register is, by no plain load or store of 1, 2 or 4 aligned bytes (Registers makes those)"
    else:
        names = "+".join(right.name or "" for right in (Rights.READ, Rights.WRITE) if mapping.rights & right)
        why = f"what is mapped gives {names.title() or 'no access'}"
    return f"it {what} address 0x{address:x}, where {why}, at instruction 0x{ip:x}"
