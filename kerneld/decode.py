"""Which decoder reads an invocation: by the type of the invoked capability."""

from __future__ import annotations

from kerneld.core import Call, Core, Invocation
from kerneld.failures import invalid_capability
from kerneld.objects import (
    channel,
    cnode,
    death_notice,
    domain,
    frame,
    io_space,
    ioport,
    irq,
    sched_context,
    sched_control,
    tcb,
    untyped,
    vspace,
)
from kerneld.records import CapType

NOT_IN_FIRST_PHASE = (
    CapType.TCB,
    CapType.CNODE,
    CapType.DOMAIN,
    CapType.SCHED_CONTROL,
    CapType.SCHED_CONTEXT,
    CapType.CHANNEL,
    CapType.DEATH_NOTICE,
)


def decode_invocation(core: Core, call: Call) -> Invocation:
    """The checked invocation, or SyscallError. Never stores."""
    kind = CapType(call.slot.cap_type)
    if call.first_phase and kind in NOT_IN_FIRST_PHASE:
        raise invalid_capability(0, f"a {kind.name} capability cannot be invoked in the first phase of a double call")
    match kind:
        case CapType.UNTYPED:
            return untyped.decode(core, call)
        case CapType.CNODE:
            return cnode.decode(core, call)
        case CapType.TCB:
            return tcb.decode(core, call)
        case CapType.SCHED_CONTEXT:
            return sched_context.decode(core, call)
        case CapType.SCHED_CONTROL:
            return sched_control.decode(core, call)
        case CapType.FRAME:
            return frame.decode(core, call)
        case CapType.VSPACE:
            return vspace.decode(core, call)
        case CapType.IRQ_CONTROL | CapType.IRQ_HANDLER:
            return irq.decode(core, call)
        case CapType.IO_PORT_CONTROL | CapType.IO_PORT:
            return ioport.decode(core, call)
        case CapType.IO_SPACE_CONTROL | CapType.IO_SPACE:
            return io_space.decode(core, call)
        case CapType.DOMAIN:
            return domain.decode(core, call)
        case CapType.CHANNEL:
            return channel.decode(core, call)
        case CapType.DEATH_NOTICE:
            return death_notice.decode(core, call)
        case CapType.NULL:
            raise invalid_capability(0, "there is no capability in the slot that was invoked")
        case _:
            raise invalid_capability(0, f"a {kind.name} capability cannot be invoked")
