"""Rules of the state machine about death notices: all are the manager's, as are the objects that they watch."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label
from tests.model.actors import Actors
from tests.model.world import CHANNELS, FIRST_OWNED, NOTICE_COUNT, NOTICES, PAGES, SPACE, WINDOW, WINDOW_SLOTS, WORKERS

CNODE = InitialSlot.CNODE
notices = st.integers(NOTICES, NOTICES + NOTICE_COUNT - 1)
objects = st.one_of(
    st.integers(FIRST_OWNED, FIRST_OWNED + 19),
    st.integers(CHANNELS, CHANNELS + len(WORKERS) - 1),
    st.sampled_from((PAGES, SPACE, *range(NOTICES, NOTICES + NOTICE_COUNT), int(InitialSlot.IRQ_CONTROL), 2000)),
    st.integers(WINDOW, WINDOW + WINDOW_SLOTS - 1),
)


class NoticeRules(Actors):
    """DeathNotice."""

    @rule(notice=notices, what=objects, second=st.booleans())
    def watch(self, notice: int, what: int, second: bool) -> None:
        bell = self.owned.second_notification if second else self.owned.notification
        self.manage(notice, Label.DEATH_NOTICE_WATCH, (), (what, bell))

    @rule(notice=notices, what=objects, bell=objects)
    def watch_wrongly(self, notice: int, what: int, bell: int) -> None:
        self.manage(notice, Label.DEATH_NOTICE_WATCH, (), (what, bell))

    @rule(notice=notices)
    def watch_a_worker(self, notice: int) -> None:
        tcb = self.owned.tcbs[notice % len(WORKERS)]
        self.manage(notice, Label.DEATH_NOTICE_WATCH, (), (tcb, self.owned.notification))

    @rule(notice=notices, method=st.sampled_from((Label.DEATH_NOTICE_CANCEL, Label.DEATH_NOTICE_READ, 99)))
    def use_notice(self, notice: int, method: int) -> None:
        self.manage(notice, method)

    @rule(notice=notices, deletes=st.booleans())
    def read_or_destroy(self, notice: int, deletes: bool) -> None:
        if deletes:
            self.manage(CNODE, Label.CNODE_DELETE, (notice, abi.WORD_BITS))
        else:
            self.manage(notice, Label.DEATH_NOTICE_READ)

    @rule(slot=st.one_of(st.integers(WINDOW, WINDOW + WINDOW_SLOTS - 1), st.integers(CHANNELS, CHANNELS + 3)))
    def destroy_watched(self, slot: int) -> None:
        self.manage(CNODE, Label.CNODE_DELETE, (slot, abi.WORD_BITS))
