"""Where seL4's manual and its kernel disagree, sel4py does what the kernel does (SEL4_API 2.12, docs/CAVEATS.md)."""

from __future__ import annotations

import pytest

from kerneld.boot import DeviceRegion
from kerneld.records import ThreadState
from libsel4py import abi
from libsel4py.abi import (
    INVOCATIONS,
    Error,
    FaultLabel,
    InitialSlot,
    Label,
    LookupFailureKind,
    ObjectType,
    Rights,
    Syscall,
)
from tests.conformance.scenes import (
    ENDPOINT,
    FREE,
    call,
    context_of,
    faulting,
    got,
    held,
    next_fault,
    passive_server,
    receive,
    send,
    senders,
)
from tests.harness import OWN_REPLY, Machine


def test_MANUAL0001_middle_reply_breaks_the_chain(machine: Machine) -> None:
    """Revoking a reply in the middle of a chain of calls breaks the chain there: the first caller loses its context."""
    endpoints = [machine.retype(ObjectType.ENDPOINT) for _ in range(2)]
    proxy = passive_server(machine, endpoints[0], "proxy")
    server = passive_server(machine, endpoints[1])
    client = senders(machine, endpoints[0], (80,))[0]
    machine.grant(proxy, endpoints[1], FREE)
    assert call(client) is None
    got(proxy.completion())
    assert call(proxy, cptr=FREE) is None
    got(server.completion())
    reply_of_proxy = proxy.cnode + 2
    machine.revoke(reply_of_proxy)
    machine.delete(reply_of_proxy)
    assert client.state is ThreadState.INACTIVE
    assert server.syscall(Syscall.SEND, OWN_REPLY) is None
    assert context_of(machine, client.sched_context).tcb == proxy.tcb
    got(proxy.completion())
    assert client.tcb.sched_context is None


def test_MANUAL0002_device_untyped() -> None:
    """A kernel object from a device untyped is InvalidArgument(1), not an error of the type argument."""
    machine = Machine(devices=(DeviceRegion(0x1000_0000, 12),))
    device = machine.boot_info()[abi.BOOT_INFO_UNTYPED]
    words = (ObjectType.ENDPOINT, 0, 0, 0, machine.new_slots(), 1)
    refused = machine.root.invoke(device, Label.UNTYPED_RETYPE, words, [InitialSlot.CNODE])
    assert refused == (Error.INVALID_ARGUMENT, (1,))


@pytest.mark.parametrize("position", [1, 2])
def test_MANUAL0003_wrong_root(machine: Machine, position: int) -> None:
    """A CSpace or VSpace root of the wrong type is IllegalOperation, not RevokeFirst."""
    tcb, cnode = machine.retype(ObjectType.TCB), machine.retype(ObjectType.CNODE, 4)
    caps = [InitialSlot.NULL, cnode, InitialSlot.VSPACE]
    caps[position] = machine.retype(ObjectType.ENDPOINT)
    assert machine.root.invoke(tcb, Label.TCB_SET_SPACE, (0, 0), caps) == (Error.ILLEGAL_OPERATION, ())


def test_MANUAL0004_mutate_keeps_rights(machine: Machine) -> None:
    """Mutate has no rights argument and leaves the rights of the capability as they are."""
    frame = machine.copy(machine.retype(ObjectType.FRAME, 12), Rights.READ)
    slot = machine.new_slots()
    words = (slot, 64, frame, 64, 0)
    machine.root.call(InitialSlot.CNODE, Label.CNODE_MUTATE, words, [InitialSlot.CNODE])
    assert held(machine, slot).rights == Rights.READ
    assert "rights" not in INVOCATIONS[Label.CNODE_MUTATE].words


def test_MANUAL0005_budget_range(machine: Machine) -> None:
    """A budget that is too small or too large is a RangeError, not InvalidArgument."""
    context = machine.retype(ObjectType.SCHED_CONTEXT, 8)
    for budget in (0, abi.MAX_PERIOD_US + 1):
        words = (budget, abi.MAX_PERIOD_US, 0, 0, 0)
        refused = machine.root.invoke(InitialSlot.FIRST_FREE, Label.SCHED_CONTROL_CONFIGURE_FLAGS, words, [context])
        assert refused[0] == Error.RANGE_ERROR


def test_MANUAL0006_configure_takes_no_context(machine: Machine) -> None:
    """TCB_Configure takes no scheduling context, and ConfigureFlags binds none."""
    tcb, cnode = machine.retype(ObjectType.TCB), machine.retype(ObjectType.CNODE, 4)
    caps = [cnode, InitialSlot.VSPACE, InitialSlot.NULL]
    machine.root.call(tcb, Label.TCB_CONFIGURE, (0, 0, 0), caps)
    context = machine.sched_context()
    assert context_of(machine, context).tcb is None
    assert INVOCATIONS[Label.TCB_CONFIGURE].caps == ("cspace_root", "vspace_root", "buffer_frame")


def test_MANUAL0007_unbind_of_a_lent_context(machine: Machine) -> None:
    """UnbindObject takes a lent scheduling context from the server, and does not hand it back to the client."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    server = passive_server(machine, endpoint)
    client = senders(machine, endpoint, (80,))[0]
    assert call(client) is None
    refused = machine.root.invoke(client.sched_context, Label.SCHED_CONTEXT_UNBIND_OBJECT, (), [client.cap])
    assert refused == (Error.ILLEGAL_OPERATION, ())
    machine.root.call(client.sched_context, Label.SCHED_CONTEXT_UNBIND_OBJECT, (), [server.cap])
    assert context_of(machine, client.sched_context).tcb is None
    assert client.tcb.sched_context is None
    machine.root.call(client.sched_context, Label.SCHED_CONTEXT_BIND, (), [client.cap])
    assert client.state is ThreadState.BLOCKED_ON_REPLY


def test_MANUAL0008_destroyed_endpoint(machine: Machine) -> None:
    """Threads that wait at an endpoint whose last capability goes carry their system calls out again, and fault."""
    memory = machine.retype(ObjectType.UNTYPED, abi.FIXED_SIZE_BITS[ObjectType.ENDPOINT])
    endpoint = machine.retype(ObjectType.ENDPOINT, untyped=memory)
    thread, handler = faulting(machine)
    machine.grant(thread, endpoint, ENDPOINT)
    assert receive(thread) is None
    machine.revoke(memory)
    fault = got(next_fault(machine, handler))
    assert fault.label == FaultLabel.CAP_FAULT
    assert fault.words[1:] == (ENDPOINT, 1, LookupFailureKind.MISSING_CAPABILITY, 0)


def test_MANUAL0009_destroyed_endpoint_of_senders(machine: Machine) -> None:
    """Senders at a destroyed endpoint find an empty slot: a Call gets InvalidCapability(0), a Send goes on."""
    memory = machine.retype(ObjectType.UNTYPED, abi.FIXED_SIZE_BITS[ObjectType.ENDPOINT])
    endpoint = machine.retype(ObjectType.ENDPOINT, untyped=memory)
    caller, sender = senders(machine, endpoint, (80, 80))
    assert call(caller) is None
    assert send(sender) is None
    machine.revoke(memory)
    assert (got(caller.completion()).label, got(sender.completion()).info) == (Error.INVALID_CAPABILITY, 0)
