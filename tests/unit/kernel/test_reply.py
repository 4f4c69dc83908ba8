"""Reply objects, chains of calls, and the scheduling context that goes along (SEL4_API 2.9 and 2.12)."""

import pytest

from kerneld.objects.call_stack import HEAD
from kerneld.records import Reply, ThreadState
from libsel4py.abi import Label, ObjectType, Syscall
from tests.harness import OWN_REPLY, Thread

from .scene import ENDPOINT, OTHER, Scene, call, message, receive, reply, reply_object, reply_receive

REPLY = 3  # slot of the reply object that a server of a chain uses


class Chain:
    """A calls B, B calls C, and C could call D. B, C and D are passive, so A's scheduling context travels along.

    Attributes:
        context: that scheduling context. replies: slots of the initial task: the reply objects of B, C and D.
    """

    def __init__(self) -> None:
        self.scene = Scene()
        machine = self.scene.machine
        self.a = machine.thread("a")
        self.b, self.c, self.d = self.servers = [machine.thread(name, passive=True) for name in "bcd"]
        self.replies: dict[int, int] = {}
        for caller, server in zip([self.a, self.b, self.c], self.servers, strict=True):
            endpoint = machine.retype(ObjectType.ENDPOINT)
            machine.grant(server, endpoint, ENDPOINT)
            machine.grant(caller, endpoint, OTHER)
            self.replies[server.tcb.address] = machine.retype(ObjectType.REPLY)
            machine.grant(server, self.replies[server.tcb.address], REPLY)
            self._start(server)
        context = self.a.tcb.sched_context
        assert context is not None
        self.context = context

    def _start(self, server: Thread) -> None:
        """Let a passive server run just long enough to wait."""
        root = self.scene.machine.root
        borrowed = self.scene.machine.sched_context()
        root.call(borrowed, Label.SCHED_CONTEXT_BIND, (), [server.cap])
        assert server.syscall(Syscall.RECV, ENDPOINT, reply=REPLY) is None
        root.call(borrowed, Label.SCHED_CONTEXT_UNBIND)
        assert server.tcb.sched_context is None

    def call(self, caller: Thread, server: Thread) -> None:
        assert caller.syscall(Syscall.CALL, OTHER, words=(1,)) is None
        assert message(server.completion()) == (0, 0, (1,))

    def call_to_c(self) -> None:
        """Now C works for B, which works for A."""
        self.call(self.a, self.b)
        self.call(self.b, self.c)

    def answer(self, server: Thread, caller: Thread) -> None:
        assert server.syscall(Syscall.REPLY_RECV, ENDPOINT, words=(2,), reply=REPLY) is None
        assert message(caller.completion()) == (0, 0, (2,))

    def reply(self, server: Thread) -> Reply:
        return Reply(self.scene.machine.ram, self.scene.machine.slot(self.replies[server.tcb.address]).object)

    def delete_reply(self, server: Thread) -> None:
        slot = self.replies[server.tcb.address]
        self.scene.machine.revoke(slot)
        self.scene.machine.delete(slot)

    def states(self) -> list[ThreadState]:
        return [thread.state for thread in (self.a, *self.servers)]


RUNNING, INACTIVE = ThreadState.RUNNING, ThreadState.INACTIVE
RECEIVING, WAITING = ThreadState.BLOCKED_ON_RECEIVE, ThreadState.BLOCKED_ON_REPLY


def test_the_context_travels_with_the_calls_and_comes_back_with_the_replies() -> None:
    chain = Chain()
    chain.call_to_c()
    assert chain.context.tcb == chain.c.tcb
    assert chain.states() == [WAITING, WAITING, RUNNING, RECEIVING]
    lower, upper = chain.reply(chain.b), chain.reply(chain.c)
    assert (chain.context.reply, upper.prev, lower.prev) == (upper, lower, None)
    assert (upper.next_word, lower.next_word) == (chain.context.address | HEAD, upper.address)
    chain.answer(chain.c, chain.b)
    assert (chain.context.tcb, chain.context.reply) == (chain.b.tcb, lower)
    chain.answer(chain.b, chain.a)
    assert (chain.context.tcb, chain.context.reply, chain.a.tcb.sched_context) == (chain.a.tcb, None, chain.context)
    assert chain.states() == [RUNNING, RECEIVING, RECEIVING, RECEIVING]


