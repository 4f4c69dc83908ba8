"""Channel: connecting a client's thread to those who listen, and undoing it.

A channel is a page that the client pays for. Connecting checks the capability once, as a call or a signal by it would;
from then on client and listeners go by the page, and the kernel is out of the way until something that the channel
rests on ends. `channels.py` says what that is.
"""

from __future__ import annotations

from dataclasses import dataclass

from kerneld import caps, channels, deletion, derive, listening, mdb
from kerneld.caps import Cap
from kerneld.channels import Target
from kerneld.core import PREEMPTED, Call, Core, Invocation, Result
from kerneld.failures import illegal_operation, invalid_capability, range_error, truncated_message
from kerneld.outbox import Tell
from kerneld.records import CapType, Channel, Slot, Tcb
from kerneld.work import Work
from libsel4py.abi import CHANNELS_PER_TARGET, CHANNELS_PER_THREAD, Label


@dataclass(frozen=True, slots=True)
class Connect:
    """``cap`` is the copy of the capability in ``source`` that the channel is to hold."""

    channel: Channel
    client: Tcb
    target: Target
    cap: Cap
    source: Slot

    def perform(self, core: Core) -> Result:
        channel, client = self.channel, self.client
        if not deletion.delete(core, channel.slot, Work(client.address)):
            return PREEMPTED
        mdb.insert(core, caps.bind(self.cap), self.source, channel.slot)
        channels.link(channel, client, self.target)
        core.outbox.tell(Tell.CHANNEL_OPEN, channel.address, client.address)
        for taker in listening.takers(self.target):
            core.outbox.tell(Tell.CHANNEL_OPEN, channel.address, taker.address, taker.listener)
        return (channel.number,)


@dataclass(frozen=True, slots=True)
class Disconnect:
    channel: Channel
    caller: int

    def perform(self, core: Core) -> Result:
        channels.sever(core, self.channel)
        return () if deletion.delete(core, self.channel.slot, Work(self.caller)) else PREEMPTED


def decode(core: Core, call: Call) -> Invocation:
    """A method of the channel that ``call`` invokes.

    Raises:
        SyscallError: in this order. ILLEGAL_OPERATION (label). Connect: TRUNCATED_MESSAGE, ILLEGAL_OPERATION (it is
            connected), INVALID_CAPABILITY(1) (type, rights), ILLEGAL_OPERATION (nobody listens), RANGE_ERROR (the
            target's channels, the thread's). Disconnect: ILLEGAL_OPERATION (it is not connected).
    """
    channel = Channel(core.ram, call.slot.object)
    match call.label:
        case Label.CHANNEL_CONNECT:
            return _decode_connect(core, call, channel)
        case Label.CHANNEL_DISCONNECT:
            if not channel.slot.word0:
                raise illegal_operation("the channel is not connected")
            return Disconnect(channel, call.thread.address)
        case _:
            raise illegal_operation(f"a channel has no method with label {call.label}")


def _decode_connect(core: Core, call: Call, channel: Channel) -> Connect:
    if not call.caps:
        raise truncated_message("Connect takes the capability of an endpoint or a notification")
    if channels.is_connected(channel):
        raise illegal_operation("the channel is connected already; Disconnect ends that")
    source = call.caps[0]
    target = decode_target(source)
    if next(listening.takers(target), None) is None:
        raise illegal_operation("no receiver takes channels there; calls by the kernel are served as ever")
    if target.channel_count >= CHANNELS_PER_TARGET:
        raise range_error(0, CHANNELS_PER_TARGET, "as many channels as a receiver can watch are connected there")
    if call.thread.channel_count >= CHANNELS_PER_THREAD:
        raise range_error(0, CHANNELS_PER_THREAD, "the thread has as many channels as it can")
    return Connect(channel, call.thread, target, derive.derive_cap(source, caps.read(source)), source)


def decode_target(slot: Slot) -> Target:
    """What a channel is to be connected to: an endpoint that can be called, or a notification that can be signalled."""
    target = channels.target_of(slot)
    if target is None:
        raise invalid_capability(1, "a channel connects to an endpoint or a notification, and this is neither")
    if not slot.can_write:
        raise invalid_capability(1, "the capability lacks Write, so nothing can be sent by it")
    if slot.cap_type == CapType.ENDPOINT and not slot.can_grant and not slot.can_grant_reply:
        raise invalid_capability(1, "the endpoint capability lacks Grant and GrantReply, so nobody could answer a call")
    return target
