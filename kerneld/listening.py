"""Who takes what comes by channels: the threads that listen, their numbers, hints, and how listening ends.

A thread listens to one endpoint or notification at most. While it does it is in that object's list and has a number
there, and its TCB's LISTEN slot holds a *bound* copy of the capability that it listens by. A thread that listens to an
endpoint takes the signals of the notification that is bound to it as well, by channel as by a receive.

When a listening thread's process ends, the thread leaves the list, and the channels stay: what no one had taken waits
for the thread's next life. Its slot stays bound until the host has reaped the process, since for so long there may be
somebody who has the pages. Whatever else ends the listening severs the channels: the capability's end by a revocation,
the thread's, or its own wish; unless another thread of the same process listens there, or the process ends with the
thread.

The methods are `objects/listen.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kerneld import channels
from kerneld.channels import Target
from kerneld.core import Core
from kerneld.outbox import Tell
from kerneld.records import (
    CapType,
    Endpoint,
    EndpointState,
    Notification,
    NotificationState,
    Slot,
    Tcb,
    TcbSlot,
    VSpace,
)
from kerneld.work import Work
from libsel4py import abi

SLOT_OFFSET: Final = TcbSlot.LISTEN * Slot.SIZE


def owner_of(slot: Slot) -> Tcb | None:
    """The thread whose LISTEN slot this is. Nothing else that can be bound lies at such an address."""
    if slot.address % Tcb.SIZE != SLOT_OFFSET:
        return None
    return Tcb(slot.ram, slot.address - SLOT_OFFSET)


def target_of(tcb: Tcb) -> Target | None:
    """What the thread listens to; None if it does not listen."""
    return channels.target_of(tcb.slot(TcbSlot.LISTEN)) if tcb.listener else None


def members(target: Target) -> Iterator[Tcb]:
    """The threads that listen to an object itself."""
    at = target.listeners
    while at is not None:
        yield at
        at = at.listen_next


def takers(target: Target) -> Iterator[Tcb]:
    """The threads that take what comes by the object's channels."""
    yield from members(target)
    if isinstance(target, Notification) and target.listeners is None:
        bound = target.bound_tcb
        if bound is not None and isinstance(target_of(bound), Endpoint):
            yield bound


# --- beginning


def join(tcb: Tcb, target: Target) -> None:
    """Put a thread, whose LISTEN slot names the object, into the object's list under a number that nobody has there."""
    taken = {other.listener for other in members(target)}
    number = target.last_listener % abi.CHANNEL_LISTENER_MAX + 1
    while number in taken:
        number = number % abi.CHANNEL_LISTENER_MAX + 1
    target.last_listener = number
    tcb.listener = number
    first = target.listeners
    if first is not None:
        tcb.listen_next = first
        first.listen_prev = tcb
    target.listeners = tcb


def open_all(core: Core, tcb: Tcb) -> None:
    """Have the thread's process handed the pages of all channels that it takes, and told what waits in the kernel."""
    target, bound = target_of(tcb), tcb.bound_notification
    taken: list[Target] = [] if target is None else [target]
    if bound is not None and tcb in takers(bound) and bound != target:
        taken.append(bound)
    for each in taken:
        for channel in channels.connected_to(each):
            core.outbox.tell(Tell.CHANNEL_OPEN, channel.address, tcb.address, tcb.listener)
    if any(map(_has_something, taken)):
        core.outbox.tell(Tell.HINT, tcb.address)


def _has_something(target: Target) -> bool:
    if isinstance(target, Endpoint):
        return target.state == EndpointState.SEND
    return target.state == NotificationState.ACTIVE


def hint(core: Core, target: Target) -> None:
    """Something waits in the kernel now: whoever looks at channels, and does not wait here, is to come and get it."""
    for tcb in takers(target):
        core.outbox.tell(Tell.HINT, tcb.address)


# --- the end


def leave(tcb: Tcb) -> int:
    """Take a thread out of the list that it is in. Returns the number that it had, 0 if it did not listen."""
    number, target = tcb.listener, target_of(tcb)
    if target is None:
        return 0
    before, behind = tcb.listen_prev, tcb.listen_next
    if before is None:
        target.listeners = behind
    else:
        before.listen_next = behind
        tcb.listen_prev = None
    if behind is not None:
        behind.listen_prev = before
        tcb.listen_next = None
    tcb.listener = 0
    return number


def lose(core: Core, tcb: Tcb) -> int:
    """The thread's process has ended: its clients learn that what it had taken is not answered.

    Returns how many of them are told.
    """
    slot = tcb.slot(TcbSlot.LISTEN)
    number = leave(tcb)
    endpoint = channels.target_of(slot)
    if not number or not isinstance(endpoint, Endpoint):
        return 0  # a signal is not answered: it stays in its page for the next life
    for channel in channels.connected_to(endpoint):
        core.outbox.tell(Tell.RECEIVER_DIED, channel.address, tcb.address, number)
    return endpoint.channel_count


def forget_process(tcb: Tcb) -> None:
    """No process has any more what the thread was handed."""
    slot = tcb.slot(TcbSlot.LISTEN)
    if not tcb.listener and channels.target_of(slot) is not None:
        slot.bound = 0


def end(core: Core, tcb: Tcb, work: Work, *, process_ends: bool = False) -> bool:
    """The listening ends, not by the process's own end. Afterwards the capability is bound no more.

    Args:
        process_ends: the host ends the thread's process because of the same thing.

    Returns False if work is left: call it again in another transaction.
    """
    slot = tcb.slot(TcbSlot.LISTEN)
    target = channels.target_of(slot)
    if target is None or not slot.bound:
        return True
    if process_ends or _is_kept(tcb, target):
        work.spend(lose(core, tcb))
    else:
        leave(tcb)
        if not channels.sever_all(core, target, work):
            return False
    if not part(core, tcb, work):
        return False
    slot.bound = 0
    return True


def part(core: Core, tcb: Tcb, work: Work) -> bool:
    """The thread does not take the signals of its notification any more. False if work is left."""
    bound = tcb.bound_notification
    return bound is None or bound.listeners == tcb or channels.sever_all(core, bound, work)


def _is_kept(tcb: Tcb, target: Target) -> bool:
    """Whether the thread's process has the pages by another thread's right as well."""
    space = address_space(tcb)
    return space is not None and any(other != tcb and address_space(other) == space for other in members(target))


def address_space(tcb: Tcb) -> VSpace | None:
    slot = tcb.slot(TcbSlot.VSPACE)
    return VSpace(tcb.ram, slot.object) if slot.cap_type == CapType.VSPACE else None
