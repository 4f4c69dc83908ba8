"""What a directory capability stands for: a subtree, and what may be done there.

Rules: a grant comes of the description, or of another grant, and never is wider. It follows its directory when that is
renamed, and is gone when that is removed; but for what the description names, which is a name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from libsel4py.environment import Scalar, Value
from libsel4py.filesystem.paths import checked, is_within, moved
from libsel4py.interfaces.file import Access, BadPath, NotPermitted, StaleHandle

if TYPE_CHECKING:
    from libsel4py.filesystem.sessions import FileSession

MOST_NARROWED: Final = 256  # of one connection, besides those of its sessions
MOST_KNOWN: Final = 64
MOST_LETTERS: Final = 120
_LETTERS: Final = {"r": Access.READ, "w": Access.WRITE}


@dataclass(slots=True, eq=False)
class Grant:
    """A subtree with rights.

    Attributes:
        root: its path in the volume. owner: the client of the description whose it is in the end.
        pinned: it is a name, and follows no directory. session: whose end is its end.
        is_session: it is the session's own capability, and no narrowed one. sessions: how many were opened by it.
        known: paths that were checked, and may be looked at, with what the volume calls them.
    """

    root: str
    rights: Access
    owner: str
    pinned: bool = False
    session: FileSession | None = None
    is_session: bool = False
    badge: int = 0
    is_gone: bool = False
    sessions: int = 0
    known: dict[str, str] = field(default_factory=dict)

    def remember(self, path: str, full: str) -> None:
        """A path that may be looked at. (Long ones and many are not kept: clients choose them.)"""
        if len(path) <= MOST_LETTERS:
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

    def ensure(self, wanted: Access) -> None:
        """Raises StaleHandle, NotPermitted."""
        if self.is_gone:
            raise StaleHandle("the directory of this capability was removed")
        if wanted & ~self.rights:
            raise NotPermitted(f"this capability has no right to {_name(wanted & ~self.rights)} here")


class Grants:
    """All grants, by badge."""

    def __init__(self) -> None:
        self.by_badge: dict[int, Grant] = {}

    def add(self, badge: int, grant: Grant) -> None:
        grant.badge = badge
        self.by_badge[badge] = grant

    def same(self, wanted: Grant) -> Grant | None:
        """A narrowed grant that is the same already."""
        for grant in self._narrowed(wanted):
            if grant.root == wanted.root and grant.rights == wanted.rights and not grant.is_gone:
                return grant
        return None

    def count(self, like: Grant) -> int:
        """How many narrowed grants the session has, or the connection."""
        return sum(1 for _ in self._narrowed(like))

    def _narrowed(self, like: Grant) -> Iterator[Grant]:
        for grant in self.by_badge.values():
            if grant.owner == like.owner and grant.session is like.session and not (grant.pinned or grant.is_session):
                yield grant

    def removed(self, path: str) -> None:
        """A directory is gone."""
        for grant in self.by_badge.values():
            if grant.root == path and not grant.pinned:
                grant.end()

    def renamed(self, old: str, new: str) -> None:
        """A directory has another name, and what had that name is replaced."""
        self.removed(new)
        for grant in self.by_badge.values():
            if not grant.pinned and is_within(grant.root, old):
                grant.move(moved(grant.root, old, new))


def grants_of_description(configuration: Mapping[str, Value], read_only: bool) -> dict[str, tuple[str, Access]]:
    """Root and rights by client, from the setting ``clients = { shell = "rw /", httpd = "r /www" }``.

    Raises:
        ValueError: an entry is not so written.
    """
    given = configuration.get("clients", {})
    if not isinstance(given, dict):
        raise ValueError('clients is a table: clients = { shell = "rw /", httpd = "r /www" }')
    most = Access.READ if read_only else Access.ALL
    return {name: _parse(name, text, most) for name, text in given.items()}


def _parse(name: str, text: Scalar, most: Access) -> tuple[str, Access]:
    letters, _, path = str(text).partition(" ")
    rights = Access.NONE
    for letter in letters:
        if letter not in _LETTERS:
            raise ValueError(f'clients.{name} = {text!r}: rights are "r" or "rw", then a space and the path')
        rights |= _LETTERS[letter]
    try:
        return checked(path.strip().strip("/")), rights & most
    except BadPath as error:
        raise ValueError(f"clients.{name} = {text!r}: {error}") from error


def _name(rights: Access) -> str:
    return " and ".join(right.name.lower() for right in (Access.READ, Access.WRITE) if right & rights and right.name)
