"""IRQControl gives out one handler capability a line; the handler says which notification is signalled.

A line's state and its notification capability are in the kernel's record, since they belong to the machine. A line
that has interrupted is masked until its handler acknowledges it; what it raises meanwhile is remembered, once, and
signalled at the acknowledgement. (Manual 5.2; `interrupt.c`. Remembering is what interrupt controllers do for edges.)
"""

from __future__ import annotations

from dataclasses import dataclass

from kerneld import caps, deletion, interrupts, mdb, slot_arguments
from kerneld.core import PREEMPTED, Call, Core, Invocation, Result
from kerneld.failures import illegal_operation, invalid_capability, range_error, truncated_message
from kerneld.records import CapType, IrqState, Slot
from kerneld.work import Work
from libsel4py.abi import IRQS, Label, Rights


@dataclass(frozen=True, slots=True)
class Get:
    line: int
    control: Slot
    destination: Slot

    def perform(self, core: Core) -> Result:
        interrupts.set_state(core, self.line, IrqState.SIGNAL)
        mdb.insert(core, caps.irq_handler(self.line), self.control, self.destination)
        return ()


@dataclass(frozen=True, slots=True)
class Ack:
    line: int

    def perform(self, core: Core) -> Result:
        state = interrupts.state_of(core, self.line)
        interrupts.set_state(core, self.line, IrqState.SIGNAL)
        if state & interrupts.IRQ_PENDING:
            interrupts.raise_line(core, self.line)
        return ()


@dataclass(frozen=True, slots=True)
class SetNotification:
    line: int
    source: Slot
    thread: int

    def perform(self, core: Core) -> Result:
        slot = core.kernel.irq_slot(self.line)
        cap = caps.read(self.source)
        if not deletion.delete(core, slot, Work(self.thread)):
            return PREEMPTED
        mdb.insert(core, cap, self.source, slot)
        return ()


@dataclass(frozen=True, slots=True)
class Clear:
    line: int
    thread: int

    def perform(self, core: Core) -> Result:
        return () if deletion.delete(core, core.kernel.irq_slot(self.line), Work(self.thread)) else PREEMPTED


def decode(core: Core, call: Call) -> Invocation:
    """The checked method of an IRQControl or IRQHandler capability.

    Raises:
        SyscallError: Get: TRUNCATED_MESSAGE, RANGE_ERROR (line), REVOKE_FIRST (line given out), FAILED_LOOKUP,
            DELETE_FIRST. SetNotification: TRUNCATED_MESSAGE, INVALID_CAPABILITY. Others: ILLEGAL_OPERATION.
    """
    if call.slot.cap_type == CapType.IRQ_CONTROL:
        return decode_control(core, call)
    return decode_handler(call)


def decode_control(core: Core, call: Call) -> Invocation:
    slot_arguments.ensure_issuable(
        call,
        Label.IRQ_CONTROL_GET,
        3,
        "IRQControl.Get",
        "line, index and depth, and the CNode capability of the destination",
    )
    line, index, depth = call.words[:3]
    if line >= IRQS:
        raise range_error(0, IRQS - 1, f"there is no interrupt line {line}")
    given_out = interrupts.state_of(core, line) != IrqState.INACTIVE
    slot_arguments.ensure_not_given_out(given_out, f"the handler of interrupt line {line}", "IRQControl")
    destination = slot_arguments.lookup_destination(call, index, depth)
    return Get(line, call.slot, destination)


def decode_handler(call: Call) -> Invocation:
    line = call.slot.word1
    match call.label:
        case Label.IRQ_HANDLER_ACK:
            return Ack(line)
        case Label.IRQ_HANDLER_SET_NOTIFICATION:
            if not call.caps:
                raise truncated_message("SetNotification takes the capability of a notification")
            source = call.caps[0]
            if source.cap_type != CapType.NOTIFICATION:
                raise invalid_capability(0, "an interrupt signals a notification, and this is no capability to one")
            if not source.rights & Rights.WRITE:
                raise invalid_capability(0, "the notification capability lacks Write, so it cannot be signalled by it")
            return SetNotification(line, source, call.thread.address)
        case Label.IRQ_HANDLER_CLEAR:
            return Clear(line, call.thread.address)
        case label:
            raise illegal_operation(f"IRQHandler has no method with label {label}")
