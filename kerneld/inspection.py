"""What RAM holds, told for people and programs: untyped tree, capability spaces, queues, memory.

Pure functions on a RAM, live or a saved image: `sel4py inspect` uses the same for both. They read, store nothing, and
return plain values (dicts, lists, text, numbers). Sizes in bytes. Addresses are physical, as text in hexadecimal.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from hw.ram import Ram
from kerneld import caps, mapping_table
from kerneld.caps import Cap
from kerneld.mapping_table import Mapping
from kerneld.records import CapType, Endpoint, KernelRecord, Notification, Slot, Tcb, TcbSlot, ThreadState, VSpace
from kerneld.survey import Held, Survey, survey
from libsel4py.abi import Rights

RIGHT_LETTERS: Final = ((Rights.READ, "r"), (Rights.WRITE, "w"), (Rights.GRANT, "g"), (Rights.GRANT_REPLY, "p"))
WAITING: Final = {
    ThreadState.BLOCKED_ON_RECEIVE: "receives on",
    ThreadState.BLOCKED_ON_SEND: "sends on",
    ThreadState.BLOCKED_ON_NOTIFICATION: "waits for",
}


@dataclass(slots=True)
class Region:
    """Memory that an object fills, and what lies inside of it."""

    cap: Cap
    start: int
    size: int
    inside: list[Region] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Names:
    """What tasks and their capability spaces are called."""

    tasks: dict[int, str]  # by TCB address
    spaces: dict[int, str]  # by CNode address: the tasks whose root it is
    channels: frozenset[int]  # addresses

    @classmethod
    def of(cls, found: Survey) -> Names:
        tasks = {address: task_name(Tcb(found.ram, address)) for address in found.of_type(CapType.TCB)}
        users: dict[int, set[str]] = defaultdict(set)
        for address, name in tasks.items():
            root = Tcb(found.ram, address).slot(TcbSlot.CSPACE)
            if root.cap_type == CapType.CNODE:
                users[root.object].add(name)
        spaces = {cnode: ", ".join(sorted(_whole_tasks(names))) for cnode, names in users.items()}
        return cls(tasks, spaces, frozenset(found.of_type(CapType.CHANNEL)))

    def place(self, held: Held, owner: int) -> str:
        """Where a slot is, as `task:slot`."""
        if owner in self.channels:
            return f"channel 0x{owner:x}"
        if owner in self.spaces or owner not in self.tasks:
            index = (held.address - owner) // Slot.SIZE
            return f"{self.spaces.get(owner, f'CNode 0x{owner:x}')}:{index}" if owner else "kernel"
        return f"{self.tasks[owner]} (TCB {TcbSlot((held.address - owner) // Slot.SIZE).name.lower()})"


def _whole_tasks(names: set[str]) -> set[str]:
    """Without the further threads of a task, which are called by its name and a number: `console.1`."""
    return {name for name in names if name.rpartition(".")[0] not in names}


def task_name(tcb: Tcb) -> str:
    """The TCB's name, or its address where it has none."""
    return tcb.name or f"TCB 0x{tcb.address:x}"


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


def untyped_tree(ram: Ram) -> list[object]:
    """Each initial untyped with what was made from it, and what from that; who holds each."""
    found = survey(ram)
    holders = _holders(found, Names.of(found))
    return [_tree(region, holders) for region in _regions(found)]


def _tree(region: Region, holders: dict[tuple[int, int], list[str]]) -> dict[str, object]:
    is_untyped = region.cap.type == CapType.UNTYPED
    row: dict[str, object] = {
        "type": CapType(region.cap.type).name,
        "address": f"0x{region.start:x}",
        "bytes": region.size,
        "device": region.cap.is_device if is_untyped else None,
        "used": sum(inner.size for inner in region.inside) if is_untyped else None,
        "left": region.size - region.cap.free_index if is_untyped else None,
        # Last, because it is as long as there are holders.
        "held_by": holders.get(_key(region.cap), []),
    }
    if is_untyped:
        row["children"] = [_tree(inner, holders) for inner in region.inside]
    return row


def _regions(found: Survey) -> list[Region]:
    """Objects nested by the memory that they fill; the outermost ones."""
    flat = []
    for kind, objects in found.objects.items():
        if kind == CapType.NULL:
            continue
        for cap in objects.values():
            if filled := caps.region(cap):
                flat.append(Region(cap, *filled))
    # An untyped comes before the object that fills it whole.
    flat.sort(key=lambda region: (region.start, -region.size, region.cap.type != CapType.UNTYPED))
    outermost: list[Region] = []
    around: list[Region] = []
    for region in flat:
        while around and around[-1].start + around[-1].size < region.start + region.size:
            around.pop()
        (around[-1].inside if around else outermost).append(region)
        if region.cap.type == CapType.UNTYPED:
            around.append(region)
    return outermost


def _key(cap: Cap) -> tuple[int, int]:
    return cap.type, cap.object


def _holders(found: Survey, names: Names) -> dict[tuple[int, int], list[str]]:
    holders: dict[tuple[int, int], list[str]] = defaultdict(list)
    for address, held in found.slots.items():
        holders[_key(held.cap)].append(names.place(held, found.owners[address]))
    return holders


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


def _mapping(found: Survey, names: Names, mapping: Mapping) -> dict[str, object]:
    held = found.slots.get(mapping.slot)
    return {
        "address": f"0x{mapping.address:x}",
        "bytes": 1 << mapping.size_bits,
        "rights": _rights(mapping.rights),
        "frame": f"0x{held.cap.object:x}" if held is not None else "",
        "held_by": names.place(held, found.owners[held.address]) if held is not None else "",
    }


def memory(ram: Ram) -> dict[str, object]:
    """Where RAM's bytes are. `kernel`, `free`, `unlisted` and the bytes by type add up to `ram`."""
    found = survey(ram)
    outermost = [region for region in _regions(found) if region.start < ram.size]
    by_type: Counter[str] = Counter()
    free = _count(outermost, by_type)
    user_base = KernelRecord.of(ram).user_base
    unlisted = ram.size - user_base - free - sum(by_type.values())
    return {
        "ram": ram.size,
        "kernel": user_base,
        "free": free,
        "unlisted": unlisted,
        "by_type": dict(sorted(by_type.items())),
        "held_by_task": _held_by_task(found),
    }


def _count(regions: list[Region], by_type: Counter[str]) -> int:
    """Adds up objects by type; returns the bytes of untyped memory that no object fills."""
    free = 0
    for region in regions:
        if region.cap.type == CapType.UNTYPED:
            free += region.size - sum(inner.size for inner in region.inside) + _count(region.inside, by_type)
        else:
            by_type[CapType(region.cap.type).name] += region.size
    return free


def _held_by_task(found: Survey) -> dict[str, int]:
    """Bytes of the objects (untyped memory left out) that each capability space holds; shared ones count for each."""
    names = Names.of(found)
    seen: set[tuple[str, int, int]] = set()
    totals: Counter[str] = Counter()
    for address, held in found.slots.items():
        name = names.spaces.get(found.owners[address])
        region = caps.region(held.cap)
        if name is None or region is None or held.kind == CapType.UNTYPED or (name, *_key(held.cap)) in seen:
            continue
        seen.add((name, *_key(held.cap)))
        totals[name] += region[1]
    return dict(totals.most_common())


VIEWS: Final[dict[str, Callable[[Ram], object]]] = {
    "untyped": untyped_tree,
    "cspace": cspaces,
    "queues": queues,
    "vspaces": vspaces,
    "memory": memory,
}
