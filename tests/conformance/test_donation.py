"""Scheduling contexts that move along with calls (manual 6.1.5; sel4test's SCHED_CONTEXT group)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py.abi import Label, ObjectType, Syscall
from tests.conformance.scenes import (
    ENDPOINT,
    FREE,
    UNKNOWN_SYSCALL,
    answer,
    call,
    context_of,
    got,
    passive_server,
    receive,
    send,
    senders,
)
from tests.harness import OWN_REPLY, Machine, Thread


class Chain:
    """A client, a passive proxy and a passive server; each one's endpoint is in the slot ENDPOINT of the one behind."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.endpoints = [machine.retype(ObjectType.ENDPOINT) for _ in range(2)]
        self.proxy = passive_server(machine, self.endpoints[0], "proxy")
        self.server = passive_server(machine, self.endpoints[1])
        self.client = senders(machine, self.endpoints[0], (80,))[0]
        machine.grant(self.proxy, self.endpoints[1], FREE)

    def call_through(self) -> None:
        assert call(self.client) is None
        got(self.proxy.completion())
        assert call(self.proxy, cptr=FREE) is None
        got(self.server.completion())

    def holder(self) -> Thread | None:
        """Who runs on the client's scheduling context."""
        tcb = context_of(self.machine, self.client.sched_context).tcb
        return self.machine.threads[tcb.address] if tcb is not None else None


def answer_passively(thread: Thread) -> None:
    """Reply, and with the reply lose the scheduling context: the replier does not run on."""
    assert thread.syscall(Syscall.SEND, OWN_REPLY) is None
    assert thread.tcb.sched_context is None


@pytest.fixture
def chain(machine: Machine) -> Chain:
    return Chain(machine)


def drop_reply(machine: Machine, thread: Thread) -> None:
    """Delete all capabilities to the reply object in the thread's slot OWN_REPLY."""
    machine.revoke(thread.cnode + 2)
    machine.delete(thread.cnode + 2)


def test_SCHED_CONTEXT0001_call_donates(chain: Chain) -> None:
    """A Call to a server without a scheduling context lends it the caller's."""
    assert call(chain.client) is None
    assert chain.holder() is chain.proxy
    assert chain.client.tcb.sched_context is None
    assert chain.proxy.state is ThreadState.RUNNING


def test_SCHED_CONTEXT0002_reply_returns(chain: Chain) -> None:
    """The reply gives the scheduling context back to the caller."""
    assert call(chain.client) is None
    got(chain.proxy.completion())
    answer_passively(chain.proxy)
    assert chain.holder() is chain.client
    got(chain.client.completion())


def test_SCHED_CONTEXT0003_reply_recv_returns(chain: Chain) -> None:
    """ReplyRecv gives the scheduling context back, and the server waits without one for the next caller."""
    for number in range(3):
        assert call(chain.client, (number,)) is None
        assert got(chain.proxy.completion()).words == (number,)
        assert chain.proxy.syscall(Syscall.REPLY_RECV, ENDPOINT, reply=OWN_REPLY) is None
        got(chain.client.completion())
        assert chain.holder() is chain.client


def test_SCHED_CONTEXT0004_chain(chain: Chain) -> None:
    """Along a chain of calls the scheduling context goes to the last server, and back step by step."""
    chain.call_through()
    assert chain.holder() is chain.server
    answer_passively(chain.server)
    assert chain.holder() is chain.proxy
    got(chain.proxy.completion())
    answer_passively(chain.proxy)
    assert chain.holder() is chain.client


def test_SCHED_CONTEXT0005_active_server(machine: Machine) -> None:
    """A server with a scheduling context of its own is lent none."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    server, client = senders(machine, endpoint, (80, 80))
    assert receive(server) is None
    assert call(client) is None
    assert context_of(machine, client.sched_context).tcb == client.tcb
    assert context_of(machine, server.sched_context).tcb == server.tcb


@pytest.mark.parametrize("op", [Syscall.SEND, Syscall.NB_SEND])
def test_SCHED_CONTEXT0006_send_does_not_donate(chain: Chain, op: int) -> None:
    """Send and NBSend lend nothing: a passive receiver gets the message and does not run."""
    got(chain.client.syscall(op, ENDPOINT, words=(1,)))
    assert chain.holder() is chain.client
    assert chain.proxy.state is ThreadState.RUNNING
    assert chain.proxy.tcb.sched_context is None
    assert chain.proxy.completion() is None


@pytest.mark.parametrize("op", [Syscall.NB_SEND_RECV, Syscall.NB_SEND_WAIT])
def test_SCHED_CONTEXT0007_two_phase_send_donates(chain: Chain, op: int) -> None:
    """NBSendRecv and NBSendWait give the scheduling context away, and no reply brings it back."""
    machine = chain.machine
    machine.grant(chain.client, machine.retype(ObjectType.ENDPOINT), FREE)
    assert chain.client.syscall(op, FREE, dest=ENDPOINT, words=(1,), reply=OWN_REPLY) is None
    assert chain.holder() is chain.proxy
    assert got(chain.proxy.completion()).words == (1,)
    answer(chain.proxy)
    assert chain.holder() is chain.proxy
    assert chain.client.state is ThreadState.BLOCKED_ON_RECEIVE


def test_SCHED_CONTEXT0008_queued_call_donates(machine: Machine) -> None:
    """A Call that waited in the queue lends its scheduling context when a passive server takes it."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    server = passive_server(machine, endpoint)
    first, second = senders(machine, endpoint, (80, 80))
    assert call(first) is None
    assert call(second) is None
    got(server.completion())
    assert server.syscall(Syscall.REPLY_RECV, ENDPOINT, reply=OWN_REPLY) is not None
    assert context_of(machine, second.sched_context).tcb == server.tcb
    assert context_of(machine, first.sched_context).tcb == first.tcb


