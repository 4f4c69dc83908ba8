"""Virtual cores: who runs, exactly (manual 6.1; SEL4 `schedule`, `possibleSwitchTo`, `handleYield`)."""

from __future__ import annotations

import pytest

from libsel4py.abi import WORD_BITS, InitialSlot, Label, ObjectType, Syscall
from tests.conformance.scenes import ENDPOINT, FREE, NOTIFICATION, SCHED_CONTROL
from tests.conformance.strict_scene import (
    STEP_US,
    YIELD,
    Program,
    Stage,
    Step,
    calls,
    invoke,
    times,
    turns,
    works,
    yields,
    yields_to,
)
from tests.harness import OWN_REPLY, OWN_SCHED_CONTEXT, OWN_TCB, Machine, Refused

OTHER = FREE + 1


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_STRICT0001_priority(stage: Stage) -> None:
    """Of the threads that are ready, the one of the highest priority runs until it stops, then the next one."""
    for name, priority in (("low", 50), ("high", 150), ("middle", 100)):
        stage.thread(name, works(3), priority=priority)
    assert calls(stage.play()) == "hhhh" + "mmmm" + "llll"


def test_STRICT0002_woken_goes_before(stage: Stage) -> None:
    """A thread that is woken while a higher one runs is the first of its priority: the last one woken runs first."""
    for name in ("a", "b", "c"):
        stage.thread(name, works(2))
    events = stage.play()
    assert turns(events) == ["c", "b", "a"]
    assert calls(events) == "ccc" + "bbb" + "aaa"


def test_STRICT0003_yield(stage: Stage) -> None:
    """Yield puts a thread behind the others of its priority, and a lower one gets no turn by it."""
    for name in ("a", "b", "c"):
        stage.thread(name, yields(3))
    stage.thread("low", yields(1), priority=99)
    assert calls(stage.play()) == "cba" * 4 + "ll"


def test_STRICT0004_round_robin(stage: Stage) -> None:
    """A thread whose budget is its period goes behind the others of its priority when it has used it up."""
    for name in ("a", "b"):
        stage.thread(name, works(7), budget=3 * STEP_US, period=3 * STEP_US)
    assert calls(stage.play()) == "bbb" + "aaa" + "bbb" + "aaa" + "bb" + "aa"


def test_STRICT0005_slices_differ(stage: Stage) -> None:
    """Each thread's turn is as long as its own budget, and Yield begins a whole new one."""

    def yields_once() -> Program:
        yield YIELD
        yield from works(5)

    stage.thread("a", works(7), budget=2 * STEP_US, period=2 * STEP_US)
    stage.thread("b", yields_once(), budget=4 * STEP_US, period=4 * STEP_US)
    assert calls(stage.play()) == "b" + "aa" + "bbbb" + "aa" + "bb" + "aaaa"


def test_STRICT0006_higher_one_is_woken(stage: Stage) -> None:
    """A signal to a thread of higher priority lets that run at once; then the signaller goes on with its slice."""
    notification = stage.machine.retype(ObjectType.NOTIFICATION)

    def waits() -> Program:
        for _ in range(2):
            yield Step(Syscall.WAIT, NOTIFICATION)

    def signals() -> Program:
        for _ in range(2):
            yield Step(Syscall.SEND, NOTIFICATION)
            yield from works(1)

    high = stage.thread("high", waits(), priority=150)
    low = stage.thread("low", signals(), priority=50)
    peer = stage.thread("peer", works(1), priority=50)
    for thread in (high, low, peer):
        stage.machine.grant(thread, notification, NOTIFICATION)
    # The peer was resumed last and is before the signaller, which keeps its place before nobody after that.
    assert calls(stage.play()) == "h" + "pp" + "l" + "h" + "ll" + "h" + "ll"


def test_STRICT0007_equal_one_is_woken(stage: Stage) -> None:
    """A signal to a thread of the same priority lets the signaller go on; the other goes behind all others."""
    notification = stage.machine.retype(ObjectType.NOTIFICATION)

    def waits() -> Program:
        yield Step(Syscall.WAIT, NOTIFICATION)
        yield from works(1)

    def signals() -> Program:
        yield Step(Syscall.SEND, NOTIFICATION)
        yield YIELD
        yield from works(1)

    third = stage.thread("third", works(2))
    signaller = stage.thread("signaller", signals())
    waiter = stage.thread("waiter", waits())
    for thread in (third, signaller, waiter):
        stage.machine.grant(thread, notification, NOTIFICATION)
    assert calls(stage.play()) == "w" + "ss" + "ttt" + "ww" + "ss"


