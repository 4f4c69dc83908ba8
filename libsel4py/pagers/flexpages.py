"""L4's map, grant and unmap: who has which page from whom, and what goes when a page is taken back.

A mapping database: every mapping of a page is a node of the page's tree; what a space maps on to others are its
node's children. A frame capability's copies are all siblings, so the kernel alone could take a page back from everybody
at once, not from one space and those behind it; the tree says which. Each node has a copy of the page's capability that
only the owner of the database holds, so what the tree says is enforced by the kernel: a node's end is the deletion of
its capability, the end of all of a page's is one revoke.

Rules (L4 X.2 reference manual, sections 4.1 and 4.2):
- A mapping never gives more rights than the node that it was made from has; taking some takes them from all behind.
- ``grant`` gives a node away: its space loses the page, and the page's tree is otherwise as it was.
- Mapping what the receiver has at that address already, from the same node, adds to its rights. Anything else that
  the receiver has there is unmapped first, with all that came of it.
- Where sizes differ, the hot spot says which part: the smaller of the two flexpages decides (`overlap`).

Executable mappings do not exist here, so the right x of a flexpage is never granted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NewType

from libsel4py.abi import FRAME_MIN_BITS, Rights
from libsel4py.capabilities import Frame, VSpace
from libsel4py.errors import KernelError
from libsel4py.pagers.frames import Frames, Wanted

PAGE_BYTES: Final = 1 << FRAME_MIN_BITS
SpaceId = NewType("SpaceId", int)
READ: Final = 4
WRITE: Final = 2
EXECUTE: Final = 1
_BASE_SHIFT: Final = 10


@dataclass(frozen=True, slots=True)
class Flexpage:
    """2**``size_bits`` bytes at ``base``, with L4's rights: 4 read, 2 write, 1 execute."""

    base: int
    size_bits: int
    rights: int = READ | WRITE

    def __post_init__(self) -> None:
        if self.size_bits < FRAME_MIN_BITS or self.size_bits > 62:
            raise ValueError(f"a flexpage of 2**{self.size_bits} bytes: the smallest has 2**{FRAME_MIN_BITS}")
        if self.base % (1 << self.size_bits) or self.base < 0:
            raise ValueError(f"flexpage base {self.base:#x} is no multiple of its 2**{self.size_bits} bytes")

    @property
    def size(self) -> int:
        return 1 << self.size_bits

    def word(self) -> int:
        """As L4 X.2 encodes it: base / 1024, size bits, a 0, and rights, from the top down 54, 6, 1 and 3 bits."""
        return self.base >> _BASE_SHIFT << _BASE_SHIFT | self.size_bits << 4 | self.rights

    @classmethod
    def of(cls, word: int) -> Flexpage:
        """The flexpage of a word. Raises ValueError if there is none such."""
        return cls(word >> _BASE_SHIFT << _BASE_SHIFT, word >> 4 & 63, word & 7)


def overlap(send: Flexpage, window: Flexpage, hot_spot: int) -> tuple[int, int, int]:
    """Where a flexpage goes in a receive window: source base, destination base, and bytes.

    The larger of both is cut to the size of the smaller, at the place that the hot spot (an offset, whose bits above
    the smaller size count) chooses in the larger. Source: L4 X.2, section 5.1 (send base).
    """
    if send.size_bits == window.size_bits:
        return send.base, window.base, send.size
    if send.size_bits < window.size_bits:
        return send.base, window.base + (hot_spot % window.size & ~(send.size - 1)), send.size
    return send.base + (hot_spot % send.size & ~(window.size - 1)), window.base, window.size


@dataclass(slots=True, eq=False)
class Node:
    """A page as one space sees it. The root of a tree is in no space: it is who owns the page.

    Attributes:
        frame: the capability by which it is mapped; the root's is the page's own.
    """

    frame: Frame
    space: SpaceId | None
    address: int
    rights: int
    parent: Node | None
    children: list[Node] = field(default_factory=list)

    def below(self) -> Iterator[Node]:
        """All that came of it, each before what came of that. (Tasks decide how deep it goes.)"""
        left = self.children[::-1]
        while left:
            node = left.pop()
            yield node
            left += reversed(node.children)


