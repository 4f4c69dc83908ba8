"""Scenarios of interrupts, ports, domains, frames and scheduling contexts. They join the table of `scenarios.py`."""

from __future__ import annotations

from libsel4py.abi import InitialSlot, Label
from tests.harness import OWN_SCHED_CONTEXT, THREAD_CNODE_BITS
from tests.model.scenarios import CNODE, TABLE, Prepare, Stage, Trap, at, invocation, served_client

# --- interrupts, ports, domains, frames


@TABLE.of(Label.IRQ_CONTROL_GET)
def irq_get(stage: Stage) -> Trap:
    words = (5, *at(stage.machine.new_slots()))
    return invocation(stage, InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, words, (CNODE,))


def _handler(stage: Stage) -> int:
    slot = stage.machine.new_slots()
    stage.root.call(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, (5, *at(slot)), (CNODE,))
    return slot


def _connected_handler(stage: Stage) -> int:
    handler = _handler(stage)
    stage.root.call(handler, Label.IRQ_HANDLER_SET_NOTIFICATION, (), (stage.machine.copy(stage.notification, badge=8),))
    return handler


@TABLE.of(Label.IRQ_HANDLER_SET_NOTIFICATION)
def irq_set_notification(stage: Stage) -> Trap:
    return invocation(stage, _connected_handler(stage), Label.IRQ_HANDLER_SET_NOTIFICATION, (), (stage.notification,))


@TABLE.of(Label.IRQ_HANDLER_ACK)
def irq_ack(stage: Stage) -> Trap:
    """The line has interrupted twice, so the acknowledgement signals again."""
    handler = _connected_handler(stage)
    stage.machine.interrupt(5)
    stage.machine.interrupt(5)
    return invocation(stage, handler, Label.IRQ_HANDLER_ACK)


@TABLE.of(Label.IRQ_HANDLER_CLEAR)
def irq_clear(stage: Stage) -> Trap:
    return invocation(stage, _connected_handler(stage), Label.IRQ_HANDLER_CLEAR)


@TABLE.of(Label.CNODE_DELETE)
def delete_irq_handler(stage: Stage) -> Trap:
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(_connected_handler(stage)))


@TABLE.of(Label.IO_PORT_CONTROL_ISSUE)
def port_issue(stage: Stage) -> Trap:
    words = (0x3F0, 0x44F, *at(stage.machine.new_slots()))
    return invocation(stage, InitialSlot.IO_PORT_CONTROL, Label.IO_PORT_CONTROL_ISSUE, words, (CNODE,))


def _port(label: Label, *data: int) -> Prepare:
    def prepare(stage: Stage) -> Trap:
        slot = stage.machine.new_slots()
        words = (0x3F0, 0x3FF, *at(slot))
        stage.root.call(InitialSlot.IO_PORT_CONTROL, Label.IO_PORT_CONTROL_ISSUE, words, (CNODE,))
        return invocation(stage, slot, label, (0x3F8, *data))

    prepare.__name__ = label.name.lower()
    return prepare


for _label in (Label.IO_PORT_IN8, Label.IO_PORT_IN16, Label.IO_PORT_IN32):
    TABLE.of(_label)(_port(_label))
for _label in (Label.IO_PORT_OUT8, Label.IO_PORT_OUT16, Label.IO_PORT_OUT32):
    TABLE.of(_label)(_port(_label, 0x41))


@TABLE.of(Label.DOMAIN_SET)
def domain_set(stage: Stage) -> Trap:
    return invocation(stage, InitialSlot.DOMAIN, Label.DOMAIN_SET, (3,), (stage.client.cap,))


@TABLE.of(Label.DOMAIN_SCHEDULE_CONFIGURE)
def domain_configure(stage: Stage) -> Trap:
    return invocation(stage, InitialSlot.DOMAIN, Label.DOMAIN_SCHEDULE_CONFIGURE, (2, 3, 1000))


@TABLE.of(Label.DOMAIN_SCHEDULE_SET_START)
def domain_start(stage: Stage) -> Trap:
    stage.root.call(InitialSlot.DOMAIN, Label.DOMAIN_SCHEDULE_CONFIGURE, (2, 3, 1000))
    return invocation(stage, InitialSlot.DOMAIN, Label.DOMAIN_SCHEDULE_SET_START, (2,))


@TABLE.of(Label.FRAME_GET_ADDRESS)
def frame_address(stage: Stage) -> Trap:
    return invocation(stage, InitialSlot.IPC_BUFFER, Label.FRAME_GET_ADDRESS)


# --- scheduling contexts


@TABLE.of(Label.SCHED_CONTROL_CONFIGURE_FLAGS)
def configure_context(stage: Stage) -> Trap:
    words = (1000, 5000, 2, 77, 1)
    caps = (stage.client.sched_context,)
    return invocation(stage, InitialSlot.FIRST_FREE, Label.SCHED_CONTROL_CONFIGURE_FLAGS, words, caps)


@TABLE.of(Label.SCHED_CONTEXT_BIND)
def context_bind(stage: Stage) -> Trap:
    stage.root.call(stage.client.sched_context, Label.SCHED_CONTEXT_UNBIND)
    return invocation(stage, stage.client.sched_context, Label.SCHED_CONTEXT_BIND, (), (stage.client.cap,))


@TABLE.of(Label.SCHED_CONTEXT_BIND)
def context_bind_notification(stage: Stage) -> Trap:
    context = stage.machine.sched_context()
    return invocation(stage, context, Label.SCHED_CONTEXT_BIND, (), (stage.notification,))


@TABLE.of(Label.SCHED_CONTEXT_UNBIND)
def context_unbind_lent(stage: Stage) -> Trap:
    served_client(stage, passive=True)
    return invocation(stage, stage.client.sched_context, Label.SCHED_CONTEXT_UNBIND)


@TABLE.of(Label.SCHED_CONTEXT_UNBIND_OBJECT)
def context_unbind_object(stage: Stage) -> Trap:
    return invocation(stage, stage.client.sched_context, Label.SCHED_CONTEXT_UNBIND_OBJECT, (), (stage.client.cap,))


@TABLE.of(Label.SCHED_CONTEXT_CONSUMED)
def context_consumed(stage: Stage) -> Trap:
    return invocation(stage, stage.client.sched_context, Label.SCHED_CONTEXT_CONSUMED)


@TABLE.of(Label.SCHED_CONTEXT_YIELD_TO)
def context_yield_to(stage: Stage) -> Trap:
    return invocation(stage, stage.client.sched_context, Label.SCHED_CONTEXT_YIELD_TO)


@TABLE.of(Label.CNODE_DELETE)
def delete_lent_context(stage: Stage) -> Trap:
    served_client(stage, passive=True)
    stage.root.call(stage.client.cnode, Label.CNODE_DELETE, (OWN_SCHED_CONTEXT, THREAD_CNODE_BITS))
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(stage.client.sched_context))
