"""What a child finds out, and what is left where there can be none."""

from __future__ import annotations

import errno
import os

import pytest

from hw.child_answer import answer_of_child


def test_a_child_answers_and_one_that_fails_says_nothing() -> None:
    assert answer_of_child(lambda: b"found") == b"found"
    assert answer_of_child(lambda: os._exit(1)) == b""


def test_where_the_host_has_no_process_left_nothing_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, "no process")

    monkeypatch.setattr(os, "fork", refuse)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(BlockingIOError):
        answer_of_child(lambda: b"")
    assert os.listdir("/proc/self/fd") == before
