"""Interrupt lines: IRQControl gives out one handler capability a line; the handler says what notification is signalled.
signalled.

A line's state and its notification capability are in the kernel's record, since they belong to the machine. A line
that has interrupted is masked until its handler acknowledges it; what it raises meanwhile is remembered, once, and
signalled at the acknowledgement. (Manual 5.2; `interrupt.c`. Remembering is what interrupt controllers do for edges.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kerneld import caps, deletion, mdb
from kerneld.core import PREEMPTED, Call, Core, Invocation, Result
from kerneld.failures import SyscallError, illegal_operation, invalid_capability, range_error, truncated_message
from kerneld.objects import cnode, notification
from kerneld.records import IRQ_MASKED, CapType, IrqState, Notification, Slot
from kerneld.work import Work
from libsel4py.abi import IRQS, Error, Label, Rights

IRQ_PENDING: Final = 1 << 9  # raised while it was masked, or while it had no notification


@dataclass(frozen=True, slots=True)
class Get:
    line: int
    control: Slot
    destination: Slot

    def perform(self, core: Core) -> Result:
        _set_state(core, self.line, IrqState.SIGNAL)
        mdb.insert(core, caps.irq_handler(self.line), self.control, self.destination)
        return ()


@dataclass(frozen=True, slots=True)
class Ack:
    line: int

    def perform(self, core: Core) -> Result:
        state = _state(core, self.line)
        _set_state(core, self.line, IrqState.SIGNAL)
        if state & IRQ_PENDING:
            raise_line(core, self.line)
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
    if call.label != Label.IRQ_CONTROL_GET:
        raise illegal_operation(f"IRQControl has no method with label {call.label}")
    if len(call.words) < 3 or not call.caps:
        raise truncated_message("Get takes line, index and depth, and the CNode capability of the destination")
    line, index, depth = call.words[:3]
    if line >= IRQS:
        raise range_error(0, IRQS - 1, f"there is no interrupt line {line}")
    if _state(core, line) != IrqState.INACTIVE:
        raise SyscallError(
            Error.REVOKE_FIRST, (), f"the handler of interrupt line {line} has been given out; revoke IRQControl first"
        )
    destination = cnode.lookup_slot(call.caps[0], index, depth)
    cnode.ensure_empty(destination)
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


def raise_line(core: Core, line: int) -> None:
    """A device raises an interrupt line. Lines without a handler are ignored."""
    if not 0 <= line < IRQS:
        return
    state = _state(core, line)
    if state == IrqState.INACTIVE:
        return
    slot = core.kernel.irq_slot(line)
    word0 = slot.word0
    if state & IRQ_MASKED or word0 >> caps.TYPE_SHIFT != CapType.NOTIFICATION:
        _set_state(core, line, state | IRQ_MASKED | IRQ_PENDING)
        return
    _set_state(core, line, state | IRQ_MASKED)
    notification.send_signal(core, Notification(core.ram, word0 & caps.OBJECT_MASK), slot.word1)


def finalise(core: Core, line: int) -> None:
    """The line's last handler capability is gone, and its notification's before: it can be given out again."""
    _set_state(core, line, IrqState.INACTIVE)


def _state(core: Core, line: int) -> int:
    return core.ram.word(core.kernel.address + core.kernel.IRQ_STATES + line * 8)


def _set_state(core: Core, line: int, state: int) -> None:
    core.ram.set_word(core.kernel.address + core.kernel.IRQ_STATES + line * 8, state)
