"""DeathNotice: its owner is told, by a signal, when an object is destroyed or a thread's process ends.

Nothing of seL4; Mach's dead-name notification, asked for once and told once. Whoever holds any capability to an object
may ask: it can find out by that capability anyway, since that is gone with the object. `death_notices.py` finds and
tells.
"""

from __future__ import annotations

from dataclasses import dataclass

from kerneld import caps, death_notices, deletion, mdb
from kerneld.core import PREEMPTED, Call, Core, Invocation, Result
from kerneld.failures import SyscallError, illegal_operation, invalid_capability, truncated_message
from kerneld.records import CapType, DeathNotice, Slot
from kerneld.work import Work
from libsel4py.abi import DeathNoticeState, Error, Label


@dataclass(frozen=True, slots=True)
class Watch:
    """``key``: what the target is found by (`death_notices`). ``source``: the notification capability."""

    notice: DeathNotice
    key: int
    source: Slot
    caller: int

    def perform(self, core: Core) -> Result:
        notice, cap = self.notice, caps.read(self.source)
        if not deletion.delete(core, notice.slot, Work(self.caller)):
            return PREEMPTED
        mdb.insert(core, cap, self.source, notice.slot)
        notice.status = 0
        death_notices.watch(core, notice, self.key)
        return ()


@dataclass(frozen=True, slots=True)
class Cancel:
    notice: DeathNotice
    caller: int

    def perform(self, core: Core) -> Result:
        death_notices.leave(core, self.notice)
        self.notice.state = DeathNoticeState.IDLE
        self.notice.status = 0
        return () if deletion.delete(core, self.notice.slot, Work(self.caller)) else PREEMPTED


@dataclass(frozen=True, slots=True)
class Read:
    state: int
    status: int

    def perform(self, core: Core) -> Result:
        return (self.state, self.status)


def decode(core: Core, call: Call) -> Invocation:
    """A method of the notice that ``call`` invokes.

    Raises:
        SyscallError: in this order. ILLEGAL_OPERATION (label). Watch: TRUNCATED_MESSAGE, DELETE_FIRST (it watches),
            INVALID_CAPABILITY(1) (the target has no end), INVALID_CAPABILITY(2) (notification: type, rights).
            Watch_copies: the same, but INVALID_CAPABILITY(1) where the target is none of an endpoint that has children.
    """
    notice = DeathNotice(core.ram, call.slot.object)
    match call.label:
        case Label.DEATH_NOTICE_WATCH:
            return _decode_watch(call, notice)
        case Label.DEATH_NOTICE_WATCH_COPIES:
            return _decode_watch_copies(call, notice)
        case Label.DEATH_NOTICE_CANCEL:
            return Cancel(notice, call.thread.address)
        case Label.DEATH_NOTICE_READ:
            told = notice.state == DeathNoticeState.PROCESS_ENDED
            return Read(notice.state, notice.status if told else 0)
        case _:
            raise illegal_operation(f"a death notice has no method with label {call.label}")


def _decode_watch(call: Call, notice: DeathNotice) -> Watch:
    target, source = _two_capabilities(call, notice)
    key = death_notices.key_of(caps.read(target))
    if not key:
        raise invalid_capability(
            1, "only an object with memory of its own has an end; of untyped memory watch something that is made of it"
        )
    _ensure_signals(source)
    return Watch(notice, key, source, call.thread.address)


def _decode_watch_copies(call: Call, notice: DeathNotice) -> Watch:
    target, source = _two_capabilities(call, notice)
    if target.cap_type != CapType.ENDPOINT:
        raise invalid_capability(1, "those who hold copies of an endpoint capability are watched, and of no other")
    if not target.revocable:
        raise invalid_capability(
            1,
            "copies of this capability are its siblings, not its children; watch the one that the badge was minted by",
        )
    _ensure_signals(source)
    return Watch(notice, target.address, source, call.thread.address)


def _two_capabilities(call: Call, notice: DeathNotice) -> tuple[Slot, Slot]:
    if len(call.caps) < 2:
        raise truncated_message(
            "Watch takes a capability to what it is to watch, and one of the notification to signal"
        )
    if notice.key:
        raise SyscallError(Error.DELETE_FIRST, (), "the notice watches something already; Cancel ends that")
    target, source = call.caps[:2]
    return target, source


def _ensure_signals(source: Slot) -> None:
    if source.cap_type != CapType.NOTIFICATION:
        raise invalid_capability(2, "a death is told by signalling a notification, and this is no capability to one")
    if not source.can_write:
        raise invalid_capability(2, "the notification capability lacks Write, so it cannot be signalled by it")
