"""Death notices: of what, when, to whom, and that they keep nothing alive. An object of sel4py."""

from __future__ import annotations

import pytest

from kerneld import caps, death_notices
from kerneld.death_notices import TOLD_AT_ONCE
from kerneld.records import CapType, DeathNotice, KernelRecord
from libsel4py import abi
from libsel4py.abi import DeathNoticeState, Error, InitialSlot, Label, ObjectType, Rights, Syscall
from tests.conformance.refusals import Refusal, Stock
from tests.conformance.scenes import (
    ENDPOINT,
    NOTIFICATION,
    bound,
    call,
    faulting,
    held,
    is_empty,
    poll,
    receive,
    resume,
)
from tests.harness import Machine

IDLE, WATCHING = DeathNoticeState.IDLE, DeathNoticeState.WATCHING
DESTROYED, ENDED = DeathNoticeState.DESTROYED, DeathNoticeState.PROCESS_ENDED
NO_COPIES = DeathNoticeState.NO_COPIES
WATCHABLE = (
    (ObjectType.TCB, 0),
    (ObjectType.ENDPOINT, 0),
    (ObjectType.NOTIFICATION, 0),
    (ObjectType.CNODE, 4),
    (ObjectType.SCHED_CONTEXT, 8),
    (ObjectType.REPLY, 0),
    (ObjectType.FRAME, 12),
    (ObjectType.VSPACE, 12),
    (ObjectType.CHANNEL, 0),
    (ObjectType.IO_SPACE, 12),
    (ObjectType.DEATH_NOTICE, 0),
)


@pytest.fixture
def bell(machine: Machine) -> int:
    return machine.retype(ObjectType.NOTIFICATION)


def watch(machine: Machine, target: int, bell: int, badge: int = 1) -> int:
    """A new notice that watches; its slot."""
    notice = machine.retype(ObjectType.DEATH_NOTICE)
    again(machine, notice, target, bell, badge)
    return notice


def again(machine: Machine, notice: int, target: int, bell: int, badge: int) -> None:
    machine.root.call(notice, Label.DEATH_NOTICE_WATCH, (), [target, machine.copy(bell, badge=badge)])


def read(machine: Machine, notice: int) -> tuple[int, ...]:
    return machine.root.call(notice, Label.DEATH_NOTICE_READ)


@pytest.mark.parametrize(("kind", "bits"), WATCHABLE, ids=lambda value: getattr(value, "name", ""))
def test_DEATHNOTICE0001_every_object(machine: Machine, bell: int, kind: ObjectType, bits: int) -> None:
    """The end of an object of any type but untyped memory is told, once, with the last capability and not before."""
    target = machine.retype(kind, bits)
    copy = machine.copy(target)
    notice = watch(machine, copy, bell, 4)
    machine.delete(target)
    assert (poll(machine, bell), read(machine, notice)) == (0, (WATCHING, 0))
    machine.delete(copy)
    assert (poll(machine, bell), read(machine, notice)) == (4, (DESTROYED, 0))
    assert poll(machine, bell) == 0


def test_DEATHNOTICE0002_keeps_nothing_alive(machine: Machine, bell: int) -> None:
    """A notice holds no capability to its target: revoking the memory destroys the target, and tells."""
    pool = machine.retype(ObjectType.UNTYPED, 12)
    target = machine.retype(ObjectType.ENDPOINT, untyped=pool)
    notice = watch(machine, target, bell)
    machine.revoke(pool)
    assert (poll(machine, bell), read(machine, notice)) == (1, (DESTROYED, 0))
    other = machine.retype(ObjectType.ENDPOINT, untyped=pool)
    assert held(machine, other).object == held(machine, pool).object
    machine.delete(other)
    assert poll(machine, bell) == 0, "what is made of the memory next is another object"


def test_DEATHNOTICE0003_process(machine: Machine, bell: int) -> None:
    """The end of a thread's process is told with its wait status, though the TCB lives on and is started again."""
    thread = machine.thread("mortal")
    notice = watch(machine, thread.cap, bell)
    machine.died(thread, 9)
    assert (poll(machine, bell), read(machine, notice)) == (1, (ENDED, 9))
    again(machine, notice, thread.cap, bell, 2)
    assert read(machine, notice) == (WATCHING, 0)
    resume(thread)
    assert poll(machine, bell) == 0
    thread.syscall(Syscall.EXIT, words=(3,))
    assert (poll(machine, bell), read(machine, notice)) == (2, (ENDED, 3 << 8))


