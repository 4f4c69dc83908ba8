"""What a running system holds, compared with the closure of its description: capability by capability, at any moment.

Names are no use for that: what tasks make and pass on has none in the description. Objects are told apart as the kernel
does, by address, and the description's are found in the live system by the slots that root fills: the same capability
stands in the same slot on paper. What is not among them was made of memory that somebody had: whoever holds it must be
able to have that memory.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from deploy.authority import paper
from deploy.authority.closure import Closure
from deploy.authority.graph import READABLE, Authority, Graph
from deploy.authority.holdings import DEVICE, Held, Holdings
from libsel4py.description import System

Object = tuple[str, str]  # kind, and the kernel's or the page's name of it
REMADE = ("TCB", "SCHED_CONTEXT", "VSPACE")  # at each life of a task: what stands in the slots now counts


def is_built(system: System, live: Holdings) -> bool:
    """Whether root has filled all slots that it fills before the first task runs."""
    written = paper.holdings(system)
    cnodes = {each.name: each.cnode for each in live.threads}
    places = {each.cnode: cnodes.get(each.name, "") for each in written.threads if not each.is_initial}
    filled = {(each.place, each.slot) for each in live.capabilities}
    return all((places[each.place], each.slot) in filled for each in written.capabilities if each.place in places)


class Bound:
    """What the tasks of a description can ever hold.

    Args:
        live: what they hold in the running system, at some moment after root has built it.
    Attributes:
        looks: moments that were looked at. most: the most capabilities of tasks in one of them.
        handed_on: capabilities that a task has and was not given by root, to what others have, or have made.
    """

    def __init__(self, system: System, live: Holdings) -> None:
        self._paper = paper.holdings(system)
        self._root = next(each.cnode for each in live.threads if each.is_initial)
        cnodes = {each.name: each.cnode for each in live.threads}
        self._places = {cnodes[each.name]: each.cnode for each in self._paper.threads if not each.is_initial}
        self._slots = {(each.place, each.slot): each for each in self._paper.capabilities}
        self._same: dict[Object, Object] = {("CNODE", there): ("CNODE", here) for there, here in self._places.items()}
        self._learn(live)
        self._memory = {there[1]: here for there, here in self._same.items() if there[0] == "UNTYPED"}
        graph = self._graph()
        self._begun = {
            (node, (each.kind, each.object))
            for node, held in enumerate(graph.held)
            for each in (graph.capabilities[index] for index in held)
        }
        closure = Closure(graph)
        self._allowed: dict[tuple[int, Object], list[Authority]] = defaultdict(list)
        for node in range(len(graph.nodes)):
            for index in closure.held_by(node):
                each = graph.capabilities[index]
                self._allowed[node, (each.kind, each.object)].append(each)
        self._nodes = {name: number for number, name in enumerate(graph.nodes)}
        self.looks = self.most = 0
        self.handed_on: set[tuple[str, Object]] = set()

    def _graph(self) -> Graph:
        graph = Graph()
        nodes = {place: graph.add_node(place) for place in self._places.values()}
        graph.tasks = len(graph.nodes)
        controlled = {("CNODE", place): node for place, node in nodes.items()}
        controlled |= {("TCB", each.tcb): nodes[each.cnode] for each in self._paper.threads if each.cnode in nodes}
        for each in self._paper.capabilities:
            if each.place in nodes:
                node = controlled.get((each.kind, each.object), -1)
                authority = Authority(each.kind, each.object, each.rights, each.badge, node)
                graph.hold(nodes[each.place], authority, each.slot)
        return graph

    def _learn(self, live: Holdings) -> None:
        """Which of the live objects are those of the description."""
        for each in live.capabilities:
            here = self._slots.get((self._places.get(each.place, ""), each.slot))
            if here is not None and here.kind == each.kind:
                there = (each.kind, each.object)
                if each.kind in REMADE or there not in self._same:
                    self._same[there] = (here.kind, here.object)

    # --- questions

    def violations(self, live: Holdings) -> list[str]:
        """What somebody holds now, and can never hold by the closure; in words."""
        self._learn(live)
        names = {each.cnode: each.name for each in live.threads}
        tasks = [each for each in live.capabilities if each.place != self._root]
        self.looks += 1
        self.most = max(self.most, len(tasks))
        self.handed_on |= {(each.place, (each.kind, each.object)) for each in tasks if self._was_handed_on(each)}
        return [
            f"{names.get(each.place, each.place)} holds {each.kind} {each.object} ({each.rights}) in slot {each.slot}"
            for each in tasks
            if not any(self._covers(node, each) for node in self._holders(each.place))
        ]

    def _holders(self, place: str) -> Iterator[int]:
        """Whose CNode it is: of a task, or of whoever can have the memory that it was made of."""
        if place in self._places:
            yield self._nodes[self._places[place]]
        else:
            yield from (node for node in self._nodes.values() if self._can_have_memory(node, place))

    def _covers(self, node: int, held: Held) -> bool:
        known = self._same.get((held.kind, held.object))
        if known is None:
            return self._can_have_memory(node, held.object)
        return any(_is_part(held, known, each) for each in self._allowed.get((node, known), ()))

    def _was_handed_on(self, held: Held) -> bool:
        node = self._nodes.get(self._places.get(held.place, ""))
        if node is None:
            return False
        known = self._same.get((held.kind, held.object))
        needed = [known] if known is not None else self._memory_of(held.object)
        return not any((node, each) in self._begun for each in needed)

    def _memory_of(self, made: str) -> list[Object]:
        return [here for there, here in self._memory.items() if _is_inside(made, there)]

    def _can_have_memory(self, node: int, made: str) -> bool:
        """Whether it can have memory in which the object lies."""
        return any((node, each) in self._allowed for each in self._memory_of(made))


def _is_part(held: Held, known: Object, of: Authority) -> bool:
    """With no more rights, and by the same badge, or one that was given to what had none."""
    within = held.kind not in READABLE or not held.rights & ~of.rights
    return (of.kind, of.object) == known and within and of.badge in (0, held.badge)


def _is_inside(made: str, memory: str) -> bool:
    """Whether an object's address, of names as the kernel gives them, lies in memory. Lines and ports lie nowhere."""
    start, size_bits = (int(word, 0) for word in memory.removeprefix(DEVICE).split("/"))
    address, _, rest = made.removeprefix(DEVICE).partition("-")
    return (
        address.startswith("0x") and not rest and start <= int(address.partition("/")[0], 16) < start + (1 << size_bits)
    )
