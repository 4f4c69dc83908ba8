"""Who can still send by a badge: a server is told when nobody can any more (Mach's no-senders notification).

    session = Senders(self.task, self.endpoint, badge, self.left)

    def open(self) -> Endpoint:
        return session.make()  # handed out with the answer

    def left(self, made: int) -> None: ...  # the last copy of all that were handed out is gone

The server keeps one capability with the badge, and what it hands out is derived from that, as is all that its clients
make of it, whatever task they give it to. The kernel tells of the last one's end (`DeathNotice.watch_copies`): a client
that is killed, that lets go, or whose memory is taken back.

Rules: told is what is so. What has been handed out since the kernel told voids it: the kernel is asked again before
`gone` is called, and so it is not called of a copy that is on its way, as long as the thread that answers is the one
that takes the signals. A server that hands out in several threads, or later than it answers, can be told while a copy
is on its way: it ends nothing before it knows that all of ``made`` have been answered with. A request that a client had
sent before it let go of its copy may come behind `gone`: no badge is given twice, or it is somebody else's request then
(`CNode.cancel_badged_sends` sends it back).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from libsel4py.abi import DeathNoticeState, ObjectType, Rights
from libsel4py.capabilities import Death, DeathNotice, Endpoint

if TYPE_CHECKING:
    from libsel4py.deaths import Watch
    from libsel4py.task import Task

CALL: Final = Rights.WRITE | Rights.GRANT_REPLY


class Senders:
    """All that hold copies of one badged capability. It takes a slot, and 128 bytes of the task's memory.

    Args:
        endpoint: the server's own, without a badge. badge: nobody else's.
        gone: called with how many were made, in the thread that takes the task's signals.
    Attributes:
        made: how many were handed out.
    """

    def __init__(
        self,
        task: Task,
        endpoint: Endpoint,
        badge: int,
        gone: Callable[[int], None],
        rights: Rights = CALL,
    ) -> None:
        self._task = task
        self._gone = gone
        self._watch: Watch | None = None
        self.made = 0
        slot = task.slots.allocate()
        try:
            task.cnode.mint(slot, task.cnode, endpoint.cptr, badge, rights)
            self._notice = DeathNotice(task.memory.allocate(ObjectType.DEATH_NOTICE).start)
        except BaseException:
            task.cnode.delete(slot)
            task.slots.free(slot)
            raise
        self._kept = Endpoint(slot)

    def make(self) -> Endpoint:
        """The capability to hand out with the answer: the receiver gets a copy. `gone` can be called from now on."""
        self.made += 1
        if self._watch is None:
            self._begin()
        return self._kept

    def end(self) -> None:
        """Take all copies back, and give back what this took. `gone` is not called."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._task.cnode.revoke(self._kept.cptr)
        self._task.cnode.delete(self._kept.cptr)
        self._task.slots.free(self._kept.cptr)
        self._task.memory.free(self._notice.cptr)

    def _begin(self) -> None:
        self._watch = self._task.deaths.watch_copies(self._notice, self._kept, self._told)

    def _told(self, death: Death) -> None:
        self._watch = None
        if death.state == DeathNoticeState.NO_COPIES:
            self._begin()  # which is told at once, if there is still none
            if self._notice.read().state == DeathNoticeState.WATCHING:
                return
            assert self._watch is not None
            self._watch.cancel()
            self._watch = None
        self._gone(self.made)
