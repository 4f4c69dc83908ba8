"""What finalizers leave: done later, in order, and each whatever became of the one before."""

from __future__ import annotations

import gc

from libsel4py.errors import ServerDied
from libsel4py.lowlevel.collecting import Leftovers, is_collecting


class Noting:
    """Says where it was finalized, and stands in a circle, so that the collector has to come for it."""

    def __init__(self, seen: list[bool]) -> None:
        self._seen = seen
        self._itself = self

    def __del__(self) -> None:
        self._seen.append(is_collecting())


def test_a_finalizer_knows_whether_the_collector_runs() -> None:
    seen: list[bool] = []
    Noting(seen)
    gc.collect()
    assert seen == [True]
    assert not is_collecting()


def test_a_job_that_fails_keeps_no_other_from_being_done() -> None:
    done: list[int] = []

    def fail() -> None:
        raise ServerDied("the server is gone")

    leftovers = Leftovers()
    for job in (lambda: done.append(1), fail, lambda: done.append(2)):
        leftovers.leave(job)
    assert done == []
    leftovers.settle()
    leftovers.settle()
    assert done == [1, 2]
