"""Who is told of changes. A watch keeps a bounded list, and signals when it becomes one.

A signal never waits for anybody, whatever capability the client has given for it. All who look from one root are told
one and the same change: a client that watches often does not have the server keep as many paths. Nor does it have each
change cost as much: what was told last to all who watch a path is not told them again, and who has more than is kept
(LOST) is not asked again before it has looked.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from libsel4py.capabilities import Notification
from libsel4py.filesystem.grants import Grant
from libsel4py.filesystem.paths import join, parent_of, relative
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

    def tell(self, change: Change) -> bool:
        """Note a change within what is watched; whether there is room for another one."""
        if self.changes and self.changes[-1] == change:
            return True
        if len(self.changes) >= MOST_CHANGES:
            if len(self.changes) == MOST_CHANGES:
                self.changes.append(Change(ChangeKind.LOST, self.path))
            return False
        self.changes.append(change)
        if len(self.changes) == 1:
            nb_send(self.wake.cptr, Message())
        return True

    def watched(self) -> str | None:
        """As the volume calls it; None if nothing can be there, since the root has too long a name by now."""
        try:
            return join(self.grant.root, self.path)
        except BadPath:
            return None


@dataclass(slots=True, eq=False)
class _Path:
    """Who watches a path, but for those that have LOST. ``last``: what was told them all, and none has taken since."""

    watches: dict[Watch, None] = field(default_factory=dict)
    last: tuple[ChangeKind, str] | None = None


class Watches:
    """All watches of the server, by what they watch: a change asks those of the path and above it alone."""

    def __init__(self) -> None:
        self._watches: dict[Watch, None] = {}
        self._by_path: dict[str, _Path] = {}

    def __bool__(self) -> bool:
        return bool(self._watches)

    def add(self, watch: Watch) -> None:
        self._watches[watch] = None
        self._index(watch)

    def remove(self, watch: Watch) -> None:
        self._watches.pop(watch, None)
        path = watch.watched()
        if path is not None and path in self._by_path:
            self._by_path[path].watches.pop(watch, None)
            if not self._by_path[path].watches:
                del self._by_path[path]

    def take(self, watch: Watch) -> list[Change]:
        """What a watch has seen since the last time."""
        taken, watch.changes = watch.changes, []
        if watch in self._watches:
            self._index(watch)
        return taken

    def moved(self) -> None:
        """Roots have other names."""
        self._by_path.clear()
        for watch in self._watches:
            self._index(watch)

    def _index(self, watch: Watch) -> None:
        path = watch.watched()
        if path is not None:
            there = self._by_path.setdefault(path, _Path())
            there.watches[watch] = None
            there.last = None

    def tell(self, kind: ChangeKind, path: str | None) -> None:
        """Something has happened to a path. (None: the file has no name, so nobody is told.)"""
        if path is None or not self._watches:
            return
        told = kind, path
        changes: dict[str, Change] = {}  # by the root from which they are seen
        above = path
        while True:
            there = self._by_path.get(above)
            if there is not None and there.last != told:
                there.last = told
                self._tell(above, there, told, changes)
            if not above:
                return
            above = parent_of(above)

    def _tell(self, above: str, there: _Path, told: tuple[ChangeKind, str], changes: dict[str, Change]) -> None:
        full = []
        for watch in there.watches:
            root = watch.grant.root
            change = changes.get(root)
            if change is None:
                change = changes[root] = Change(told[0], relative(told[1], root))
            if not watch.tell(change):
                full.append(watch)
        for watch in full:
            del there.watches[watch]
        if not there.watches:
            del self._by_path[above]