def test_a_server_with_a_context_of_its_own_is_lent_none() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    receive(server)
    call(client)
    context = client.tcb.sched_context
    assert context is not None
    assert (context.tcb, context.reply, reply_object(scene, server).next_word) == (client.tcb, None, 0)


def test_deleting_the_head_gives_the_context_back_to_its_caller_which_stops() -> None:
    chain = Chain()
    chain.call_to_c()
    chain.delete_reply(chain.c)
    assert chain.context.tcb == chain.b.tcb
    assert chain.states() == [WAITING, INACTIVE, RUNNING, RECEIVING]
    assert chain.context.reply == chain.reply(chain.b)
    assert chain.reply(chain.b).next_word == chain.context.address | HEAD


def test_deleting_a_reply_in_the_middle_breaks_the_chain_there() -> None:
    chain = Chain()
    chain.call_to_c()
    chain.call(chain.c, chain.d)
    chain.delete_reply(chain.c)
    assert chain.states() == [WAITING, INACTIVE, WAITING, RUNNING]
    assert (chain.context.tcb, chain.context.reply) == (chain.d.tcb, chain.reply(chain.d))
    assert (chain.reply(chain.d).prev, chain.reply(chain.b).next_word) == (None, 0)
    chain.answer(chain.d, chain.c)
    assert (chain.context.tcb, chain.context.reply) == (chain.c.tcb, None)


def test_deleting_the_first_reply_loses_the_context_to_the_first_server() -> None:
    chain = Chain()
    chain.call_to_c()
    chain.delete_reply(chain.b)
    assert chain.states() == [INACTIVE, WAITING, RUNNING, RECEIVING]
    chain.answer(chain.c, chain.b)
    assert (chain.context.tcb, chain.context.reply, chain.a.tcb.sched_context) == (chain.b.tcb, None, None)


@pytest.mark.parametrize("which", ["a", "b"])
def test_suspending_a_caller_breaks_the_chain_and_leaves_the_context_where_it_is(which: str) -> None:
    chain = Chain()
    chain.call_to_c()
    caller = {"a": chain.a, "b": chain.b}[which]
    chain.scene.suspend(caller)
    assert (caller.state, chain.context.tcb) == (INACTIVE, chain.c.tcb)
    assert (chain.context.reply is None) == (which == "b")
    assert caller.tcb.reply is None
    chain.c.syscall(Syscall.SEND, REPLY)
    assert chain.context.tcb == (chain.b.tcb if which == "a" else chain.c.tcb)


def test_deleting_the_context_while_it_is_lent_stops_everybody() -> None:
    chain = Chain()
    chain.call_to_c()
    chain.scene.machine.revoke(chain.a.sched_context)
    chain.scene.machine.delete(chain.a.sched_context)
    assert {thread.tcb.sched_context for thread in (chain.a, *chain.servers)} == {None}
    assert chain.reply(chain.c).next_word == 0
    assert chain.states() == [WAITING, WAITING, RUNNING, RECEIVING]


def test_deleting_a_caller_in_the_chain_leaves_the_rest_consistent() -> None:
    chain = Chain()
    chain.call_to_c()
    chain.scene.machine.revoke(chain.b.cap)
    chain.scene.machine.delete(chain.b.cap)
    assert chain.context.tcb == chain.c.tcb
    assert (chain.reply(chain.c).tcb, chain.reply(chain.b).next_word) == (None, 0)


