"""Being told of deaths: a callback in a server, an awaitable in a program.

    self.task.deaths.watch(child, self.ended)          # a server: its loop takes the signals of the task's notification

    death = wait_for_death(child, timeout=5)           # a program: blocks (`death_waiting`)
    death = await aio.call(wait_for_death, child)      # or awaits

What ends is an object (its memory was taken back, its last capability deleted) or the process of a TCB. Nothing is kept
alive by being watched. A notice costs 128 bytes of whoever asks; a server that watches for a client makes the notice of
that client's memory and lets it watch itself: `Deaths.watch_memory`. Then the client pays, and cannot take its memory
back in silence.

Rules: a callback runs once, in the thread that has received the signal, between two requests. Its exception is logged.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from libsel4py.abi import DeathNoticeState, ObjectType, Rights
from libsel4py.capabilities import Capability, Death, DeathNotice, Notification
from libsel4py.environment import DEATH_BITS, DEATH_FIRST_BIT, SIGNAL_BADGE
from libsel4py.errors import InvalidCapability

if TYPE_CHECKING:
    from libsel4py.task import Task

DEATH_SIGNALS: Final = ((1 << DEATH_BITS) - 1) << DEATH_FIRST_BIT
_LIVING: Final = (DeathNoticeState.IDLE, DeathNoticeState.WATCHING)
_log = logging.getLogger(__name__)


class Watch:
    """One thing that is watched. Made by `Deaths`."""

    def __init__(self, deaths: Deaths, notice: DeathNotice, ended: Callable[[Death], None], *, is_own: bool) -> None:
        self.notice = notice
        self.ended = ended
        self.is_own = is_own
        self._deaths = deaths

    def cancel(self) -> None:
        """Do not be told. Nothing happens if it was told or cancelled before."""
        self._deaths.cancel(self)

    def look(self) -> Death:
        """What has become of the target. A notice that is gone has watched itself."""
        try:
            return self.notice.read()
        except InvalidCapability:
            return Death(DeathNoticeState.DESTROYED)


class Deaths:
    """What a task's server is told of. Threads share one."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._bells: dict[int, Notification] = {}
        self._watches: list[dict[int, Watch]] = [{} for _ in range(DEATH_BITS)]  # by the notice's slot
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(map(len, self._watches))

    def watch(self, target: Capability, ended: Callable[[Death], None]) -> Watch:
        """Call ``ended`` when the target ends. Raises NotEnoughMemory, OutOfSlots, and as `DeathNotice.watch`."""
        notice = DeathNotice(self._task.memory.allocate(ObjectType.DEATH_NOTICE).start)
        try:
            return self._start(Watch(self, notice, ended, is_own=True), notice.watch, target)
        except BaseException:
            self._task.memory.free(notice.cptr)
            raise

    def watch_copies(self, notice: DeathNotice, endpoint: Capability, ended: Callable[[Death], None]) -> Watch:
        """Call ``ended`` when nothing is left that was derived from the capability. The caller keeps the notice. Raises
        OutOfSlots, and as `DeathNotice.watch_copies`."""
        return self._start(Watch(self, notice, ended, is_own=False), notice.watch_copies, endpoint)

    def watch_memory(self, notice: DeathNotice, ended: Callable[[Death], None]) -> Watch:
        """Call ``ended`` when the memory that the notice was made of is taken back. The caller keeps the notice."""
        return self._start(Watch(self, notice, ended, is_own=False), notice.watch, notice)

    def _start(self, watch: Watch, begin: Callable[[Capability, Notification], None], target: Capability) -> Watch:
        number = watch.notice.cptr % DEATH_BITS
        with self._lock:
            self._watches[number][watch.notice.cptr] = watch
        try:
            begin(target, self._bell(number))
        except BaseException:
            self._drop(watch)
            raise
        return watch

    def cancel(self, watch: Watch) -> None:
        """`Watch.cancel`."""
        if not self._drop(watch):
            return
        if watch.is_own:
            self._task.memory.free(watch.notice.cptr)
        else:
            with suppress(InvalidCapability):  # it is gone with its memory
                watch.notice.cancel()

    def signalled(self, bits: int) -> None:
        """What a server does on signals in `DEATH_SIGNALS`: find out who has died, and say so."""
        for number in range(DEATH_BITS):
            if bits >> DEATH_FIRST_BIT + number & 1:
                with self._lock:
                    watches = list(self._watches[number].values())
                for watch in watches:
                    self._tell(watch)

    def _tell(self, watch: Watch) -> None:
        death = watch.look()
        if death.state in _LIVING or not self._drop(watch):
            return
        if watch.is_own:
            self._task.memory.free(watch.notice.cptr)
        try:
            watch.ended(death)
        except Exception:
            _log.exception("what was to be done after a death raised")

    def _drop(self, watch: Watch) -> bool:
        """Whether it was there."""
        slot = watch.notice.cptr
        with self._lock:
            watches = self._watches[slot % DEATH_BITS]
            if watches.get(slot) is not watch:
                return False
            del watches[slot]
            return True

    def _bell(self, number: int) -> Notification:
        """The task's notification, with the badge of one eighth of the notices."""
        with self._lock:
            if number not in self._bells:
                task = self._task
                slot = task.slots.allocate()
                try:
                    badge = SIGNAL_BADGE | 1 << DEATH_FIRST_BIT + number
                    task.cnode.mint(slot, task.cnode, task.notification.cptr, badge, Rights.WRITE)
                except BaseException:
                    task.slots.free(slot)
                    raise
                self._bells[number] = Notification(slot)
            return self._bells[number]
