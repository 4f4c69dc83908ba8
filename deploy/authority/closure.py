"""Take-grant closure: what each task can ever come to hold, and by which grant it came.

The rules are those of seL4's access control and integrity proofs (Sewell et al., 2011), for sel4py's objects. Authority
flows from A to B where

- A has a CNode or a thread of B's, or B of A's: what is controlled gives all that it has, and takes anything;
- A may write and grant at an endpoint at which B may read: A sends it;
- B may call (write, with grant or grant-reply) at an endpoint at which A may read, and A has a reply object with grant
  (or memory to make one of): A answers with it;
- memory becomes objects of every kind: whoever has an untyped has new endpoints, notifications, replies and frames.

Nothing is ever taken back in a closure: it says what can be, whatever order things happen in. Rules: a task that is
trusted hands on nothing; capabilities are bits of integers, so that a step moves thousands at once; each capability
comes to a node once, with the edge that brought it, so that what is told is a chain and never a circle.

Nodes of which each controls the next, or is controlled by it, hold the same in the end (a *family*): a rule is applied
to a capability by one of them, and what it brings reaches the others along their control. Trusted nodes are in none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from deploy.authority.declared import EVERYTHING, Masks
from deploy.authority.graph import CONTROLLING, Graph
from libsel4py.abi import Rights


class Rule(Enum):
    """Why authority flows along an edge."""

    CONTROL = "puts it there by"
    GIVEN_UP = "takes it by"
    SEND = "sends it by"
    RECEIVE = "receives it by"
    ANSWER = "answers a call with it, which it received by"
    CALL = "gets it in the answer to its call by"
    MAKE = "makes it of"
    TOLD = "hands it out, as the description says:"


_HANDED_ON = (
    Rule.CONTROL,
    Rule.SEND,
    Rule.ANSWER,
)  # what a trusted task does not do; that it receives is not its doing


@dataclass(frozen=True, slots=True)
class Edge:
    """Authority flows from node ``source``, by the capability ``by`` that the one ``acting`` holds."""

    source: int
    rule: Rule
    by: int
    acting: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """Capabilities (as bits) that came to a node at once. No edge: it began with them."""

    bits: int
    edge: Edge | None


@dataclass(slots=True, eq=False)
class _Family:
    """Its nodes; capabilities that the rules were applied to; whether it has a reply object that can grant; and where
    it receives: by port, who by which capability."""

    members: list[int]
    applied: int = 0
    grants_replies: bool = False
    serves: dict[int, tuple[int, int]] = field(default_factory=dict)


@dataclass(slots=True)
class Closure:
    """``holds``: bits of all that each node can ever hold. Nodes behind the graph's are ports of endpoints."""

    graph: Graph
    trusted: frozenset[int] = frozenset()
    told: tuple[tuple[int, int, int], ...] = ()  # from, to, capability: what trusted tasks hand out
    masks: Masks = EVERYTHING  # what can go along at each endpoint
    holds: list[int] = field(init=False)
    arrivals: list[list[Arrival]] = field(init=False)
    _edges: list[dict[int, Edge]] = field(init=False)  # by target
    _ports: dict[tuple[str, str], int] = field(init=False, default_factory=dict)
    _masks: dict[int, int] = field(init=False, default_factory=dict)  # by port
    _active: int = field(init=False, default=0)
    _families: list[_Family] = field(init=False)  # by node
    _new: dict[int, int] = field(init=False, default_factory=dict)  # node: what it has not handed on yet

    def __post_init__(self) -> None:
        count = len(self.graph.nodes)
        self.holds = [0] * count
        self.arrivals = [[] for _ in range(count)]
        self._edges = [{} for _ in range(count)]
        self._families = [_Family([node]) for node in range(count)]
        for index, capability in enumerate(self.graph.capabilities):
            if capability.kind in ("ENDPOINT", "REPLY", "UNTYPED", *CONTROLLING):
                self._active |= 1 << index
        for node, held in enumerate(self.graph.held):
            if node >= self.graph.tasks and self.masks.containers != -1:
                self._masks[node] = self.masks.containers | sum(1 << each for each in held)
            self._arrive(node, sum(1 << each for each in held), None)
        for source, target, told in self.told:
            self._arrive(target, 1 << told, Edge(source, Rule.TOLD, told, source))
        while self._new:
            node = next(iter(self._new))  # whoever has waited longest hands on all that has come to it since
            self._spread(node, self._new.pop(node))

    def held_by(self, node: int) -> Iterator[int]:
        """The capabilities that a node can ever hold, as indices."""
        return bits_of(self.holds[node])

    # --- propagation

    def _arrive(self, node: int, bits: int, edge: Edge | None) -> None:
        new = bits & ~self.holds[node] & self._masks.get(node, -1)
        if new:
            self.holds[node] |= new
            self.arrivals[node].append(Arrival(new, edge))
            self._new[node] = self._new.get(node, 0) | new

    def _spread(self, node: int, bits: int) -> None:
        for target, edge in list(self._edges[node].items()):
            self._arrive(target, bits, edge)
        if node < len(self.graph.nodes):
            new = bits & self._active & ~self._families[node].applied
            self._families[node].applied |= new
            for capability in bits_of(new):
                self._apply(node, capability)

    def _connect(self, source: int, target: int, rule: Rule, by: int, acting: int) -> None:
        if rule in _HANDED_ON and acting in self.trusted:
            return
        if source != target and target not in self._edges[source]:
            edge = self._edges[source][target] = Edge(source, rule, by, acting)
            self._arrive(target, self.holds[source], edge)

    def _port(self, what: str, endpoint: str) -> int:
        key = (what, endpoint)
        if key not in self._ports:
            self._ports[key] = len(self.holds)
            self._masks[len(self.holds)] = self.masks.of(what, endpoint)
            self.holds.append(0)
            self.arrivals.append([])
            self._edges.append({})
        return self._ports[key]

    # --- rules

    def _apply(self, node: int, index: int) -> None:
        capability = self.graph.capabilities[index]
        if capability.kind in CONTROLLING:
            if capability.node >= 0:
                self._connect(node, capability.node, Rule.CONTROL, index, node)
                self._connect(capability.node, node, Rule.GIVEN_UP, index, node)
                self._unite(node, capability.node)
        elif capability.kind == "UNTYPED":
            new = sum(1 << each for each in self.graph.implied[index])
            self._arrive(node, new, Edge(node, Rule.MAKE, index, node))
        elif capability.kind == "REPLY":
            family = self._families[node]
            if capability.rights & Rights.GRANT and not family.grants_replies:
                family.grants_replies = True
                self._answer(family)
        else:
            self._apply_endpoint(node, index, capability.object, capability.rights)

    def _apply_endpoint(self, node: int, index: int, endpoint: str, rights: int) -> None:
        sent, answered = self._port("sent", endpoint), self._port("answered", endpoint)
        if rights & Rights.WRITE and rights & Rights.GRANT:
            self._connect(node, sent, Rule.SEND, index, node)
        if rights & Rights.WRITE and rights & (Rights.GRANT | Rights.GRANT_REPLY):
            self._connect(answered, node, Rule.CALL, index, node)
        if rights & Rights.READ:
            self._connect(sent, node, Rule.RECEIVE, index, node)
            self._families[node].serves.setdefault(answered, (node, index))
            self._answer(self._families[node])

    def _answer(self, family: _Family) -> None:
        if family.grants_replies:
            for port, (node, by) in family.serves.items():
                self._connect(node, port, Rule.ANSWER, by, node)

    def _unite(self, first: int, second: int) -> None:
        """Both hold the same from now on: capabilities flow both ways."""
        kept, gone = self._families[first], self._families[second]
        if kept is gone or {first, second} & (self.trusted | self._masks.keys()):
            return
        if len(kept.members) < len(gone.members):
            kept, gone = gone, kept
        for node in gone.members:
            self._families[node] = kept
        kept.members += gone.members
        kept.applied |= gone.applied
        kept.grants_replies |= gone.grants_replies
        kept.serves = gone.serves | kept.serves
        self._answer(kept)

    # --- how it came

    def chain(self, node: int, capability: int) -> list[tuple[int, Edge]]:
        """The edges along which a capability came to a node, the first one first: (the node that it came to, the edge).

        Raises KeyError if it can never come there.
        """
        steps: list[tuple[int, Edge]] = []
        while True:
            arrival = next((each for each in self.arrivals[node] if each.bits >> capability & 1), None)
            if arrival is None:
                raise KeyError(f"{self.graph.capabilities[capability]} never comes to {node}")
            if arrival.edge is None:
                return steps[::-1]
            steps.append((node, arrival.edge))
            if arrival.edge.rule is Rule.MAKE:
                capability = arrival.edge.by
            node = arrival.edge.source


def bits_of(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def trusted_nodes(graph: Graph, names: Iterable[str]) -> frozenset[int]:
    """Raises KeyError, with the name, if there is no such task."""
    by_name = {name: node for node, name in enumerate(graph.nodes[: graph.tasks])}
    return frozenset(by_name[name] for name in names)
