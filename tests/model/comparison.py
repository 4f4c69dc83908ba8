"""What the kernel's RAM says, put beside what the specification says: capabilities, derivation, threads, queues, time.

The one place of the model that reads the kernel's records. `differences` says in words where the two do not agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import chain, pairwise

from hw.ram import Ram, Record
from kerneld import caps, channels, listening, mapping_table, mdb, records
from kerneld.caps import Cap
from kerneld.records import CapType, EndpointState, NotificationState, Slot, TcbSlot, ThreadState
from tests.model.capability import BADGED, Capability, Kind
from tests.model.derivation import Holding, Place, preorder
from tests.model.system import State, System

SIZED = (CapType.UNTYPED, CapType.VSPACE, CapType.SCHED_CONTEXT, CapType.IO_SPACE)
WITH_RIGHTS = (CapType.ENDPOINT, CapType.NOTIFICATION, CapType.REPLY, CapType.FRAME)
NUMBERED = (CapType.IRQ_HANDLER, CapType.IO_PORT)
HEAD_OF_STACK = 1


@lru_cache(maxsize=1 << 14)
def abstract(word0: int, word1: int) -> Capability | None:
    """The capability that two words of a slot mean."""
    cap = Cap(word0, word1)
    if cap.is_null:
        return None
    bits = guard = guard_size = 0
    if cap.type in SIZED:
        bits = cap.size_bits
    elif cap.type is CapType.FRAME:
        bits = cap.frame_size_bits
    elif cap.type is CapType.CNODE:
        bits, guard, guard_size = cap.radix, cap.guard, cap.guard_size
    kind = Kind[cap.type.name]
    badge = cap.badge if kind in BADGED or cap.type in NUMBERED else 0
    rights = cap.rights if cap.type in WITH_RIGHTS else 0
    return Capability(kind, cap.object, bits, rights, badge, guard, guard_size)


def slot_at(ram: Ram, place: Place) -> Slot:
    return Slot(ram, place.container + place.number * Slot.SIZE)


def differences(ram: Ram, system: System) -> list[str]:
    """Where kernel and specification disagree; empty if nowhere."""
    found = _capability_differences(ram, system)
    if not found:  # an order of other capabilities tells nothing
        found += _order_differences(ram, system)
    for part in (
        _threads,
        _endpoints,
        _notifications,
        _replies,
        _contexts,
        _channels,
        _listeners,
        _notices,
        _mappings,
        _devices,
    ):
        found += [
            f"{what}: kernel {kernel}, specification {spec}"
            for what, kernel, spec in part(ram, system)
            if kernel != spec
        ]
    return found


def _capability_differences(ram: Ram, system: System) -> list[str]:
    found = []
    expected: dict[int, dict[int, Holding]] = {container: {} for container in system.containers}
    for holding in system.tree:
        expected.setdefault(holding.place.container, {})[holding.place.number] = holding
    for container, slots in system.containers.items():
        held = expected[container]
        behind = max(held, default=-1) + 1  # the last one of the specification's
        empty = bytes((slots - behind) * Slot.SIZE)
        if ram.read(container + behind * Slot.SIZE, len(empty)) != empty:
            behind = slots
        for index in range(behind):
            slot = Slot(ram, container + index * Slot.SIZE)
            kernel = abstract(slot.word0, slot.word1)
            spec = held[index].capability if index in held else None
            if spec is not None and spec.kind is Kind.ZOMBIE:
                spec = replace(spec, bits=0)
            if kernel != spec:
                found.append(f"slot {index} of 0x{container:x}: kernel {kernel}, specification {spec}")
    return found


def order(system: System) -> list[Holding]:
    """All holdings, parents before children."""
    return list(chain.from_iterable(preorder(root) for root in system.tree.roots))


def _order_differences(ram: Ram, system: System) -> list[str]:
    """The kernel's list must be the tree in preorder; trees that never were one may be unlinked."""
    found = []
    holdings = order(system)
    for before, behind in pairwise(holdings):
        at, following = slot_at(ram, before.place), slot_at(ram, behind.place)
        linked = at.next == following and following.prev == at
        apart = behind.parent is None and at.next is None and following.prev is None
        if not linked and not apart:
            found.append(f"{behind.capability} at {behind.place} is not behind {before.capability} at {before.place}")
    for holding in holdings:
        slot = slot_at(ram, holding.place)
        if bool(slot.revocable) != holding.original:
            found.append(f"{holding.capability} at {holding.place}: whether it is an original: {slot.revocable}")
        if holding.capability.kind is Kind.UNTYPED:
            kernel = slot.word1 if mdb.has_children(slot) else 0
            if kernel != holding.free_from:
                found.append(f"{holding.place}: free from {kernel}, specification {holding.free_from}")
    return found


