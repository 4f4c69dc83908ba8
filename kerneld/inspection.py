"""What RAM holds, told for people and programs: capability spaces and queues here, memory in `accounts`.

Pure functions on a RAM, live or a saved image: `sel4py inspect` uses the same for both. They read, store nothing, and
return plain values (dicts, lists, text, numbers). Sizes in bytes. Addresses are physical, as text in hexadecimal.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from hw.ram import Ram
from kerneld import caps, death_notices, mapping_table, refills
from kerneld.accounts import memory, untyped_tree
from kerneld.caps import Cap
from kerneld.holdings import holdings
from kerneld.mapping_table import Mapping
from kerneld.records import (
    CapType,
    DeathNotice,
    Endpoint,
    IoSpace,
    KernelRecord,
    Notification,
    SchedContext,
    Slot,
    Tcb,
    ThreadState,
    VSpace,
)
from kerneld.survey import Held, Survey, survey
from kerneld.task_names import Names, task_name
from libsel4py.abi import DeathNoticeState, Rights

RIGHT_LETTERS: Final = ((Rights.READ, "r"), (Rights.WRITE, "w"), (Rights.GRANT, "g"), (Rights.GRANT_REPLY, "p"))
WAITING: Final = {
    ThreadState.BLOCKED_ON_RECEIVE: "receives on",
    ThreadState.BLOCKED_ON_SEND: "sends on",
    ThreadState.BLOCKED_ON_NOTIFICATION: "waits for",
}


def describe(cap: Cap) -> str:
    """A capability in a line."""
    kind = CapType(cap.word0 >> caps.TYPE_SHIFT)
    parts = [kind.name]
    if kind in (CapType.ENDPOINT, CapType.NOTIFICATION, CapType.FRAME, CapType.REPLY):
        parts.append(_rights(cap.rights))
    if kind in (CapType.ENDPOINT, CapType.NOTIFICATION) and cap.badge:
        parts.append(f"badge 0x{cap.badge:x}")
    region = caps.region(cap)
    if region is not None:
        parts.append(f"at 0x{region[0]:x}, {region[1]} bytes")
    if cap.is_mapped:
        kind_of_space = "IOSpace" if cap.is_mapped_by_io else "VSpace"
        parts.append(f"mapped at 0x{cap.mapped_address:x} of {kind_of_space} 0x{cap.mapped_space:x}")
    if kind == CapType.CNODE:
        parts.append(f"2**{cap.radix} slots, guard 0x{cap.guard:x} of {cap.guard_size} bits")
    if kind == CapType.UNTYPED:
        parts.append(f"{(1 << cap.size_bits) - cap.free_index} free" + (", device" if cap.is_device else ""))
    if kind == CapType.IRQ_HANDLER:
        parts.append(f"line {cap.irq}")
    if kind == CapType.IO_PORT:
        parts.append(f"ports 0x{cap.first_port:x}..0x{cap.last_port:x}")
    return " ".join(parts)


def _rights(rights: int) -> str:
    return "".join(letter for right, letter in RIGHT_LETTERS if rights & right) or "no rights"


def blocked_on(tcb: Tcb) -> str | None:
    """What a thread waits for, in a few words; None if it waits for nothing."""
    state = ThreadState(tcb.state)
    if state == ThreadState.BLOCKED_ON_REPLY:
        return "a reply"
    verb = WAITING.get(state)
    if verb is None:
        return None
    what = "notification" if state == ThreadState.BLOCKED_ON_NOTIFICATION else "endpoint"
    return f"{verb} {what} 0x{tcb.blocked_on:x}"


def cspaces(ram: Ram) -> list[object]:
    """Each CNode: whose root it is, and its slots that are not empty."""
    found = survey(ram)
    names = Names.of(found)
    slots: dict[int, list[Held]] = defaultdict(list)
    for address, held in found.slots.items():
        slots[found.owners[address]].append(held)
    return [
        {
            "cnode": f"0x{address:x}",
            "root_of": names.spaces.get(address, ""),
            "slots": 1 << cap.radix,
            "capabilities": [
                {"slot": (held.address - address) // Slot.SIZE, "capability": describe(held.cap)}
                for held in sorted(slots[address])
            ],
        }
        for address, cap in sorted(found.of_type(CapType.CNODE).items())
    ]


def queues(ram: Ram) -> list[object]:
    """Who waits where: endpoints, notifications, and the system calls to be carried out again."""
    found = survey(ram)
    names = Names.of(found)
    rows: list[object] = []
    for kind, record in ((CapType.ENDPOINT, Endpoint), (CapType.NOTIFICATION, Notification)):
        for address in sorted(found.of_type(kind)):
            head = record(ram, address).head
            waiting = [_waiter(tcb, names) for tcb in _queue(head, lambda tcb: tcb.queue_next)]
            signals = Notification(ram, address).signals if kind == CapType.NOTIFICATION else 0
            target = record(ram, address)
            listening = [_waiter(tcb, names) for tcb in _queue(target.listeners, lambda tcb: tcb.listen_next)]
            if waiting or signals or listening or target.channel_count:
                row: dict[str, object] = {"object": f"{kind.name} 0x{address:x}", "signals": signals}
                row["channels"] = target.channel_count
                rows.append(row | {"listening": listening, "waiting": waiting})
    restarts = [_waiter(tcb, names) for tcb in _queue(KernelRecord.of(ram).restart_head, lambda tcb: tcb.restart_next)]
    row = {"object": "system calls to restart", "signals": 0, "channels": 0, "listening": []}
    rows.append(row | {"waiting": restarts})
    return rows


def _waiter(tcb: Tcb, names: Names) -> dict[str, object]:
    name = names.tasks.get(tcb.address) or task_name(tcb)
    return {"task": name, "state": ThreadState(tcb.state).name, "badge": tcb.block_badge, "priority": tcb.priority}


def _queue(head: Tcb | None, following: Callable[[Tcb], Tcb | None]) -> Iterator[Tcb]:
    """The threads of a queue; a damaged one that is a circle ends where it closes."""
    seen: set[int] = set()
    while head is not None and head.address not in seen:
        seen.add(head.address)
        yield head
        head = following(head)


def vspaces(ram: Ram) -> list[object]:
    """Each address space: whose it is, what its memory is for, and what is mapped where."""
    found = survey(ram)
    names = Names.of(found)
    return [_vspace(found, names, VSpace(ram, address)) for address in sorted(found.of_type(CapType.VSPACE))]


def _vspace(found: Survey, names: Names, space: VSpace) -> dict[str, object]:
    mappings = sorted(mapping_table.read(space, node) for node in mapping_table.nodes(space))
    return {
        "vspace": f"0x{space.address:x}",
        "threads": [names.tasks.get(tcb.address, "") for tcb in _queue(space.threads, lambda tcb: tcb.vspace_next)],
        "private": space.private_bytes,
        "table": space.table_bytes,
        "mappings": [_mapping(found, names, mapping) for mapping in mappings],
        "room": space.mapping_capacity,
    }


def io_spaces(ram: Ram) -> list[object]:
    """Each IOSpace: which device does DMA by it, and what that sees where."""
    found = survey(ram)
    names = Names.of(found)
    rows: list[object] = []
    for address in sorted(found.of_type(CapType.IO_SPACE)):
        space = IoSpace(ram, address)
        mappings = sorted(mapping_table.read(space, node) for node in mapping_table.nodes(space))
        row: dict[str, object] = {"io_space": f"0x{address:x}", "device": space.device}
        row["mappings"] = [_mapping(found, names, mapping) for mapping in mappings]
        rows.append(row | {"room": space.mapping_capacity})
    return rows


def contexts(ram: Ram) -> list[object]:
    """Each scheduling context: who runs on it, budget and period (a period of 0: round robin), whether that is used up
    now, and its refills as (time of the machine's clock, amount). All times in microseconds."""
    found = survey(ram)
    names = Names.of(found)
    rows: list[object] = []
    for address in sorted(found.of_type(CapType.SCHED_CONTEXT)):
        context = SchedContext(ram, address)
        tcb, most = context.tcb, refills.capacity(context)
        ring = [(context.refill_head + n) % most for n in range(min(context.refill_count, most))] if most else []
        rows.append(
            {
                "context": f"0x{address:x}",
                "thread": "" if tcb is None else names.tasks.get(tcb.address) or task_name(tcb),
                "budget_us": context.budget,
                "period_us": context.period,
                "badge": context.badge,
                "consumed_us": context.consumed,
                "used_up": bool(context.postponed),
                "refills": [refills.refill(context, index) for index in ring] if context.period else [],
            }
        )
    return rows


def notices(ram: Ram) -> list[object]:
    """Each death notice: what it watches or was told of, and whom it signals."""
    found = survey(ram)
    names = Names.of(found)
    rows: list[object] = []
    for address in sorted(found.of_type(CapType.DEATH_NOTICE)):
        notice = DeathNotice(ram, address)
        key = Cap(notice.key, 0)
        target = f"{key.type.name} 0x{key.object:x}" if notice.key else ""
        if notice.key and death_notices.is_place(notice.key):
            target = _copies(found, notice.key)
        elif key.type == CapType.TCB:
            target += f" ({names.tasks.get(key.object) or task_name(Tcb(ram, key.object))})"
        slot = notice.slot
        signals = f"0x{slot.object:x}, badge 0x{slot.word1:x}" if slot.cap_type == CapType.NOTIFICATION else ""
        row = {"notice": f"0x{address:x}", "watches": target, "state": DeathNoticeState(notice.state).name}
        rows.append(row | {"signals": signals})
    return rows


def _copies(found: Survey, place: int) -> str:
    held = found.slots.get(place)
    return "copies of nothing" if held is None else f"copies of ENDPOINT 0x{held.cap.object:x}, badge 0x{held.word1:x}"


def _mapping(found: Survey, names: Names, mapping: Mapping) -> dict[str, object]:
    held = found.slots.get(mapping.slot)
    return {
        "address": f"0x{mapping.address:x}",
        "bytes": 1 << mapping.size_bits,
        "rights": _rights(mapping.rights),
        "frame": f"0x{held.cap.object:x}" if held is not None else "",
        "held_by": names.place(held, found.owners[held.address]) if held is not None else "",
    }


VIEWS: Final[dict[str, Callable[[Ram], object]]] = {
    "untyped": untyped_tree,
    "cspace": cspaces,
    "queues": queues,
    "vspaces": vspaces,
    "io_spaces": io_spaces,
    "notices": notices,
    "contexts": contexts,
    "holdings": holdings,
    "memory": memory,
}