def test_DEATHNOTICE0004_process_with_handler(machine: Machine, bell: int) -> None:
    """Who watches a thread is told as well as its fault handler is."""
    thread, endpoint = faulting(machine)
    watch(machine, thread.cap, bell)
    machine.died(thread, 11)
    assert poll(machine, bell) == 1
    fault = machine.root.syscall(Syscall.NB_RECV, endpoint, reply=machine.root.reply)
    assert fault is not None
    assert fault.words[3:5] == (abi.ExceptionNumber.DEATH, 11)


def test_DEATHNOTICE0005_process_with_its_vspace(machine: Machine, bell: int) -> None:
    """A process that ends with its VSpace, or because its thread gets another, has ended of a SIGKILL."""
    thread = machine.thread("spaceless", own_vspace=True)
    notice = watch(machine, thread.cap, bell)
    words = (abi.cnode_cap_data(0, 56), 0)
    machine.root.call(thread.cap, Label.TCB_SET_SPACE, words, [0, thread.cnode, InitialSlot.VSPACE])
    assert (poll(machine, bell), read(machine, notice)) == (1, (ENDED, 9))


def test_DEATHNOTICE0006_cancel(machine: Machine, bell: int) -> None:
    """Cancel ends the watch, and gives back the notification capability."""
    target = machine.retype(ObjectType.ENDPOINT)
    notice = watch(machine, target, bell)
    machine.root.call(notice, Label.DEATH_NOTICE_CANCEL)
    assert read(machine, notice) == (IDLE, 0)
    assert DeathNotice(machine.ram, held(machine, notice).object).slot.word0 == 0
    machine.delete(target)
    assert poll(machine, bell) == 0
    machine.root.call(notice, Label.DEATH_NOTICE_CANCEL)


def test_DEATHNOTICE0007_own_end(machine: Machine, bell: int) -> None:
    """A notice that is destroyed does not tell; the others that watch the same do."""
    target = machine.retype(ObjectType.ENDPOINT)
    notices = [watch(machine, target, bell, 1 << number) for number in range(4)]
    for number in (0, 2):
        machine.delete(notices[number])
    machine.delete(target)
    assert poll(machine, bell) == 0b1010


def test_DEATHNOTICE0008_watches_itself(machine: Machine, bell: int) -> None:
    """A notice made of another's memory watches itself: who takes the memory back cannot do so in silence."""
    pool = machine.retype(ObjectType.UNTYPED, 12)
    notice = machine.retype(ObjectType.DEATH_NOTICE, untyped=pool)
    again(machine, notice, notice, bell, 8)
    machine.revoke(pool)
    assert is_empty(machine, notice)
    assert poll(machine, bell) == 8


def test_DEATHNOTICE0009_notification_revoked(machine: Machine, bell: int) -> None:
    """A notice whose notification is revoked is told of the end, and signals nothing."""
    memory = machine.retype(ObjectType.UNTYPED, 12)
    own = machine.retype(ObjectType.NOTIFICATION, untyped=memory)
    target = machine.retype(ObjectType.ENDPOINT)
    notice = watch(machine, target, own)
    machine.revoke(memory)
    machine.delete(target)
    assert read(machine, notice) == (DESTROYED, 0)


def test_DEATHNOTICE0010_notification_outlives_its_capability(machine: Machine) -> None:
    """A notice holds its notification, as an interrupt's handler does: the signal comes to who waits there."""
    own = machine.retype(ObjectType.NOTIFICATION)
    thread, _ = bound(machine, own)
    target = machine.retype(ObjectType.ENDPOINT)
    watch(machine, target, own, 16)
    machine.delete(own)
    assert receive(thread) is None
    machine.delete(target)
    done = thread.completion()
    assert done is not None
    assert done.badge == 16


