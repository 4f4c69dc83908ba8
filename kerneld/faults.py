"""Telling a thread's fault handler: the fault's message, sent as a call by the capability in the TCB.

Source: SEL4 `handleFault`, `sendFaultIPC`. What the message holds and what the reply does is `fault_messages.py`.
"""

from __future__ import annotations

from kerneld import ipc, threads, vm_faults
from kerneld.core import Core, Refusal
from kerneld.failures import Fault
from kerneld.records import CapType, Endpoint, Slot, Tcb, TcbSlot
from libsel4py import abi
from libsel4py.abi import ExceptionNumber, FaultLabel

FAULT_WORDS = 6


def raise_fault(core: Core, tcb: Tcb, fault: Fault) -> None:
    """Stop the thread and tell its handler, which may let it go on by replying. Without a handler it stops for good,
    but where it faulted by a guarded access.

    A TIMEOUT is told to the timeout handler and lends no processor time; all others lend the thread's scheduling
    context to a handler that has none.
    """
    core.diagnostics.refusals[tcb.address] = Refusal(tcb.cptr, tcb.info >> 12, fault)
    if is_death(fault):
        threads.lose_process(core, tcb, fault.words[3])
        tcb.in_trap = 0
        tcb.told_pending = 0
    is_timeout = fault.label is FaultLabel.TIMEOUT
    handler = tcb.slot(TcbSlot.TIMEOUT_HANDLER if is_timeout else TcbSlot.FAULT_HANDLER)
    if handler.cap_type != CapType.ENDPOINT or not can_handle(handler):
        vm_faults.stop(core, tcb)
        return
    _save(core, tcb, fault)
    ipc.send(
        core,
        tcb,
        Endpoint(core.ram, handler.object),
        badge=handler.word1,
        can_grant=bool(handler.can_grant),
        can_grant_reply=bool(handler.can_grant_reply),
        blocking=True,
        is_call=False,
        can_donate=not is_timeout,
    )


def can_handle(slot: Slot) -> bool:
    """Whether the endpoint capability in a slot can be a fault handler: it sends, and it can be replied to."""
    return bool(slot.can_write and (slot.can_grant or slot.can_grant_reply))


def is_death(fault: Fault) -> bool:
    """Whether the thread has ended: what comes next is a new start from its registers."""
    return fault.label is FaultLabel.USER_EXCEPTION and fault.words[2] == ExceptionNumber.DEATH


def death(status: int) -> Fault:
    """What a thread's handler is told when its process has ended with this wait status."""
    signal = status & 0x7F
    how = f"was ended by signal {signal}" if signal else f"ended with status {status >> 8 & 0xFF}"
    words = (0, 0, ExceptionNumber.DEATH, status & abi.WORD_MASK)
    return Fault(FaultLabel.USER_EXCEPTION, words, f"its process {how}")


def _save(core: Core, tcb: Tcb, fault: Fault) -> None:
    tcb.fault_label = fault.label
    words = (*fault.words, *(0,) * FAULT_WORDS)[:FAULT_WORDS]
    for index, word in enumerate(words):
        core.ram.set_word(tcb.address + Tcb.FAULT_WORDS + index * abi.WORD_BYTES, word)
