"""Children that come before their parent where memory runs out."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hw.oom_score import RAISED, OomScore

OWN = Path("/proc/self/oom_score_adj")


def test_a_child_comes_first() -> None:
    own = int(OWN.read_text())
    score = OomScore()
    pid = score.fork()
    if pid == 0:
        os._exit(int(OWN.read_text()) == min(1000, own + RAISED))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert int(OWN.read_text()) == own


def test_a_fork_that_fails_leaves_the_parent_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    own = OWN.read_text()

    def refuse() -> int:
        assert OWN.read_text() != own
        raise OSError(errno.EAGAIN, "no process left")

    score = OomScore()
    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(OSError, match="no process left"):
        score.fork()
    assert OWN.read_text() == own
