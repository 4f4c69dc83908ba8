"""Asks file systems on the task's further threads, so that one that does not answer holds up its own clients alone.

Rules. A mount is asked one thing at a time, and so are all mounts of one client together. A mount of the description
always finds a thread, if there are more of them than such mounts; what clients have mounted shares the others. Without
further threads all is asked in the server's own. Of one client `MOST_WAITING` requests may wait for mounts of the
description, and as many for those of clients.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from libsel4py import aio
from libsel4py.interfaces.file import TooManyOpen
from servers.vfs.tree import Mounted

MOST_WAITING: Final = 16  # requests of one client, of each kind
Key = Mounted | str
_log: Final = logging.getLogger(__name__)


class Waiting:
    """How many requests of each client wait: for what clients have mounted, and for the description's mounts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count: Counter[tuple[str, bool]] = Counter()

    def enter(self, owner: str, mounted: Mounted) -> None:
        """One more. Raises TooManyOpen."""
        key = owner, bool(mounted.made_by)
        with self._lock:
            if self._count[key] >= MOST_WAITING:
                raise TooManyOpen(f"{owner} waits for {MOST_WAITING} directories of file systems that do not answer")
            self._count[key] += 1

    def leave(self, owner: str, mounted: Mounted) -> None:
        key = owner, bool(mounted.made_by)
        with self._lock:
            self._count[key] -= 1
            if not self._count[key]:
                del self._count[key]


class Asking:
    """What is asked now, and what waits for that. ``described``: how many mounts the description makes."""

    def __init__(self, described: int) -> None:
        self._most_of_clients = max(1, aio.workers.count - described)
        self._lock = threading.Lock()
        self._busy: set[Key] = set()
        self._waiting: deque[tuple[Mounted, Callable[[], None]]] = deque()
        self._asked: Counter[Mounted] = Counter()

    def submit(self, mounted: Mounted, job: Callable[[], None]) -> None:
        """Have a job done that asks this mount, in its turn. What it raises is logged."""
        with self._lock:
            self._asked[mounted] += 1
            if aio.workers.count:
                self._waiting.append((mounted, job))
        if aio.workers.count:
            self._start()
        else:
            self._perform(mounted, job)

    def is_asked(self, mounted: Mounted) -> bool:
        """Whether a job of this mount waits or is being done: then its ``given`` is that job's."""
        return mounted in self._asked

    def _start(self) -> None:
        """Give the threads what may be done now."""
        with self._lock:
            for mounted, job in list(self._waiting):
                if self._may_start(mounted):
                    self._waiting.remove((mounted, job))
                    self._busy.add(mounted.made_by or mounted)
                    aio.workers.submit(lambda mounted=mounted, job=job: self._perform(mounted, job))  # type: ignore[misc]

    def _may_start(self, mounted: Mounted) -> bool:
        if not mounted.made_by:
            return mounted not in self._busy
        of_clients = sum(isinstance(key, str) for key in self._busy)
        return mounted.made_by not in self._busy and of_clients < self._most_of_clients

    def _perform(self, mounted: Mounted, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception:
            _log.exception("asking the file system at /%s raised", mounted.path)
        with self._lock:
            self._busy.discard(mounted.made_by or mounted)
            self._asked[mounted] -= 1
            if not self._asked[mounted]:
                del self._asked[mounted]
        self._start()
