"""Rules of the state machine that change threads and give them time."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, Syscall
from tests.model.actors import Actors
from tests.model.strategies import (
    actors,
)
from tests.model.world import WORKERS, Worker


class ThreadRules(Actors):
    """TCB, scheduling context, SchedControl."""

    @rule(number=actors, priority=st.integers(95, 125), authority=st.sampled_from((0, 1, 3)))
    def set_priority(self, number: int, priority: int, authority: int) -> None:
        tcb = self.owned.tcbs[authority] if authority < len(WORKERS) else InitialSlot.TCB
        self.manage(self.owned.tcbs[number], Label.TCB_SET_PRIORITY, (priority,), (tcb,))

    @rule(number=actors, most=st.integers(95, 260))
    def set_mc_priority(self, number: int, most: int) -> None:
        self.manage(self.owned.tcbs[number], Label.TCB_SET_MC_PRIORITY, (most,), (InitialSlot.TCB,))

    @rule(number=actors)
    def rouse(self, number: int) -> None:
        """Whatever a worker was at, it has time and goes on."""
        tcb, context = self.owned.tcbs[number], self.owned.contexts[number]
        self.manage(context, Label.SCHED_CONTEXT_UNBIND)
        self.manage(context, Label.SCHED_CONTEXT_BIND, (), (tcb,))
        self.manage(tcb, Label.TCB_RESUME)

    @rule(number=actors, context=st.sampled_from((0, 64, 80, 81, 82)), handler=st.sampled_from((0, 64, 66, 68, 96)))
    def set_sched_params(self, number: int, context: int, handler: int) -> None:
        caps = (InitialSlot.TCB, context, handler)
        self.manage(self.owned.tcbs[number], Label.TCB_SET_SCHED_PARAMS, (130, 101), caps)

    @rule(number=actors, second=st.booleans())
    def bind_notification(self, number: int, second: bool) -> None:
        bell = self.owned.second_notification if second else self.owned.notification
        self.manage(self.owned.tcbs[number], Label.TCB_BIND_NOTIFICATION, (), (bell,))

    @rule(number=actors)
    def unbind_notification(self, number: int) -> None:
        self.manage(self.owned.tcbs[number], Label.TCB_UNBIND_NOTIFICATION)

    @rule(context=st.integers(0, 4), to=st.sampled_from((67, 68, 72, 73, 74, 75, 64)))
    def context_bind(self, context: int, to: int) -> None:
        self.manage(self.context(context), Label.SCHED_CONTEXT_BIND, (), (to,))

    @rule(context=st.integers(0, 4))
    def context_unbind(self, context: int) -> None:
        self.manage(self.context(context), Label.SCHED_CONTEXT_UNBIND)

    @rule(context=st.integers(0, 4), what=st.sampled_from((67, 68, 72, 73, 74, 64)))
    def context_unbind_object(self, context: int, what: int) -> None:
        self.manage(self.context(context), Label.SCHED_CONTEXT_UNBIND_OBJECT, (), (what,))

    @rule(context=st.integers(0, 4), yields=st.booleans())
    def context_consumed(self, context: int, yields: bool) -> None:
        label = Label.SCHED_CONTEXT_YIELD_TO if yields else Label.SCHED_CONTEXT_CONSUMED
        self.manage(self.context(context), label)

    @rule(context=st.integers(0, 4), words=st.tuples(st.sampled_from((0, 20, 500, 1 << 41)), st.integers(19, 501)))
    def context_configure(self, context: int, words: tuple[int, int]) -> None:
        caps = (self.context(context),)
        self.manage(InitialSlot.FIRST_FREE, Label.SCHED_CONTROL_CONFIGURE_FLAGS, (*words, 0, 0, 0), caps)

    @rule()
    def time_passes(self) -> None:
        self.pair.pass_time(1000)

    def context(self, number: int) -> int:
        return (*self.owned.contexts, self.owned.context)[number]

    @rule(number=actors)
    def suspend(self, number: int) -> None:
        self.manage(self.owned.tcbs[number], Label.TCB_SUSPEND)

    @rule(number=actors)
    def resume(self, number: int) -> None:
        self.manage(self.owned.tcbs[number], Label.TCB_RESUME)

    @rule(number=actors, label=st.sampled_from((Label.TCB_SUSPEND, Label.TCB_RESUME, Label.TCB_UNBIND_NOTIFICATION)))
    def worker_invokes_another(self, number: int, label: Label) -> None:
        self.act(number, Syscall.CALL, cptr=Worker.TCB, info=abi.message_info(label))

    @rule(number=actors, label=st.sampled_from((Label.SCHED_CONTEXT_UNBIND, Label.SCHED_CONTEXT_BIND)))
    def worker_changes_a_context(self, number: int, label: Label) -> None:
        info = abi.message_info(label, 0, 1)
        self.act(number, Syscall.CALL, cptr=Worker.SCHED_CONTEXT, info=info, caps=(int(Worker.TCB),))
