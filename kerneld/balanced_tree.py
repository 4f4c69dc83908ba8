"""Balanced trees (AVL) in records: what the table of a space's mappings and the death notices have in common.

A node is 32 bytes of somebody's record, as `TreeNode` says: a key in its first word, its second the owner's, then two
links. Rules: every function takes O(log n) steps and stores; no node is copied into another, so that a node can be a
part of an object. Whoever keeps the root stores what a function returns.
"""

from __future__ import annotations

from typing import Final

from hw.ram import Ram
from kerneld.records import NODE_MASK
from libsel4py.abi import WORD_MASK

LOWER: Final = 16
HIGHER: Final = 24
HEIGHT_SHIFT: Final = 40

Path = list[tuple[int, int]]  # from the root down: a node, and by which of its links (LOWER, HIGHER) it is left


def descend(ram: Ram, root: int, key: int, mask: int = WORD_MASK) -> tuple[Path, int]:
    """The way from the root (0: none) to the node with a key, and that node; 0 where it would be put.

    ``mask``: what of a node's first word is the key.
    """
    path: Path = []
    node = root
    while node:
        here = ram.word(node) & mask
        if here == key:
            break
        link = LOWER if key < here else HIGHER
        path.append((node, link))
        node = ram.word(node + link) & NODE_MASK
    return path, node


def put_in(ram: Ram, path: Path, node: int) -> int | None:
    """Hang a node below the end of the path. Returns the root, 0 for none; None where it is as before."""
    ram.set_word(node + LOWER, 1 << HEIGHT_SHIFT)
    return _retrace(ram, path, node)


def take_out(ram: Ram, path: Path, node: int) -> int | None:
    """Take out the node that the path leads to; its links are left as they were. Returns as `put_in`."""
    lower, higher = _links(ram, node)
    if not lower or not higher:
        return _retrace(ram, path, lower or higher)
    above = len(path)  # the next node in order takes its place
    path.append((node, HIGHER))
    heir = higher
    while below := ram.word(heir + LOWER) & NODE_MASK:
        path.append((heir, LOWER))
        heir = below
    orphan = ram.word(heir + HIGHER)
    path[above] = (heir, HIGHER)
    top = replace(ram, path[:above], node, heir)
    if heir == higher:
        ram.set_word(heir + HIGHER, orphan)
    changed = _retrace(ram, path, orphan)
    return top if changed is None else changed


def replace(ram: Ram, path: Path, node: int, heir: int) -> int | None:
    """Put another node, with links of no meaning, into the place of the one that the path leads to. As `put_in`."""
    ram.set_word(heir + LOWER, ram.word(node + LOWER))
    ram.set_word(heir + HIGHER, ram.word(node + HIGHER))
    if not path:
        return heir
    _set_link(ram, *path[-1], heir)
    return None


def _retrace(ram: Ram, path: Path, child: int) -> int | None:
    """Hang ``child`` below the end of the path, and balance upwards as far as heights change. Returns as `put_in`."""
    word, set_word = ram.word, ram.set_word
    while path:
        node, link = path.pop()
        lower, higher = before, other = word(node + LOWER), word(node + HIGHER)
        if link == LOWER:
            lower = before & ~NODE_MASK | child
        else:
            higher = child
        below = lower & NODE_MASK
        left = word(below + LOWER) >> HEIGHT_SHIFT if below else 0
        right = word(higher + LOWER) >> HEIGHT_SHIFT if higher else 0
        height = 1 + (left if left > right else right)
        if higher != other:
            set_word(node + HIGHER, higher)
        if -1 <= left - right <= 1:
            now = height << HEIGHT_SHIFT | below
            if now != before:
                set_word(node + LOWER, now)
            if height == before >> HEIGHT_SHIFT:
                return None
            child = node
        else:
            if lower != before:
                set_word(node + LOWER, lower)
            child = _balance(ram, node)
    return child


def _set_link(ram: Ram, node: int, link: int, child: int) -> None:
    before = ram.word(node + link)
    now = before & ~NODE_MASK | child if link == LOWER else child
    if now != before:
        ram.set_word(node + link, now)


def _height(ram: Ram, node: int) -> int:
    return ram.word(node + LOWER) >> HEIGHT_SHIFT if node else 0


def _links(ram: Ram, node: int) -> tuple[int, int]:
    return ram.word(node + LOWER) & NODE_MASK, ram.word(node + HIGHER)


def _measure(ram: Ram, node: int) -> None:
    """Set a node's height from its children's."""
    lower, higher = _links(ram, node)
    now = 1 + max(_height(ram, lower), _height(ram, higher)) << HEIGHT_SHIFT | lower
    if now != ram.word(node + LOWER):
        ram.set_word(node + LOWER, now)


def _balance(ram: Ram, node: int) -> int:
    """The heights of a node's children differ by two: turn it; returns the node that is on top then."""
    lower, higher = _links(ram, node)
    leans_low = _height(ram, lower) > _height(ram, higher)
    heavy, link, other = (lower, LOWER, HIGHER) if leans_low else (higher, HIGHER, LOWER)
    inner, outer = (ram.word(heavy + side) & NODE_MASK for side in (other, link))
    if _height(ram, inner) > _height(ram, outer):
        _set_link(ram, node, link, _rotate(ram, heavy, other))
    return _rotate(ram, node, link)


def _rotate(ram: Ram, node: int, link: int) -> int:
    """Put a node's child at ``link`` into its place, and the node below that; returns the child."""
    other = HIGHER if link == LOWER else LOWER
    child = ram.word(node + link) & NODE_MASK
    _set_link(ram, node, link, ram.word(child + other) & NODE_MASK)
    _set_link(ram, child, other, node)
    _measure(ram, node)
    _measure(ram, child)
    return child
