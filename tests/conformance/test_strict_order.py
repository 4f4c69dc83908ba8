"""Virtual cores: who is next where several could be, and what scheduling contexts go through (manual 6.1)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py.abi import InitialSlot, Label, ObjectType, Syscall
from tests.conformance.scenes import ENDPOINT, FREE, NOTIFICATION, SCHED_CONTROL
from tests.conformance.strict_scene import STEP_US, YIELD, Program, Stage, Step, calls, invoke, times, works, yields_to
from tests.harness import OWN_CNODE, OWN_REPLY, OWN_SCHED_CONTEXT, OWN_TCB, THREAD_CNODE_BITS

OTHER = FREE + 1


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_STRICT0024_bound_goes_before(stage: Stage) -> None:
    """A thread that becomes ready since a scheduling context is bound to it is the next of its priority, though the
    binder has the same one and goes on."""
    machine = stage.machine
    context = machine.retype(ObjectType.SCHED_CONTEXT, 7)
    stage.configure(context, 5000, 5000)

    def binds() -> Program:
        yield invoke(FREE, Label.SCHED_CONTEXT_BIND, (), (OTHER,))
        yield from works(1)

    passive = stage.thread("passive", works(1), passive=True)
    stage.thread("bystander", works(1))
    chief = stage.thread("chief", binds())
    machine.grant(chief, context, FREE)
    machine.grant(chief, passive.cap, OTHER)
    assert calls(stage.play()) == "ccc" + "pp" + "bb"


def test_STRICT0025_cancelled_goes_before(stage: Stage) -> None:
    """So is a thread whose send is cancelled: it makes that system call again when it has the core."""
    machine = stage.machine
    endpoint = machine.retype(ObjectType.ENDPOINT)

    def sends() -> Program:
        yield Step(Syscall.SEND, ENDPOINT)

    def cancels() -> Program:
        yield invoke(OWN_CNODE, Label.CNODE_CANCEL_BADGED_SENDS, (FREE, THREAD_CNODE_BITS))
        yield from works(1)

    stage.thread("bystander", works(1))
    chief = stage.thread("chief", cancels())
    sender = stage.thread("sender", sends())
    machine.grant(sender, endpoint, ENDPOINT, badge=7)
    machine.grant(chief, endpoint, FREE, badge=7)
    assert calls(stage.play()) == "s" + "ccc" + "s" + "bb"
    assert sender.state is ThreadState.BLOCKED_ON_SEND


def test_STRICT0026_same_priority_again(stage: Stage) -> None:
    """A thread that is given the priority, or the domain, that it has becomes the first of those that wait with it."""

    def sets() -> Program:
        yield invoke(FREE, Label.TCB_SET_PRIORITY, (100,), (OWN_TCB,))
        yield from works(1)
        yield invoke(OTHER, Label.DOMAIN_SET, (0,), (FREE + 2,))

    a, b, c = (stage.thread(name, works(1)) for name in "abc")
    stage.thread("z", works(1))
    chief = stage.thread("chief", sets(), priority=101)
    for cap, slot in ((a.cap, FREE), (InitialSlot.DOMAIN, OTHER), (b.cap, FREE + 2)):
        stage.machine.grant(chief, cap, slot)
    assert c.tcb.waits_turn == 1
    assert calls(stage.play())[4:] == "bb" + "aa" + "zz" + "cc"


def test_STRICT0027_configured_while_it_waits(stage: Stage) -> None:
    """A thread whose scheduling context is configured while it waits for its turn waits as one that was woken."""

    def configures() -> Program:
        yield invoke(FREE, Label.SCHED_CONTROL_CONFIGURE_FLAGS, (5000, 5000, 0, 0, 0), (OTHER,))
        yield from works(1)

    stage.thread("last", works(1))
    first = stage.thread("first", works(1))
    chief = stage.thread("chief", configures())
    stage.machine.grant(chief, SCHED_CONTROL, FREE)
    stage.machine.grant(chief, first.sched_context, OTHER)
    assert calls(stage.play()) == "ccc" + "ll" + "ff"


def test_STRICT0028_slice_is_not_renewed(stage: Stage) -> None:
    """A thread that configures its own context as it was gets no whole new slice by that, and none by waiting."""
    notification = stage.machine.retype(ObjectType.NOTIFICATION)

    def configures() -> Program:
        yield invoke(
            FREE, Label.SCHED_CONTROL_CONFIGURE_FLAGS, (4 * STEP_US, 4 * STEP_US, 0, 0, 0), (OWN_SCHED_CONTEXT,)
        )
        yield from works(6)

    def waits() -> Program:
        yield Step(Syscall.WAIT, NOTIFICATION)
        yield from works(4)

    def wakes() -> Program:
        yield from works(1)
        yield Step(Syscall.SEND, NOTIFICATION)
        yield from works(5)

    peer = stage.thread("peer", wakes(), budget=4 * STEP_US, period=4 * STEP_US)
    waiter = stage.thread("waiter", waits(), budget=2 * STEP_US, period=2 * STEP_US)
    own = stage.thread("own", configures(), budget=4 * STEP_US, period=4 * STEP_US)
    stage.machine.grant(own, SCHED_CONTROL, FREE)
    for thread in (peer, waiter):
        stage.machine.grant(thread, notification, NOTIFICATION)
    # The waiter has used one of its two steps when it waits, and goes on with one.
    assert calls(stage.play()) == "oooo" + "w" + "pppp" + "oooo" + "w" + "pppp" + "ww" + "ww"


def test_STRICT0029_refills_of_the_same_time(stage: Stage) -> None:
    """Threads whose refills come at the same time become ready together: the one whose context comes last goes first,
    as of any that are woken together, and the one that they interrupt is the first of its own priority."""
    stage.thread("a", works(1), budget=STEP_US, period=9 * STEP_US)
    stage.thread("b", works(1), budget=STEP_US, period=10 * STEP_US)
    stage.thread("low", works(10), priority=50)
    assert calls(stage.play()) == "b" + "a" + "llllllll" + "b" + "a" + "lll"


def test_STRICT0030_long_donation_chain(stage: Stage) -> None:
    """Along a chain of three passive servers of rising and falling priorities the caller's budget is used up at the
    chain's end; lower threads run until its refill, the last server goes on with that, and each reply gives it back."""
    machine = stage.machine
    endpoints = [machine.retype(ObjectType.ENDPOINT) for _ in range(3)]

    def serves(further: bool) -> Program:
        yield Step(Syscall.RECV, ENDPOINT, reply=OWN_REPLY)
        if further:
            yield Step(Syscall.CALL, FREE)
        else:
            yield from works(3)
        yield Step(Syscall.REPLY_RECV, ENDPOINT, reply=OWN_REPLY)

    def asks() -> Program:
        for number in range(3):
            yield invoke(FREE + number, Label.SCHED_CONTEXT_UNBIND)
        yield Step(Syscall.CALL, ENDPOINT)
        yield invoke(OWN_SCHED_CONTEXT, Label.SCHED_CONTEXT_CONSUMED)

    stage.thread("other", works(20), priority=50)
    client = stage.thread("client", asks(), priority=90, budget=8 * STEP_US, period=20 * STEP_US)
    servers = [
        stage.thread(name, serves(further), priority=priority)
        for name, further, priority in (("1", True, 130), ("2", True, 110), ("3", False, 120))
    ]
    for thread, own in zip((client, *servers), (0, 0, 1, 2), strict=True):
        machine.grant(thread, endpoints[own], ENDPOINT)
    for number, server in enumerate(servers):
        machine.grant(client, server.sched_context, FREE + number)
    for caller, called in ((servers[0], 1), (servers[1], 2)):
        machine.grant(caller, endpoints[called], FREE)
    events = stage.play()
    assert calls(events) == "132" + "cccc" + "12" + "33" + "o" * 12 + "33" + "2" + "1" + "cc" + "o" * 9
    assert stage.results["client"][4].words == (13 * STEP_US,)
    assert client.tcb.sched_context is not None


