"""Questions to a system's authority, and their answers in words.

A yes comes with its chain: each grant, in an order in which they can happen. A no is certified (`certificate.py`) under
assumptions that the answer names.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from deploy.answers import AnswerError
from deploy.authority import certificate
from deploy.authority.closure import Closure, Rule, trusted_nodes
from deploy.authority.declared import EVERYTHING, masks
from deploy.authority.flow import Flow, Way
from deploy.authority.graph import READABLE, ROOT, Authority, Graph
from deploy.problems import suggest
from libsel4py.abi import Rights
from libsel4py.description import System

LETTERS: Final = ((Rights.READ, "r"), (Rights.WRITE, "w"), (Rights.GRANT, "g"), (Rights.GRANT_REPLY, "p"))
ASSUMED: Final = f"{ROOT} hands out what the description says, and nothing else"


DECLARED: Final = (
    "capabilities go along with calls and answers only where interfaces declare them, of that kind; "
    "what is put into CNodes that are handed on is frames"
)


class Verb(Enum):
    """What is asked that one can do to the other."""

    REACH = "reach"  # a task: act on it directly; an object: hold any capability to it
    INFORM = "inform"  # a task: by any chain of others
    READ = "read"
    WRITE = "write"
    CALL = "call"
    GRANT = "grant"


class UnknownName(AnswerError, ValueError):
    """A question names what the system does not have; the text says what it has."""


class BrokenClosure(AssertionError):
    """The closure does not pass its own check: no answer that it gave may be believed."""


@dataclass(frozen=True)
class Answer:
    """``chain`` says how, where the answer is yes; ``because`` why not, where it is no."""

    yes: bool
    question: str
    chain: list[str]
    because: str = ""
    assumed: list[str] = field(default_factory=list)


class Analysis:
    """A system's authority.

    Args:
        trusted: tasks that hand on no capability of theirs but those that the description's ``names`` tables list.
        system: the description, where there is one; its provided interfaces can then be asked for by name.
        declared: take all tasks to hand on those kinds of capabilities alone that their interfaces declare.
    Raises:
        UnknownName: there is no such task. BrokenClosure: there is a bug in the analysis.
    """

    def __init__(
        self, graph: Graph, trusted: Iterable[str] = (), system: System | None = None, *, declared: bool = False
    ) -> None:
        self.graph = graph
        self._tasks = {name: node for node, name in enumerate(graph.nodes[: graph.tasks])}
        self._trusted = tuple(trusted)
        nodes = trusted_nodes(graph, map(self._known_task, self._trusted))
        self._declared = declared and system is not None
        kinds = masks(graph, system) if declared and system is not None else EVERYTHING
        self.closure = Closure(graph, nodes, tuple(_told(graph, self._trusted, self._tasks, system)), kinds)
        broken = certificate.violations(graph, self.closure.holds, nodes, kinds)
        if broken:
            raise BrokenClosure("; ".join(broken))
        self.flow = Flow(self.closure)
        self._aliases = {
            f"{task.name}.{provide.name}": f"{task.name}.endpoint"
            for task in (() if system is None else system.tasks)
            for provide in task.provides
        }

    @property
    def tasks(self) -> list[str]:
        return list(self._tasks)

    # --- questions

    def can(self, subject: str, verb: Verb, target: str) -> Answer:
        """Whether a task can ever do this to another, or to an object. Raises UnknownName."""
        node = self._tasks[self._known_task(subject)]
        question = f"{subject} can ever {verb.value} {target}"
        if target in self._tasks and verb in (Verb.REACH, Verb.INFORM):
            chain = self._reach(node, self._tasks[target], verb)
        elif verb is Verb.INFORM:
            known = suggest(target, self._tasks)
            raise UnknownName(f"{target!r} is no task, and only tasks can be informed; {known}")
        else:
            chain = self._hold(node, verb, self._object(f"{target}.endpoint" if target in self._tasks else target))
        if chain:
            return Answer(True, question, chain, assumed=self.assumptions())
        return Answer(False, question, [], self._why_not(node, verb), self.assumptions())

    def who_can(self, path: str) -> list[dict[str, object]]:
        """Who can ever do what to an object, or reach a task. Raises UnknownName."""
        rows: list[dict[str, object]] = []
        if path in self._tasks:
            for name, node in self._tasks.items():
                way = self.flow.way(node, self._tasks[path])
                if way is not None:
                    rows.append({"task": name, "may": "reach", "by": self._capability(way.by)})
            return rows
        wanted = self._object(path)
        for name, node in self._tasks.items():
            for index in self.closure.held_by(node):
                capability = self.graph.capabilities[index]
                if capability.object == wanted:
                    since = "the beginning" if index in self.graph.held[node] else "a grant"
                    rows.append({"task": name, "may": ", ".join(_verbs(capability)), "since": since})
        return _distinct(rows)

    def matrix(self) -> dict[str, dict[str, str]]:
        """Per task, the tasks that it can ever reach directly, and at which object."""
        rows = {}
        for name, ways in zip(self._tasks, self.flow.matrix(), strict=True):
            pairs = zip(self._tasks, ways, strict=True)
            rows[name] = {other: self.graph.capabilities[way.by].object for other, way in pairs if way is not None}
        return rows

    def assumptions(self) -> list[str]:
        """What every answer stands on."""
        handed = [f"{name} hands on nothing but what the description's names tables say" for name in self._trusted]
        return [ASSUMED, *([DECLARED] if self._declared else []), *handed]

    # --- names

    def _known_task(self, name: str) -> str:
        if name not in self._tasks:
            raise UnknownName(f"there is no task {name!r}; {suggest(name, self._tasks)}")
        return name

    def _object(self, path: str) -> str:
        path = self._aliases.get(path, path)
        objects = self.graph.objects()
        if path in objects:
            return path
        owner = path.partition(".")[0]
        near = [each for each in objects if each.partition(".")[0] == owner] or objects
        raise UnknownName(
            f"there is no object {path!r}; {suggest(path, near)}, or ask for a task by its name: "
            f"{', '.join(self._tasks)}"
        )

    # --- answers

    def _reach(self, source: int, target: int, verb: Verb) -> list[str]:
        if source == target:
            return [f"{self.graph.nodes[source]} is itself"]
        direct = self.flow.way(source, target)
        ways = ([direct] if direct else []) if verb is Verb.REACH else self.flow.path(source, target) or []
        return [step for way in ways for step in self._told_way(way)]

    def _told_way(self, way: Way) -> list[str]:
        source, target = self.graph.nodes[way.source], self.graph.nodes[way.target]
        steps = [*self._how(way.source, way.by), *self._how(way.target, way.at)]
        end = f"so {source} reaches {target}: by {self._capability(way.by)} it acts on what {target} perceives"
        return [*dict.fromkeys(steps), f"{end} by {self._capability(way.at)}"]

    def _hold(self, node: int, verb: Verb, wanted: str) -> list[str]:
        for index in self.closure.held_by(node):
            capability = self.graph.capabilities[index]
            if capability.object == wanted and (verb is Verb.REACH or verb.value in _verbs(capability)):
                end = f"so {self.graph.nodes[node]} can {verb.value} {wanted} by {self._capability(index)}"
                return [*self._how(node, index), end]
        return []

    def _how(self, node: int, index: int, told: frozenset[tuple[int, int]] = frozenset()) -> list[str]:
        """How a capability comes to a node: first how the grants on its way become possible, then they."""
        if index in self.graph.touched[node] and not self.closure.holds[node] >> index & 1:
            return [f"{self._capability(index)}: {self.graph.touched[node][index]}"]
        controlled = self.graph.capabilities[index].node
        if not self.closure.holds[node] >> index & 1 and controlled == node:
            return []  # it perceives what is done to it without a capability
        lines: list[str] = []
        chain = self.closure.chain(node, index)
        first = chain[0][1].source if chain else node
        begin = chain[0][1].by if chain and chain[0][1].rule is Rule.MAKE else index
        if chain and chain[0][1].rule is Rule.TOLD:
            first = chain[0][1].source
        slot = self.graph.held[first].get(begin, -1)
        for _, edge in chain:
            need = (edge.acting, edge.by)
            if edge.by not in self.graph.held[edge.acting] and need not in told and edge.rule is not Rule.TOLD:
                lines += self._how(*need, told | {(node, index), need})
        lines.append(f"{self.graph.nodes[first]} begins with {self._capability(begin)} in slot {slot}")
        for _, edge in chain:
            thing = "" if edge.rule is Rule.MAKE else f" ({self._capability(index)})"
            actor = self.graph.nodes[edge.acting]
            lines.append(
                f"{actor} {edge.rule.value} {self._capability(edge.by)}{thing if _is_taking(edge.rule) else ''}"
            )
        return list(dict.fromkeys(lines))

    def _capability(self, index: int) -> str:
        capability = self.graph.capabilities[index]
        letters = "".join(letter for right, letter in LETTERS if capability.rights & right)
        parts = [f"rights {letters or 'none'}"] if capability.kind in READABLE else []
        parts += [f"badge {capability.badge:#x}"] if capability.badge else []
        return f"{capability.object} ({', '.join(parts)})" if parts else capability.object

    def _why_not(self, node: int, verb: Verb) -> str:
        count = self.closure.holds[node].bit_count()
        name = self.graph.nodes[node]
        rest = "and none of them is one" if verb is not Verb.INFORM else "and no chain of tasks leads there"
        return f"{name} can come to hold {count} capabilities at most, {rest}; no step leads out of these sets"


def _is_taking(rule: Rule) -> bool:
    return rule in (Rule.RECEIVE, Rule.CALL, Rule.GIVEN_UP)


def _verbs(capability: Authority) -> list[str]:
    """What a capability allows, in the words of `Verb`."""
    if capability.kind not in READABLE:
        return [Verb.READ.value, Verb.WRITE.value]
    rights = capability.rights
    can_call = capability.kind == "ENDPOINT" and rights & Rights.WRITE and rights & (Rights.GRANT | Rights.GRANT_REPLY)
    found = {
        Verb.READ: rights & Rights.READ,
        Verb.WRITE: rights & Rights.WRITE,
        Verb.CALL: can_call,
        Verb.GRANT: capability.kind == "ENDPOINT" and rights & Rights.WRITE and rights & Rights.GRANT,
    }
    return [verb.value for verb, may in found.items() if may]


def _distinct(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    return list({tuple(row.items()): row for row in rows}.values())


def _told(
    graph: Graph, trusted: Iterable[str], tasks: dict[str, int], system: System | None
) -> Iterable[tuple[int, int, int]]:
    """What trusted tasks hand out as the description says: their clients' ``names`` tables, told apart by badge."""
    for server in () if system is None else trusted:
        held = graph.held[tasks[server]]
        for client in () if system is None else system.tasks:
            for use in client.names:
                for index in held:
                    each = graph.capabilities[index]
                    if (each.object, each.badge) == (f"{use.task}.endpoint", use.badge):
                        yield tasks[server], tasks[client.name], index
