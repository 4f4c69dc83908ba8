"""What is mounted where, and which part of the tree a capability sees. No system call is made here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from libsel4py.filesystem.paths import checked, is_within, join, relative
from libsel4py.interfaces.file import Access, Directory, FileExists, NoSuchFile, NotPermitted, TooManyOpen

MOST_MOUNTS: Final = 32
MOST_MOUNTS_OF_ONE: Final = MOST_MOUNTS // 2  # of one client
MOST_TABLE_BYTES: Final = 12 << 10  # of which one client has half
_ENTRY_BYTES: Final = 32


class KeptMount(msgspec.Struct, frozen=True, array_like=True):
    """What a client has mounted: the slot of the directory, and the client."""

    slot: int
    owner: str


class KeptView(msgspec.Struct, frozen=True, array_like=True):
    """A `View`."""

    root: str
    rights: int
    owner: str


class Table(msgspec.Struct):
    """What the server's next life finds: mounts of clients by path, narrowed views by badge."""

    mounts: dict[str, KeptMount] = msgspec.field(default_factory=dict)
    views: dict[int, KeptView] = msgspec.field(default_factory=dict)

    def ensure_room(self, path: str, owner: str) -> None:
        """Raises TooManyOpen: with one more entry the table would take more bytes than are kept."""
        entries = [(root, each.owner) for root, each in self.mounts.items()]
        entries += [(each.root, each.owner) for each in self.views.values()]
        sizes = [(_ENTRY_BYTES + len(f"{path}{owner}".encode()), owner) for path, owner in [*entries, (path, owner)]]
        of_one = sum(size for size, each in sizes if each == owner)
        if sum(size for size, _ in sizes) > MOST_TABLE_BYTES or of_one > MOST_TABLE_BYTES // 2:
            raise TooManyOpen(
                f"mounts and narrowed namespaces take {MOST_TABLE_BYTES} bytes, half of which are one client's, and no "
                "more are kept"
            )


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
    """A directory at a path. ``made_by`` is the client that mounted it; empty: the description did.

    ``given``: slots of what was handed out, by subtree. ``has_failed``: it did not answer, and is to be unmounted.
    """

    path: str
    directory: Directory
    made_by: str = ""
    given: dict[tuple[str, Access], int] = field(default_factory=dict)
    has_failed: bool = False


class Tree:
    """All mounts, by path."""

    def __init__(self) -> None:
        self._mounts: dict[str, Mounted] = {}

    def __len__(self) -> int:
        return len(self._mounts)

    def ensure_free(self, path: str, client: str = "") -> None:
        """Whether a directory can be mounted here, by a client. Raises FileExists, TooManyOpen."""
        if path in self._mounts:
            raise FileExists(f"something is mounted at /{path}: unmount it first")
        if len(self._mounts) == MOST_MOUNTS:
            raise TooManyOpen(f"there are {MOST_MOUNTS} mounts, and no more are kept")
        if client and sum(each.made_by == client for each in self._mounts.values()) >= MOST_MOUNTS_OF_ONE:
            raise TooManyOpen(f"{client} has mounted {MOST_MOUNTS_OF_ONE} directories, and no more are kept")

    def add(self, mounted: Mounted) -> None:
        """Raises as `ensure_free`."""
        self.ensure_free(mounted.path)
        self._mounts[mounted.path] = mounted

    def failed(self) -> list[Mounted]:
        """What clients have mounted, and does not answer."""
        return [mounted for mounted in self._mounts.values() if mounted.made_by and mounted.has_failed]

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