def test_STRICT0008_call_switches_directly(stage: Stage) -> None:
    """A call lets its receiver run next, before others of the same priority; so does the reply."""
    endpoint = stage.machine.retype(ObjectType.ENDPOINT)

    def serves() -> Program:
        yield Step(Syscall.RECV, ENDPOINT, reply=OWN_REPLY)
        for _ in range(2):
            yield Step(Syscall.REPLY_RECV, ENDPOINT, reply=OWN_REPLY)

    def asks() -> Program:
        for _ in range(2):
            yield Step(Syscall.CALL, ENDPOINT)

    bystander = stage.thread("bystander", works(2))
    client = stage.thread("client", asks())
    server = stage.thread("server", serves())
    for thread in (client, server):
        stage.machine.grant(thread, endpoint, ENDPOINT)
    assert calls(stage.play()) == "s" + "cs" + "cs" + "c" + "bbb"
    assert bystander.tcb.waits_turn == 0


def test_STRICT0009_priority_of_another(stage: Stage) -> None:
    """A priority that is raised above the caller's lets its thread run at once; lowered, the caller runs on."""
    low = stage.thread("low", works(2), priority=50)

    def raises() -> Program:
        yield invoke(FREE, Label.TCB_SET_PRIORITY, (101,), (OWN_TCB,))
        yield from works(1)

    chief = stage.thread("chief", raises())
    stage.machine.grant(chief, low.cap, FREE)
    assert calls(stage.play()) == "c" + "lll" + "cc"


def test_STRICT0010_own_priority(stage: Stage) -> None:
    """A thread that lowers its own priority below another's waits for that one, and its call is answered after it."""

    def lowers() -> Program:
        yield invoke(OWN_TCB, Label.TCB_SET_PRIORITY, (20,), (OWN_TCB,))
        yield from works(1)

    stage.thread("middle", works(1), priority=50)
    stage.thread("falling", lowers())
    assert calls(stage.play()) == "f" + "mm" + "ff"
    assert len(stage.results["falling"]) == 2


def test_STRICT0011_yield_to_equal(stage: Stage) -> None:
    """YieldTo lets the named thread run before all others of the caller's priority, the caller behind it; the answer
    says what it consumed."""
    last = stage.thread("last", works(4), budget=3 * STEP_US, period=3 * STEP_US)
    stage.thread("other", works(1))
    caller = stage.thread("caller", yields_to(FREE))
    stage.machine.grant(caller, last.sched_context, FREE)
    assert calls(stage.play()) == "c" + "lll" + "cc" + "oo" + "ll"
    assert stage.results["caller"][0].words == (3 * STEP_US,)


def test_STRICT0012_yield_to_lower(stage: Stage) -> None:
    """YieldTo to a thread of lower priority returns at once; that thread is the first of its priority then."""
    first = stage.thread("first", works(1), priority=50)
    stage.thread("second", works(1), priority=50)
    caller = stage.thread("caller", yields_to(FREE))
    stage.machine.grant(caller, first.sched_context, FREE)
    assert calls(stage.play()) == "ccc" + "ff" + "ss"
    assert stage.results["caller"][0].words == (0,)


def test_STRICT0013_yield_to_ends_with_the_context(stage: Stage) -> None:
    """A thread that waits by YieldTo gets its answer also where the scheduling context is deleted meanwhile."""

    def deletes_its_own() -> Program:
        yield invoke(OTHER, Label.CNODE_REVOKE, (target.sched_context, WORD_BITS))
        yield invoke(OTHER, Label.CNODE_DELETE, (target.sched_context, WORD_BITS))
        raise AssertionError("it runs without a scheduling context")

    target = stage.thread("target", deletes_its_own())
    caller = stage.thread("caller", yields_to(FREE))
    stage.machine.grant(target, InitialSlot.CNODE, OTHER)
    stage.machine.grant(caller, target.sched_context, FREE)
    assert calls(stage.play()) == "c" + "tt" + "cc"
    assert stage.results["caller"][0].words == (2 * STEP_US,)


