"""Kernel objects of the fake kernel: CNode and Untyped work, the others record what is asked of them.

One CSpace: the task's CNode, addressed by slot index, and further ones behind it. Derivation is kept as a tree of
slots, so revoke means what it means in seL4; memory is counted, so an allocator's mistakes show. `refuse` makes any
method fail, to test what a caller does then.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from libsel4py.abi import (
    INVOCATIONS,
    SLOT_BITS,
    CapType,
    DeathNoticeState,
    Error,
    Label,
    LookupFailureKind,
    ObjectType,
    Rights,
    object_size_bits,
)
from libsel4py.environment import CNODE_DEPTH, Slot
from libsel4py.testing.fake_memory import FakeFrame, FakeIoSpace, FakeSpace

Outcome = tuple[int, tuple[int, ...]]
_DONE: Final[Outcome] = (Error.NO_ERROR, ())


@dataclass(slots=True, eq=False)
class Request:
    """One message on its way, and the answer if it is a call. ``held``: what an answer's slots held when it came."""

    label: int
    words: tuple[int, ...]
    caps: tuple[int, ...]
    badge: int = 0
    is_call: bool = False
    taken: bool = False
    by_channel: bool = False
    died: bool = False
    answer: Request | None = None
    held: tuple[FakeCap | None, ...] | None = None


@dataclass(slots=True, eq=False)
class FakeEndpoint:
    """``step`` answers one waiting message in the sender's thread; without it, threads receive.

    ``taken``: calls that were received and may still be owed an answer.
    """

    queue: deque[Request] = field(default_factory=deque)
    taken: list[Request] = field(default_factory=list)
    receivers: int = 0
    listeners: int = 0
    step: Callable[[], None] | None = None
    busy: bool = False


@dataclass(slots=True, eq=False)
class FakeNotification:
    word: int = 0
    listeners: int = 0


@dataclass(slots=True, eq=False)
class FakeChannel:
    """``target`` is None while it is not connected."""

    number: int = 0
    target: FakeEndpoint | FakeNotification | None = None
    badge: int = 0


@dataclass(slots=True, eq=False)
class FakeNotice:
    """``target`` is None while it watches nothing; ``place``: the slot whose capability's copies it watches."""

    target: object = None
    place: int = 0
    bell: FakeNotification | None = None
    badge: int = 0
    state: DeathNoticeState = DeathNoticeState.IDLE


@dataclass(slots=True, eq=False)
class FakeReply:
    caller: Request | None = None


@dataclass(slots=True, eq=False)
class FakeUntyped:
    size_bits: int
    used: int = 0


@dataclass(slots=True, eq=False)
class FakeCNode:
    """A CNode beside the task's own. Its slots stand in the same table, from ``base`` on."""

    radix: int
    base: int


@dataclass(slots=True, eq=False)
class FakeObject:
    """Any other object."""

    name: str


@dataclass(slots=True)
class FakeCap:
    """An occupied slot. ``parent`` is the slot that it was derived from."""

    object: object
    badge: int = 0
    parent: int | None = None
    rights: Rights = Rights.ALL


