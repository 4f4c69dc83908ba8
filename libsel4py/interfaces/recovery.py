# mypy: disable-error-code="empty-body"
"""What a task decides that recovers a group (its ``recovery``), after MINIX 3's recovery scripts.

The reincarnation server tells it of each end in the group, and holds what has ended until it answers, or until its time
is over.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from libsel4py.interface import Interface, idempotent, raises
from libsel4py.interfaces.system import NotPermitted
from libsel4py.signature import Word


class Event(Enum):
    """What has happened to a task."""

    ENDED = "ended"  # by itself, or of a fault that nobody answered: the reason says which
    HUNG = "hung"
    COMPLAINT = "complaint"


class Decision(Enum):
    """What is to follow, of that task and its group alone."""

    POLICY = "policy"  # what the group says, with its delay
    RESTART = "restart"  # the same at once
    RESTART_GROUP = "restart_group"  # all of the group begin anew, whatever its strategy is
    LEAVE = "leave"  # it stays down, until somebody starts it; those that ended with it follow the group


class Case(msgspec.Struct, frozen=True):
    """One end. ``reason`` is the beginning of what `ps` shows.

    ``failures`` counts those of the group within its period, this one among them; ``along`` those that have ended with
    it, by the group's strategy.
    """

    serial: int
    component: str
    event: Event
    reason: str
    failures: int
    along: int


class Recovery(Interface):
    """For tasks that recover a group."""

    @idempotent
    @raises(NotPermitted)
    def next_case(self, after: Word) -> Case:
        """The oldest case that is open and has a higher serial number, waited for if there is none. Begin with 0.

        Raises:
            NotPermitted: the caller recovers no group, or has asked once more meanwhile, by another thread.
        """

    @idempotent
    @raises(NotPermitted)
    def decide(self, serial: Word, decision: Decision) -> bool:
        """Decide a case. False: it is open no more, and its group's policy was followed, or somebody's order.

        Raises:
            NotPermitted: the caller recovers no group.
        """
