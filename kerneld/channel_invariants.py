"""What is true of channels, and of the threads that listen, between any two transactions.

Predicates as in `invariants.py`, which runs them. An object is alive while a capability names it; only live
objects are looked at, and what they name must be alive as well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from hw.ram import Record
from kerneld import caps, channels, listening
from kerneld.channels import Target
from kerneld.predicates import Finding, Registry
from kerneld.records import CapType, Channel, Endpoint, Notification, Slot, Tcb, TcbSlot
from kerneld.survey import Survey
from libsel4py import abi

PREDICATES = Registry()
predicate = PREDICATES.predicate

_Linked = TypeVar("_Linked", bound=Record)
_TARGETS: Final[tuple[tuple[CapType, type[Endpoint] | type[Notification]], ...]] = (
    (CapType.ENDPOINT, Endpoint),
    (CapType.NOTIFICATION, Notification),
)


def _targets(found: Survey) -> Iterator[Target]:
    for kind, make in _TARGETS:
        for address in found.of_type(kind):
            yield make(found.ram, address)


def _threads(found: Survey) -> Iterator[Tcb]:
    for address in found.of_type(CapType.TCB):
        yield Tcb(found.ram, address)


def _channels(found: Survey) -> Iterator[Channel]:
    for address in found.of_type(CapType.CHANNEL):
        yield Channel(found.ram, address)


def _listed(head: _Linked | None, following: Callable[[_Linked], _Linked | None], most: int) -> list[_Linked]:
    """A list from its head; at most one more than there may be."""
    found: list[_Linked] = []
    while head is not None and len(found) <= most:
        found.append(head)
        head = following(head)
    return found


@predicate("bound", "A capability is bound only where a channel is connected by it, or in the LISTEN slot of a thread.")
def _bound(found: Survey) -> Finding:
    for held in found.slots.values():
        if not caps.is_bound(held.cap):
            continue
        owner = found.owners[held.address]
        number = (held.address - owner) // Slot.SIZE
        is_listening = owner in found.of_type(CapType.TCB) and number == TcbSlot.LISTEN
        is_connected = owner in found.of_type(CapType.CHANNEL) and Channel(found.ram, owner).client is not None
        if not is_listening and not is_connected:
            yield f"slot 0x{held.address:x} holds a bound capability, and neither is connected nor listens"


@predicate("channel-ends", "A connected channel is in the lists of its client and its target, and in no other's.")
def _channel_ends(found: Survey) -> Finding:
    clients: dict[int, int] = {}
    targets: dict[int, int] = {}
    for tcb in _threads(found):
        for channel in _listed(tcb.channels, lambda channel: channel.client_next, abi.CHANNELS_PER_THREAD):
            clients[channel.address] = tcb.address
    for target in _targets(found):
        for channel in _listed(target.channels, lambda channel: channel.target_next, abi.CHANNELS_PER_TARGET):
            targets[channel.address] = target.address
    for channel in _channels(found):
        expected: tuple[int | None, int | None] = (None, None)
        client, target_now = channel.client, channels.target_of(channel.slot)
        if channels.is_connected(channel) and client is not None and target_now is not None:
            expected = (client.address, target_now.address)
        elif client is not None or channel.slot.cap_type not in (*caps.ENDPOINT_LIKE, CapType.NULL, CapType.ZOMBIE):
            yield f"channel 0x{channel.address:x} has a client or a capability that it should not have"
        if (clients.pop(channel.address, None), targets.pop(channel.address, None)) != expected:
            yield f"channel 0x{channel.address:x} is not in the lists that it should be in"
    for address in clients | targets:
        yield f"0x{address:x} is in a list of channels and is none"


@predicate(
    "channel-lists", "Lists of channels are linked in both directions, as long as they say, and no longer than allowed."
)
def _channel_lists(found: Survey) -> Finding:
    for tcb in _threads(found):
        listed = _listed(tcb.channels, lambda channel: channel.client_next, abi.CHANNELS_PER_THREAD)
        behind = [channel.client_prev for channel in listed]
        if behind != [None, *listed][: len(listed)] or len(listed) != tcb.channel_count:
            yield f"the channels of thread 0x{tcb.address:x} are not linked as they should, or not {tcb.channel_count}"
        if tcb.channel_count > abi.CHANNELS_PER_THREAD:
            yield f"thread 0x{tcb.address:x} has {tcb.channel_count} channels"
    for target in _targets(found):
        listed = _listed(target.channels, lambda channel: channel.target_next, abi.CHANNELS_PER_TARGET)
        behind = [channel.target_prev for channel in listed]
        if behind != [None, *listed][: len(listed)] or len(listed) != target.channel_count:
            yield f"the channels to 0x{target.address:x} are not linked as they should, or not {target.channel_count}"
        if target.channel_count > abi.CHANNELS_PER_TARGET:
            yield f"0x{target.address:x} has {target.channel_count} channels"


@predicate(
    "listeners", "Who listens is in the list of what its bound LISTEN slot names, alive, and has a number of its own."
)
def _listeners(found: Survey) -> Finding:
    listening_at: dict[int, int] = {}
    for target in _targets(found):
        most = 1 if isinstance(target, Notification) else abi.LISTENERS_PER_ENDPOINT
        listed = _listed(target.listeners, lambda tcb: tcb.listen_next, most)
        at = f"0x{target.address:x}"
        if len(listed) > most:
            yield f"more than {most} threads listen to {at}"
        if [tcb.listen_prev for tcb in listed] != [None, *listed][: len(listed)]:
            yield f"the threads that listen to {at} are not linked as they should be"
        numbers = [tcb.listener for tcb in listed]
        if len(set(numbers)) != len(numbers) or not all(1 <= each <= abi.CHANNEL_LISTENER_MAX for each in numbers):
            yield f"the threads that listen to {at} have the numbers {numbers}"
        for tcb in listed:
            listening_at[tcb.address] = target.address
    for tcb in _threads(found):
        target_now = listening.target_of(tcb)
        expected = None if target_now is None else target_now.address
        if listening_at.pop(tcb.address, None) != expected or bool(tcb.listener) != (expected is not None):
            yield f"thread 0x{tcb.address:x} does not listen where the lists say"
        if tcb.listener and not (tcb.slot(TcbSlot.LISTEN).bound and tcb.process):
            yield f"thread 0x{tcb.address:x} listens without a bound capability, or without a process"
    for address in listening_at:
        yield f"0x{address:x} listens and is no thread"


@predicate("notification-taker", "A notification that one thread listens to is bound to no other.")
def _taker(found: Survey) -> Finding:
    for address in found.of_type(CapType.NOTIFICATION):
        notification = Notification(found.ram, address)
        listener, bound = notification.listeners, notification.bound_tcb
        if listener is not None and bound is not None and listener != bound:
            yield f"0x{listener.address:x} listens to notification 0x{address:x}, which 0x{bound.address:x} is bound to"
