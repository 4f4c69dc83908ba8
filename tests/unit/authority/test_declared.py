"""Authority of tasks that keep to their interfaces: kinds of capabilities that go along with calls and answers."""

from __future__ import annotations

import pytest

from deploy.authority import certificate, sources
from deploy.authority.closure import Closure
from deploy.authority.declared import ALL, Carried, carried, masks
from deploy.authority.questions import Analysis, Verb
from deploy.description import SYSTEMS, load


@pytest.mark.parametrize(
    ("interface", "sent", "answered"),
    [
        ("libsel4py.interfaces.ping:Ping", (), ()),
        ("libsel4py.interfaces.names:Names", ("ENDPOINT",), ("ENDPOINT",)),
        ("libsel4py.interfaces.block:Block", ("FRAME",), ()),
        ("libsel4py.interfaces.data_store:DataStore", ALL, ALL),
        ("my.own:Interface", ALL, ALL),
    ],
)
def test_interfaces_say_what_they_carry(interface: str, sent: tuple[str, ...], answered: tuple[str, ...]) -> None:
    assert carried(interface) == Carried(frozenset(sent), frozenset(answered))


def test_tasks_that_keep_to_their_interfaces_reach_less() -> None:
    system = load(SYSTEMS / "workstation.toml").system
    graph = sources.described(system)
    worst, declared = Analysis(graph, (), system), Analysis(graph, (), system, declared=True)
    assert worst.can("block", Verb.REACH, "console").yes
    answer = declared.can("block", Verb.REACH, "console")
    assert not answer.yes
    assert any("only where interfaces declare them" in each for each in answer.assumed)
    assert not declared.can("shell", Verb.REACH, "serial.cnode").yes
    assert declared.can("shell", Verb.CALL, "console.console").yes, "what stands in the description is still so"


def test_a_closure_that_ignores_what_is_declared_is_larger_and_one_that_is_smaller_is_found() -> None:
    system = load(SYSTEMS / "workstation.toml").system
    graph = sources.described(system)
    kinds = masks(graph, system)
    worst, declared = Closure(graph), Closure(graph, masks=kinds)
    nodes = range(len(graph.nodes))
    assert all(declared.holds[node] & ~worst.holds[node] == 0 for node in nodes)
    assert any(declared.holds[node] != worst.holds[node] for node in nodes)
    assert certificate.violations(graph, declared.holds, masks=kinds) == []
    assert certificate.violations(graph, declared.holds), "these sets are no bound of tasks that do as they like"
