"""Who is derived from whom: an explicit tree of holdings, one for each slot that holds a capability.

Rules (seL4's MCS API): a copy is a child of an original and a sibling of a copy; what Retype makes, a capability that
is given its badge, and a copy of untyped memory are originals. A new holding stands directly behind the one that it was
made from. When a holding goes, its children take its place. Moving changes the place alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.model.capability import BADGED, Capability, Kind


class Place(NamedTuple):
    """A slot: the object (CNode or TCB) that it is in, and its number there."""

    container: int
    number: int


class Mapped(NamedTuple):
    """Where a frame capability is mapped: the VSpace's address, the address there, rights and attributes."""

    space: int
    address: int
    rights: int
    attributes: int


@dataclass(eq=False, slots=True)
class Holding:
    """A capability in its slot.

    Attributes:
        original: whether copies of it are its children. watermark: bytes of untyped memory that are taken.
        mapped: of a frame capability; copies are not.
    """

    capability: Capability
    place: Place
    original: bool
    parent: Holding | None = None
    children: list[Holding] = field(default_factory=list)
    watermark: int = 0
    mapped: Mapped | None = None

    @property
    def free_from(self) -> int:
        """Where the next object of untyped memory can begin: at its start if nothing is made from it."""
        return self.watermark if self.children else 0


class Derivation:
    """All holdings of a system."""

    def __init__(self) -> None:
        self._at: dict[Place, Holding] = {}
        self.roots: list[Holding] = []

    def at(self, place: Place) -> Holding | None:
        return self._at.get(place)

    def __iter__(self) -> Iterator[Holding]:
        return iter(list(self._at.values()))

    def add_root(self, place: Place, capability: Capability) -> None:
        """A capability that the machine starts with."""
        holding = self._at[place] = Holding(capability, place, True)
        self.roots.append(holding)

    def create(self, memory: Holding, place: Place, capability: Capability) -> None:
        """The first capability to a new object, made from untyped memory."""
        holding = self._at[place] = Holding(capability, place, True, memory)
        memory.children.insert(0, holding)

    def copy(self, source: Holding, place: Place, capability: Capability) -> None:
        """A capability made from another one."""
        held = source.capability
        holding = self._at[place] = Holding(capability, place, _is_original(capability, held))
        if held.kind is Kind.UNTYPED:
            holding.watermark = source.watermark
            source.watermark = 1 << held.bits
        if source.original:
            holding.parent = source
            source.children.insert(0, holding)
        else:
            holding.parent = source.parent
            siblings = self._siblings(source)
            siblings.insert(siblings.index(source) + 1, holding)

    def move(self, holding: Holding, place: Place, capability: Capability) -> None:
        del self._at[holding.place]
        holding.place = place
        holding.capability = capability
        self._at[place] = holding

    def exchange(self, first: Place, second: Place) -> None:
        """Swap what two slots hold, if anything."""
        one, other = self._at.pop(first, None), self._at.pop(second, None)
        for holding, place in ((one, second), (other, first)):
            if holding is not None:
                holding.place = place
                self._at[place] = holding

    def remove(self, holding: Holding) -> None:
        """Delete one holding; its children become its parent's."""
        siblings = self._siblings(holding)
        at = siblings.index(holding)
        siblings[at : at + 1] = holding.children
        for child in holding.children:
            child.parent = holding.parent
        holding.children = []
        del self._at[holding.place]

    def is_last(self, holding: Holding) -> bool:
        """Whether no other capability to the same object exists."""
        held = holding.capability
        return not any(other is not holding and other.capability.names_object_of(held) for other in self._at.values())

    def _siblings(self, holding: Holding) -> list[Holding]:
        return self.roots if holding.parent is None else holding.parent.children


def preorder(holding: Holding) -> Iterator[Holding]:
    """The holding and all that is derived from it, parents first."""
    yield holding
    for child in holding.children:
        yield from preorder(child)


def _is_original(copy: Capability, source: Capability) -> bool:
    if copy.kind in BADGED:
        return copy.badge != source.badge
    return copy.kind is Kind.UNTYPED or copy.kind is not source.kind
