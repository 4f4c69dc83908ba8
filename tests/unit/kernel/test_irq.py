"""Interrupt lines: giving out handlers, what a line signals, and masking until the acknowledgement."""

import pytest

from kerneld.interrupts import IRQ_PENDING
from kerneld.kernel import Kernel
from kerneld.records import IRQ_MASKED, CapType, IrqState, KernelRecord, Notification
from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, LookupFailureKind, ObjectType, Rights, Syscall
from tests.harness import Machine

CNODE = InitialSlot.CNODE
CONTROL = InitialSlot.IRQ_CONTROL
DEPTH = abi.WORD_BITS
LINE = 5


def state(machine: Machine, line: int = LINE) -> int:
    return machine.ram.word(machine.kernel.core.kernel.address + KernelRecord.IRQ_STATES + line * 8)


def handler(machine: Machine, line: int = LINE) -> int:
    place = machine.new_slots()
    machine.root.call(CONTROL, Label.IRQ_CONTROL_GET, (line, place, DEPTH), [CNODE])
    return place


def notified(machine: Machine, badge: int = 0x10, rights: int = Rights.ALL) -> tuple[int, int]:
    """(handler, notification) where the line signals a badged copy."""
    made, notification = handler(machine), machine.retype(ObjectType.NOTIFICATION)
    machine.root.call(made, Label.IRQ_HANDLER_SET_NOTIFICATION, (), [machine.copy(notification, rights, badge)])
    return made, notification


def take(machine: Machine, notification: int) -> int:
    """The signals that are there; 0 if none."""
    done = machine.root.syscall(Syscall.NB_WAIT, notification)
    assert done is not None
    return done.badge


def test_get_checks_in_order(machine: Machine) -> None:
    invoke = machine.root.invoke
    everything = (abi.IRQS, CNODE, 0)
    assert invoke(CONTROL, Label.IRQ_HANDLER_ACK)[0] == Error.ILLEGAL_OPERATION
    assert invoke(CONTROL, Label.IRQ_CONTROL_GET, everything[:2], [CNODE])[0] == Error.TRUNCATED_MESSAGE
    assert invoke(CONTROL, Label.IRQ_CONTROL_GET, everything)[0] == Error.TRUNCATED_MESSAGE
    assert invoke(CONTROL, Label.IRQ_CONTROL_GET, everything, [CNODE]) == (Error.RANGE_ERROR, (0, abi.IRQS - 1))
    handler(machine)
    assert invoke(CONTROL, Label.IRQ_CONTROL_GET, (LINE, CNODE, 0), [CNODE])[0] == Error.REVOKE_FIRST
    assert invoke(CONTROL, Label.IRQ_CONTROL_GET, (6, CNODE, 0), [CNODE]) == (Error.RANGE_ERROR, (1, 64))
    assert invoke(CONTROL, Label.IRQ_CONTROL_GET, (6, CNODE, DEPTH), [InitialSlot.TCB]) == (
        Error.FAILED_LOOKUP,
        (0, LookupFailureKind.INVALID_ROOT),
    )
    assert invoke(CONTROL, Label.IRQ_CONTROL_GET, (6, CNODE, DEPTH), [CNODE])[0] == Error.DELETE_FIRST
    assert state(machine, 6) == IrqState.INACTIVE


def test_a_line_signals_the_badge_of_its_capability(machine: Machine) -> None:
    _, notification = notified(machine, 0x10)
    machine.interrupt(LINE)
    assert take(machine, notification) == 0x10


def test_a_line_wakes_who_waits(machine: Machine) -> None:
    driver = machine.thread("driver")
    _, notification = notified(machine)
    machine.grant(driver, notification, 1)
    assert driver.syscall(Syscall.WAIT, 1) is None
    machine.interrupt(LINE)
    done = driver.completion()
    assert done is not None
    assert done.badge == 0x10


def test_a_line_is_masked_until_it_is_acknowledged(machine: Machine) -> None:
    made, notification = notified(machine)
    machine.interrupt(LINE)
    assert take(machine, notification) == 0x10
    assert state(machine) == IrqState.SIGNAL | IRQ_MASKED
    machine.root.call(made, Label.IRQ_HANDLER_ACK)
    assert state(machine) == IrqState.SIGNAL
    assert take(machine, notification) == 0
    machine.interrupt(LINE)
    assert take(machine, notification) == 0x10


def test_what_a_masked_line_raises_is_signalled_once_at_the_acknowledgement(machine: Machine) -> None:
    made, notification = notified(machine)
    for _ in range(3):
        machine.interrupt(LINE)
    assert take(machine, notification) == 0x10
    assert state(machine) == IrqState.SIGNAL | IRQ_MASKED | IRQ_PENDING
    assert take(machine, notification) == 0
    machine.root.call(made, Label.IRQ_HANDLER_ACK)
    assert take(machine, notification) == 0x10
    machine.root.call(made, Label.IRQ_HANDLER_ACK)
    assert take(machine, notification) == 0


