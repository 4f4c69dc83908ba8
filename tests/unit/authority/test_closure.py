"""The closure is exactly what can ever be held: compared with all states of small systems, and with mutants of it."""

from __future__ import annotations

import time
from functools import cache

import pytest

from deploy.authority import certificate
from deploy.authority.closure import Closure, Rule
from deploy.authority.flow import Flow
from deploy.authority.graph import Authority, Graph
from deploy.authority.questions import Analysis, BrokenClosure, UnknownName, Verb
from libsel4py.abi import Rights
from tests.unit.authority.small import random_graph, states

SYSTEMS = 1000
QUICK = 40


@cache
def held_in_some_state(seed: int, trusted: frozenset[int] = frozenset()) -> tuple[int, ...]:
    graph = random_graph(seed)
    found = [0] * len(graph.nodes)
    for state in states(graph, trusted):
        for node, index in state.held:
            found[node] |= 1 << index
    return tuple(found)


def assert_agreement(seeds: range) -> int:
    """Returns in how many of the systems anything is granted at all."""
    granted = 0
    for seed in seeds:
        graph = random_graph(seed)
        for trusted in (frozenset(), frozenset({0})) if seed % 5 == 0 else (frozenset(),):
            closure = Closure(graph, trusted)
            holds = tuple(closure.holds[: len(graph.nodes)])
            assert holds == held_in_some_state(seed, trusted), f"system {seed}, trusted {set(trusted)}"
            assert certificate.violations(graph, holds, trusted) == []
        granted += held_in_some_state(seed) != tuple(sum(1 << each for each in held) for held in graph.held)
    return granted


def test_closure_is_what_some_order_of_steps_brings() -> None:
    assert assert_agreement(range(QUICK)) > QUICK // 5


@pytest.mark.slow
def test_closure_agrees_with_a_thousand_systems_looked_at_to_the_end() -> None:
    assert assert_agreement(range(SYSTEMS)) > SYSTEMS // 5


