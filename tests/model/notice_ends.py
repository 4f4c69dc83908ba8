"""What the end of an object or a process means to the death notices that watch it, in the specification."""

from __future__ import annotations

from libsel4py.abi import DeathNoticeState
from tests.model import signals
from tests.model.capability import Capability, Kind
from tests.model.derivation import Place
from tests.model.system import Notice, System


def forget(notice: Notice) -> None:
    notice.watches = None
    notice.since = 0


def destroyed(system: System, held: Capability) -> None:
    """The object of this last capability has ended."""
    _tell(system, (held.kind, held.address), DeathNoticeState.DESTROYED, 0)


def process_ended(system: System, address: int, status: int) -> None:
    _tell(system, (Kind.TCB, address), DeathNoticeState.PROCESS_ENDED, status)


def end_notice(system: System, address: int) -> Capability | None:
    """A notice has ended: it tells if it watches itself, and nobody else. The zombie that stays, if one does."""
    notice = system.notices[address]
    itself = notice.watches == (Kind.DEATH_NOTICE, address)
    del system.notices[address]
    if itself:
        _signal(system, address)
    if system.held(Place(address, 0)) is not None:
        return Capability(Kind.ZOMBIE, address, 1)
    del system.containers[address]
    return None


def _tell(system: System, what: tuple[Kind, int], state: DeathNoticeState, status: int) -> None:
    watching = [(notice.since, address) for address, notice in system.notices.items() if notice.watches == what]
    for _, address in sorted(watching):
        notice = system.notices[address]
        forget(notice)
        notice.state, notice.status = state, status
        _signal(system, address)


def _signal(system: System, address: int) -> None:
    bell = system.held(Place(address, 0))
    if bell is not None and bell.kind is Kind.NOTIFICATION:
        signals.signal(system, bell.address, bell.badge)