def test_a_line_without_notification_waits_for_one(machine: Machine) -> None:
    made, notification = handler(machine), machine.retype(ObjectType.NOTIFICATION)
    machine.interrupt(LINE)
    machine.root.call(made, Label.IRQ_HANDLER_SET_NOTIFICATION, (), [machine.copy(notification, badge=2)])
    assert take(machine, notification) == 0
    machine.root.call(made, Label.IRQ_HANDLER_ACK)
    assert take(machine, notification) == 2


@pytest.mark.parametrize("line", [-1, LINE, abi.IRQS, 1 << 40])
def test_lines_without_handler_are_ignored(machine: Machine, line: int) -> None:
    before = machine.ram.read(0x21000, machine.ram.size - 0x21000)
    machine.interrupt(line)
    assert machine.ram.read(0x21000, machine.ram.size - 0x21000) == before


def test_set_notification_refusals(machine: Machine) -> None:
    made = handler(machine)
    invoke = machine.root.invoke
    assert invoke(made, Label.IRQ_HANDLER_SET_NOTIFICATION)[0] == Error.TRUNCATED_MESSAGE
    endpoint = machine.retype(ObjectType.ENDPOINT)
    unable = machine.copy(machine.retype(ObjectType.NOTIFICATION), Rights.READ)
    for cap in (endpoint, unable, machine.new_slots()):
        assert invoke(made, Label.IRQ_HANDLER_SET_NOTIFICATION, (), [cap]) == (Error.INVALID_CAPABILITY, (0,))
    assert invoke(made, Label.IRQ_CONTROL_GET)[0] == Error.ILLEGAL_OPERATION


def test_a_second_notification_replaces_the_first(machine: Machine) -> None:
    made, first = notified(machine)
    second = machine.retype(ObjectType.NOTIFICATION)
    machine.root.call(made, Label.IRQ_HANDLER_SET_NOTIFICATION, (), [machine.copy(second, badge=3)])
    machine.interrupt(LINE)
    assert (take(machine, first), take(machine, second)) == (0, 3)


def test_clear_ends_the_signals(machine: Machine) -> None:
    made, notification = notified(machine)
    machine.root.call(made, Label.IRQ_HANDLER_CLEAR)
    assert machine.kernel.core.kernel.irq_slot(LINE).word0 == 0
    machine.interrupt(LINE)
    assert take(machine, notification) == 0


def test_revoking_the_notification_ends_the_signals(machine: Machine) -> None:
    _, notification = notified(machine)
    machine.revoke(notification)
    assert machine.kernel.core.kernel.irq_slot(LINE).word0 == 0
    machine.interrupt(LINE)
    assert take(machine, notification) == 0


def test_the_last_handler_capability_gives_the_line_back(machine: Machine) -> None:
    made, _ = notified(machine)
    copy = machine.copy(made)
    machine.delete(made)
    assert state(machine) == IrqState.SIGNAL
    machine.delete(copy)
    assert state(machine) == IrqState.INACTIVE
    assert machine.kernel.core.kernel.irq_slot(LINE).word0 == 0
    notified(machine)


def test_revoking_irq_control_takes_every_handler(machine: Machine) -> None:
    made = [handler(machine, line) for line in range(abi.IRQS)]
    machine.revoke(CONTROL)
    assert not any(machine.slot(slot).word0 for slot in made)
    assert machine.slot(CONTROL).cap_type == CapType.IRQ_CONTROL
    assert not any(state(machine, line) for line in range(abi.IRQS))


def test_deleting_the_handler_whose_notification_is_the_last(machine: Machine) -> None:
    """Many wait on it: they are let go in pieces, and none is lost."""
    made, notification = handler(machine), machine.retype(ObjectType.NOTIFICATION)
    machine.root.call(made, Label.IRQ_HANDLER_SET_NOTIFICATION, (), [notification])
    machine.check = False
    threads = [machine.thread(f"waiter {number}") for number in range(70)]
    for thread in threads:
        machine.grant(thread, notification, 1)
        assert thread.syscall(Syscall.WAIT, 1) is None
    machine.check = True
    machine.revoke(notification)
    assert machine.slot(notification).word0
    address = machine.slot(notification).object
    # The line's copy was a child; the waiting threads' capabilities as well. Only the original is left.
    assert len([1 for thread in threads if thread.tcb.blocked_on == address]) == 70
    machine.root.call(made, Label.IRQ_HANDLER_SET_NOTIFICATION, (), [notification])
    machine.delete(notification)
    machine.delete(made)
    assert Notification(machine.ram, address).head is None
    assert not any(thread.tcb.blocked_on for thread in threads)


def test_lines_survive_a_restart_of_the_kernel(machine: Machine) -> None:
    made, notification = notified(machine)
    machine.interrupt(LINE)
    machine.kernel = Kernel(machine.ram)
    machine.interrupt(LINE)
    assert take(machine, notification) == 0x10
    machine.root.call(made, Label.IRQ_HANDLER_ACK)
    assert take(machine, notification) == 0x10
