"""What a process does ahead of need: a beginning that reaches no kernel and leaves nothing."""

from __future__ import annotations

import logging

import pytest

from libsel4py import rehearsal
from libsel4py.environment import Environment
from libsel4py.task import Task, as_task, current_task, set_current_task


def test_it_invokes_nothing_and_leaves_all_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    """There is no kernel here: whatever trapped would raise."""
    root = logging.getLogger()
    before = list(root.handlers), root.level
    for _ in rehearsal.rehearse():
        pass
    assert (list(root.handlers), root.level) == before
    with pytest.raises(RuntimeError, match="has no task yet"):
        current_task()
    assert capfd.readouterr() == ("", "")


def test_who_goes_on_no_further_leaves_all_as_it_was_too() -> None:
    root = logging.getLogger()
    before = list(root.handlers), root.level
    for most in range(len(list(rehearsal.rehearse()))):
        steps = rehearsal.rehearse()
        for _ in zip(range(most), steps, strict=False):
            pass
        del steps
        assert (list(root.handlers), root.level) == before
        with pytest.raises(RuntimeError, match="has no task yet"):
            current_task()


def test_a_task_that_there_is_stays_the_task() -> None:
    task = Task(Environment("own"))
    former = set_current_task(task)
    try:
        list(rehearsal.rehearse())
        assert current_task() is task
        with as_task(Task(Environment("a thread's"))):
            list(rehearsal.rehearse())
            assert current_task().name == "a thread's"
    finally:
        set_current_task(former)


def test_it_answers_a_request_of_each_form(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(rehearsal.Main, "number", lambda _, number: len(asked.__iadd__([number])))
    monkeypatch.setattr(rehearsal.Main, "record", lambda _, record: bytes(len(asked.__iadd__([record]))))
    list(rehearsal.rehearse())
    assert asked == [1, {rehearsal.NAME: rehearsal.NAME}]
