"""Untrusted code on private data: what is confined tells nobody, and a hole is refused."""

from __future__ import annotations

from tests.system.supervisor import Supervisor


def test_the_example_ends_as_it_should(sel4py: Supervisor) -> None:
    """Status 0: the confined product leaked nothing, the other one was refused, and leaked where that was accepted."""
    done = sel4py.run("up", "confined")
    assert (done.status, done.error) == (0, ""), done