def test_STRICT0014_donation_chain(stage: Stage) -> None:
    """Along a chain of calls through passive servers the caller's context pays for all, and nobody else of its priority
    runs before the chain's end."""
    machine = stage.machine
    endpoints = [machine.retype(ObjectType.ENDPOINT) for _ in range(2)]

    def serves(*, calls_further: bool) -> Program:
        yield Step(Syscall.RECV, ENDPOINT, reply=OWN_REPLY)
        if calls_further:
            yield Step(Syscall.CALL, FREE)
        yield from works(1)
        yield Step(Syscall.REPLY_RECV, ENDPOINT, reply=OWN_REPLY)

    def asks() -> Program:
        for server in (FREE, OTHER):
            yield invoke(server, Label.SCHED_CONTEXT_UNBIND)
        yield Step(Syscall.CALL, ENDPOINT)
        yield invoke(OWN_SCHED_CONTEXT, Label.SCHED_CONTEXT_CONSUMED)

    stage.thread("bystander", works(1))
    client = stage.thread("client", asks())
    proxy = stage.thread("proxy", serves(calls_further=True), priority=120)
    server = stage.thread("server", serves(calls_further=False), priority=130)
    for thread, own in ((client, 0), (proxy, 0), (server, 1)):
        machine.grant(thread, endpoints[own], ENDPOINT)
    machine.grant(proxy, endpoints[1], FREE)
    machine.grant(client, proxy.sched_context, FREE)
    machine.grant(client, server.sched_context, OTHER)
    assert calls(stage.play()) == "s" + "p" + "ccc" + "p" + "ss" + "pp" + "cc" + "bb"
    assert stage.results["client"][3].words == (9 * STEP_US,)


def test_STRICT0015_domains(stage: Stage) -> None:
    """Only threads of the domain whose turn it is run, whatever their priority, for as long as its entry says."""
    machine = stage.machine
    high = stage.thread("high", works(5), priority=200)
    stage.thread("low", works(4), priority=50)
    machine.root.call(InitialSlot.DOMAIN, Label.DOMAIN_SET, (1,), (high.cap,))
    for index, (domain, duration) in enumerate(((0, 2 * STEP_US), (1, 3 * STEP_US))):
        machine.root.call(InitialSlot.DOMAIN, Label.DOMAIN_SCHEDULE_CONFIGURE, (index + 1, domain, duration))
    machine.root.call(InitialSlot.DOMAIN, Label.DOMAIN_SCHEDULE_SET_START, (1,))
    assert calls(stage.play()) == "l" + "hhh" + "ll" + "hhh" + "ll"


def test_STRICT0016_no_channels(stage: Stage) -> None:
    """No thread listens to channels, so none is connected: what goes past the kernel nobody could order."""
    endpoint = stage.machine.retype(ObjectType.ENDPOINT)
    done = stage.machine.root.syscall(Syscall.LISTEN, endpoint)
    assert done is not None
    assert done.label == 3  # ILLEGAL_OPERATION
    channel = stage.machine.retype(ObjectType.CHANNEL)
    with pytest.raises(Refused, match="ILLEGAL_OPERATION"):
        stage.machine.root.call(channel, Label.CHANNEL_CONNECT, (), [endpoint])


def test_STRICT0017_same_again() -> None:
    """The same programs give the same events at the same times, however often they are played."""

    def events() -> list[object]:
        stage = Stage()
        for number in range(5):
            stage.thread(f"worker{number}", works(20), budget=(number + 2) * STEP_US, period=(number + 2) * STEP_US)
            stage.thread(f"yielder{number}", yields(9), priority=100 + number % 2)
        return list(stage.play())

    first = events()
    assert len(first) > 150
    assert all(events() == first for _ in range(2))


