"""What a directory capability stands for: a subtree, and what may be done there.

Rules: a grant comes of the description, or of another grant, and never is wider. It follows its directory when that is
renamed, and is gone when that is removed; but for what the description names, which is a name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from libsel4py.environment import Scalar, Value
from libsel4py.filesystem.paths import checked, is_within, moved
from libsel4py.interfaces.file import Access, BadPath, NotPermitted, StaleHandle

if TYPE_CHECKING:
    from libsel4py.filesystem.sessions import FileSession

MOST_NARROWED: Final = 256  # of one connection, or of one of its tenants, besides those of sessions
MOST_OF_AN_OWNER: Final = 8 * MOST_NARROWED  # of a connection with all its tenants
MOST_KNOWN: Final = 64
MOST_LETTERS: Final = 120
_LETTERS: Final = {"r": Access.READ, "w": Access.WRITE}


Group: TypeAlias = "FileSession | tuple[str, int]"


@dataclass(slots=True, eq=False)
class Grant:
    """A subtree with rights.

    Attributes:
        root: its path in the volume. rights: the number of an `Access`. owner: the client of the description whose it
        is in the end.
        pinned: it is a name, and follows no directory. session: whose end is its end.
        is_session: it is the session's own capability, and no narrowed one. sessions: how many were opened by it.
        tenant: the badge of the grant that a connection has narrowed, and from which it came; or 0. Who serves others
        by its connection gives each of them such a one, and what one of them has is counted by that.
        known: paths that were checked, and may be looked at, with what the volume calls them.
    """

    root: str
    rights: int
    owner: str
    pinned: bool = False
    session: FileSession | None = None
    is_session: bool = False
    badge: int = 0
    is_gone: bool = False
    sessions: int = 0
    tenant: int = 0
    known: dict[str, str] = field(default_factory=dict)

    @property
    def tenant_below(self) -> int:
        """The tenant of what is made by this one."""
        return self.tenant or (0 if self.pinned else self.badge)

    def remember(self, path: str, full: str) -> None:
        """A path that may be looked at. (Long ones and many are not kept, since clients choose them.)"""
        if len(path) <= MOST_LETTERS and (self.is_session or self.pinned):
            if len(self.known) >= MOST_KNOWN:
                self.known.clear()
            self.known[path] = full

    def end(self) -> None:
        """The directory is gone."""
        self.is_gone = True
        self.known.clear()

    def move(self, root: str) -> None:
        """The directory has another name."""
        self.root = root
        self.known.clear()

    def ensure(self, wanted: int) -> None:
        """Raises StaleHandle, NotPermitted."""
        if self.is_gone:
            raise StaleHandle("the directory of this capability was removed")
        if wanted & ~self.rights:
            raise NotPermitted(f"this capability has no right to {_name(wanted & ~self.rights)} here")


class Grants:
    """All grants, by badge. What many have costs nobody else more: each question looks at the few that it concerns."""

    def __init__(self) -> None:
        self.by_badge: dict[int, Grant] = {}
        self._by_root: dict[str, dict[Grant, None]] = {}  # but for pinned ones
        self._narrowed: dict[Group, dict[Grant, None]] = {}

    def add(self, badge: int, grant: Grant) -> None:
        """A new one. That of a session's own is not counted as narrowed, nor is one of the description."""
        grant.badge = badge
        self.by_badge[badge] = grant
        if not grant.pinned:
            self._by_root.setdefault(grant.root, {})[grant] = None
            if not grant.is_session:
                self._narrowed.setdefault(_group(grant), {})[grant] = None

    def remove(self, badge: int) -> None:
        """Its capability stands for nothing any more."""
        grant = self.by_badge.pop(badge)
        self._forget_root(grant)
        self._narrowed.pop(_group(grant), None)  # all of the session go together

    def same(self, wanted: Grant) -> Grant | None:
        """A narrowed grant that is the same already."""
        for grant in self._narrowed.get(_group(wanted), ()):
            if grant.root == wanted.root and grant.rights == wanted.rights and not grant.is_gone:
                return grant
        return None

    def count(self, like: Grant) -> int:
        """How many narrowed grants the session has, or the connection, or one of its tenants."""
        return len(self._narrowed.get(_group(like), ()))

    def has_room(self, wanted: Grant) -> bool:
        """For one more narrowed grant that is of no session."""
        of_all = sum(len(self._narrowed[group]) for group in self._groups(wanted.owner))
        return self.count(wanted) < MOST_NARROWED and of_all < MOST_OF_AN_OWNER

    def take_gone(self, owner: str) -> list[Grant]:
        """Forget those narrowed grants of no session whose directories were removed; returns them."""
        gone = [(name, grant) for name in self._groups(owner) for grant in self._narrowed[name] if grant.is_gone]
        for name, grant in gone:
            del self._narrowed[name][grant], self.by_badge[grant.badge]
            if not self._narrowed[name]:
                del self._narrowed[name]
        return [grant for _, grant in gone]

    def _groups(self, owner: str) -> list[Group]:
        """Those of a connection and of its tenants."""
        return [name for name in self._narrowed if isinstance(name, tuple) and name[0] == owner]

    def removed(self, path: str) -> None:
        """What is at this path is gone."""
        for grant in self._by_root.pop(path, ()):
            grant.end()

    def lost(self, path: str) -> None:
        """Nobody knows what is at this path or below it."""
        for root in [root for root in self._by_root if is_within(root, path)]:
            self.removed(root)

    def renamed(self, old: str, new: str) -> bool:
        """A directory has another name, and what had that name is replaced. Whether a grant moved."""
        self.removed(new)
        roots = [root for root in self._by_root if is_within(root, old)]
        for root in roots:
            grants = self._by_root.pop(root)
            for grant in grants:
                grant.move(moved(root, old, new))
            self._by_root.setdefault(moved(root, old, new), {}).update(grants)
        return bool(roots)

    def _forget_root(self, grant: Grant) -> None:
        there = self._by_root.get(grant.root, {})
        there.pop(grant, None)
        if not there:
            self._by_root.pop(grant.root, None)


def _group(grant: Grant) -> Group:
    """What counts it: its session, or without one its client and tenant."""
    return grant.session if grant.session is not None else (grant.owner, grant.tenant)


def grants_of_description(configuration: Mapping[str, Value], read_only: bool) -> dict[str, tuple[str, int]]:
    """Root and rights by client, from the setting ``clients = { shell = "rw /", httpd = "r /www" }``.

    Raises:
        ValueError: an entry is not so written.
    """
    given = configuration.get("clients", {})
    if not isinstance(given, dict):
        raise ValueError('clients is a table: clients = { shell = "rw /", httpd = "r /www" }')
    most = Access.READ if read_only else Access.ALL
    return {name: _parse(name, text, most) for name, text in given.items()}


def _parse(name: str, text: Scalar, most: Access) -> tuple[str, int]:
    letters, _, path = str(text).partition(" ")
    rights = Access.NONE
    for letter in letters:
        if letter not in _LETTERS:
            raise ValueError(f'clients.{name} = {text!r}: rights are "r" or "rw", then a space and the path')
        rights |= _LETTERS[letter]
    try:
        return checked(path.strip().strip("/")), int(rights & most)
    except BadPath as error:
        raise ValueError(f"clients.{name} = {text!r}: {error}") from error


def _name(rights: int) -> str:
    return " and ".join(right.name.lower() for right in (Access.READ, Access.WRITE) if right & rights and right.name)