@pytest.mark.parametrize("lost", [Rule.SEND, Rule.RECEIVE, Rule.ANSWER, Rule.CALL, Rule.CONTROL, Rule.GIVEN_UP])
def test_a_closure_without_one_of_its_rules_is_found(lost: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the comparison, and by the certificate, which needs no other states."""
    whole = Closure._connect

    def without(self: Closure, source: int, target: int, rule: Rule, by: int, acting: int) -> None:
        if rule is not lost:
            whole(self, source, target, rule, by, acting)

    monkeypatch.setattr(Closure, "_connect", without)
    graphs = [random_graph(seed) for seed in range(QUICK)]
    closures = [tuple(Closure(graph).holds[: len(graph.nodes)]) for graph in graphs]
    assert any(holds != held_in_some_state(seed) for seed, holds in enumerate(closures))
    assert any(certificate.violations(graph, holds) for graph, holds in zip(graphs, closures, strict=True))


def test_no_answer_is_given_by_a_closure_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Closure, "_apply", lambda *_: None)
    graph = two_tasks(int(Rights.WRITE | Rights.GRANT))
    with pytest.raises(BrokenClosure, match="may come to hold"):
        Analysis(graph)


def two_tasks(rights: int) -> Graph:
    """A client that has an endpoint of a server's, and a frame."""
    graph = Graph()
    client, server = graph.add_node("client"), graph.add_node("server")
    graph.tasks = 2
    graph.hold(client, Authority("ENDPOINT", "server.endpoint", rights, 5), 16)
    graph.hold(client, Authority("FRAME", "client.frame", int(Rights.READ)), 17)
    graph.hold(server, Authority("ENDPOINT", "server.endpoint", int(Rights.ALL)), 16)
    return graph


def test_a_yes_tells_each_grant() -> None:
    answer = Analysis(two_tasks(int(Rights.WRITE | Rights.GRANT))).can("server", Verb.READ, "client.frame")
    assert answer.yes
    assert answer.chain == [
        "client begins with client.frame (rights r) in slot 17",
        "client sends it by server.endpoint (rights wg, badge 0x5)",
        "server receives it by server.endpoint (rights rwgp) (client.frame (rights r))",
        "so server can read client.frame by client.frame (rights r)",
    ]


def test_a_no_says_what_it_stands_on() -> None:
    answer = Analysis(two_tasks(int(Rights.WRITE))).can("server", Verb.READ, "client.frame")
    assert not answer.yes
    assert "no step leads out" in answer.because
    assert answer.assumed == ["root hands out what the description says, and nothing else"]


def test_a_trusted_task_hands_on_nothing_and_still_informs() -> None:
    graph = two_tasks(int(Rights.WRITE | Rights.GRANT))
    analysis = Analysis(graph, ("client",))
    assert not analysis.can("server", Verb.READ, "client.frame").yes
    assert analysis.can("client", Verb.INFORM, "server").yes
    assert "client hands on nothing" in analysis.assumptions()[1]


def test_what_is_only_sent_does_not_come_back() -> None:
    analysis = Analysis(two_tasks(int(Rights.WRITE)))
    assert analysis.can("client", Verb.REACH, "server").yes
    assert not analysis.can("server", Verb.INFORM, "client").yes
    called = Analysis(two_tasks(int(Rights.WRITE | Rights.GRANT_REPLY)))
    assert called.can("server", Verb.INFORM, "client").yes, "whoever calls hears an answer"


def test_memory_becomes_what_connects() -> None:
    """Who may send capabilities one way, and has memory, can be answered the other way."""
    graph = two_tasks(int(Rights.WRITE | Rights.GRANT))
    graph.hold(1, Authority("FRAME", "server.frame", int(Rights.READ)), 17)
    assert not Analysis(graph).can("client", Verb.READ, "server.frame").yes
    graph.hold(0, Authority("UNTYPED", "client.pool"), 6)
    assert Analysis(graph).can("client", Verb.READ, "server.frame").yes


def test_names_that_there_are_not_are_refused_with_those_that_there_are() -> None:
    analysis = Analysis(two_tasks(1))
    with pytest.raises(UnknownName, match=r"no task 'serve'; did you mean 'server'\?"):
        analysis.can("serve", Verb.REACH, "client")
    with pytest.raises(UnknownName, match=r"no object 'client\.fram'; did you mean 'client\.frame'\?"):
        analysis.who_can("client.fram")


def chain_of_tasks(count: int) -> Graph:
    """Each serves the next two, with grant for every tenth; all have what a task begins with."""
    graph = Graph()
    for number in range(count):
        graph.add_node(f"t{number}")
    graph.tasks = count
    for number in range(count):
        own = f"t{number}"
        for slot, kind in enumerate(("TCB", "CNODE", "VSPACE")):
            graph.hold(number, Authority(kind, f"{own}.{kind.lower()}", 0, 0, number), 1 + slot)
        graph.hold(number, Authority("REPLY", f"{own}.reply", int(Rights.ALL)), 5)
        graph.hold(number, Authority("UNTYPED", f"{own}.pool"), 6)
        graph.hold(number, Authority("ENDPOINT", f"{own}.endpoint", int(Rights.ALL)), 16)
        for other in (number + 1, number + 2):
            rights = Rights.ALL if number % 10 == 0 else Rights.WRITE
            graph.hold(number, Authority("ENDPOINT", f"t{other % count}.endpoint", int(rights), 1 + number), 15 + other)
    return graph


@pytest.mark.slow
def test_four_times_the_tasks_take_no_more_than_their_square() -> None:
    def analysed(count: int) -> float:
        graph = chain_of_tasks(count)
        started = time.process_time()
        Analysis(graph).matrix()
        return time.process_time() - started

    few = min(analysed(125) for _ in range(3))
    assert analysed(500) < 2 * 4**2 * few  # twice that, since hosts are noisy


def test_what_is_far_away_can_be_informed() -> None:
    assert Flow(Closure(chain_of_tasks(30))).path(1, 29) is not None
