"""The end of capabilities and objects in the specification (seL4's MCS API; l4v's algorithm).

The last capability to a CNode or TCB becomes a zombie that stands for the slots still to be emptied. A CNode or TCB
whose last capability lies inside another one that is being emptied keeps its zombie in its own first slot, out of
everybody's reach, until the untyped memory is revoked.
"""

from __future__ import annotations

from dataclasses import replace

from tests.model import channels, notice_ends, touches
from tests.model.capability import Capability, Kind
from tests.model.derivation import Holding, Place
from tests.model.system import TCB_SLOTS, State, System, Thread
from tests.model.waiting import cancel, end_wait, part


def revoke(system: System, holding: Holding) -> None:
    """Delete everything that is derived from it."""
    while holding.children:
        delete(system, holding.children[0].place)


def delete(system: System, place: Place, *, inside: bool = False) -> None:
    """Empty a slot. ``inside`` says that the slot is in something that is being emptied itself."""
    while (holding := system.tree.at(place)) is not None:
        channels.release(system, place)
        zombie = _end(system, holding)
        if zombie is None or zombie.bits == 0 or (zombie.bits == 1 and place == Place(zombie.address, 0)):
            system.tree.remove(holding)
            if zombie is not None:
                del system.containers[zombie.address]
            return
        holding.capability = zombie
        if not inside:
            last = Place(zombie.address, zombie.bits - 1)
            delete(system, last, inside=True)
            now = system.tree.at(place)
            if now is not None and now.capability == zombie:
                now.capability = replace(zombie, bits=zombie.bits - 1)
        elif place == Place(zombie.address, 0):
            return
        else:
            system.tree.exchange(place, Place(zombie.address, 0))


def _end(system: System, holding: Holding) -> Capability | None:
    """What the end of this capability means for its object; the zombie that stays, if one does."""
    held = holding.capability
    if held.kind is Kind.ZOMBIE:
        return held
    if not system.tree.is_last(holding):
        return None
    zombie = _end_object(system, held)
    notice_ends.destroyed(system, held)
    return zombie


def _end_object(system: System, held: Capability) -> Capability | None:
    address = held.address
    match held.kind:
        case Kind.ENDPOINT:
            for waiting in list(system.endpoints[address].queue):
                abort(system, system.threads[waiting])
            del system.endpoints[address]
        case Kind.NOTIFICATION:
            _end_notification(system, address)
        case Kind.REPLY:
            _end_reply(system, address)
        case Kind.SCHED_CONTEXT:
            unbind_all(system, address)
            del system.contexts[address]
        case Kind.CNODE:
            return Capability(Kind.ZOMBIE, address, 1 << held.bits)
        case Kind.TCB:
            _end_thread(system, system.threads[address])
            return Capability(Kind.ZOMBIE, address, TCB_SLOTS)
        case Kind.DEATH_NOTICE:
            return notice_ends.end_notice(system, address)
        case Kind.CHANNEL:
            return _end_channel(system, address)
        case Kind.VSPACE | Kind.IO_SPACE:
            system.io_spaces = {device: space for device, space in system.io_spaces.items() if space != address}
            for other in system.tree:
                if other.mapped is not None and other.mapped.space == address:
                    other.mapped = None
        case _:
            pass
    return None


def abort(system: System, thread: Thread) -> None:
    """End a send or receive that waits at an endpoint: it is carried out again, but a fault is not."""
    system.dequeue(thread)
    if thread.reply is not None:
        part(system, thread, thread.reply)
    if thread.fault is not None:
        touches.stop(system, thread)
    else:
        system.set_state(thread, State.RESTART)


def unbind_all(system: System, address: int) -> None:
    """Take a scheduling context from everything."""
    system.unbind_thread(address)
    system.unbind_notification(address)
    system.contexts[address].calls.clear()


def unbind_notification(system: System, thread: Thread) -> None:
    if thread.bound is not None:
        system.notifications[thread.bound].bound = None
        thread.bound = None


def _end_channel(system: System, address: int) -> Capability | None:
    channels.sever(system, address)
    del system.channels[address]
    if system.held(Place(address, 0)) is not None:
        return Capability(Kind.ZOMBIE, address, 1)
    del system.containers[address]
    return None


def _end_notification(system: System, address: int) -> None:
    target = system.notifications[address]
    if target.context is not None:
        system.unbind_notification(target.context)
    if target.bound is not None:
        unbind_notification(system, system.threads[target.bound])
    for waiting in list(target.queue):
        thread = system.threads[waiting]
        system.dequeue(thread)
        system.set_state(thread, State.RESTART)
    del system.notifications[address]


def _end_reply(system: System, address: int) -> None:
    user = system.replies[address]
    if user is not None:
        thread = system.threads[user]
        if thread.state is State.BLOCKED_ON_REPLY:
            end_wait(system, thread, address)
            touches.fail_guarded(system, thread)
        else:
            cancel(system, thread)
    del system.replies[address]


def _end_thread(system: System, thread: Thread) -> None:
    channels.end_thread(system, thread)
    unbind_notification(system, thread)
    if thread.context is not None:
        system.unbind_thread(thread.context)
    cancel(system, thread)
    del system.threads[thread.address]
    if thread.address in system.restarts:
        system.restarts.remove(thread.address)
