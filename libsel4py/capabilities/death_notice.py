"""DeathNotice: to be told, by a signal, when an object is destroyed or a process ends (docs/manual/death_notice.md)."""

from __future__ import annotations

from typing import NamedTuple

from libsel4py.abi import DeathNoticeState, Label
from libsel4py.capabilities.base import Capability
from libsel4py.capabilities.endpoint import Notification
from libsel4py.lowlevel.invoke import invoke


class Death(NamedTuple):
    """What has become of something that was watched. ``status``: as of waitpid(2), where its process has ended."""

    state: DeathNoticeState
    status: int = 0


class DeathNotice(Capability):
    """Watches one thing at a time, without keeping it alive."""

    __slots__ = ()

    def watch(self, target: Capability, notification: Notification) -> None:
        """Signal the notification, once, with its capability's badge, when the target ends: an object when it is
        destroyed, a TCB when its process ends as well.

        Any capability to the target will do. One that ended before is not there to be given; a TCB without a process
        is told of when the next one ends. A notice that watches itself tells of its own destruction.

        Raises:
            DeleteFirst: it watches something: `cancel`. InvalidCapability: the target has no end of its own (untyped
                memory, interrupts, ports), or the notification is none with Write.
        """
        invoke(self.cptr, Label.DEATH_NOTICE_WATCH, target=target.cptr, notification=notification.cptr)

    def watch_copies(self, endpoint: Capability, notification: Notification) -> None:
        """Signal the notification, once, when nothing is left that was derived from this capability: copies of it, and
        copies of them, in whatever task, and in channels. At once, if there is nothing.

        The capability must be one whose copies are its children: an endpoint's first one, or one that a badge was
        minted by. Its own end, and that it is moved elsewhere, is told as `DESTROYED`.

        Raises:
            DeleteFirst: it watches something: `cancel`. InvalidCapability: as said, or the notification is none with
                Write.
        """
        invoke(self.cptr, Label.DEATH_NOTICE_WATCH_COPIES, endpoint=endpoint.cptr, notification=notification.cptr)

    def cancel(self) -> None:
        """Watch nothing any more, and forget the notification."""
        invoke(self.cptr, Label.DEATH_NOTICE_CANCEL)

    def read(self) -> Death:
        """What has become of the target."""
        state, status = invoke(self.cptr, Label.DEATH_NOTICE_READ)
        return Death(DeathNoticeState(state), status)
