"""Where RAM's bytes are, and who pays for them: the tree of untyped memory, exact to the byte.

    RAM = the kernel's own records + what the initial capabilities name + what is lost
    an untyped = what was made from it + padding + what is free

Padding is memory that was taken and that no object fills: what alignment skipped, and what objects left that are gone
while others, made from the same untyped, are not. It comes back when the last of them goes. Lost is memory that no
capability names any more, nor memory around it: nobody can use it again.

Who pays is who holds the memory that a thing was made from. What the initial task makes for one task alone, that task
pays; what several hold, the initial task does. So a pool that a client hands to a server stays the client's.

Rules: as in `inspection`. Every byte is counted once, so that all that tasks pay, the kernel's records and what is lost
add up to RAM.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from hw.ram import Ram
from kerneld import caps
from kerneld.caps import OBJECT_MASK, Cap
from kerneld.records import CapType, Channel, KernelRecord, SchedContext, Tcb, TcbSlot, VSpace
from kerneld.survey import Held, Survey, survey
from kerneld.task_names import Names

NOBODY: Final = "nobody"


@dataclass(slots=True)
class Node:
    """An object, or untyped memory with what was made from it. Sizes in bytes.

    Attributes:
        held: the slots that hold it; of untyped memory one, since a copy of its capability is made from it as well.
        payer: the task that pays for it.
    """

    cap: Cap
    start: int
    size: int
    held: list[Held]
    children: list[Node] = field(default_factory=list)
    payer: str = NOBODY

    @property
    def is_memory(self) -> bool:
        return self.cap.type == CapType.UNTYPED

    @property
    def is_device(self) -> bool:
        return self.cap.is_device if self.is_memory else self.cap.type == CapType.FRAME and self.cap.frame_is_device

    @property
    def made(self) -> int:
        """What objects and further untyped memory fill."""
        return sum(child.size for child in self.children)

    @property
    def free(self) -> int:
        """What the next Retype can have; all of it once nothing made from it is left."""
        return self.size - self.cap.free_index if self.children else self.size

    @property
    def padding(self) -> int:
        return self.size - self.made - self.free

    @property
    def own(self) -> int:
        """What no child of it accounts for."""
        return self.size - self.made


class Accounts:
    """All memory, as `survey` finds it.

    Attributes:
        roots: what the initial capabilities name of RAM, by address. devices: the same of device memory.
    """

    def __init__(self, found: Survey) -> None:
        self._found = found
        self.ram = found.ram
        self._names = Names.of(found)
        kernel = KernelRecord.of(found.ram)
        initial = kernel.initial_tcb
        self._first = self._names.task(initial.address) if initial is not None else NOBODY
        self.ram_bytes = kernel.ram_bytes
        self.kernel_bytes = kernel.user_base
        outermost = _nest(_nodes(found))
        self.roots = [node for node in outermost if not node.is_device]
        self.devices = [node for node in outermost if node.is_device]
        for node in outermost:
            self._charge(node, None)

    @property
    def lost(self) -> int:
        """Bytes that nothing names."""
        return self.ram_bytes - self.kernel_bytes - sum(node.size for node in self.roots)

    def walk(self) -> Iterator[Node]:
        """Every node of RAM, each before what was made from it."""
        pending = self.roots[::-1]
        while pending:
            node = pending.pop()
            yield node
            pending += node.children[::-1]

    def places(self, node: Node) -> list[str]:
        """Who holds a node, as `task:slot`."""
        return [self._names.place(each, self._found.owners[each.address]) for each in node.held]

    def _charge(self, root: Node, maker: str | None) -> None:
        pending = [(root, maker)]
        while pending:
            node, above = pending.pop()
            node.payer = self._payer(node, above)
            pending += [(child, node.payer) for child in node.children]

    def _payer(self, node: Node, maker: str | None) -> str:
        if maker is not None and maker not in (self._first, NOBODY):
            return maker
        others = self._users(node) - {self._first}
        if len(others) == 1:
            return others.pop()
        return maker or self._first

    def _users(self, node: Node) -> set[str]:
        """The tasks that hold a node; a thread its own TCB, and the scheduling context that it runs on."""
        users = {user for held in node.held for user in self._holders(held)}
        if node.cap.type == CapType.TCB:
            users.add(self._names.task(node.cap.object))
        elif node.cap.type == CapType.SCHED_CONTEXT:
            thread = SchedContext(self._found.ram, node.cap.object).tcb
            if thread is not None and thread.address in self._names.tasks:
                users.add(self._names.task(thread.address))
        return users

    def _holders(self, held: Held) -> set[str]:
        owner = self._found.owners[held.address]
        if owner in self._names.tasks:
            return {self._names.task(owner)}
        if owner in self._names.channels:
            client = Channel(self._found.ram, owner).client
            return {self._names.task(client.address)} if client is not None else set()
        return self._reach.get(owner, set())

    @cached_property
    def _reach(self) -> dict[int, set[str]]:
        """The tasks whose capability space each CNode is; of one that is nobody's root, those that reach it."""
        inside: dict[int, list[int]] = defaultdict(list)
        for address, held in self._found.slots.items():
            if held.kind == CapType.CNODE:
                inside[self._found.owners[address]].append(held.word0 & OBJECT_MASK)
        roots: dict[int, set[str]] = defaultdict(set)
        for address in self._names.tasks:
            root = Tcb(self._found.ram, address).slot(TcbSlot.CSPACE)
            if root.cap_type == CapType.CNODE:
                roots[root.object].add(self._names.task(address))
        reach = {cnode: set(tasks) for cnode, tasks in roots.items()}
        for cnode, tasks in roots.items():
            pending = [inner for inner in inside[cnode] if inner not in roots]
            seen = set(pending)
            while pending:
                below = pending.pop()
                reach.setdefault(below, set()).update(tasks)
                further = {inner for inner in inside[below] if inner not in roots} - seen
                seen |= further
                pending += further
        return reach