def test_STRICT0031_reply_to_one_without_budget(stage: Stage) -> None:
    """A caller whose budget the answer has used up goes on at its refill; the server is where it waits again."""
    machine = stage.machine
    endpoint = machine.retype(ObjectType.ENDPOINT)

    def serves() -> Program:
        yield Step(Syscall.RECV, ENDPOINT, reply=OWN_REPLY)
        yield Step(Syscall.REPLY_RECV, ENDPOINT, reply=OWN_REPLY)

    def asks() -> Program:
        yield invoke(FREE, Label.SCHED_CONTEXT_UNBIND)
        yield Step(Syscall.CALL, ENDPOINT)
        yield from works(1)

    client = stage.thread("client", asks(), budget=3 * STEP_US, period=10 * STEP_US)
    server = stage.thread("server", serves(), priority=130)
    stage.thread("other", works(9), priority=50)
    for thread in (client, server):
        machine.grant(thread, endpoint, ENDPOINT)
    machine.grant(client, server.sched_context, FREE)
    events = stage.play()
    assert calls(events) == "s" + "cc" + "s" + "ooooooo" + "cc" + "ooo"
    assert times(events, "client") == [0, 1, 10, 11]
    assert server.state is ThreadState.BLOCKED_ON_RECEIVE


def test_STRICT0032_notification_lends(stage: Stage) -> None:
    """A thread without a scheduling context that a signal wakes runs on the notification's, which pays for it, until it
    waits there again."""
    machine = stage.machine
    notification = machine.retype(ObjectType.NOTIFICATION)
    context = machine.retype(ObjectType.SCHED_CONTEXT, 7)
    stage.configure(context, 2 * STEP_US, 10 * STEP_US)
    machine.root.call(context, Label.SCHED_CONTEXT_BIND, (), (notification,))

    def waits() -> Program:
        yield Step(Syscall.WAIT, NOTIFICATION)
        yield from works(2)
        yield Step(Syscall.WAIT, NOTIFICATION)

    def signals() -> Program:
        yield invoke(OTHER, Label.SCHED_CONTEXT_UNBIND)
        yield Step(Syscall.SEND, NOTIFICATION)
        yield from works(9)
        yield invoke(FREE, Label.SCHED_CONTEXT_CONSUMED)

    waiter = stage.thread("waiter", waits(), priority=150)
    signaller = stage.thread("signaller", signals(), priority=50)
    for thread in (waiter, signaller):
        machine.grant(thread, notification, NOTIFICATION)
    machine.grant(signaller, waiter.sched_context, OTHER)
    machine.grant(signaller, context, FREE)
    assert calls(stage.play()) == "w" + "ss" + "ww" + "s" * 8 + "w" + "sss"
    assert stage.results["signaller"][11].words == (3 * STEP_US,)
    assert waiter.tcb.sched_context is None


