"""Rules of the state machine that connect channels, listen, and take away what both rest on."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, Syscall
from tests.model.actors import Actors
from tests.model.strategies import actors
from tests.model.world import CHANNELS, WORKERS, Worker

targets = st.sampled_from((Worker.ENDPOINT,) * 3 + (Worker.OTHER, Worker.NOTIFICATION, Worker.SERVER, 10, Worker.TCB))
channels = st.sampled_from((Worker.CHANNEL,) * 6 + (10, 12))
stages = st.sampled_from((Worker.SERVER,) * 3 + (Worker.OTHER_SERVER, Worker.NOTIFICATION, Worker.NOTIFICATION, 0, 10))


class ChannelRules(Actors):
    """Channel and LISTEN."""

    @rule(number=actors, by=channels, to=targets)
    def connect(self, number: int, by: int, to: int) -> None:
        self.act(number, Syscall.CALL, cptr=by, info=abi.message_info(Label.CHANNEL_CONNECT, 0, 1), caps=(int(to),))

    @rule(number=actors, by=channels)
    def disconnect(self, number: int, by: int) -> None:
        self.act(number, Syscall.CALL, cptr=by, info=abi.message_info(Label.CHANNEL_DISCONNECT))

    @rule(number=actors, at=stages)
    def listen(self, number: int, at: int) -> None:
        self.act(number, Syscall.LISTEN, cptr=at)

    @rule(number=actors, other=actors)
    def meet(self, number: int, other: int) -> None:
        """One listens and another connects, where both can."""
        self.act(number, Syscall.LISTEN, cptr=Worker.SERVER)
        info = abi.message_info(Label.CHANNEL_CONNECT, 0, 1)
        self.act(other, Syscall.CALL, cptr=Worker.CHANNEL, info=info, caps=(int(Worker.ENDPOINT),))

    @rule(number=st.integers(0, len(WORKERS) - 1))
    def destroy_channel(self, number: int) -> None:
        self.manage(InitialSlot.CNODE, Label.CNODE_DELETE, (CHANNELS + number, abi.WORD_BITS))
        self.manage(self.owned.nodes[number], Label.CNODE_DELETE, (Worker.CHANNEL, 4))

    @rule(number=actors, slot=st.sampled_from((Worker.ENDPOINT, Worker.SERVER, Worker.NOTIFICATION)))
    def lose_capability(self, number: int, slot: int) -> None:
        self.manage(self.owned.nodes[number], Label.CNODE_DELETE, (slot, 4))

    @rule(number=actors, slot=st.sampled_from((Worker.ENDPOINT, Worker.NOTIFICATION)))
    def revoke_capability(self, number: int, slot: int) -> None:
        self.manage(self.owned.nodes[number], Label.CNODE_REVOKE, (slot, 4))