def _nodes(found: Survey) -> list[Node]:
    """One for each object, and one for each capability to untyped memory: the first made before those made from it."""
    nodes: dict[tuple[int, int, int, int], Node] = {}
    for rank, held in enumerate(_in_order(found)):
        region = caps.region(held.cap)
        if region is None:
            continue
        key = (held.kind, *region, rank if held.kind == CapType.UNTYPED else 0)
        if key in nodes:
            nodes[key].held.append(held)
        else:
            nodes[key] = Node(held.cap, *region, [held])
    return list(nodes.values())


def _in_order(found: Survey) -> Iterator[Held]:
    """All slots, each list of the derivation order from its head on; of a damaged one what is not reached, at last."""
    seen: set[int] = set()
    for held in sorted(found.heads()):
        at: Held | None = held
        while at is not None and at.address not in seen:
            seen.add(at.address)
            yield at
            at = found.slots.get(at.next)
    yield from (found.slots[address] for address in sorted(found.slots.keys() - seen))


def _nest(nodes: list[Node]) -> list[Node]:
    """Put each into the smallest untyped memory that it fills a part of; the outermost ones, by address."""
    # A stable sort: of untyped memory in the same place, what was made first is outside.
    nodes.sort(key=lambda node: (node.start, -node.size, not node.is_memory))
    outermost: list[Node] = []
    around: list[Node] = []
    for node in nodes:
        while around and around[-1].start + around[-1].size < node.start + node.size:
            around.pop()
        (around[-1].children if around else outermost).append(node)
        if node.is_memory:
            around.append(node)
    return outermost


def untyped_tree(ram: Ram) -> list[object]:
    """What the initial capabilities name, RAM and devices, with what was made from it, and what from that."""
    accounts = Accounts(survey(ram))
    return [_row(accounts, node) for node in (*accounts.roots, *accounts.devices)]


def memory(ram: Ram) -> dict[str, object]:
    """Where RAM's bytes are. Each of these adds up to `ram`: `kernel`, `lost` and the bytes of the trees' roots;
    `kernel`, `lost`, `padding`, `free` and the bytes by type; `kernel`, `lost` and what tasks pay.
    """
    found = survey(ram)
    accounts = Accounts(found)
    by_type: Counter[str] = Counter()
    by_payer: Counter[str] = Counter()
    padding = free = 0
    for node in accounts.walk():
        by_payer[node.payer] += node.own
        if node.is_memory:
            padding, free = padding + node.padding, free + node.free
        else:
            by_type[CapType(node.cap.type).name] += node.size
    return {
        "ram": accounts.ram_bytes,
        "kernel": accounts.kernel_bytes,
        "lost": accounts.lost,
        "padding": padding,
        "free": free,
        "by_type": dict(sorted(by_type.items())),
        "paid_by_task": dict(by_payer.most_common()),
        "held_by_task": _held_by_task(found),
        "untyped": [_row(accounts, node) for node in accounts.roots],
        "devices": [_row(accounts, node) for node in accounts.devices],
    }


def _row(accounts: Accounts, node: Node) -> dict[str, object]:
    row: dict[str, object] = {
        "type": CapType(node.cap.type).name,
        "address": f"0x{node.start:x}",
        "bytes": node.size,
        "paid_by": node.payer,
    }
    if node.is_memory:
        row |= {"made": node.made, "padding": node.padding, "free": node.free}
    if node.cap.type == CapType.VSPACE:
        row["private_limit"] = VSpace(accounts.ram, node.start).private_bytes
    row["held_by"] = accounts.places(node)
    if node.is_memory:
        row["children"] = [_row(accounts, child) for child in node.children]
    return row


def _held_by_task(found: Survey) -> dict[str, int]:
    """Bytes of the objects (untyped memory left out) that each capability space holds; shared ones count for each."""
    names = Names.of(found)
    seen: set[tuple[str, int, int]] = set()
    totals: Counter[str] = Counter()
    for address, held in found.slots.items():
        name = names.spaces.get(found.owners[address])
        region = caps.region(held.cap)
        key = (name or "", held.kind, held.word0 & OBJECT_MASK)
        if name is None or region is None or held.kind == CapType.UNTYPED or key in seen:
            continue
        seen.add(key)
        totals[name] += region[1]
    return dict(totals.most_common())