def derivation_differences(ram: Ram, system: System) -> list[str]:
    """Whom the kernel takes for a capability's descendants, by walking on from it, and who they are."""
    found = []
    for holding in order(system):
        slot = slot_at(ram, holding.place)
        kernel = []
        at = slot.next
        while at is not None and mdb.is_mdb_parent_of(slot, at):
            kernel.append(at.address)
            at = at.next
        spec = [slot_at(ram, item.place).address for item in preorder(holding)][1:]
        if kernel != spec:
            found.append(
                f"descendants of {holding.capability} at {holding.place}: kernel {kernel}, specification {spec}"
            )
    return found


Rows = Iterator[tuple[str, object, object]]


def _address(record: Record | None) -> int | None:
    return None if record is None else record.address


def _threads(ram: Ram, system: System) -> Rows:
    for address, thread in system.threads.items():
        tcb = records.Tcb(ram, address)
        name = f"thread {tcb.name or hex(address)}"
        yield f"{name} state", ThreadState(tcb.state).name, thread.state.name
        yield f"{name} priorities", (tcb.priority, tcb.mcp), (thread.priority, thread.mcp)
        yield f"{name} scheduling context", _address(tcb.sched_context), thread.context
        yield f"{name} bound notification", _address(tcb.bound_notification), thread.bound
        yield f"{name} reply", _address(tcb.reply), thread.reply
        waits = tcb.blocked_on if thread.state in (State.BLOCKED_ON_SEND, State.BLOCKED_ON_RECEIVE) else None
        if waits is not None:
            yield f"{name} waits in", waits, thread.waits_in
        if tcb.trap_frame:
            yield f"{name} in a system call", bool(tcb.in_trap), thread.submission is not None
            yield f"{name} has a completion to come", bool(tcb.told_pending), thread.pending is not None


def _queue(head: records.Tcb | None) -> list[int]:
    found = []
    while head is not None:
        found.append(head.address)
        head = head.queue_next
    return found


def _endpoints(ram: Ram, system: System) -> Rows:
    for address, endpoint in system.endpoints.items():
        record = records.Endpoint(ram, address)
        state = "IDLE" if not endpoint.queue else "SEND" if endpoint.sending else "RECEIVE"
        yield f"endpoint 0x{address:x} state", EndpointState(record.state).name, state
        yield f"endpoint 0x{address:x} queue", _queue(record.head), endpoint.queue


def _notifications(ram: Ram, system: System) -> Rows:
    for address, notification in system.notifications.items():
        record = records.Notification(ram, address)
        state = "WAITING" if notification.queue else "ACTIVE" if notification.active else "IDLE"
        yield f"notification 0x{address:x} state", NotificationState(record.state).name, state
        yield f"notification 0x{address:x} queue", _queue(record.head), notification.queue
        yield f"notification 0x{address:x} bound", _address(record.bound_tcb), notification.bound
        yield f"notification 0x{address:x} context", _address(record.sched_context), notification.context
        if notification.active:
            yield f"notification 0x{address:x} signals", record.signals, notification.signals


def _channels(ram: Ram, system: System) -> Rows:
    for address, channel in system.channels.items():
        record = records.Channel(ram, address)
        target = channels.target_of(record.slot) if channels.is_connected(record) else None
        yield f"channel 0x{address:x} client", _address(record.client), channel.client
        yield f"channel 0x{address:x} target", _address(target), channel.target
    for address, thread in system.threads.items():
        listed = []
        at = records.Tcb(ram, address).channels
        while at is not None:
            listed.append(at.address)
            at = at.client_next
        yield f"thread 0x{address:x} channels", listed, thread.channels


