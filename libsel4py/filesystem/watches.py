"""Who is told of changes. A watch keeps a bounded list, and signals when it becomes one.

A signal never waits for anybody, whatever capability the client has given for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from libsel4py.capabilities import Notification
from libsel4py.filesystem.grants import Grant
from libsel4py.filesystem.paths import is_within, join, relative
from libsel4py.interfaces.file import BadPath, Change, ChangeKind
from libsel4py.lowlevel.syscalls import Message, nb_send

MOST_CHANGES: Final = 64
MOST_WATCHES: Final = 16  # of one session


@dataclass(slots=True, eq=False)
class Watch:
    """``path`` is seen from the root of ``grant``, and so are the paths that it tells."""

    grant: Grant
    path: str
    wake: Notification
    changes: list[Change] = field(default_factory=list)

    def tell(self, kind: ChangeKind, path: str) -> None:
        """Note a change, if it is within what is watched."""
        if not is_within(path, self._watched()):
            return
        change = Change(kind, relative(path, self.grant.root))
        if self.changes and self.changes[-1] == change:
            return
        if len(self.changes) >= MOST_CHANGES:
            if len(self.changes) == MOST_CHANGES:
                self.changes.append(Change(ChangeKind.LOST, self.path))
            return
        self.changes.append(change)
        if len(self.changes) == 1:
            nb_send(self.wake.cptr, Message())

    def take(self) -> list[Change]:
        """What there was since the last time."""
        taken, self.changes = self.changes, []
        return taken

    def _watched(self) -> str:
        try:
            return join(self.grant.root, self.path)
        except BadPath:  # the root has a longer name by now: nothing can be there
            return "\0"


class Watches:
    """All watches of the server."""

    def __init__(self) -> None:
        self._watches: dict[Watch, None] = {}

    def __bool__(self) -> bool:
        return bool(self._watches)

    def add(self, watch: Watch) -> None:
        self._watches[watch] = None

    def remove(self, watch: Watch) -> None:
        self._watches.pop(watch, None)

    def tell(self, kind: ChangeKind, path: str | None) -> None:
        """Something has happened to a path. (None: the file has no name, so nobody is told.)"""
        if path is not None:
            for watch in self._watches:
                watch.tell(kind, path)
