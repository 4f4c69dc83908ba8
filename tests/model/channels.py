"""Channels in the specification: who is connected, who listens, and what severs (docs/manual/channel.md).

Lists begin with what was connected last, as the order matters: the last capability to an object is left where it is.
"""

from __future__ import annotations

from tests.model.capability import Kind
from tests.model.derivation import Place
from tests.model.system import Endpoint, Notification, System, Thread

VSPACE, LISTEN = 1, 5  # slots of a TCB
HIGHEST_NUMBER = 4095


def target(system: System, address: int) -> Endpoint | Notification:
    return system.endpoints[address] if address in system.endpoints else system.notifications[address]


def takers(system: System, address: int) -> list[int]:
    """Who takes what comes by channels to an object."""
    found = list(target(system, address).listeners)
    if not found and address in system.notifications:
        bound = system.notifications[address].bound
        if bound is not None and system.threads[bound].listens in system.endpoints:
            found.append(bound)
    return found


# --- severing


def link(system: System, address: int, client: Thread, to: int) -> None:
    system.channels[address].client = client.address
    system.channels[address].target = to
    client.channels.insert(0, address)
    target(system, to).channels.insert(0, address)


def unlink(system: System, address: int) -> None:
    """Sever, and leave the capability to whoever deletes it."""
    channel = system.channels[address]
    assert channel.client is not None
    assert channel.target is not None
    system.threads[channel.client].channels.remove(address)
    target(system, channel.target).channels.remove(address)
    channel.client = channel.target = None


def sever(system: System, address: int) -> None:
    if system.channels[address].target is None:
        return
    unlink(system, address)
    holding = system.holding(Place(address, 0))
    if not system.tree.is_last(holding):
        system.tree.remove(holding)


def sever_all(system: System, channels: list[int]) -> None:
    for address in list(channels):
        sever(system, address)


# --- listening


def join(system: System, thread: Thread, address: int) -> None:
    at = target(system, address)
    taken = {system.threads[other].number for other in at.listeners}
    number = at.last_number % HIGHEST_NUMBER + 1
    while number in taken:
        number = number % HIGHEST_NUMBER + 1
    at.last_number = thread.number = number
    at.listeners.insert(0, thread.address)
    thread.listens = address


def leave(system: System, thread: Thread) -> None:
    if thread.listens is not None:
        target(system, thread.listens).listeners.remove(thread.address)
        thread.listens = None
        thread.number = 0


def lose_process(system: System, thread: Thread) -> None:
    """Its own channels are severed; those that it took wait for the next life."""
    sever_all(system, thread.channels)
    leave(system, thread)


def end(system: System, thread: Thread, *, process_ends: bool = False) -> None:
    """The listening ends, and not by the process's end: pages are taken away that its process has no other right to."""
    held = system.inside(thread, LISTEN)
    if held is None or not thread.may_have_pages:
        return
    others = (system.threads[other] for other in target(system, held.address).listeners if other != thread.address)
    shared = any(_space(system, other) == _space(system, thread) is not None for other in others)
    leave(system, thread)
    if not process_ends and not shared:
        sever_all(system, target(system, held.address).channels)
    part(system, thread)
    thread.may_have_pages = False


def part(system: System, thread: Thread) -> None:
    """It takes the signals of its notification no more."""
    if thread.bound is not None and thread.address not in system.notifications[thread.bound].listeners:
        sever_all(system, system.notifications[thread.bound].channels)


def _space(system: System, thread: Thread) -> int | None:
    held = system.inside(thread, VSPACE)
    return held.address if held is not None and held.kind is Kind.VSPACE else None


def end_thread(system: System, thread: Thread) -> None:
    """Before a thread is destroyed."""
    space = _space(system, thread)
    alone = space is not None and [_space(system, other) for other in system.threads.values()].count(space) == 1
    sever_all(system, thread.channels)
    end(system, thread, process_ends=alone)
    part(system, thread)


def release(system: System, place: Place) -> None:
    """What the end of a capability in a slot of a channel, or in a LISTEN slot, means first."""
    thread, channel = system.threads.get(place.container), system.channels.get(place.container)
    if thread is not None and place.number == LISTEN:
        end(system, thread)
    elif channel is not None and channel.target is not None:
        unlink(system, place.container)
