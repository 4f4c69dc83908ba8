"""Small systems, exhaustively: all that two threads can do with one endpoint, one notification and one reply object;
all that can be done to the capabilities of a few slots. Each state is compared with the specification.
"""

from __future__ import annotations

from functools import partial

import pytest

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights, Syscall
from tests import harness
from tests.model.exploration import Explorer, Operation
from tests.model.pair import Pair
from tests.model.specification import BLOCKED
from tests.model.system import State, Submission

NODE_BITS = 3
ENDPOINT, NOTIFICATION, REPLY = 1, 2, 3  # slots of both threads
BASE = 64  # the initial task's slots
ENDPOINT_SLOT, NOTIFICATION_SLOT, REPLY_SLOT, TCBS, NODES, CONTEXTS, FRAMES = (BASE + 2 * n for n in range(7))


def _small_pair() -> Pair:
    """A pair that makes its objects near the beginning of RAM, so that a state is small."""
    pair = Pair()
    pair.machine.untyped += 2
    return pair


def two_threads() -> tuple[Pair, tuple[harness.Thread, ...]]:
    """Both may send, receive, signal, wait and reply, by the same objects."""
    pair = _small_pair()
    root = pair.machine.root
    pair.retype(ObjectType.ENDPOINT, ENDPOINT_SLOT)
    pair.retype(ObjectType.NOTIFICATION, NOTIFICATION_SLOT)
    pair.retype(ObjectType.REPLY, REPLY_SLOT)
    pair.retype(ObjectType.TCB, TCBS, count=2)
    pair.retype(ObjectType.CNODE, NODES, NODE_BITS, 2)
    pair.retype(ObjectType.SCHED_CONTEXT, CONTEXTS, 8, 2)
    pair.retype(ObjectType.FRAME, FRAMES, abi.TRAP_FRAME_BITS, 2)
    threads = []
    for number in range(2):
        node, tcb, frame = NODES + number, TCBS + number, FRAMES + number
        pair.grant(node, ENDPOINT, NODE_BITS, ENDPOINT_SLOT, badge=1 + number)
        pair.grant(node, NOTIFICATION, NODE_BITS, NOTIFICATION_SLOT, badge=1 << number)
        pair.grant(node, REPLY, NODE_BITS, REPLY_SLOT)
        guard = abi.cnode_cap_data(0, abi.WORD_BITS - NODE_BITS)
        words = (guard, 0, pair.machine.slot(frame).object)
        pair.must(root, tcb, Label.TCB_CONFIGURE, words, [node, InitialSlot.VSPACE, frame])
        budget = (5000, 5000, 0, 0, 0)
        control = InitialSlot.FIRST_FREE
        pair.must(root, control, Label.SCHED_CONTROL_CONFIGURE_FLAGS, budget, [CONTEXTS + number])
        caps = [InitialSlot.TCB, CONTEXTS + number, 0]
        pair.must(root, tcb, Label.TCB_SET_SCHED_PARAMS, (100, 100), caps)
        threads.append(pair.adopt(tcb))
        pair.must(root, tcb, Label.TCB_RESUME)
    return pair, tuple(threads)


def _act(thread: harness.Thread, call: Submission, pair: Pair) -> bool:
    spec = pair.spec_thread(thread)
    idle = spec.state is State.RUNNING and spec.submission is None and spec.pending is None
    if idle and pair.system.may_run(spec):
        pair.syscall(thread, call)
        return True
    return False


def _cancel(thread: harness.Thread, pair: Pair) -> bool:
    spec = pair.spec_thread(thread)
    if spec.submission is not None and spec.state in BLOCKED and spec.fault is None and spec.context is not None:
        pair.cancel(thread)
        return True
    return False


def _manage(cptr: int, label: Label, words: tuple[int, ...], caps: tuple[int, ...], pair: Pair) -> bool:
    pair.invoke(pair.machine.root, cptr, label, words, caps)
    return True


def thread_operations(threads: tuple[harness.Thread, ...]) -> dict[str, Operation]:
    message = abi.message_info(1, 1)
    calls = {
        "send": Submission(Syscall.SEND, ENDPOINT, message, (5,)),
        "nb_send": Submission(Syscall.NB_SEND, ENDPOINT, message, (5,)),
        "call": Submission(Syscall.CALL, ENDPOINT, message, (5,)),
        "recv": Submission(Syscall.RECV, ENDPOINT, reply=REPLY),
        "nb_recv": Submission(Syscall.NB_RECV, ENDPOINT, reply=REPLY),
        "wait for message": Submission(Syscall.WAIT, ENDPOINT),
        "signal": Submission(Syscall.SEND, NOTIFICATION),
        "wait": Submission(Syscall.WAIT, NOTIFICATION),
        "poll": Submission(Syscall.NB_WAIT, NOTIFICATION),
        "reply": Submission(Syscall.SEND, REPLY, message, (6,)),
        "reply_recv": Submission(Syscall.REPLY_RECV, ENDPOINT, message, (6,), reply=REPLY),
        "nb_send_recv": Submission(Syscall.NB_SEND_RECV, ENDPOINT, message, (6,), reply=REPLY, dest=ENDPOINT),
        "nb_send_wait": Submission(Syscall.NB_SEND_WAIT, NOTIFICATION, message, (6,), dest=ENDPOINT),
    }
    operations: dict[str, Operation] = {}
    for number, thread in enumerate(threads):
        for name, call in calls.items():
            operations[f"{number} {name}"] = partial(_act, thread, call)
        operations[f"{number} cancel"] = partial(_cancel, thread)
        operations[f"suspend {number}"] = partial(_manage, TCBS + number, Label.TCB_SUSPEND, (), ())
        operations[f"resume {number}"] = partial(_manage, TCBS + number, Label.TCB_RESUME, (), ())
    return operations