def test_deleting_the_server_that_holds_the_context_leaves_it_free() -> None:
    chain = Chain()
    chain.call_to_c()
    chain.scene.machine.revoke(chain.c.cap)
    chain.scene.machine.delete(chain.c.cap)
    assert chain.context.tcb is None
    chain.delete_reply(chain.c)
    assert (chain.context.tcb, chain.b.state) == (chain.b.tcb, INACTIVE)


def test_a_caller_that_got_another_context_meanwhile_keeps_it() -> None:
    chain = Chain()
    chain.call(chain.a, chain.b)
    other = chain.scene.machine.sched_context()
    chain.scene.machine.root.call(other, Label.SCHED_CONTEXT_BIND, (), [chain.a.cap])
    assert chain.b.syscall(Syscall.REPLY_RECV, ENDPOINT, words=(2,), reply=REPLY) is None
    assert message(chain.a.completion()) == (0, 0, (2,))
    assert chain.a.tcb.sched_context == chain.scene.context_record(other)
    assert (chain.context.tcb, chain.context.reply) == (chain.b.tcb, None)


@pytest.mark.parametrize(("op", "donates"), [(Syscall.NB_SEND_WAIT, True), (Syscall.NB_SEND_RECV, True)])
def test_a_double_call_donates_without_return(op: Syscall, donates: bool) -> None:
    chain = Chain()
    own = chain.scene.machine.retype(ObjectType.ENDPOINT)
    chain.scene.machine.grant(chain.a, own, ENDPOINT)
    assert chain.a.syscall(op, ENDPOINT, words=(1,), dest=OTHER, reply=OWN_REPLY) is None
    assert message(chain.b.completion()) == (0, 0, (1,))
    assert (chain.context.tcb == chain.b.tcb) is donates
    assert (chain.context.reply, chain.a.state) == (None, RECEIVING)


@pytest.mark.parametrize("op", [Syscall.SEND, Syscall.NB_SEND])
def test_a_plain_send_never_donates(op: Syscall) -> None:
    chain = Chain()
    assert chain.a.syscall(op, OTHER, words=(1,)) is not None
    assert (chain.context.tcb, chain.b.state) == (chain.a.tcb, RUNNING)
    assert chain.b.completion() is None  # it has the message and no time to look at it


def test_a_reply_that_nobody_waits_for_does_nothing() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    reply(server, (1,))
    assert server.invoke(OWN_REPLY) == (0, ())
    receive(server)
    call(client)
    server.completion()
    reply(server, (1,))
    assert message(client.completion()) == (0, 0, (1,))
    reply(server, (2,))
    assert client.completion() is None


def test_a_reply_object_with_a_waiting_receiver_answers_nobody() -> None:
    scene = Scene()
    server, other = scene.thread("server"), scene.thread("other")
    shared = scene.machine.retype(ObjectType.REPLY)
    for thread in (server, other):
        scene.machine.grant(thread, shared, REPLY)
    assert server.syscall(Syscall.RECV, ENDPOINT, reply=REPLY) is None
    assert other.syscall(Syscall.SEND, REPLY) is not None
    assert server.state is RECEIVING


def test_deleting_the_reply_object_of_a_waiting_receiver_stops_it() -> None:
    scene = Scene()
    server = scene.thread("server")
    slot = scene.machine.retype(ObjectType.REPLY)
    scene.machine.grant(server, slot, REPLY)
    server.syscall(Syscall.RECV, ENDPOINT, reply=REPLY)
    scene.machine.revoke(slot)
    scene.machine.delete(slot)
    assert (server.state, scene.endpoint_record().head) == (INACTIVE, None)


def test_resuming_a_caller_calls_again() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    receive(server)
    call(client, (4,))
    server.completion()
    scene.suspend(client)
    assert receive(server) is None
    scene.resume(client)
    assert message(server.completion()) == (0, 0, (4,))
    reply_receive(server, (5,))
    assert message(client.completion()) == (0, 0, (5,))
