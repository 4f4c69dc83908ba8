"""Death notices in the specification: who watches what, in the order of asking, and who is told."""

from __future__ import annotations

from libsel4py.abi import DeathNoticeState, Error, Label
from tests.model.capability import Kind
from tests.model.deletion import delete
from tests.model.derivation import Place
from tests.model.invocations import Refused, illegal_if, truncated_unless
from tests.model.notice_ends import forget
from tests.model.system import System

UNWATCHABLE = (
    Kind.UNTYPED,
    Kind.ZOMBIE,
    Kind.SCHED_CONTROL,
    Kind.IRQ_CONTROL,
    Kind.IRQ_HANDLER,
    Kind.IO_PORT_CONTROL,
    Kind.IO_PORT,
    Kind.DOMAIN,
    Kind.IO_SPACE_CONTROL,
)
METHODS = (Label.DEATH_NOTICE_WATCH, Label.DEATH_NOTICE_CANCEL, Label.DEATH_NOTICE_READ)


def notice(system: System, address: int, label: int, sources: list[Place]) -> tuple[int, ...]:
    """A method of a death notice; the answer's words."""
    illegal_if(label not in METHODS)
    asked = system.notices[address]
    inside = Place(address, 0)
    if label == Label.DEATH_NOTICE_READ:
        return (asked.state, asked.status)
    if label == Label.DEATH_NOTICE_CANCEL:
        forget(asked)
        asked.state, asked.status = DeathNoticeState.IDLE, 0
        delete(system, inside)
        return ()
    truncated_unless(len(sources) >= 2)
    if asked.watches is not None:
        raise Refused(Error.DELETE_FIRST)
    target, bell = system.held(sources[0]), system.held(sources[1])
    if target is None or target.kind in UNWATCHABLE:
        raise Refused(Error.INVALID_CAPABILITY, 1)
    if bell is None or bell.kind is not Kind.NOTIFICATION or not bell.writable:
        raise Refused(Error.INVALID_CAPABILITY, 2)
    delete(system, inside)
    system.tree.copy(system.holding(sources[1]), inside, bell)
    system.asked += 1
    asked.watches, asked.since = (target.kind, target.address), system.asked
    asked.state, asked.status = DeathNoticeState.WATCHING, 0
    return ()