def test_STRICT0033_own_domain(stage: Stage) -> None:
    """A thread that moves itself to another domain stops until that one's turn comes, and then goes on."""
    machine = stage.machine

    def moves() -> Program:
        yield invoke(FREE, Label.DOMAIN_SET, (1,), (OWN_TCB,))
        yield from works(1)

    mover = stage.thread("mover", moves(), priority=200)
    machine.grant(mover, InitialSlot.DOMAIN, FREE)
    stage.thread("low", works(5), priority=50)
    for index, (domain, duration) in enumerate(((0, 4 * STEP_US), (1, 3 * STEP_US))):
        machine.root.call(InitialSlot.DOMAIN, Label.DOMAIN_SCHEDULE_CONFIGURE, (index + 1, domain, duration))
    machine.root.call(InitialSlot.DOMAIN, Label.DOMAIN_SCHEDULE_SET_START, (1,))
    # The initial task has used a step of the first turn.
    assert calls(stage.play()) == "m" + "ll" + "mm" + "llll"


def test_STRICT0034_second_yield_to(stage: Stage) -> None:
    """Who yields to a context for which another one waits is told its consumption from then on, and the first one what
    was consumed until then; both have their answers when their turns come."""
    machine = stage.machine
    notification = machine.retype(ObjectType.NOTIFICATION)

    def works_and_signals() -> Program:
        yield from works(2)
        yield Step(Syscall.SEND, NOTIFICATION)
        yield from works(1)

    def waits_and_yields() -> Program:
        yield Step(Syscall.WAIT, NOTIFICATION)
        yield from yields_to(FREE)

    target = stage.thread("target", works_and_signals())
    first = stage.thread("first", yields_to(FREE))
    second = stage.thread("second", waits_and_yields())
    machine.root.call(second.cap, Label.TCB_SET_PRIORITY, (101,), (InitialSlot.TCB,))
    for thread in (first, second):
        machine.grant(thread, target.sched_context, FREE)
    for thread in (target, second):
        machine.grant(thread, notification, NOTIFICATION)
    assert calls(stage.play()) == "s" + "f" + "ttt" + "sss" + "tt" + "ff"
    assert stage.results["second"][1].words == (0,)
    assert stage.results["first"][0].words == (3 * STEP_US,)


def test_STRICT0035_woken_beside_one_of_another_domain(stage: Stage) -> None:
    """Who is woken by one of the same priority goes behind all others also where that one wakes a thread of a domain
    whose turn it is not."""
    machine = stage.machine
    endpoint = machine.retype(ObjectType.ENDPOINT)

    def serves() -> Program:
        yield Step(Syscall.RECV, ENDPOINT, reply=OWN_REPLY)
        yield YIELD
        yield invoke(FREE, Label.DOMAIN_SET, (1,), (OTHER,))
        yield Step(Syscall.REPLY_RECV, ENDPOINT, reply=OWN_REPLY)

    def asks() -> Program:
        yield Step(Syscall.CALL, ENDPOINT)

    def sends() -> Program:
        yield Step(Syscall.SEND, ENDPOINT)

    def yields_and_works() -> Program:
        yield YIELD
        yield from works(1)

    stage.thread("bystander", yields_and_works())
    sender = stage.thread("donor", sends())
    caller = stage.thread("caller", asks())
    server = stage.thread("server", serves())
    for thread in (sender, caller, server):
        machine.grant(thread, endpoint, ENDPOINT)
    machine.grant(server, InitialSlot.DOMAIN, FREE)
    machine.grant(server, caller.cap, OTHER)
    assert calls(stage.play()) == "s" + "c" + "s" + "d" + "b" + "sss" + "bb" + "d"
    assert caller.state is ThreadState.RUNNING
