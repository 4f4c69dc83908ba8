"""Connect, Disconnect and LISTEN in the specification."""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import Error, Label
from tests.model import channels
from tests.model.capability import Kind
from tests.model.deletion import delete
from tests.model.derivation import Place
from tests.model.invocations import Refused, illegal_if, truncated_unless
from tests.model.system import System, Thread

TARGETS = (Kind.ENDPOINT, Kind.NOTIFICATION)


def channel(system: System, caller: Thread, address: int, label: int, sources: list[Place]) -> tuple[int, ...]:
    """A method of a channel; the answer's words."""
    illegal_if(label not in (Label.CHANNEL_CONNECT, Label.CHANNEL_DISCONNECT))
    inside = Place(address, 0)
    if label == Label.CHANNEL_DISCONNECT:
        illegal_if(system.held(inside) is None)
        channels.sever(system, address)
        delete(system, inside)
        return ()
    truncated_unless(bool(sources))
    illegal_if(system.channels[address].target is not None)
    held = system.held(sources[0])
    if held is None or held.kind not in TARGETS or not held.writable:
        raise Refused(Error.INVALID_CAPABILITY, 1)
    if held.kind is Kind.ENDPOINT and not held.can_grant and not held.can_grant_reply:
        raise Refused(Error.INVALID_CAPABILITY, 1)
    illegal_if(not channels.takers(system, held.address))
    if len(channels.target(system, held.address).channels) >= abi.CHANNELS_PER_TARGET:
        raise Refused(Error.RANGE_ERROR, 0, abi.CHANNELS_PER_TARGET)
    if len(caller.channels) >= abi.CHANNELS_PER_THREAD:
        raise Refused(Error.RANGE_ERROR, 0, abi.CHANNELS_PER_THREAD)
    delete(system, inside)
    system.tree.copy(system.holding(sources[0]), inside, held)
    channels.link(system, address, caller, held.address)
    return (address >> abi.FIXED_SIZE_BITS[abi.ObjectType.CHANNEL],)


def listen(system: System, thread: Thread, source: Place | None) -> tuple[int, ...]:
    """LISTEN by the capability in a slot; None stops."""
    inside = Place(thread.address, channels.LISTEN)
    if source is None:
        delete(system, inside)
        return ()
    held = system.held(source)
    if held is None or held.kind not in TARGETS or not held.readable:
        raise Refused(Error.INVALID_CAPABILITY, 0)
    illegal_if(thread.listens not in (None, held.address))
    at = channels.target(system, held.address)
    if held.kind is Kind.NOTIFICATION:
        bound = system.notifications[held.address].bound
        illegal_if(at.listeners not in ([], [thread.address]) or bound not in (None, thread.address))
    elif thread.listens is None and len(at.listeners) >= abi.LISTENERS_PER_ENDPOINT:
        raise Refused(Error.RANGE_ERROR, 0, abi.LISTENERS_PER_ENDPOINT)
    before = system.held(inside)
    if before is not None and before.names_object_of(held):
        thread.may_have_pages = False  # it has a right to them again
    delete(system, inside)
    system.tree.copy(system.holding(source), inside, held)
    thread.may_have_pages = True
    if thread.listens is None:
        channels.join(system, thread, held.address)
    return (thread.number,)
