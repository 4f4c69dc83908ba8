"""Well-formed system calls of the hostile: what chance alone hardly ever puts together."""

from __future__ import annotations

import random
from collections.abc import Callable

from libsel4py import abi
from libsel4py.abi import Label, ObjectType, Rights, Syscall
from tests.harness import OWN_CNODE, OWN_REPLY, OWN_SCHED_CONTEXT, OWN_TCB, THREAD_CNODE_BITS, Thread
from tests.model.hostile import BELL, CHANNEL, OTHER_TCB, PAGE, POOL, SHARED, SPACE, Arena

FREE = tuple(range(9, 17))
MADE = (
    (ObjectType.ENDPOINT, 0),
    (ObjectType.TCB, 0),
    (ObjectType.REPLY, 0),
    (ObjectType.NOTIFICATION, 0),
    (ObjectType.CNODE, 2),
    (ObjectType.UNTYPED, 12),
    (ObjectType.FRAME, 12),
    (ObjectType.DEATH_NOTICE, 0),
    (ObjectType.SCHED_CONTEXT, 8),
)
Entry = tuple[int, int, int, tuple[int, ...], tuple[int, ...]]  # op, cptr, label, words, caps


def _call(cptr: int, label: int, words: tuple[int, ...] = (), caps: tuple[int, ...] = ()) -> Entry:
    return Syscall.CALL, cptr, label, words, caps


def _retype(rng: random.Random) -> Entry:
    words = (*rng.choice(MADE), 0, 0, rng.choice(FREE), 1)
    return _call(POOL, Label.UNTYPED_RETYPE, words, (OWN_CNODE,))


def _node(rng: random.Random) -> Entry:
    """Copies, badges and takes away."""
    to, source = (rng.choice(FREE), THREAD_CNODE_BITS), (rng.choice((SHARED, BELL, *FREE)), THREAD_CNODE_BITS)
    match rng.randrange(6):
        case 0 | 1:
            return _call(OWN_CNODE, Label.CNODE_MINT, (*to, *source, Rights.ALL, rng.randrange(3)), (OWN_CNODE,))
        case 2:
            return _call(OWN_CNODE, Label.CNODE_MOVE, (*to, *source), (OWN_CNODE,))
        case 3:
            return _call(OWN_CNODE, Label.CNODE_REVOKE, (rng.choice((POOL, POOL, SHARED, to[0])), THREAD_CNODE_BITS))
        case 4:
            return _call(OWN_CNODE, Label.CNODE_CANCEL_BADGED_SENDS, source)
        case _:
            return _call(OWN_CNODE, Label.CNODE_DELETE, to)


def _thread(rng: random.Random) -> Entry:
    """What one does to another by its TCB."""
    match rng.randrange(7):
        case 0:
            return _call(OTHER_TCB, Label.TCB_SET_PRIORITY, (rng.randrange(90, 100),), (OWN_TCB,))
        case 1:
            return _call(OTHER_TCB, Label.TCB_SUSPEND)
        case 2:
            return _call(OTHER_TCB, Label.TCB_RESUME)
        case 3:
            return _call(OTHER_TCB, Label.TCB_SET_SCHED_PARAMS, (100, 100), (OWN_TCB, 0, SHARED))
        case 4:
            return _call(OTHER_TCB, Label.TCB_BIND_NOTIFICATION, (), (BELL,))
        case 5:
            return _call(OTHER_TCB, Label.TCB_UNBIND_NOTIFICATION)
        case _:
            return _call(OWN_SCHED_CONTEXT, Label.SCHED_CONTEXT_BIND, (), (BELL,))


def _message(rng: random.Random) -> Entry:
    op = rng.choice((Syscall.CALL, Syscall.RECV, Syscall.RECV, Syscall.SEND, Syscall.NB_SEND, Syscall.REPLY_RECV))
    return op, SHARED, 1, (1, 2, 3), (rng.choice((BELL, POOL, *FREE)),)


def _answer(rng: random.Random) -> Entry:
    return Syscall.NB_SEND, OWN_REPLY, 2, (7,), (rng.choice(FREE),)


def _signal(rng: random.Random) -> Entry:
    return rng.choice((Syscall.NB_SEND, Syscall.WAIT, Syscall.NB_WAIT)), BELL, 0, (), ()


def _share(rng: random.Random) -> Entry:
    """Pages, channels, death notices."""
    match rng.randrange(5):
        case 0:
            address = abi.MAPPING_BASE + rng.randrange(4) * 4096
            return _call(rng.choice((PAGE, *FREE)), Label.FRAME_MAP, (address, Rights.READ, 0), (SPACE,))
        case 1:
            return _call(PAGE, Label.FRAME_UNMAP)
        case 2:
            return _call(CHANNEL, Label.CHANNEL_CONNECT, (), (rng.choice((SHARED, BELL)),))
        case 3:
            return Syscall.LISTEN, SHARED, 0, (), ()
        case _:
            return _call(rng.choice(FREE), Label.DEATH_NOTICE_WATCH, (), (rng.choice((OTHER_TCB, *FREE)), BELL))


KINDS: tuple[Callable[[random.Random], Entry], ...] = (
    _retype,
    _node,
    _thread,
    _message,
    _message,
    _answer,
    _signal,
    _share,
)


def act(arena: Arena, rng: random.Random) -> bool:
    """One system call of one of the hostile. False if none is left that can act."""
    order = rng.sample(arena.hostile, len(arena.hostile))
    thread = next((each for each in order if arena.ready(each)), None)
    if thread is None:
        return False
    _submit(thread, rng.choice(KINDS)(rng), rng)
    arena.run()
    return True


def _submit(thread: Thread, entry: Entry, rng: random.Random) -> None:
    op, cptr, label, words, caps = entry
    thread.set_receive(OWN_CNODE, rng.choice(FREE), THREAD_CNODE_BITS)
    info = abi.message_info(label, len(words), len(caps))
    thread.submit(op, cptr, info, words, caps=caps, reply=OWN_REPLY)
