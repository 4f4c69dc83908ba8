"""The generated pages of the manual."""

from __future__ import annotations

import pytest

from deploy.cli import COMMANDS
from deploy.manual import BEGIN, END, command_page, invariants_page, invocations_page, run
from kerneld.invariants import PREDICATES
from libsel4py.abi import INVOCATIONS


def test_command_page_keeps_what_stands_around_its_marks() -> None:
    page = command_page(f"before\n{BEGIN}stale text\n{END}after\n")
    assert page.startswith(f"before\n{BEGIN}")
    assert page.endswith(f"{END}after\n")
    assert "stale text" not in page
    assert all(f"### {name}\n" in page for name in COMMANDS)
    views = "untyped|cspace|queues|vspaces|io_spaces|notices|contexts|holdings|memory|devices|kernel"
    assert f"sel4py inspect [{views}] [OPTIONS]" in page
    assert command_page(page) == page


def test_a_lost_mark_is_an_error() -> None:
    with pytest.raises(ValueError, match="has lost a mark"):
        command_page(f"{BEGIN}only")


def test_every_invocation_has_a_row() -> None:
    page = invocations_page()
    for method in INVOCATIONS.values():
        assert page.count(f"\n| {method.label} | `{method.name}` |") == 1


def test_pages_in_the_tree_are_up_to_date() -> None:
    assert run(check=True) == 0, "run `make docs`"


def test_every_invariant_has_its_sentence_below_the_file_that_looks() -> None:
    page = invariants_page()
    for predicate in PREDICATES:
        section = page.partition(f"\n## `{predicate.contradictions.__module__.replace('.', '/')}.py`\n")[2]
        assert f"\n| {predicate.name} | {predicate.sentence} |\n" in section.partition("\n## ")[0]
    assert page.count("\n| ") == len(PREDICATES) + 2 * page.count("\n## ")