class FakeObjects:
    """The slots, by index; what they hold, and every invocation that reached an object."""

    def __init__(self) -> None:
        self.caps: dict[int, FakeCap] = {Slot.CNODE: FakeCap(FakeObject("CNode"))}
        self.invocations: list[tuple[int, Label, tuple[int, ...], tuple[int, ...]]] = []
        self.results: dict[Label, tuple[int, ...]] = {}
        self._refusals: dict[Label, tuple[Error, tuple[int, ...]]] = {}
        self._numbers = itertools.count(1)
        self.space = FakeSpace()
        self.rang = False  # a death notice has signalled, and those who wait are not told yet

    def put(self, slot: int, new: object, badge: int = 0) -> None:
        """Place an object's first capability in an empty slot."""
        if slot in self.caps:
            raise ValueError(f"slot {slot} holds {self.caps[slot]} already")
        self.caps[slot] = FakeCap(new, badge)

    def refuse(self, label: Label, error: Error, *words: int) -> None:
        """Make every later invocation of a method fail so; Error.NO_ERROR lets it work again."""
        if error is Error.NO_ERROR:
            self._refusals.pop(label, None)
        else:
            self._refusals[label] = (error, words)

    def endpoints(self) -> list[FakeEndpoint]:
        """Each endpoint once."""
        found: list[FakeEndpoint] = []
        for cap in list(self.caps.values()):
            if isinstance(cap.object, FakeEndpoint) and cap.object not in found:
                found.append(cap.object)
        return found

    def channels(self) -> list[FakeChannel]:
        """All that a capability is left of."""
        return [cap.object for cap in list(self.caps.values()) if isinstance(cap.object, FakeChannel)]

    def derive(self, source: int, destination: int, badge: int | None = None, rights: Rights = Rights.ALL) -> None:
        """Copy a capability into an empty slot, as its child, with at most these rights.

        A copy of a frame's copy stands beside that one, as in seL4: only who made the frame can revoke it.
        """
        cap = self.caps[source]
        if isinstance(cap.object, FakeFrame) and cap.parent is not None and not self._is_untyped(cap.parent):
            source = cap.parent
        self.caps[destination] = FakeCap(cap.object, cap.badge if badge is None else badge, source, cap.rights & rights)

    def _is_untyped(self, slot: int) -> bool:
        return slot in self.caps and isinstance(self.caps[slot].object, FakeUntyped)

    def identify(self, cptr: int) -> tuple[CapType, Rights, int]:
        """Type, rights and log2 of the bytes, as IDENTIFY answers. Of other types than these: NULL."""
        match self.caps.get(cptr):
            case FakeCap(object=FakeFrame() as frame, rights=rights):
                return CapType.FRAME, rights & (Rights.READ | Rights.WRITE), frame.size_bits
            case FakeCap(object=FakeCNode() as cnode):
                return CapType.CNODE, Rights.NONE, cnode.radix + SLOT_BITS
            case FakeCap(object=FakeUntyped() as untyped):
                return CapType.UNTYPED, Rights.NONE, untyped.size_bits
            case FakeCap(object=FakeEndpoint(), rights=rights):
                return CapType.ENDPOINT, rights, 0
            case FakeCap(object=FakeNotification(), rights=rights):
                return CapType.NOTIFICATION, rights & (Rights.READ | Rights.WRITE), 0
        return CapType.NULL, Rights.NONE, 0

    def invoke(self, cap: FakeCap | None, request: Request) -> Outcome:
        """Carry out an invocation; returns error code and reply words."""
        if cap is None:
            return Error.INVALID_CAPABILITY, (0,)
        label = Label(request.label) if request.label in INVOCATIONS else None
        if label is None:
            return Error.ILLEGAL_OPERATION, ()
        slot = next((each for each, found in self.caps.items() if found is cap), 0)
        self.invocations.append((slot, label, request.words, request.caps))
        if label in self._refusals:
            return self._refusals[label]
        row = INVOCATIONS[label]
        if len(request.words) < len(row.words) or len(request.caps) < len(row.caps):
            return Error.TRUNCATED_MESSAGE, ()
        match label:
            case Label.UNTYPED_RETYPE:
                return self._retype(slot, cap, request)
            case Label.CNODE_DELETE:
                self._delete(_base(cap) + request.words[0])
                return _DONE
            case Label.CNODE_REVOKE:
                self._revoke(_base(cap) + request.words[0])
                return _DONE
            case Label.CNODE_COPY | Label.CNODE_MINT | Label.CNODE_MOVE:
                return self._copy(label, request.words, cap, self.caps.get(request.caps[0]))
            case Label.FRAME_MAP if isinstance(cap.object, FakeFrame):
                address, rights, _ = request.words[:3]
                return self.space.map(slot, cap.object, address, Rights(rights) & cap.rights)
            case Label.FRAME_MAP_IO if isinstance(cap.object, FakeFrame):
                return self._map_io(slot, cap, cap.object, request)
            case Label.FRAME_UNMAP:
                self._unmap(slot)
                return _DONE
            case Label.CHANNEL_CONNECT:
                return self._connect(cap, self.caps.get(request.caps[0]))
            case Label.CHANNEL_DISCONNECT if isinstance(cap.object, FakeChannel):
                cap.object.target = None
                return _DONE
            case (
                Label.DEATH_NOTICE_WATCH
                | Label.DEATH_NOTICE_WATCH_COPIES
                | Label.DEATH_NOTICE_CANCEL
                | Label.DEATH_NOTICE_READ
            ):
                return self._use_notice(label, cap.object, request)
        return Error.NO_ERROR, self.results.get(label, (0,) * len(row.results))

    def _copy(self, label: Label, words: tuple[int, ...], root: FakeCap, src_root: FakeCap | None) -> Outcome:
        destination, dest_depth, source, depth = words[:4]
        if dest_depth != _depth(root) or depth != _depth(src_root):
            return Error.FAILED_LOOKUP, (dest_depth == _depth(root), LookupFailureKind.DEPTH_MISMATCH, depth, depth)
        destination, source = destination + _base(root), source + _base(src_root)
        if destination in self.caps:
            return Error.DELETE_FIRST, ()
        if source not in self.caps:
            return Error.FAILED_LOOKUP, (1, LookupFailureKind.MISSING_CAPABILITY, depth)
        if label is Label.CNODE_MINT and self.caps[source].badge:
            return Error.ILLEGAL_OPERATION, ()
        if label is Label.CNODE_MOVE:
            self.caps[destination] = self.caps.pop(source)
            if source in self.space.mapped:
                self.space.mapped[destination] = replace(self.space.mapped.pop(source), slot=destination)
            for child in self._children(source):
                self.caps[child].parent = destination
        else:
            self.derive(source, destination, words[5] if label is Label.CNODE_MINT else None, Rights(words[4]))
        return _DONE

    def _connect(self, cap: FakeCap, target: FakeCap | None) -> Outcome:
        channel = cap.object
        if not isinstance(channel, FakeChannel) or channel.target is not None:
            return Error.ILLEGAL_OPERATION, ()
        if target is None or not isinstance(target.object, FakeEndpoint | FakeNotification):
            return Error.INVALID_CAPABILITY, (1,)
        if not target.object.listeners:
            return Error.ILLEGAL_OPERATION, ()
        channel.number, channel.target, channel.badge = next(self._numbers), target.object, target.badge
        return Error.NO_ERROR, (channel.number,)

    def _use_notice(self, label: Label, notice: object, request: Request) -> Outcome:
        if not isinstance(notice, FakeNotice):
            return Error.ILLEGAL_OPERATION, ()
        if label is Label.DEATH_NOTICE_READ:
            return Error.NO_ERROR, (notice.state, 0)
        if label is Label.DEATH_NOTICE_CANCEL:
            notice.target, notice.place, notice.state = None, 0, DeathNoticeState.IDLE
            return _DONE
        target, bell = (self.caps.get(each) for each in request.caps)
        if notice.target is not None:
            return Error.DELETE_FIRST, ()
        if target is None or isinstance(target.object, FakeUntyped):
            return Error.INVALID_CAPABILITY, (1,)
        if bell is None or not isinstance(bell.object, FakeNotification):
            return Error.INVALID_CAPABILITY, (2,)
        notice.target, notice.bell, notice.badge = target.object, bell.object, bell.badge
        notice.state = DeathNoticeState.WATCHING
        if label is Label.DEATH_NOTICE_WATCH_COPIES:
            notice.place = request.caps[0]
            self._tell_of_copies()
        return _DONE

    def _tell_of_copies(self) -> None:
        """Signal for each notice that watches copies of which there are none, or of what is not there."""
        for each in [cap.object for cap in self.caps.values() if isinstance(cap.object, FakeNotice)]:
            if each.place and each.place not in self.caps:
                self._told(each, DeathNoticeState.DESTROYED)
            elif each.place and not list(self._children(each.place)):
                self._told(each, DeathNoticeState.NO_COPIES)

    def _told(self, notice: FakeNotice, state: DeathNoticeState) -> None:
        notice.target, notice.place, notice.state = None, 0, state
        if notice.bell is not None:
            notice.bell.word |= notice.badge
            self.rang = True

    def _tell(self, ended: object) -> None:
        """Signal for each notice that watches an object that has ended, and be that the notice itself."""
        held = {id(cap.object): cap.object for cap in self.caps.values()}
        for each in (*held.values(), ended):
            if isinstance(each, FakeNotice) and each.target is ended and each.bell is not None:
                self._told(each, DeathNoticeState.DESTROYED)

    def _map_io(self, slot: int, cap: FakeCap, frame: FakeFrame, request: Request) -> Outcome:
        target = self.caps.get(request.caps[0])
        if target is None or not isinstance(target.object, FakeIoSpace) or slot in self.space.mapped:
            return Error.INVALID_CAPABILITY, (0,)
        rights, address = request.words[:2]
        return target.object.map(slot, frame, address, Rights(rights) & cap.rights)

    def _unmap(self, slot: int) -> None:
        """End the mapping of a slot's capability, by task and by device."""
        self.space.unmap(slot)
        for cap in self.caps.values():
            if isinstance(cap.object, FakeIoSpace):
                cap.object.unmap(slot)

    def _remove(self, slot: int) -> FakeCap | None:
        """Empty a slot. (The tests copy no channel's capability: its first is its last.)"""
        cap = self.caps.pop(slot, None)
        self._unmap(slot)
        if cap is not None and isinstance(cap.object, FakeChannel):
            cap.object.target = None
        if cap is not None and not self._is_held(cap.object):
            self._tell(cap.object)
        if cap is not None and isinstance(cap.object, FakeCNode) and not self._is_held(cap.object):
            for inside in range(cap.object.base, cap.object.base + (1 << cap.object.radix)):
                self._delete(inside)
        return cap

    def _is_held(self, held: object) -> bool:
        return any(each.object is held for each in self.caps.values())

    def _children(self, slot: int) -> Iterator[int]:
        yield from [each for each, cap in self.caps.items() if cap.parent == slot]

    def _delete(self, slot: int) -> None:
        """Children of a deleted capability become its parent's."""
        cap = self._remove(slot)
        for child in self._children(slot):
            self.caps[child].parent = cap.parent if cap is not None else None
        self._tell_of_copies()

    def _revoke(self, slot: int) -> None:
        for child in self._children(slot):
            self._revoke(child)
            self._remove(child)
        self._tell_of_copies()
        cap = self.caps.get(slot)
        if cap is not None and isinstance(cap.object, FakeUntyped):
            cap.object.used = 0

    def _retype(self, slot: int, cap: FakeCap, request: Request) -> Outcome:
        kind, size_bits, _, _, offset, count = request.words[:6]
        untyped = cap.object
        if not isinstance(untyped, FakeUntyped):
            return Error.ILLEGAL_OPERATION, ()
        if not 1 <= count <= 256:
            return Error.RANGE_ERROR, (1, 256)
        if any(each in self.caps for each in range(offset, offset + count)):
            return Error.DELETE_FIRST, ()
        if not list(self._children(slot)):
            untyped.used = 0
        size = 1 << object_size_bits(ObjectType(kind), size_bits)
        start = (untyped.used + size - 1) // size * size
        if start + size * count > 1 << untyped.size_bits:
            return Error.NOT_ENOUGH_MEMORY, ((1 << untyped.size_bits) - untyped.used,)
        untyped.used = start + size * count
        for each in range(offset, offset + count):
            self.caps[each] = FakeCap(self._make(ObjectType(kind), size_bits), parent=slot)
        return _DONE

    def _make(self, kind: ObjectType, size_bits: int) -> object:
        if kind is ObjectType.CNODE:
            return FakeCNode(size_bits, next(self._numbers) << 32)
        return _make(kind, size_bits)


def _base(cap: FakeCap | None) -> int:
    """Where the slots of a CNode begin in the table; the task's own at 0."""
    return cap.object.base if cap is not None and isinstance(cap.object, FakeCNode) else 0


def _depth(cap: FakeCap | None) -> int:
    return cap.object.radix if cap is not None and isinstance(cap.object, FakeCNode) else CNODE_DEPTH


def _make(kind: ObjectType, size_bits: int) -> object:
    match kind:
        case ObjectType.UNTYPED:
            return FakeUntyped(size_bits)
        case ObjectType.ENDPOINT:
            return FakeEndpoint()
        case ObjectType.NOTIFICATION:
            return FakeNotification()
        case ObjectType.DEATH_NOTICE:
            return FakeNotice()
        case ObjectType.REPLY:
            return FakeReply()
        case ObjectType.CHANNEL:
            return FakeChannel()
        case ObjectType.FRAME:
            return FakeFrame(size_bits)
    return FakeObject(kind.name)
