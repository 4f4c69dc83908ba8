"""Checks a closure: that it is one. What is said never to happen stands on this page, not on how the closure was found.

The check is an induction: each task's set holds what the task begins with, and no single step (a send, an answer, a
copy, a retype) by tasks that hold no more than their sets brings anything that is not in the taker's set. So no
sequence of steps does. It shares no code with `closure.py` but the graph and
what is declared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from deploy.authority.declared import EVERYTHING, Masks
from deploy.authority.graph import CONTROLLING, Graph
from libsel4py.abi import Rights


def violations(
    graph: Graph, holds: Sequence[int], trusted: frozenset[int] = frozenset(), masks: Masks = EVERYTHING
) -> list[str]:
    """Every step that leads out of the sets, in words; none: the sets are a bound of what can ever be held.

    Args:
        holds: per node, capabilities as bits. trusted: nodes that hand on nothing.
        masks: what can go along at each endpoint.
    """
    found: list[str] = []

    def ensure(node: int, brought: int, how: str) -> None:
        missing = brought & ~holds[node]
        if missing:
            what = graph.capabilities[missing.bit_length() - 1].object
            found.append(f"{graph.nodes[node]} may come to hold {what} {how}, which its set lacks")

    sent: dict[str, int] = defaultdict(int)
    answered: dict[str, int] = defaultdict(int)
    for node, held in enumerate(graph.held):
        ensure(node, sum(1 << each for each in held), "from the beginning")
    for node in _each_once(holds[: len(graph.nodes)], trusted):
        mine = [graph.capabilities[number] for number in _numbers(holds[node])]
        grants_replies = any(each.kind == "REPLY" and each.rights & Rights.GRANT for each in mine)
        for each in mine:
            if each.kind != "ENDPOINT" or node in trusted:
                continue
            if each.rights & Rights.WRITE and each.rights & Rights.GRANT:
                sent[each.object] |= holds[node] & masks.of("sent", each.object)
            if each.rights & Rights.READ and grants_replies:
                answered[each.object] |= holds[node] & masks.of("answered", each.object)
    for node in _each_once(holds[: len(graph.nodes)], trusted):
        for number in _numbers(holds[node]):
            each = graph.capabilities[number]
            if each.kind == "UNTYPED":
                ensure(node, sum(1 << new for new in graph.implied[number]), "by retyping")
            elif each.kind in CONTROLLING and each.node >= 0:
                ensure(node, holds[each.node], f"by {each.object}")
                if node not in trusted:
                    put = masks.containers if each.node >= graph.tasks else -1
                    ensure(each.node, holds[node] & put, f"from {graph.nodes[node]}")
            elif each.kind == "ENDPOINT":
                if each.rights & Rights.READ:
                    ensure(node, sent[each.object], f"at {each.object}")
                if each.rights & Rights.WRITE and each.rights & (Rights.GRANT | Rights.GRANT_REPLY):
                    ensure(node, answered[each.object], f"in an answer at {each.object}")
    return found


def _each_once(holds: Sequence[int], trusted: frozenset[int]) -> list[int]:
    """A node of each set: what steps a set allows, and what they bring, is the same for all that have it."""
    first: dict[tuple[int, bool], int] = {}
    for node, bits in enumerate(holds):
        first.setdefault((bits, node in trusted), node)
    return list(first.values())


def _numbers(bits: int) -> list[int]:
    return [number for number, digit in enumerate(reversed(f"{bits:b}")) if digit == "1"]
