"""Channels at close quarters: a state machine that does little else than connect, listen, and take away."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, Syscall
from tests.model.channel_rules import ChannelRules
from tests.model.strategies import actors
from tests.model.system import Submission
from tests.model.world import CHANNELS, WORKERS, Worker

CNODE = InitialSlot.CNODE


class ChannelsAgainstSpecification(ChannelRules):
    """Workers that have time connect to each other; the manager takes away what they rest on.

    Attributes:
        done: what was reached, over all examples.
    """

    done: ClassVar[Counter[str]] = Counter()

    @initialize(
        fast_path=st.booleans(), listens=st.sampled_from((Worker.SERVER, Worker.SERVER, Worker.NOTIFICATION, 10))
    )
    def begin(self, fast_path: bool, listens: int) -> None:
        """Mostly from where one listens and another one is connected."""
        super().begin(fast_path)
        self.act(0, Syscall.LISTEN, cptr=listens)
        target = Worker.NOTIFICATION if listens == Worker.NOTIFICATION else Worker.ENDPOINT
        info = abi.message_info(Label.CHANNEL_CONNECT, 0, 1)
        self.act(1, Syscall.CALL, cptr=Worker.CHANNEL, info=info, caps=(int(target),))

    @rule(number=actors)
    def rouse(self, number: int) -> None:
        """It has time, and goes on."""
        tcb, context = self.owned.tcbs[number], self.owned.contexts[number]
        self.manage(context, Label.SCHED_CONTEXT_BIND, (), (tcb,))
        self.manage(tcb, Label.TCB_SUSPEND)
        self.manage(tcb, Label.TCB_RESUME)

    @rule(number=actors, again=st.booleans())
    def leave(self, number: int, again: bool) -> None:
        self.act(number, Syscall.EXIT)
        if again:
            self.manage(self.owned.tcbs[number], Label.TCB_RESUME)

    @rule(number=actors, second=st.booleans())
    def bind_notification(self, number: int, second: bool) -> None:
        bell = self.owned.second_notification if second else self.owned.notification
        self.manage(self.owned.tcbs[number], Label.TCB_BIND_NOTIFICATION, (), (bell,))

    @rule(number=actors)
    def unbind_notification(self, number: int) -> None:
        self.manage(self.owned.tcbs[number], Label.TCB_UNBIND_NOTIFICATION)

    @rule(which=st.sampled_from(("endpoint", "notification")), deletes=st.booleans())
    def lose_object(self, which: str, deletes: bool) -> None:
        """Rarely: nothing is left to connect to afterwards."""
        label = Label.CNODE_DELETE if deletes else Label.CNODE_REVOKE
        if self.done["steps"] % 3 == 0:
            self.manage(CNODE, label, (getattr(self.owned, which), abi.WORD_BITS))

    @rule(number=actors)
    def destroy_thread(self, number: int) -> None:
        """The manager's capability and that in another worker's CNode are all that there are."""
        before = (number - 1) % len(WORKERS)
        self.manage(self.owned.nodes[before], Label.CNODE_DELETE, (Worker.TCB, 4))
        self.manage(CNODE, Label.CNODE_DELETE, (self.owned.tcbs[number], abi.WORD_BITS))

    @rule(number=actors, other=actors)
    def hand_over(self, number: int, other: int) -> None:
        """A channel of one worker's for another one as well."""
        words = (12, 4, CHANNELS + other, abi.WORD_BITS, 15)
        self.manage(self.owned.nodes[number], Label.CNODE_COPY, words, (CNODE,))

    @rule(number=actors, ringing=st.booleans())
    def knock(self, number: int, ringing: bool) -> None:
        self.act(number, Syscall.NB_SEND if ringing else Syscall.SEND, cptr=Worker.NOTIFICATION)

    @rule(number=actors)
    def receive(self, number: int) -> None:
        self.act(number, Syscall.NB_RECV, cptr=Worker.SERVER, reply=Worker.REPLY)

    @rule(badge=st.sampled_from((0, 2)))
    def manager_signals(self, badge: int) -> None:
        self.pair.syscall(self.manager, Submission(Syscall.NB_SEND, self.owned.second_notification))

    def teardown(self) -> None:
        if hasattr(self, "pair"):
            self.done["steps"] += 1
            system = self.pair.system
            self.done["connected"] += any(each.target is not None for each in system.channels.values())
            self.done["listening"] += any(thread.listens is not None for thread in system.threads.values())
            self.done["stale"] += any(
                thread.may_have_pages and thread.listens is None for thread in system.threads.values()
            )
        super().teardown()


def explore(profile: str) -> Counter[str]:
    ChannelsAgainstSpecification.done = Counter()
    run_state_machine_as_test(ChannelsAgainstSpecification, settings=settings.get_profile(profile))
    return ChannelsAgainstSpecification.done


def test_channels_agree_with_the_specification() -> None:
    done = explore("default")
    assert done["connected"] >= 3, f"the rules lead to connected channels: {done}"
    assert done["listening"] >= 3, f"the rules lead to threads that listen: {done}"


@pytest.mark.slow
def test_channels_agree_with_the_specification_at_length() -> None:
    done = explore("slow")
    assert done["stale"], "a thread that listened has ended, and its process may still have pages"