def test_DEATHNOTICE0011_both_at_once(machine: Machine) -> None:
    """A notification's end is told by another. A notice that watches what it signals keeps it alive."""
    first, second = machine.retype(ObjectType.NOTIFICATION), machine.retype(ObjectType.NOTIFICATION)
    crossed, own = (machine.retype(ObjectType.DEATH_NOTICE) for _ in range(2))
    machine.root.call(crossed, Label.DEATH_NOTICE_WATCH, (), [first, second])
    machine.delete(first)
    assert read(machine, crossed) == (DESTROYED, 0)
    machine.root.call(own, Label.DEATH_NOTICE_WATCH, (), [second, second])
    machine.root.call(crossed, Label.DEATH_NOTICE_CANCEL)
    machine.delete(second)
    assert read(machine, own) == (WATCHING, 0), "the notice's own capability is the last"
    machine.root.call(own, Label.DEATH_NOTICE_CANCEL)
    assert read(machine, own) == (IDLE, 0)


def test_DEATHNOTICE0012_many(machine: Machine, bell: int) -> None:
    """The end of an object that many watch tells some at once and the others in transactions of their own, all once."""
    target = machine.retype(ObjectType.ENDPOINT)
    badged = machine.copy(bell, badge=1)
    first = machine.retype(ObjectType.DEATH_NOTICE, count=3 * TOLD_AT_ONCE)
    notices = list(range(first, first + 3 * TOLD_AT_ONCE))
    machine.check = False
    for notice in notices:
        machine.root.call(notice, Label.DEATH_NOTICE_WATCH, (), [target, badged])
    machine.check = True
    machine.root.submit(Syscall.CALL, InitialSlot.CNODE, abi.message_info(Label.CNODE_DELETE, 2), (target, 64))
    steps = []
    while machine.kernel.take(machine.root.tcb) or machine.kernel.continue_one():
        machine.settle()
        steps.append(sum(_state(machine, notice) == DESTROYED for notice in notices))
    assert steps == [TOLD_AT_ONCE, 2 * TOLD_AT_ONCE, 3 * TOLD_AT_ONCE]
    assert machine.root.completion() is not None
    assert KernelRecord.of(machine.ram).watched is None


def _state(machine: Machine, notice: int) -> int:
    return DeathNotice(machine.ram, held(machine, notice).object).state


def test_DEATHNOTICE0013_leave_while_telling(machine: Machine, bell: int) -> None:
    """A notice that is cancelled or destroyed while it is still to be told is not told; the rest are."""
    targets = [machine.retype(ObjectType.ENDPOINT) for _ in range(3)]
    machine.check = False
    notices = [watch(machine, target, bell) for target in targets for _ in range(2 * TOLD_AT_ONCE + 2)]
    machine.check = True
    core = machine.kernel.core
    for target in targets:  # the first one tells; then nobody lets the kernel go on
        with machine.ram.transaction():
            death_notices.object_destroyed(core, caps.read(machine.slot(target)))
        machine.assert_invariants()
    waiting = [notice for notice in notices if _state(machine, notice) == WATCHING]
    firsts = [each for each in waiting if DeathNotice(machine.ram, held(machine, each).object).is_telling]
    assert len(firsts) >= 2
    left = [firsts[0], firsts[-1], waiting[-1], waiting[1]]
    for notice in left:
        with machine.ram.transaction():
            death_notices.leave(core, DeathNotice(machine.ram, held(machine, notice).object))
        machine.assert_invariants()
    machine.run()
    assert {each for each in notices if _state(machine, each) != DESTROYED} == set(left)


def test_DEATHNOTICE0014_errors(machine: Machine) -> None:
    """Watch checks: label, two capabilities, that it watches nothing yet, the target, then the notification."""
    stock = Stock(machine)
    label = Label.DEATH_NOTICE_WATCH
    for refusal in (
        Refusal(label, Error.TRUNCATED_MESSAGE, drop_caps=1),
        Refusal(label, Error.DELETE_FIRST, (), caps={0: "null", 1: "null"}, cptr="watching"),
        Refusal(label, Error.INVALID_CAPABILITY, (1,), caps={0: "untyped", 1: "read_only"}),
        Refusal(label, Error.INVALID_CAPABILITY, (1,), caps={0: "null"}),
        Refusal(label, Error.INVALID_CAPABILITY, (1,), caps={0: "handler"}),
        Refusal(label, Error.INVALID_CAPABILITY, (1,), caps={0: "sched_control"}),
        Refusal(label, Error.INVALID_CAPABILITY, (2,), caps={1: "read_only"}),
        Refusal(label, Error.INVALID_CAPABILITY, (2,), caps={1: "endpoint"}),
        Refusal(label, Error.NO_ERROR, (), caps={1: "write_only"}),
    ):
        assert stock.invoke(refusal) == (refusal.error, refusal.payload), str(refusal)


