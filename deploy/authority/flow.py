"""Information: who can say something to whom, directly or through others, with what a closure says that they can hold.

Each object is a channel or two: what is written there can be read there. Two tasks that share a time budget, an
interrupt, ports or memory share a channel; so do those between which authority flows. That an object is destroyed or
revoked, and how long things take, tells its holders a little too: that is not counted (docs/CAVEATS.md).
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Final, NamedTuple

from deploy.authority.closure import Closure, bits_of
from deploy.authority.graph import CONTROLLING, Authority
from libsel4py.abi import Rights

_ACTED_ON: Final = (*CONTROLLING, "VSPACE")


class Way(NamedTuple):
    """A direct way from one task to another: ``by`` what the first acts, ``at`` by what the other perceives it."""

    source: int
    target: int
    by: int
    at: int


class _Set:
    """Channels that a set of capabilities writes to and reads from, and by which of them."""

    __slots__ = ("reader", "reads", "writer", "writes")

    def __init__(self) -> None:
        self.writes = self.reads = 0
        self.writer: dict[int, int] = {}
        self.reader: dict[int, int] = {}

    def write(self, channel: int, index: int) -> None:
        self.writes |= 1 << channel
        self.writer.setdefault(channel, index)

    def read(self, channel: int, index: int) -> None:
        self.reads |= 1 << channel
        self.reader.setdefault(channel, index)


class Flow:
    """Attributes: ``writes``, ``reads``: bits of channels, by node."""

    def __init__(self, closure: Closure) -> None:
        graph = closure.graph
        self.closure = closure
        self._channels: dict[tuple[str, str], int] = {}
        self._own = [_Set() for _ in graph.nodes]  # of what each can touch, and of what is done to it
        self._held: list[_Set] = []
        sets: dict[int, _Set] = {}  # many nodes can hold the same
        anywhere = 0
        for node, touched in enumerate(graph.touched):
            bits = closure.holds[node]
            anywhere |= bits | sum(1 << index for index in touched)
            if bits not in sets:
                sets[bits] = made = _Set()
                for index in bits_of(bits):
                    self._add(made, index, graph.capabilities[index])
            self._held.append(sets[bits])
            for index in touched:
                self._add(self._own[node], index, graph.capabilities[index])
        for index in bits_of(anywhere):
            self._add_controlled(index, graph.capabilities[index])
        pairs = list(zip(self._held, self._own, strict=True))
        self.writes = [held.writes | own.writes for held, own in pairs]
        self.reads = [held.reads | own.reads for held, own in pairs]

    def _channel(self, what: str, name: str) -> int:
        return self._channels.setdefault((what, name), len(self._channels))

    def _add(self, to: _Set, index: int, capability: Authority) -> None:
        told = self._channel("told", capability.object)
        if capability.kind in _ACTED_ON:
            to.write(told, index)
            to.read(self._channel("back", capability.object), index)
            return
        if capability.kind == "REPLY":
            return  # who holds it says nothing by it that the call's endpoint does not allow
        if capability.may(Rights.WRITE):
            to.write(told, index)
        if capability.may(Rights.READ):
            to.read(told, index)
        if capability.kind == "ENDPOINT":
            answered = self._channel("answered", capability.object)
            if capability.rights & Rights.READ:
                to.write(answered, index)
            if capability.rights & Rights.WRITE and capability.rights & (Rights.GRANT | Rights.GRANT_REPLY):
                to.read(answered, index)

    def _add_controlled(self, index: int, capability: Authority) -> None:
        """Whose thread, CNode or address space it is perceives what is done to it, and shows what it does."""
        if capability.kind in _ACTED_ON and capability.node >= 0:
            own = self._own[capability.node]
            own.read(self._channel("told", capability.object), index)
            own.write(self._channel("back", capability.object), index)

    # --- questions

    def way(self, source: int, target: int) -> Way | None:
        """A direct way, if there is one."""
        if source == target:
            return None
        for channel in bits_of(self.writes[source] & self.reads[target]):
            by = self._held[source].writer.get(channel, self._own[source].writer.get(channel))
            at = self._held[target].reader.get(channel, self._own[target].reader.get(channel))
            assert by is not None, "its bits are made of these"
            assert at is not None, "its bits are made of these"
            return Way(source, target, by, at)
        return None

    def path(self, source: int, target: int) -> list[Way] | None:
        """The shortest chain of direct ways through others, or None."""
        readers: dict[int, list[int]] = defaultdict(list)
        for node, bits in enumerate(self.reads):
            for channel in bits_of(bits):
                readers[channel].append(node)
        came: dict[int, int] = {source: source}
        waiting, used = deque([source]), 0
        while waiting and target not in came:
            node = waiting.popleft()
            new = self.writes[node] & ~used  # a channel that one has written to has reached all its readers
            used |= new
            for channel in bits_of(new):
                for reader in readers[channel]:
                    if reader not in came:
                        came[reader] = node
                        waiting.append(reader)
        if target not in came or source == target:
            return None
        ways = []
        while target != source:
            way = self.way(came[target], target)
            assert way is not None, "it was found by one"
            ways.append(way)
            target = came[target]
        return ways[::-1]

    def matrix(self) -> list[list[Way | None]]:
        """Tasks by tasks: a direct way from the row's to the column's."""
        tasks = range(self.closure.graph.tasks)
        return [[self.way(source, target) for target in tasks] for source in tasks]
