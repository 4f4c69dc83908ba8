"""Capability addresses, plainly: an address is a string of bits, and each CNode takes some of them from the front.

The reference that the kernel's look-up is compared with (seL4's MCS API).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from libsel4py.abi import WORD_BITS, LookupFailureKind
from tests.model.capability import Capability, Kind
from tests.model.derivation import Place


class Unresolved(Exception):
    """An address that does not lead to a slot.

    Attributes:
        kind: why. words: its description, as in a CapFault or FailedLookup.
    """

    def __init__(self, kind: LookupFailureKind, *words: int) -> None:
        super().__init__(kind.name, words)
        self.kind = kind
        self.words = words


class Found(NamedTuple):
    place: Place
    bits_left: int


def resolve(root: Capability | None, address: int, depth: int, held: Callable[[Place], Capability | None]) -> Found:
    """The slot that the low ``depth`` bits of ``address`` name, from the CNode ``root`` on."""
    if root is None or root.kind is not Kind.CNODE:
        raise Unresolved(LookupFailureKind.INVALID_ROOT)
    bits = format(address % (1 << depth), f"0{depth}b") if depth else ""
    node: Capability | None = root
    while node is not None and node.kind is Kind.CNODE:
        guard = format(node.guard, f"0{node.guard_size}b") if node.guard_size else ""
        if not bits.startswith(guard):
            raise Unresolved(LookupFailureKind.GUARD_MISMATCH, len(bits), node.guard, node.guard_size)
        level = node.guard_size + node.bits
        if level > len(bits):
            raise Unresolved(LookupFailureKind.DEPTH_MISMATCH, len(bits), level)
        index = int(bits[node.guard_size : level], 2)
        bits = bits[level:]
        place = Place(node.address, index)
        if not bits:
            break
        node = held(place)
    return Found(place, len(bits))


def resolve_slot(root: Capability | None, index: int, depth: int, held: Callable[[Place], Capability | None]) -> Place:
    """The slot of a CNode method: every bit must be used."""
    found = resolve(root, index, depth, held)
    if found.bits_left:
        raise Unresolved(LookupFailureKind.DEPTH_MISMATCH, found.bits_left, 0)
    return found.place


def resolve_pointer(root: Capability | None, cptr: int, held: Callable[[Place], Capability | None]) -> Place:
    """The slot of a system call's capability address: left-over bits do not matter."""
    return resolve(root, cptr, WORD_BITS, held).place