def test_DEATHNOTICE0015_any_right(machine: Machine, bell: int) -> None:
    """Any capability to the target will do, without rights as well: it is gone with the object in any case."""
    target = machine.retype(ObjectType.ENDPOINT)
    thread = machine.thread("asker")
    notice = machine.retype(ObjectType.DEATH_NOTICE)
    machine.grant(thread, target, ENDPOINT, Rights.NONE)
    machine.grant(thread, bell, NOTIFICATION, Rights.WRITE, 2)
    machine.grant(thread, notice, 9)
    assert thread.invoke(9, Label.DEATH_NOTICE_WATCH, (), [ENDPOINT, NOTIFICATION]) == (Error.NO_ERROR, ())
    machine.delete(target)
    assert poll(machine, bell) == 0
    machine.root.call(thread.cnode, Label.CNODE_DELETE, (ENDPOINT, 8))
    assert poll(machine, bell) == 2


def test_DEATHNOTICE0016_busy_tree(machine: Machine, bell: int) -> None:
    """Whatever is watched, cancelled and destroyed in between, each end finds its own notices."""
    machine.check = False
    targets = list(range(first := machine.retype(ObjectType.ENDPOINT, count=40), first + 40))
    notices = {target: watch(machine, target, bell, 1 << number % 8) for number, target in enumerate(targets)}
    machine.check = True
    for number, target in enumerate(targets):
        if number % 3 == 0:
            machine.root.call(notices[target], Label.DEATH_NOTICE_CANCEL)
    order = sorted(targets, key=lambda target: (target * 7) % 40)
    for target in order:
        number = targets.index(target)
        machine.delete(target)
        assert poll(machine, bell) == (0 if number % 3 == 0 else 1 << number % 8)
    assert held(machine, notices[targets[0]]).type is CapType.DEATH_NOTICE


# --- the copies of a capability


def watch_copies(machine: Machine, target: int, bell: int, badge: int = 1) -> int:
    notice = machine.retype(ObjectType.DEATH_NOTICE)
    machine.root.call(notice, Label.DEATH_NOTICE_WATCH_COPIES, (), [target, machine.copy(bell, badge=badge)])
    return notice


@pytest.fixture
def session(machine: Machine) -> int:
    """A badge of an endpoint's, of which a server hands out copies."""
    return machine.copy(machine.retype(ObjectType.ENDPOINT), badge=7)


def test_DEATHNOTICE0017_no_copies(machine: Machine, bell: int, session: int) -> None:
    """The end of the last capability derived from one is told, whoever had it, and not before."""
    client, other = machine.thread("client"), machine.thread("other")
    machine.grant(client, session, ENDPOINT)
    notice = watch_copies(machine, session, bell, 4)
    machine.root.call(other.cnode, Label.CNODE_COPY, (ENDPOINT, 8, ENDPOINT, 8, Rights.WRITE), [client.cnode])
    machine.root.call(client.cnode, Label.CNODE_DELETE, (ENDPOINT, 8))
    assert (poll(machine, bell), read(machine, notice)) == (0, (WATCHING, 0))
    machine.root.call(other.cnode, Label.CNODE_MOVE, (9, 8, ENDPOINT, 8), [other.cnode])
    assert poll(machine, bell) == 0, "it is elsewhere, and there"
    machine.root.call(other.cnode, Label.CNODE_DELETE, (9, 8))
    assert (poll(machine, bell), read(machine, notice)) == (4, (NO_COPIES, 0))
    machine.delete(machine.copy(session))
    assert poll(machine, bell) == 0, "it was told once"


