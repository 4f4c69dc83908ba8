"""What is mounted where, and which part of the tree a capability sees. No system call is made here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from libsel4py.filesystem.paths import checked, is_within, join, relative
from libsel4py.interfaces.file import Access, Directory, FileExists, NoSuchFile, NotPermitted, TooManyOpen

MOST_MOUNTS: Final = 32


@dataclass(frozen=True, slots=True)
class View:
    """A part of the tree: what is below ``root``, with these rights at most. ``owner`` is the client whose it is."""

    root: str
    rights: Access
    owner: str

    def full(self, path: str) -> str:
        """A client's path, which begins with "/", as one of the whole tree. Raises BadPath."""
        return join(self.root, checked(path.strip("/")))


@dataclass(slots=True, eq=False)
class Mounted:
    """A directory at a path. ``made_by`` is the client that mounted it; empty: the description did."""

    path: str
    directory: Directory
    made_by: str = ""
    given: dict[tuple[str, Access], int] = field(default_factory=dict)  # slots of what was handed out, by subtree


class Tree:
    """All mounts, by path."""

    def __init__(self) -> None:
        self._mounts: dict[str, Mounted] = {}

    def add(self, mounted: Mounted) -> None:
        """Raises FileExists, TooManyOpen."""
        if mounted.path in self._mounts:
            raise FileExists(f"something is mounted at /{mounted.path}: unmount it first")
        if len(self._mounts) == MOST_MOUNTS:
            raise TooManyOpen(f"there are {MOST_MOUNTS} mounts, and no more are kept")
        self._mounts[mounted.path] = mounted

    def remove(self, path: str, client: str) -> Mounted:
        """What a client has mounted. Raises NoSuchFile, NotPermitted."""
        found = self._mounts.get(path)
        if found is None:
            raise NoSuchFile(f"nothing is mounted at /{path}")
        if found.made_by != client:
            raise NotPermitted(f"what is mounted at /{path} is not {client}'s to unmount")
        return self._mounts.pop(path)

    def find(self, path: str) -> Mounted:
        """The mount that has a path: the longest one above it. Raises NoSuchFile."""
        above = [mounted for mounted in self._mounts.values() if is_within(path, mounted.path)]
        if not above:
            raise NoSuchFile(f"nothing is mounted above /{path}")
        return max(above, key=lambda mounted: len(mounted.path))

    def seen(self, view: View) -> Iterator[tuple[str, Mounted]]:
        """Mounts that a view has paths of, with the path at which it sees them, in order."""
        for path, mounted in sorted(self._mounts.items()):
            if is_within(path, view.root):
                yield "/" + relative(path, view.root), mounted
        if view.root not in self._mounts:
            above = [each for each in self._mounts.values() if is_within(view.root, each.path)]
            if above:
                yield "/", max(above, key=lambda mounted: len(mounted.path))


def places(view: View, mounted: Mounted, full: str) -> tuple[str, str]:
    """What of a mount a view may see (a path there), and the rest of ``full`` below that."""
    if is_within(mounted.path, view.root):
        return "", relative(full, mounted.path)
    return relative(view.root, mounted.path), relative(full, view.root)
