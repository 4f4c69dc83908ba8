"""Which connections of a task go by a channel, and since when: the policy, for each thread on its own.

The machine tells when a thread has called a connection often. Then the task pays a `Channel` from its pool, connects
it, and that thread's calls go by it: with the same results, and without the kernel. Calls that hand capabilities over
go through the kernel as before.

Rules: a channel is an improvement, never a condition. What refuses it (no memory, no slot, nobody who listens, limits)
leaves the caller on the slow path, and is asked again after `RETRY_CALLS` more calls only. One that was severed is
given back before another is tried; so are those of threads that have ended, and all those to a capability that is
deleted, since its slot's next one is another. All channels of a task together take no more than half of its pool.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from libsel4py.abi import FIXED_SIZE_BITS, ObjectType
from libsel4py.capabilities import Channel, Endpoint
from libsel4py.environment import ChannelUse
from libsel4py.errors import KernelError, NotEnoughMemory
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.machine import machine

if TYPE_CHECKING:
    from libsel4py.task import Task

THRESHOLD: Final = 32  # slow calls of a thread on a connection until a channel pays: some 0.5 ms of calls
RETRY_CALLS: Final = 4096  # slow calls after a refusal until it is asked for again
CHANNEL_COST: Final = 1 << FIXED_SIZE_BITS[ObjectType.CHANNEL]
_PASSES: Final = RETRY_CALLS // THRESHOLD - 1  # reports of the machine that are let pass after a refusal
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """What has come of it in the calling thread.

    Attributes:
        connected: channels that it has. refused, severed: how often one was refused or taken away.
        calls: made by channel. taken: requests received by channel. sleeps: on the host, as client or as server.
        kernel_receives: messages from the kernel while it listens. abandoned: calls given up after a server had begun.
    """

    connected: int
    refused: int
    severed: int
    calls: int
    taken: int
    sleeps: int
    kernel_receives: int
    abandoned: int


@dataclass(slots=True)
class _Link:
    """A thread's state for one connection. ``passes``: reports that are still let pass."""

    channel: Channel | None = None
    passes: int = 0


@dataclass(slots=True, weakref_slot=True, eq=False)
class _Links:
    """A thread's. It ends with the thread."""

    by_cptr: dict[int, _Link] = field(default_factory=dict)
    refused: int = 0
    severed: int = 0
    is_connecting: bool = False


class _PerThread(threading.local):
    def __init__(self, register: Callable[[_Links], None]) -> None:
        self.links = _Links()
        register(self.links)


class Channels:
    """A task's channels to what it is connected to."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._eager: set[int] = set()
        self._count = 0
        self._lock = threading.Lock()
        self._every: weakref.WeakSet[_Links] = weakref.WeakSet()
        self._left: deque[dict[int, _Link]] = deque()  # by threads that have ended
        self._threads = _PerThread(self._register)

    def _register(self, links: _Links) -> None:
        with self._lock:
            self._every.add(links)
        # What runs at a thread's end must not trap: the next thread that wants a channel gives these back.
        weakref.finalize(links, self._left.append, links.by_cptr).atexit = False

    def offer(self, endpoint: Endpoint, use: ChannelUse) -> None:
        """Let calls on a connection go by a channel as its description says."""
        if use is ChannelUse.NEVER:
            return
        machine.set_upgrade(THRESHOLD, self.called_often)
        machine.candidate(endpoint.cptr)
        if use is ChannelUse.ALWAYS:
            self._eager.add(endpoint.cptr)
            self.called_often(endpoint.cptr)

    def called_often(self, cptr: int) -> None:
        """The machine's report: the calling thread has made `THRESHOLD` more slow calls on a connection.

        It comes within one of these calls, so nothing leaves it that a channel's refusal could raise. One that comes
        while this runs, of a call that this makes, is let pass: what is asked for is held by this very thread.
        """
        links = self._threads.links
        link = links.by_cptr.setdefault(cptr, _Link())
        if links.is_connecting:
            return
        if link.passes:
            link.passes -= 1
            return
        links.is_connecting = True
        try:
            self._connect(cptr, links, link)
        finally:
            links.is_connecting = False

    def _connect(self, cptr: int, links: _Links, link: _Link) -> None:
        self._take_back()
        machine.channel_unbind(cptr)
        if self._part(link):
            links.severed += 1
        link.channel = self._connected(Endpoint(cptr))
        if link.channel is None:
            links.refused += 1
            link.passes = 0 if cptr in self._eager else _PASSES

    def forget(self, cptr: int) -> None:
        """The capability at this address is about to be deleted: no thread's calls there go by a channel any more."""
        machine.channel_unbind(cptr)
        machine.forget_candidate(cptr)
        self._eager.discard(cptr)
        with self._lock:
            every = list(self._every)
        for links in every:
            link = links.by_cptr.get(cptr)
            if link is not None:
                self._part(link)

    def statistics(self) -> ChannelStatistics:
        """The calling thread's."""
        links = self._threads.links
        connected = sum(link.channel is not None for link in links.by_cptr.values())
        return ChannelStatistics(connected, links.refused, links.severed, *machine.channel_statistics())

    def _connected(self, endpoint: Endpoint) -> Channel | None:
        """A new channel to an endpoint, bound to the calling thread's calls; None if anything refuses."""
        try:
            channel = self._take()
        except (KernelError, OutOfSlots) as error:
            _log.debug("%s stays on the slow path: %s", endpoint, error)
            return None
        try:
            endpoint.connect(channel)
        except BaseException as error:
            self._give_back(channel)
            # Others are those of a signal's handler, for whoever makes the call: TimeoutError, too.
            if not isinstance(error, KernelError) and type(error) not in (LookupError, OSError):
                raise
            _log.debug("%s stays on the slow path: %s", endpoint, error)
            return None
        return channel

    def _take(self) -> Channel:
        """A channel from the task's pool. Raises NotEnoughMemory, OutOfSlots, and other KernelErrors."""
        memory = self._task.memory
        with self._lock:
            if 2 * (self._count + 1) * CHANNEL_COST > memory.statistics().total_bytes:
                raise NotEnoughMemory(0, invocation="Channels", explanation="they have their half of the task's pool")
            channel = Channel(memory.allocate(ObjectType.CHANNEL).start)
            self._count += 1
        return channel

    def _take_back(self) -> None:
        """What threads that have ended had."""
        left: list[_Link] = []
        with self._lock:
            while self._left:
                left += self._left.popleft().values()
        for link in left:
            self._part(link)

    def _part(self, link: _Link) -> bool:
        """Give a link's channel back, if there is one. Threads race for it: who takes it out of the link does so."""
        with self._lock:
            channel, link.channel = link.channel, None
        if channel is None:
            return False
        self._give_back(channel)
        return True

    def _give_back(self, channel: Channel) -> None:
        with self._lock:
            self._task.memory.free(channel.cptr)
            self._count -= 1