def test_DEATHNOTICE0018_other_badges(machine: Machine, bell: int) -> None:
    """Badges are told apart, whatever the order in which they were minted and copied; the first one counts them all."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    sessions = {badge: machine.copy(endpoint, badge=badge) for badge in (1, 2, 4)}
    again = machine.copy(endpoint, badge=2)  # the same badge, by another capability
    copies = {badge: [machine.copy(session), machine.copy(session)] for badge, session in sessions.items()}
    machine.copy(again)
    for badge, session in sessions.items():
        watch_copies(machine, session, bell, badge)
    for badge in (2, 4, 1):
        machine.delete(copies[badge][1])
        assert poll(machine, bell) == 0
        machine.delete(copies[badge][0])
        assert poll(machine, bell) == badge
    watch_copies(machine, endpoint, bell, 8)
    for slot in (*sessions.values(), again):
        assert poll(machine, bell) == 0
        machine.delete(slot)
    assert poll(machine, bell) == 0, "a copy of the last one's is left"
    machine.revoke(endpoint)
    assert poll(machine, bell) == 8


def test_DEATHNOTICE0019_a_new_copy_suppresses_it(machine: Machine, bell: int, session: int) -> None:
    """A copy that is made before the last one goes keeps it from being told. Where there is none it is told at once."""
    first = machine.copy(session)
    notice = watch_copies(machine, session, bell)
    second = machine.copy(session)
    machine.delete(first)
    assert (poll(machine, bell), read(machine, notice)) == (0, (WATCHING, 0))
    machine.delete(second)
    assert poll(machine, bell) == 1
    none = watch_copies(machine, session, bell, 2)
    assert (poll(machine, bell), read(machine, none)) == (2, (NO_COPIES, 0))
    third = machine.copy(session)  # made between the telling and the look: who asks again hears that there is one
    machine.root.call(none, Label.DEATH_NOTICE_WATCH_COPIES, (), [session, bell])
    assert (poll(machine, bell), read(machine, none)) == (0, (WATCHING, 0))
    machine.delete(third)
    assert read(machine, none) == (NO_COPIES, 0)


def test_DEATHNOTICE0020_a_client_dies(machine: Machine, bell: int, session: int) -> None:
    """A client's CNode takes its copies along, also those in CNodes below and those of its threads' fault handlers."""
    pool = machine.retype(ObjectType.UNTYPED, 14)
    node = machine.retype(ObjectType.CNODE, 4, untyped=pool)
    inner = machine.retype(ObjectType.CNODE, 4, untyped=pool)
    for cnode, slot in ((node, 1), (inner, 0), (inner, 3)):
        machine.root.call(cnode, Label.CNODE_COPY, (slot, 4, session, 64, Rights.ALL), [InitialSlot.CNODE])
    thread = machine.thread("client")
    machine.grant(thread, session, 9)
    words = (abi.cnode_cap_data(0, 56), 0)
    machine.root.call(thread.cap, Label.TCB_SET_SPACE, words, [session, thread.cnode, InitialSlot.VSPACE])
    notice = watch_copies(machine, session, bell)
    machine.revoke(pool)
    machine.root.call(thread.cnode, Label.CNODE_DELETE, (9, 8))
    assert (poll(machine, bell), read(machine, notice)) == (0, (WATCHING, 0)), "its thread has one"
    machine.root.call(thread.cap, Label.TCB_SET_SPACE, words, [0, thread.cnode, InitialSlot.VSPACE])
    assert (poll(machine, bell), read(machine, notice)) == (1, (NO_COPIES, 0))


@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_DEATHNOTICE0021_the_capability_goes(machine: Machine, bell: int, session: int, how: str) -> None:
    """A capability that leaves its slot tells as an object does that is destroyed; its copies are what they were."""
    copy, notice = machine.copy(session), watch_copies(machine, session, bell)
    if how == "deleted":
        machine.delete(session)
    else:
        words = (machine.new_slots(), 64, session, 64)
        machine.root.call(InitialSlot.CNODE, Label.CNODE_MOVE, words, [InitialSlot.CNODE])
    assert (poll(machine, bell), read(machine, notice)) == (1, (DESTROYED, 0))
    assert held(machine, copy).badge == 7
    machine.delete(copy)
    assert poll(machine, bell) == 0


def test_DEATHNOTICE0022_cancel_and_more_than_one(machine: Machine, bell: int, session: int) -> None:
    """Several watch the same copies, each for itself; one that cancels, or is deleted, is not told."""
    copy = machine.copy(session)
    notices = [watch_copies(machine, session, bell, 1 << number) for number in range(4)]
    machine.root.call(notices[0], Label.DEATH_NOTICE_CANCEL)
    machine.delete(notices[2])
    machine.delete(copy)
    assert poll(machine, bell) == 0b1010
    alone = watch_copies(machine, session, bell, 16)
    assert poll(machine, bell) == 16
    machine.copy(session)
    machine.root.call(alone, Label.DEATH_NOTICE_WATCH_COPIES, (), [session, bell])
    machine.root.call(alone, Label.DEATH_NOTICE_CANCEL)
    assert read(machine, alone) == (IDLE, 0)
    machine.revoke(session)
    assert poll(machine, bell) == 0


def test_DEATHNOTICE0023_the_capability_goes_with_its_cnode(machine: Machine, bell: int) -> None:
    """One that is put aside, since the CNode around it ends inside of another one, has left its slot."""
    outer, inner = machine.retype(ObjectType.CNODE, 4), machine.retype(ObjectType.CNODE, 4)
    endpoint, idle = machine.retype(ObjectType.ENDPOINT), machine.retype(ObjectType.ENDPOINT)
    own = InitialSlot.CNODE
    machine.root.call(inner, Label.CNODE_MINT, (0, 4, endpoint, 64, Rights.ALL, 7), [own])
    copy = machine.new_slots()
    machine.root.call(own, Label.CNODE_COPY, (copy, 64, 0, 4, Rights.ALL), [inner])
    notice = watch(machine, idle, bell)
    with machine.ram.transaction():
        core, made = machine.kernel.core, DeathNotice(machine.ram, held(machine, notice).object)
        death_notices.leave(core, made)
        death_notices.watch(core, made, held(machine, inner).object)
    machine.root.call(outer, Label.CNODE_MOVE, (3, 4, inner, 64), [own])
    machine.delete(outer)
    assert (poll(machine, bell), read(machine, notice)) == (1, (DESTROYED, 0))
    assert held(machine, copy).badge == 7


def test_DEATHNOTICE0024_errors(machine: Machine) -> None:
    """Watch_copies checks as watch does; the target must be an endpoint's whose copies are its children."""
    stock = Stock(machine)
    label = Label.DEATH_NOTICE_WATCH_COPIES
    for refusal in (
        Refusal(label, Error.TRUNCATED_MESSAGE, drop_caps=1),
        Refusal(label, Error.DELETE_FIRST, (), caps={0: "null", 1: "null"}, cptr="watching"),
        Refusal(label, Error.INVALID_CAPABILITY, (1,), caps={0: "notification", 1: "read_only"}),
        Refusal(label, Error.INVALID_CAPABILITY, (1,), caps={0: "null"}),
        Refusal(label, Error.INVALID_CAPABILITY, (2,), caps={1: "read_only"}),
        Refusal(label, Error.INVALID_CAPABILITY, (2,), caps={1: "endpoint"}),
        Refusal(label, Error.NO_ERROR, (), caps={1: "write_only"}),
    ):
        assert stock.invoke(refusal) == (refusal.error, refusal.payload), str(refusal)
    session = machine.copy(machine.retype(ObjectType.ENDPOINT), badge=7)
    sibling, notice, bell = (
        machine.copy(session),
        machine.retype(ObjectType.DEATH_NOTICE),
        machine.retype(ObjectType.NOTIFICATION),
    )
    assert machine.root.invoke(notice, label, (), [sibling, bell]) == (Error.INVALID_CAPABILITY, (1,))


def test_DEATHNOTICE0025_what_was_sent_is_no_copy(machine: Machine, bell: int) -> None:
    """What was sent by the last copy is received behind the notice's signal, unless it is cancelled by the badge."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    session, client = machine.copy(endpoint, badge=7), machine.thread("client")
    for cancelled in (False, True):
        machine.grant(client, session, ENDPOINT)
        notice = watch_copies(machine, session, bell)
        assert call(client) is None
        machine.root.call(client.cnode, Label.CNODE_DELETE, (ENDPOINT, 8))
        assert (poll(machine, bell), read(machine, notice)) == (1, (NO_COPIES, 0))
        if cancelled:
            machine.root.call(InitialSlot.CNODE, Label.CNODE_CANCEL_BADGED_SENDS, (session, 64))
        received = machine.root.syscall(Syscall.NB_RECV, endpoint, reply=machine.root.reply)
        assert received is not None
        assert received.badge == (0 if cancelled else 7)
        if not cancelled:
            machine.root.syscall(Syscall.SEND, machine.root.reply)
            assert client.completion() is not None
