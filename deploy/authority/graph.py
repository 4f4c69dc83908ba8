"""Holdings as a graph: tasks, the capabilities that there are, and who begins with which.

Names are given by rule, from holdings alone, so that a description and the system that was booted from it have the same
graph: a task's own objects are `TASK.cnode`, `.vspace`, `.tcb`, `.notification`; any other object is named after the
first task that may read from it (without a badge, if one can), or that has it at all: `TASK.endpoint`, `TASK.pool`,
`TASK.device_memory`; a second one of a kind is `TASK.frame#2`. Ports are `ports.0x3f8-0x3ff`, lines `irq.4`.

Rule: the initial task holds everything and hands out what is written; what it holds alone is not in the graph.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from deploy.authority.holdings import DEVICE, Capability, Held, Holdings, Thread
from libsel4py.abi import Rights

ROOT: Final = "root"
READABLE: Final = ("ENDPOINT", "NOTIFICATION", "REPLY", "FRAME")  # what a rights word says something of
CONTROLLING: Final = ("CNODE", "TCB")  # with these, all that another has can be taken, and anything be put there
_SINGLE: Final = {"IO_PORT": "ports", "IRQ_HANDLER": "irq"}
_POOL, _DEVICE_MEMORY = "pool", "device_memory"
_NEW: Final = {
    "ENDPOINT": Rights.ALL,
    "NOTIFICATION": Rights.READ | Rights.WRITE,
    "REPLY": Rights.ALL,
    "FRAME": Rights.READ | Rights.WRITE,
}


@dataclass(frozen=True, slots=True)
class Authority:
    """A capability: ``object`` is a name as above, ``node`` whose CNode, thread or space it is (-1: nobody's)."""

    kind: str
    object: str
    rights: int = 0
    badge: int = 0
    node: int = -1

    def may(self, right: Rights) -> bool:
        """Kinds without rights may all."""
        return self.kind not in READABLE or bool(self.rights & right)


@dataclass(slots=True)
class Graph:
    """Who begins with what. A node is a task, or a CNode that is no task's root.

    Attributes:
        nodes: names. capabilities: each one once; all else names it by its index.
        held: per node, the capabilities in its CNode, and where: the slot, -1 for what its memory can be made into.
        touched: per node, what it can touch without a capability that it could pass on: what is mapped for it, the
            notification bound to it, where its faults go. implied: what can be made of an untyped, by its index.
        tasks: how many of the nodes, from the first on, are tasks.
    """

    nodes: list[str] = field(default_factory=list)
    capabilities: list[Authority] = field(default_factory=list)
    held: list[dict[int, int]] = field(default_factory=list)
    touched: list[dict[int, str]] = field(default_factory=list)
    implied: dict[int, tuple[int, ...]] = field(default_factory=dict)
    tasks: int = 0
    _indices: dict[Authority, int] = field(default_factory=dict)

    def add_node(self, name: str) -> int:
        self.nodes.append(name)
        self.held.append({})
        self.touched.append({})
        return len(self.nodes) - 1

    def capability(self, authority: Authority) -> int:
        """Its index; those that it implies are added with it."""
        if authority not in self._indices:
            self._indices[authority] = index = len(self.capabilities)
            self.capabilities.append(authority)
            if authority.kind == "UNTYPED":
                made = {"FRAME": _NEW["FRAME"]} if _is_of_device(authority.object) else _NEW
                new = (Authority(kind, f"{authority.object}:new {kind.lower()}", int(r)) for kind, r in made.items())
                self.implied[index] = tuple(map(self.capability, new))
        return self._indices[authority]

    def hold(self, node: int, authority: Authority, slot: int) -> None:
        self.held[node].setdefault(self.capability(authority), slot)

    def touch(self, node: int, authority: Authority, why: str) -> None:
        self.touched[node].setdefault(self.capability(authority), why)

    def objects(self) -> list[str]:
        """The names of all objects that are there at the beginning."""
        return sorted({each.object for each in self.capabilities if ":new " not in each.object})

    def edges(self) -> frozenset[tuple[str, int, Authority]]:
        """Who holds what where, in terms that two graphs can be compared by."""
        plain = [Authority(each.kind, each.object, each.rights, each.badge) for each in self.capabilities]
        return frozenset(
            (self.nodes[node], slot, plain[each]) for node, held in enumerate(self.held) for each, slot in held.items()
        )


def of(holdings: Holdings) -> Graph:
    """The graph of holdings."""
    return _Reader(holdings).read()


class _Reader:
    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._graph = Graph()
        self._initial = next((each for each in holdings.threads if each.is_initial), None)
        self._threads: dict[str, list[Thread]] = defaultdict(list)  # by CNode
        for each in holdings.threads:
            if each.cnode and not each.is_initial:
                self._threads[each.cnode].append(each)
        self._node_of: dict[tuple[str, str], int] = {}  # by kind and object
        self._names: dict[tuple[str, str], str] = {}

    def read(self) -> Graph:
        by_place: dict[str, list[Held]] = defaultdict(list)
        root = "" if self._initial is None else self._initial.cnode
        for held in self._holdings.capabilities:
            by_place[held.place].append(held)
        self._name_tasks()
        taken = [place for place in by_place if place != root]
        for place in sorted(taken, key=self._order):
            if ("CNODE", place) not in self._node_of:
                self._node_of["CNODE", place] = self._graph.add_node(f"CNode {place}")
        places = sorted(taken, key=lambda place: self._node_of["CNODE", place])
        self._name_objects([held for place in places for held in by_place[place]])
        for place in places:
            for held in by_place[place]:
                self._graph.hold(self._node_of["CNODE", place], self._authority(held), held.slot)
        self._add_touched()
        return self._graph

    def _order(self, place: str) -> tuple[int, str]:
        return (len(place), place)

    def _name_tasks(self) -> None:
        named = {_whole([each.name for each in threads]): place for place, threads in self._threads.items()}
        for name, place in sorted(named.items()):
            self._node_of["CNODE", place] = node = self._graph.add_node(name)
            self._names["CNODE", place] = f"{name}.cnode"
            for each in self._threads[place]:
                self._node_of["TCB", each.tcb] = node
                self._names["TCB", each.tcb] = f"{each.name}.tcb"
                self._node_of.setdefault(("VSPACE", each.vspace), node)
                self._names.setdefault(("VSPACE", each.vspace), f"{name}.vspace")
                if each.notification:
                    self._names["NOTIFICATION", each.notification] = f"{name}.notification"
        self._graph.tasks = len(named)

    def _name_objects(self, held: list[Held]) -> None:
        """Those that may read first, without a badge before those with one: a server's endpoint is the server's."""
        counts: dict[str, int] = defaultdict(int)
        ordered = sorted(held, key=lambda each: not (each.kind in READABLE and each.rights & Rights.READ))
        for each in sorted(ordered, key=_reads_late):
            key = (each.kind, each.object)
            if key in self._names:
                continue
            if each.kind in _SINGLE:
                self._names[key] = f"{_SINGLE[each.kind]}.{each.object}"
                continue
            if each.kind == "ENDPOINT" and not each.rights & Rights.READ:
                owner = ROOT  # nobody but the initial task may receive there
            else:
                owner = self._graph.nodes[self._node_of["CNODE", each.place]]
            base = f"{owner}.{_kind_name(each)}"
            counts[base] += 1
            self._names[key] = base if counts[base] == 1 else f"{base}#{counts[base]}"

    def _authority(self, held: Held | Capability) -> Authority:
        key = (held.kind, held.object)
        return Authority(
            held.kind,
            self._names.get(key, f"{ROOT}.{held.kind.lower()} {held.object}"),
            held.rights,
            held.badge,
            self._node_of.get(key, -1),
        )

    def _add_touched(self) -> None:
        spaces: Mapping[str, int] = {space: node for (kind, space), node in self._node_of.items() if kind == "VSPACE"}
        for place, threads in self._threads.items():
            node = self._node_of["CNODE", place]
            for each in threads:
                for handler in each.handlers:
                    told = self._authority(handler)
                    told = replace(told, rights=told.rights & (Rights.WRITE | Rights.GRANT_REPLY))
                    self._graph.touch(node, told, f"faults of {each.name} go there")
                if each.notification:
                    bound = Capability("NOTIFICATION", each.notification, int(Rights.READ))
                    self._graph.touch(node, self._authority(bound), f"it is bound to {each.name}")
        for mapped in self._holdings.mapped:
            if mapped.vspace in spaces and ("FRAME", mapped.frame) in self._names:
                frame = self._authority(Capability("FRAME", mapped.frame, mapped.rights))
                self._graph.touch(spaces[mapped.vspace], frame, "it is mapped for it")


def _kind_name(each: Held) -> str:
    if each.kind != "UNTYPED":
        return each.kind.lower()
    return _DEVICE_MEMORY if each.object.startswith(DEVICE) else _POOL


def _is_of_device(name: str) -> bool:
    """Whether the name of untyped memory is one that device memory is given."""
    return name.rpartition(".")[2].partition("#")[0] == _DEVICE_MEMORY


def _reads_late(each: Held) -> int:
    """Of endpoints: who receives there, as no client does, comes first, and who cannot receive comes last."""
    if each.kind != "ENDPOINT":
        return 0
    return 2 if not each.rights & Rights.READ else bool(each.badge)


def _whole(names: list[str]) -> str:
    """A task's name, from those of its threads: `console`, of `console` and `console.1`."""
    return next((each for each in names if each.rpartition(".")[0] not in names), names[0])