def authority_operations() -> dict[str, Operation]:
    """What the initial task does to time and binding."""
    cnode = InitialSlot.CNODE
    badged = (NODES, Label.CNODE_CANCEL_BADGED_SENDS, (ENDPOINT, NODE_BITS), ())
    return {
        "bind": partial(_manage, TCBS, Label.TCB_BIND_NOTIFICATION, (), (NOTIFICATION_SLOT,)),
        "unbind": partial(_manage, TCBS, Label.TCB_UNBIND_NOTIFICATION, (), ()),
        "time away": partial(_manage, CONTEXTS + 1, Label.SCHED_CONTEXT_UNBIND, (), ()),
        "time back": partial(_manage, CONTEXTS + 1, Label.SCHED_CONTEXT_BIND, (), (TCBS + 1,)),
        "time to bell": partial(_manage, CONTEXTS + 1, Label.SCHED_CONTEXT_BIND, (), (NOTIFICATION_SLOT,)),
        "priority": partial(_manage, TCBS + 1, Label.TCB_SET_PRIORITY, (101,), (InitialSlot.TCB,)),
        "cancel badge": partial(_manage, *badged),
        "revoke reply": partial(_manage, cnode, Label.CNODE_REVOKE, (REPLY_SLOT, 64), ()),
        "revoke endpoint": partial(_manage, cnode, Label.CNODE_REVOKE, (ENDPOINT_SLOT, 64), ()),
    }


def slot_operations(slots: int) -> dict[str, Operation]:
    """Every change of one capability among a few slots of the initial task's CNode."""
    cnode = InitialSlot.CNODE
    operations: dict[str, Operation] = {}
    for first in range(slots):
        at = (BASE + first, abi.WORD_BITS)
        operations[f"delete {first}"] = partial(_manage, cnode, Label.CNODE_DELETE, at, ())
        operations[f"revoke {first}"] = partial(_manage, cnode, Label.CNODE_REVOKE, at, ())
        for second in range(slots):
            if first == second:
                continue
            words = (BASE + second, abi.WORD_BITS, *at)
            name = f"{first} to {second}"
            copies = partial(_manage, cnode, Label.CNODE_COPY, (*words, Rights.ALL), (cnode,))
            operations[f"copy {name}"] = copies
            badged = (*words, Rights.ALL, 1)
            operations[f"mint {name}"] = partial(_manage, cnode, Label.CNODE_MINT, badged, (cnode,))
            operations[f"move {name}"] = partial(_manage, cnode, Label.CNODE_MOVE, words, (cnode,))
    return operations


def explore_threads(longest: int, most: int, *, served: bool = False) -> Explorer:
    """All from the beginning on; or from where the second thread has served, and waits without time of its own."""
    pair, threads = two_threads()
    if served:
        pair.syscall(threads[1], Submission(Syscall.RECV, ENDPOINT, reply=REPLY))
        pair.must(pair.machine.root, CONTEXTS + 1, Label.SCHED_CONTEXT_UNBIND)
    explorer = Explorer(pair, thread_operations(threads) | authority_operations())
    explorer.explore(longest, most)
    return explorer


def explore_slots(slots: int, what: ObjectType, bits: int, longest: int = 1 << 30) -> Explorer:
    pair = _small_pair()
    pair.retype(what, BASE, bits)
    explorer = Explorer(pair, slot_operations(slots))
    explorer.explore(longest, most=1 << 30)
    return explorer


def report(what: str, explorer: Explorer, capsys: pytest.CaptureFixture[str]) -> None:
    end = "all there are" if explorer.complete else "up to the limit"
    with capsys.disabled():
        print(f"\n{what}: {explorer.states} states ({end}), {explorer.transitions} transitions")


@pytest.mark.parametrize("served", [False, True])
def test_two_threads_up_to_three_operations(served: bool, capsys: pytest.CaptureFixture[str]) -> None:
    explorer = explore_threads(longest=3, most=500, served=served)
    report("two threads, the second passive" if served else "two threads", explorer, capsys)
    assert explorer.states > 300


@pytest.mark.parametrize(("what", "bits"), [(ObjectType.UNTYPED, 8), (ObjectType.TCB, 0)])
def test_all_derivations_in_three_slots(what: ObjectType, bits: int, capsys: pytest.CaptureFixture[str]) -> None:
    explorer = explore_slots(3, what, bits)
    report(f"three slots and one {what.name}", explorer, capsys)
    assert explorer.complete


def test_derivations_of_an_endpoint_in_three_slots(capsys: pytest.CaptureFixture[str]) -> None:
    """Up to three changes: badges make many more states than other objects have."""
    explorer = explore_slots(3, ObjectType.ENDPOINT, 0, longest=3)
    report("three slots and one ENDPOINT", explorer, capsys)
    assert explorer.states > 50


@pytest.mark.slow
def test_two_threads_at_length(capsys: pytest.CaptureFixture[str]) -> None:
    explorer = explore_threads(longest=12, most=8000)
    report("two threads", explorer, capsys)
    assert explorer.states >= 8000 or explorer.complete


@pytest.mark.slow
@pytest.mark.parametrize(("slots", "what"), [(3, ObjectType.ENDPOINT), (4, ObjectType.TCB), (4, ObjectType.REPLY)])
def test_all_derivations_at_length(slots: int, what: ObjectType, capsys: pytest.CaptureFixture[str]) -> None:
    explorer = explore_slots(slots, what, 0)
    report(f"{slots} slots and one {what.name}", explorer, capsys)
    assert explorer.complete