def test_STRICT0018_cores() -> None:
    """Each virtual core has a SchedControl capability, and runs the highest of the threads whose contexts it set."""
    machine = Machine(cores=2)
    threads = [machine.thread(f"thread{number}", priority=50 + number, start=False) for number in range(4)]
    for number, thread in enumerate(threads):
        control = SCHED_CONTROL + number % 2
        words = (5000, 5000, 0, 0, 0)
        machine.root.call(control, Label.SCHED_CONTROL_CONFIGURE_FLAGS, words, [thread.sched_context])
    for thread in threads:
        machine.root.call(thread.cap, Label.TCB_RESUME)
    assert [thread.tcb.waits_turn for thread in threads] == [1, 1, 1, 0]  # the initial task has core 0
    assert machine.root.syscall(Syscall.CALL, InitialSlot.TCB, label=Label.TCB_SUSPEND) is None
    assert [thread.tcb.waits_turn for thread in threads] == [1, 1, 0, 0]


def test_STRICT0019_replenishment(stage: Stage) -> None:
    """A thread that has used its budget up runs again one period after it had begun to use it, to the step."""
    stage.thread("bounded", works(7), budget=3 * STEP_US, period=10 * STEP_US)
    assert times(stage.play(), "bounded") == [0, 1, 2, 10, 11, 12, 20, 21]


def test_STRICT0020_lower_one_runs_meanwhile(stage: Stage) -> None:
    """Between the budget's end and its replenishment lower threads run, and are interrupted when it comes."""
    stage.thread("bounded", works(5), priority=150, budget=2 * STEP_US, period=6 * STEP_US)
    stage.thread("other", works(11), priority=50)
    assert calls(stage.play()) == "bb" + "oooo" + "bb" + "oooo" + "bb" + "oooo"


def test_STRICT0021_budget_goes_along(stage: Stage) -> None:
    """What a passive server does for a caller uses up the caller's budget; without any, the server waits for it."""
    endpoint = stage.machine.retype(ObjectType.ENDPOINT)

    def serves() -> Program:
        yield Step(Syscall.RECV, ENDPOINT, reply=OWN_REPLY)
        yield from works(4)
        yield Step(Syscall.REPLY_RECV, ENDPOINT, reply=OWN_REPLY)

    def asks() -> Program:
        yield invoke(FREE, Label.SCHED_CONTEXT_UNBIND)
        yield Step(Syscall.CALL, ENDPOINT)

    client = stage.thread("client", asks(), budget=4 * STEP_US, period=20 * STEP_US)
    server = stage.thread("server", serves(), priority=130)
    stage.thread("other", works(3), priority=50)
    for thread in (client, server):
        stage.machine.grant(thread, endpoint, ENDPOINT)
    stage.machine.grant(client, server.sched_context, FREE)
    events = stage.play()
    assert calls(events) == "s" + "cc" + "ss" + "oooo" + "sss" + "c"
    assert times(events, "server") == [0, 3, 4, 21, 22, 23]


def test_STRICT0022_yield_gives_the_budget_up(stage: Stage) -> None:
    """Yield of a thread whose budget is less than its period: it runs again with the next refill."""
    stage.thread("bounded", yields(2), budget=5 * STEP_US, period=10 * STEP_US)
    assert times(stage.play(), "bounded") == [0, 10, 20]


def test_STRICT0023_timeout_fault(stage: Stage) -> None:
    """A thread that has used its budget up stops with a timeout fault, at that step; its handler runs next, is told
    the context's badge and what was consumed, and the thread goes on at its refill."""
    machine = stage.machine
    endpoint = machine.retype(ObjectType.ENDPOINT)

    def handles() -> Program:
        yield Step(Syscall.RECV, ENDPOINT, reply=OWN_REPLY)
        yield Step(Syscall.REPLY_RECV, ENDPOINT, reply=OWN_REPLY)

    bounded = stage.thread("bounded", works(3), budget=2 * STEP_US, period=10 * STEP_US)
    handler = stage.thread("handler", handles(), priority=150)
    machine.grant(handler, endpoint, ENDPOINT)
    machine.root.call(bounded.cap, Label.TCB_SET_TIMEOUT_ENDPOINT, (), (endpoint,))
    events = stage.play()
    assert calls(events) == "h" + "bb" + "h" + "bb"
    assert times(events, "bounded") == [0, 1, 10, 11]
    told = stage.results["handler"][0]
    assert told.words[1] == 2 * STEP_US
