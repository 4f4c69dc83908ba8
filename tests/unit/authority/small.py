"""Small systems, and all that can happen in one: what the closure is compared with.

A state is what each node holds and who waits for whose answer. A step is one system call or invocation by one node, by
capabilities that it holds at that moment; deleting is a step as well. Nothing here is shared with the closure but the
graph's values.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from deploy.authority.graph import Authority, Graph
from libsel4py.abi import Rights

W, R, G, P = Rights.WRITE, Rights.READ, Rights.GRANT, Rights.GRANT_REPLY


class State(NamedTuple):
    """``held``: (node, capability). ``calls``: (caller, who may answer it)."""

    held: frozenset[tuple[int, int]]
    calls: frozenset[tuple[int, int]]


def random_graph(seed: int) -> Graph:
    """Two or three tasks with a few capabilities: few enough that all states can be looked at."""
    rng = random.Random(seed)
    graph = Graph()
    for number in range(rng.choice((2, 2, 2, 2, 2, 3))):
        graph.add_node(f"t{number}")
    graph.tasks = len(graph.nodes)
    if seed % 4 == 1:  # a call that can be answered with capabilities takes three that fit: chance is too rare
        graph.tasks = 2
        del graph.nodes[2:], graph.held[2:], graph.touched[2:]
        graph.hold(0, Authority("ENDPOINT", "endpoint", int(W | P)), 10)
        graph.hold(1, Authority("ENDPOINT", "endpoint", int(R)), 10)
        graph.hold(1, Authority("REPLY", "reply0", int(Rights.ALL)), 11)
    free = 1 if seed % 4 == 1 else rng.choice((3, 3, 3, 4)) if graph.tasks == 2 else 3
    for number in range(free):
        graph.hold(rng.randrange(graph.tasks), _random_capability(rng, graph.tasks), number)
    return graph


def _random_capability(rng: random.Random, tasks: int) -> Authority:
    kind = rng.choice(("ENDPOINT", "ENDPOINT", "ENDPOINT", "ENDPOINT", "REPLY", "REPLY", "FRAME", "CNODE", "TCB"))
    if kind in ("CNODE", "TCB"):
        node = rng.randrange(tasks)
        return Authority(kind, f"t{node}.{kind.lower()}", 0, 0, node)
    if kind == "REPLY":
        return Authority(kind, f"reply{rng.randrange(2)}", rng.choice((0, int(Rights.ALL))))
    if kind == "FRAME":
        return Authority(kind, "frame", int(R | W))
    return Authority(kind, "endpoint", int(rng.choice((R, R, W, W | G, W | P, W | P, R | W | G | P))))


def states(graph: Graph, trusted: frozenset[int] = frozenset()) -> set[State]:
    """Every state that any order of steps leads to."""
    start = State(frozenset((node, each) for node, held in enumerate(graph.held) for each in held), frozenset())
    known, waiting = {start}, [start]
    while waiting:
        for state in _after(graph, waiting.pop(), trusted):
            if state not in known:
                known.add(state)
                waiting.append(state)
    return known


def _after(graph: Graph, state: State, trusted: frozenset[int]) -> Iterator[State]:
    for node, index in state.held:
        yield State(state.held - {(node, index)}, state.calls)
        yield from _by(graph, state, node, graph.capabilities[index], trusted)
    for caller, server in state.calls:
        yield State(state.held, state.calls - {(caller, server)})  # answered with words alone
        if server not in trusted and _replies(graph, state, server):
            for given in _of(state, server):
                yield State(state.held | {(caller, given)}, state.calls - {(caller, server)})


def _by(graph: Graph, state: State, node: int, used: Authority, trusted: frozenset[int]) -> Iterator[State]:
    """What a node can do with one of its capabilities."""
    if used.kind in ("CNODE", "TCB"):
        for given in _of(state, used.node):
            yield State(state.held | {(node, given)}, state.calls)
        if node not in trusted:
            for given in _of(state, node):
                yield State(state.held | {(used.node, given)}, state.calls)
    if used.kind != "ENDPOINT" or not used.rights & W:
        return
    for other in _receivers(graph, state, used.object):
        if other == node:
            continue
        if used.rights & G and node not in trusted:
            for given in _of(state, node):
                yield State(state.held | {(other, given)}, state.calls)
        if used.rights & (G | P) and not state.calls:  # one call at a time is enough: another one can follow
            yield State(state.held, state.calls | {(node, other)})


def _of(state: State, node: int) -> list[int]:
    return [index for holder, index in state.held if holder == node]


def _receivers(graph: Graph, state: State, endpoint: str) -> set[int]:
    capabilities = graph.capabilities
    return {
        node
        for node, index in state.held
        if capabilities[index].kind == "ENDPOINT"
        and capabilities[index].object == endpoint
        and capabilities[index].rights & R
    }


def _replies(graph: Graph, state: State, node: int) -> bool:
    found = (graph.capabilities[index] for index in _of(state, node))
    return any(each.kind == "REPLY" and each.rights & G for each in found)
