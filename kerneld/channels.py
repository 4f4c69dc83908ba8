"""Channels: which client is connected to which endpoint or notification, and how that ends.

A connected channel is in two lists: its client's, which begins in the TCB, and its target's, which begins in the
endpoint or notification. Its slot holds the capability that it was connected by; while it is connected that capability
is *bound*, so that its end, by whatever revocation, is the channel's. To sever a channel is to have the host take its
page away from everybody who was handed it, told once. The kernel never looks into the page: tasks write it.

Who takes what comes by channels is `listening.py`'s matter; the methods are `objects/channel.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from kerneld import mdb
from kerneld.core import Core
from kerneld.failures import KernelBug
from kerneld.outbox import Tell
from kerneld.records import CapType, Channel, Endpoint, Notification, Slot, Tcb
from kerneld.work import Work

Target: TypeAlias = Endpoint | Notification


def target_of(slot: Slot) -> Target | None:
    """The endpoint or notification that the capability in a slot names; None where it names neither."""
    match slot.cap_type:
        case CapType.ENDPOINT:
            return Endpoint(slot.ram, slot.object)
        case CapType.NOTIFICATION:
            return Notification(slot.ram, slot.object)
        case _:
            return None


def is_connected(channel: Channel) -> bool:
    slot = channel.slot
    return bool(slot.bound) and target_of(slot) is not None


def connected_to(target: Target) -> Iterator[Channel]:
    """The channels to an endpoint or notification, the last one that was connected first."""
    at = target.channels
    while at is not None:
        yield at
        at = at.target_next


def link(channel: Channel, client: Tcb, target: Target) -> None:
    """Put a channel, whose slot holds the bound capability, into both lists."""
    channel.client = client
    first = client.channels
    if first is not None:
        channel.client_next = first
        first.client_prev = channel
    client.channels = channel
    client.channel_count = client.channel_count + 1
    first = target.channels
    if first is not None:
        channel.target_next = first
        first.target_prev = channel
    target.channels = channel
    target.channel_count = target.channel_count + 1


def unlink(core: Core, channel: Channel) -> None:
    """Sever a connected channel whose capability somebody else is about to delete."""
    slot, client = channel.slot, channel.client
    target = target_of(slot)
    if client is None or target is None:
        raise KernelBug(f"the channel at 0x{channel.address:x} is connected, and not to anything or not for anybody")
    _unlink_from_client(channel, client)
    _unlink_from_target(channel, target)
    channel.client = None
    slot.bound = 0
    core.outbox.tell(Tell.CHANNEL_GONE, channel.address)


def _unlink_from_client(channel: Channel, client: Tcb) -> None:
    before, behind = channel.client_prev, channel.client_next
    if before is None:
        client.channels = behind
    else:
        before.client_next = behind
        channel.client_prev = None
    if behind is not None:
        behind.client_prev = before
        channel.client_next = None
    client.channel_count = client.channel_count - 1


def _unlink_from_target(channel: Channel, target: Target) -> None:
    before, behind = channel.target_prev, channel.target_next
    if before is None:
        target.channels = behind
    else:
        before.target_next = behind
        channel.target_prev = None
    if behind is not None:
        behind.target_prev = before
        channel.target_next = None
    target.channel_count = target.channel_count - 1


def sever(core: Core, channel: Channel) -> None:
    """Take the page away, and the capability out of the slot. Where there is nothing to sever, nothing happens.

    A capability that is the last one to its object, or the last copy of one whose copies are watched, stays, as a fault
    handler's in a TCB does: what its end means may be long, and is left to whoever deletes the channel, disconnects it
    or connects it again.
    """
    if not is_connected(channel):
        return
    unlink(core, channel)
    slot = channel.slot
    if not mdb.is_final(slot) and not mdb.is_last_copy(slot):
        mdb.empty(core, slot)


def sever_all(core: Core, holder: Target | Tcb, work: Work) -> bool:
    """Sever the channels of a client, or those to an endpoint or notification. False if some are left."""
    while (channel := holder.channels) is not None:
        sever(core, channel)
        if not work.spend():
            return holder.channels is None
    return True
