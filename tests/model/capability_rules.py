"""Rules of the state machine that change capabilities and make objects."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Syscall
from tests.model.actors import Actors
from tests.model.strategies import (
    TYPES,
    Address,
    actors,
    badges,
    destinations,
    free_slots,
    nested,
    node_slots,
    own,
    owned,
    replies,
    rights,
    sources,
    window,
    windows,
    wrong,
)
from tests.model.world import WINDOW, WINDOW_SLOTS


class CapabilityRules(Actors):
    """Untyped and CNode."""

    @rule(what=TYPES, at=destinations, count=st.sampled_from((1, 1, 2, 4)), memory=st.sampled_from((0, 0, 0, 1, 2)))
    def retype(self, what: tuple[ObjectType, int], at: Address, count: int, memory: int) -> None:
        """Objects of each type, from the pool or from untyped memory made of it."""
        source = self.owned.pool if memory == 0 else WINDOW + memory
        root, index, depth = at
        node = (index, depth) if root != InitialSlot.CNODE or depth != abi.WORD_BITS else (0, 0)
        offset = index if node == (0, 0) else 0
        self.manage(source, Label.UNTYPED_RETYPE, (what[0], what[1], *node, offset, count), (root,))

    @rule(slot=st.integers(0, 3), what=TYPES, count=st.integers(1, 3))
    def retype_intowindow(self, slot: int, what: tuple[ObjectType, int], count: int) -> None:
        words = (*what, 0, 0, WINDOW + slot, count)
        self.manage(self.owned.pool, Label.UNTYPED_RETYPE, words, (InitialSlot.CNODE,))

    @rule(words=st.lists(st.one_of(st.integers(0, 70), st.integers(0, abi.WORD_MASK)), min_size=5, max_size=6))
    def retype_wrongly(self, words: list[int]) -> None:
        self.manage(self.owned.pool, Label.UNTYPED_RETYPE, tuple(words), (InitialSlot.CNODE,))

    @rule(to=destinations, source=sources, limit=rights)
    def copy(self, to: Address, source: Address, limit: int) -> None:
        self.manage(to[0], Label.CNODE_COPY, (*to[1:], *source[1:], limit), (source[0],))

    @rule(to=destinations, source=sources, limit=rights, badge=badges)
    def mint(self, to: Address, source: Address, limit: int, badge: int) -> None:
        self.manage(to[0], Label.CNODE_MINT, (*to[1:], *source[1:], limit, badge), (source[0],))

    @rule(to=destinations, source=sources)
    def move(self, to: Address, source: Address) -> None:
        self.manage(to[0], Label.CNODE_MOVE, (*to[1:], *source[1:]), (source[0],))

    @rule(to=destinations, source=sources, badge=badges)
    def mutate(self, to: Address, source: Address, badge: int) -> None:
        self.manage(to[0], Label.CNODE_MUTATE, (*to[1:], *source[1:], badge), (source[0],))

    @rule(to=destinations, pivot=sources, source=sources, data=st.tuples(badges, badges))
    def rotate(self, to: Address, pivot: Address, source: Address, data: tuple[int, int]) -> None:
        words = (*to[1:], data[0], *pivot[1:], data[1], *source[1:])
        self.manage(to[0], Label.CNODE_ROTATE, words, (pivot[0], source[0]))

    @rule(at=st.one_of(windows, windows, windows, sources, replies))
    def revoke(self, at: Address) -> None:
        self.manage(at[0], Label.CNODE_REVOKE, at[1:])

    @rule(at=st.one_of(windows, windows, windows, free_slots, node_slots, nested, wrong, replies))
    def delete(self, at: Address) -> None:
        self.manage(at[0], Label.CNODE_DELETE, at[1:])

    @rule(slots=st.permutations(range(WINDOW_SLOTS)))
    def rotate_inwindow(self, slots: list[int]) -> None:
        words = (*window(slots[0])[1:], 0, *window(slots[1])[1:], 0, *window(slots[2 * (slots[3] > 1)])[1:])
        self.manage(InitialSlot.CNODE, Label.CNODE_ROTATE, words, (InitialSlot.CNODE, InitialSlot.CNODE))

    @rule(slot=st.integers(0, WINDOW_SLOTS - 1), bits=st.sampled_from((1, 2)))
    def make_node(self, slot: int, bits: int) -> None:
        words = (ObjectType.CNODE, bits, 0, 0, WINDOW + slot, 1)
        self.manage(self.owned.pool, Label.UNTYPED_RETYPE, words, (InitialSlot.CNODE,))

    @rule(slots=st.permutations(range(WINDOW_SLOTS)), index=st.integers(0, 3), bits=st.sampled_from((1, 2)))
    def nest(self, slots: list[int], index: int, bits: int) -> None:
        """A capability of the window goes into a CNode of the window."""
        words = (index, bits, *window(slots[0])[1:])
        self.manage(WINDOW + slots[1], Label.CNODE_MOVE, words, (InitialSlot.CNODE,))

    @rule(at=owned)
    def delete_object(self, at: Address) -> None:
        self.manage(at[0], Label.CNODE_DELETE, at[1:])

    @rule(at=sources)
    def cancel_badged_sends(self, at: Address) -> None:
        self.manage(at[0], Label.CNODE_CANCEL_BADGED_SENDS, at[1:])

    @rule(number=actors, to=own, source=own, limit=rights, badge=badges, label=st.integers(18, 25))
    def worker_changes_its_node(
        self, number: int, to: Address, source: Address, limit: int, badge: int, label: int
    ) -> None:
        words = (*to[1:], *source[1:], limit, badge, *source[1:])
        info = abi.message_info(label, len(words), 2)
        self.act(number, Syscall.CALL, cptr=to[0], info=info, words=words, caps=(source[0], to[0]))