def test_SCHED_CONTEXT0009_deleted_head_returns(chain: Chain) -> None:
    """Deleting the reply object at the head of the chain gives its caller the context back; the caller is stopped."""
    chain.call_through()
    drop_reply(chain.machine, chain.server)
    assert chain.holder() is chain.proxy
    assert chain.proxy.state is ThreadState.INACTIVE


def test_SCHED_CONTEXT0010_deleted_context(chain: Chain) -> None:
    """Deleting a lent scheduling context leaves the whole chain without one."""
    chain.call_through()
    machine = chain.machine
    machine.revoke(chain.client.sched_context)
    machine.delete(chain.client.sched_context)
    threads = (chain.client, chain.proxy, chain.server)
    assert [thread.tcb.sched_context for thread in threads] == [None, None, None]
    chain.server.submit(Syscall.SEND, OWN_REPLY)
    machine.run()
    assert chain.proxy.state is ThreadState.BLOCKED_ON_REPLY


def test_SCHED_CONTEXT0011_caller_has_another(chain: Chain) -> None:
    """A caller that was given another scheduling context meanwhile does not get the lent one back."""
    machine = chain.machine
    assert call(chain.client) is None
    got(chain.proxy.completion())
    other = machine.sched_context()
    machine.root.call(other, Label.SCHED_CONTEXT_BIND, (), [chain.client.cap])
    answer(chain.proxy)
    assert chain.holder() is chain.proxy
    assert context_of(machine, other).tcb == chain.client.tcb
    got(chain.client.completion())


def test_SCHED_CONTEXT0012_suspended_caller(chain: Chain) -> None:
    """Suspending a caller leaves the scheduling context that it lent with the server."""
    assert call(chain.client) is None
    got(chain.proxy.completion())
    chain.machine.root.call(chain.client.cap, Label.TCB_SUSPEND)
    assert chain.holder() is chain.proxy
    answer(chain.proxy)
    assert chain.holder() is chain.proxy


def test_SCHED_CONTEXT0013_deleted_server(chain: Chain) -> None:
    """When a server is deleted while it runs on a lent context, nobody has that context: the caller goes on waiting."""
    assert call(chain.client) is None
    machine = chain.machine
    machine.revoke(chain.proxy.cap)
    machine.delete(chain.proxy.cap)
    assert chain.holder() is None
    assert chain.client.state is ThreadState.BLOCKED_ON_REPLY


def test_SCHED_CONTEXT0014_unbind_breaks_the_chain(chain: Chain) -> None:
    """SchedContext_Unbind takes a lent context from the server and from the chain: a reply does not return it."""
    assert call(chain.client) is None
    machine = chain.machine
    machine.root.call(chain.client.sched_context, Label.SCHED_CONTEXT_UNBIND)
    assert chain.holder() is None
    machine.root.call(chain.proxy.sched_context, Label.SCHED_CONTEXT_BIND, (), [chain.proxy.cap])
    got(chain.proxy.completion())
    answer(chain.proxy)
    assert chain.client.tcb.sched_context is None


def test_SCHED_CONTEXT0015_passive_fault_handler(machine: Machine) -> None:
    """A passive fault handler runs on the faulting thread's scheduling context, and gives it back with its reply."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    handler = passive_server(machine, endpoint)
    thread = machine.thread("faulter", fault_endpoint=endpoint)
    assert thread.syscall(UNKNOWN_SYSCALL) is None
    got(handler.completion())
    assert context_of(machine, thread.sched_context).tcb == handler.tcb
    answer_passively(handler)
    assert context_of(machine, thread.sched_context).tcb == thread.tcb


def test_SCHED_CONTEXT0016_received_by_a_late_context(chain: Chain) -> None:
    """A passive thread that got a message goes on as soon as a scheduling context is bound to it."""
    got(send(chain.client, (1,)))
    assert chain.proxy.completion() is None
    chain.machine.root.call(chain.proxy.sched_context, Label.SCHED_CONTEXT_BIND, (), [chain.proxy.cap])
    assert got(chain.proxy.completion()).words == (1,)