def _listeners(ram: Ram, system: System) -> Rows:
    for address, target in (*system.endpoints.items(), *system.notifications.items()):
        kind = records.Endpoint if address in system.endpoints else records.Notification
        record = kind(ram, address)
        connected = [channel.address for channel in channels.connected_to(record)]
        yield f"0x{address:x} channels", connected, target.channels
        yield f"0x{address:x} listeners", [tcb.address for tcb in listening.members(record)], target.listeners
    for address, thread in system.threads.items():
        tcb = records.Tcb(ram, address)
        yield f"thread 0x{address:x} listens", _address(listening.target_of(tcb)), thread.listens
        yield f"thread 0x{address:x} number", tcb.listener, thread.number
        yield f"thread 0x{address:x} pages", bool(tcb.slot(TcbSlot.LISTEN).bound), thread.may_have_pages


def _notices(ram: Ram, system: System) -> Rows:
    watching: dict[int, list[int]] = {}
    for address, notice in sorted(system.notices.items(), key=lambda item: item[1].since):
        record = records.DeathNotice(ram, address)
        yield f"notice 0x{address:x} state", (record.state, record.status), (notice.state, notice.status)
        yield f"notice 0x{address:x} target", bool(record.key), notice.watches is not None
        if notice.watches is not None:
            yield f"notice 0x{address:x} watches", record.key & caps.OBJECT_MASK, notice.watches[1]
            watching.setdefault(record.key, []).append(address)
    for ring in watching.values():
        first = next(record for address in ring if (record := records.DeathNotice(ram, address)).is_first)
        listed = [first.address]
        while (first := first.behind) is not None and first.address != listed[0]:
            listed.append(first.address)
        yield f"ring of notice 0x{ring[0]:x}", listed, ring


def _replies(ram: Ram, system: System) -> Rows:
    for address, thread in system.replies.items():
        yield f"reply 0x{address:x}", _address(records.Reply(ram, address).tcb), thread


def _mappings(ram: Ram, system: System) -> Rows:
    """The tables of all address spaces, and what each frame capability says."""
    tables: dict[int, list[object]] = {}
    for holding in system.tree:
        held, mapped = holding.capability, holding.mapped
        if held.kind in (Kind.VSPACE, Kind.IO_SPACE):
            tables.setdefault(held.address, [])
        if held.kind is not Kind.FRAME:
            continue
        slot = slot_at(ram, holding.place)
        where = None
        if mapped is not None:
            where = (mapped.space, mapped.address)
            row = (mapped.address, held.bits, mapped.rights, mapped.attributes, slot.address)
            tables.setdefault(mapped.space, []).append(row)
        cap = Cap(slot.word0, slot.word1)
        kernel = (cap.mapped_space, cap.mapped_address) if cap.is_mapped else None
        yield f"{held} at {holding.place} mapped", kernel, where
    for address, rows in tables.items():
        table = list(mapping_table.walk(records.MappingSpace(ram, address)))
        yield f"mappings of space 0x{address:x}", table, sorted(rows)  # type: ignore[type-var]


def _devices(ram: Ram, system: System) -> Rows:
    """Which IOSpace is which device's."""
    kernel = records.KernelRecord.of(ram)
    for device in range(kernel.device_count):
        yield f"IOSpace of device {device}", _address(kernel.io_space(device)), system.io_spaces.get(device)


def _contexts(ram: Ram, system: System) -> Rows:
    for address, context in system.contexts.items():
        record = records.SchedContext(ram, address)
        yield f"context 0x{address:x} thread", _address(record.tcb), context.thread
        yield f"context 0x{address:x} notification", _address(record.notification), context.notification
        yield f"context 0x{address:x} configured", bool(record.refill_max), context.configured
        yield f"context 0x{address:x} postponed", bool(record.postponed), context.postponed
        calls: list[int] = []
        reply = record.reply
        while reply is not None:
            calls.insert(0, reply.address)
            reply = reply.prev
        yield f"context 0x{address:x} calls", calls, context.calls
        if calls:
            head = records.Reply(ram, calls[-1]).next_word
            yield f"context 0x{address:x} head of calls", head, address | HEAD_OF_STACK