class NotMapped(LookupError):
    """The space has nothing at that address."""


class MappingDatabase:
    """All spaces and pages of one owner of memory. Pages are of 4096 bytes."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._spaces: dict[SpaceId, VSpace] = {}
        self._nodes: dict[tuple[SpaceId, int], Node] = {}
        self._roots: dict[int, Node] = {}  # by slot of the page's own capability
        self._bare: dict[int, Node] = {}  # those of them whose last mapping ended; there may be a new one since

    def add_space(self, number: SpaceId, vspace: VSpace) -> None:
        """Let a space take part. Raises ValueError if the number is taken."""
        if number in self._spaces:
            raise ValueError(f"space {number} takes part already")
        self._spaces[number] = vspace

    def remove_space(self, number: SpaceId) -> None:
        """A space has ended: what it had is unmapped, with all that it had mapped on."""
        for node in [each for (space, _), each in self._nodes.items() if space == number]:
            if self._nodes.get((number, node.address)) is node:
                self._remove(node)
        del self._spaces[number]

    def node(self, space: SpaceId, address: int) -> Node:
        """What a space has at a page's address. Raises NotMapped."""
        found = self._nodes.get((space, address))
        if found is None:
            raise NotMapped(f"space {space} has no page at {address:#x}")
        return found

    def rights(self, space: SpaceId, address: int) -> int:
        """What a space may do at a page's address, in L4's bits; 0 for nothing."""
        found = self._nodes.get((space, address))
        return found.rights if found is not None else 0

    # --- map, grant, unmap ----------------------------------------------------------------------------------

    def insert(self, page: Frame, space: SpaceId, address: int, rights: int) -> None:
        """Hand a page of the owner's to a space: the root of its tree is made if need be.

        Raises:
            KernelError: the kernel does not map it there. OutOfSlots.
        """
        root = self._roots.setdefault(page.cptr, Node(page, None, 0, READ | WRITE, None))
        try:
            self._map(root, space, address, rights)
        finally:
            if not root.children:
                self._bare[page.cptr] = root

    def map(self, source: SpaceId, send: Flexpage, target: SpaceId, base: int) -> int:
        """Let another space see the pages of a flexpage, from ``base`` on; returns how many there were.

        Pages that the source has not are left out, as L4 does; so are those that it loses by this, since one before
        took the place of what they came of. Raises KernelError, OutOfSlots.
        """
        done = 0
        for node, address in self._pairs(source, send, base):
            self._map(node, target, address, send.rights)
            done += 1
        return done

    def grant(self, source: SpaceId, send: Flexpage, target: SpaceId, base: int) -> int:
        """Give the pages of a flexpage away; the source has them no more. As `map` otherwise.

        What the source had mapped on to others stays theirs, and comes of the target's page now.
        """
        done = 0
        for node, address in self._pairs(source, send, base):
            self._give(node, target, address, send.rights)
            done += 1
        return done

    def unmap(self, space: SpaceId, page: Flexpage, *, own: bool = False) -> int:
        """Take the rights in ``page.rights`` from all that came of the space's pages; returns what was taken of them.

        Args:
            own: take them from the space itself as well (L4: flush). Without Read nothing is left of a mapping.
        """
        taken = 0
        for node, _ in self._pairs(space, page, 0):
            nodes = [*node.below(), *([node] if own else [])]
            taken |= self._take(nodes, page.rights)
        return taken

    def revoke(self, page: Frame) -> None:
        """Take a page of the owner's back from everybody, in one step of the kernel."""
        root = self._roots.pop(page.cptr, None)
        if root is None:
            return
        self._bare.pop(page.cptr, None)
        self._frames.revoke(page)
        nodes = list(root.below())
        for node in nodes:
            self._forget(node)
        self._frames.drop_all([node.frame for node in nodes])

    def take_unused(self) -> list[Frame]:
        """The owner's pages that no space has any more; they are forgotten, and the owner may free them."""
        unused = [root.frame for root in self._bare.values() if not root.children]
        self._bare.clear()
        for frame in unused:
            del self._roots[frame.cptr]
        return unused

    # --- one node -------------------------------------------------------------------------------------------

    def _pairs(self, space: SpaceId, page: Flexpage, base: int) -> Iterator[tuple[Node, int]]:
        """The space's pages within a flexpage, each with its place from ``base`` on.

        Which these are is settled before the first one; one that has gone when its turn comes is left out.
        """
        if page.size // PAGE_BYTES > len(self._nodes):
            within = sorted(
                each for owner, each in self._nodes if owner == space and page.base <= each < page.base + page.size
            )
        else:
            within = list(range(page.base, page.base + page.size, PAGE_BYTES))
        found = [self._nodes[space, address] for address in within if (space, address) in self._nodes]
        for node in found:
            if self._nodes.get((space, node.address)) is node:
                yield node, base + node.address - page.base

    def _map(self, parent: Node, space: SpaceId, address: int, rights: int) -> None:
        rights &= parent.rights & (READ | WRITE)
        if not rights & READ:
            return  # nothing can be seen without reading
        former = self._nodes.get((space, address))
        if former is not None and former.parent is parent:
            self._set_rights(former, former.rights | rights)
            return
        if former is not None:
            if former is parent or former in _ancestors(parent):
                raise ValueError(f"space {space} cannot get at {address:#x} what came of what it has there")
            self._remove(former)
        (made,) = self._frames.map([Wanted(parent.frame.cptr, self._spaces[space], address, _kernel_rights(rights))])
        if isinstance(made, KernelError):
            raise made
        node = Node(made, space, address, rights, parent)
        parent.children.append(node)
        self._nodes[space, address] = node

    def _give(self, node: Node, space: SpaceId, address: int, rights: int) -> None:
        """Move a node: the capability stays, its mapping goes elsewhere."""
        rights &= node.rights & (READ | WRITE)
        former = self._nodes.get((space, address))
        if former is node:
            return
        if not rights & READ:
            self._remove(node)
            return
        if former is not None:
            if former in _ancestors(node):
                raise ValueError(f"space {space} cannot get at {address:#x} what came of what it has there")
            self._remove(former)
        self._frames.unmap(node.frame)
        wanted = Wanted(0, self._spaces[space], address, _kernel_rights(rights))
        (error,) = self._frames.remap([(node.frame, wanted)])
        if error is not None:
            self._remove(node)
            raise error
        assert node.space is not None
        del self._nodes[node.space, node.address]
        node.space, node.address = space, address
        self._nodes[space, address] = node
        if rights != node.rights:
            self._take(list(node.below()), node.rights & ~rights)
            node.rights = rights

    def _take(self, nodes: list[Node], rights: int) -> int:
        taken = 0
        for node in nodes:
            taken |= node.rights & rights
        if rights & READ:
            for node in reversed(nodes):
                self._cut(node)
            self._frames.drop_all([node.frame for node in nodes])
            return taken
        changes = [node for node in nodes if node.rights & rights]
        for node in changes:
            node.rights &= ~rights
        self._frames.remap([(node.frame, self._wanted(node)) for node in changes])
        return taken

    def _set_rights(self, node: Node, rights: int) -> None:
        node.rights = rights
        (error,) = self._frames.remap([(node.frame, self._wanted(node))])
        if error is not None:
            raise error

    def _remove(self, node: Node) -> None:
        """Unmap a node and all that came of it."""
        self._take([*node.below(), node], READ | WRITE)

    def _cut(self, node: Node) -> None:
        self._forget(node)
        parent = node.parent
        if parent is not None:
            parent.children.remove(node)
            if parent.space is None and not parent.children:
                self._bare[parent.frame.cptr] = parent

    def _forget(self, node: Node) -> None:
        if node.space is not None:
            del self._nodes[node.space, node.address]

    def _wanted(self, node: Node) -> Wanted:
        assert node.space is not None
        return Wanted(0, self._spaces[node.space], node.address, _kernel_rights(node.rights))


def _ancestors(node: Node) -> Iterator[Node]:
    parent = node.parent
    while parent is not None:
        yield parent
        parent = parent.parent


def _kernel_rights(rights: int) -> int:
    kernel = Rights.READ if rights & READ else Rights.NONE
    return int(kernel | Rights.WRITE if rights & WRITE else kernel)
