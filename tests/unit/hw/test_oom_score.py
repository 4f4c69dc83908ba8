"""Children that come before their parent where memory runs out, and one that comes before them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hw.oom_score import HIGHEST, RAISED, OomScore

OWN = Path("/proc/self/oom_score_adj")


@pytest.fixture
def score() -> Iterator[OomScore]:
    score = OomScore()
    yield score
    score.close()


def test_a_child_comes_first(score: OomScore) -> None:
    own = int(OWN.read_text())
    pid = score.fork()
    if pid == 0:
        os._exit(int(OWN.read_text()) == min(1000, own + RAISED))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert int(OWN.read_text()) == own


def test_a_fork_that_fails_leaves_the_parent_as_it_was(score: OomScore, monkeypatch: pytest.MonkeyPatch) -> None:
    own = OWN.read_text()

    def refuse() -> int:
        assert OWN.read_text() != own
        raise OSError(errno.EAGAIN, "no process left")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(OSError, match="no process left"):
        score.fork()
    assert OWN.read_text() == own


STATUS = "Name:\tone\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\nSigBlk:\tffffffffffffffff\n"
KILLED = 1 << 8


class Processes:
    """A made-up /proc, with the caller, whose score is 100, and process 7."""

    def __init__(self, folder: Path) -> None:
        for name, score in (("self", 100), ("7", 600)):
            (folder / name).mkdir()
            (folder / name / "oom_score_adj").write_text(f"{score}\n")
        self.seven = folder / "7"
        self.say(STATUS)

    def say(self, status: str) -> None:
        (self.seven / "status").write_text(status)

    @property
    def score(self) -> str:
        return (self.seven / "oom_score_adj").read_text()[: len("1000")].strip()


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path)


@pytest.fixture
def made_up(processes: Processes, tmp_path: Path) -> Iterator[OomScore]:
    made = OomScore(tmp_path)
    yield made
    made.close()


def test_a_host_that_refuses_it_leaves_nothing_open(processes: Processes, tmp_path: Path) -> None:
    (tmp_path / "self" / "oom_score_adj").write_text("no number")
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ValueError, match="no number"):
        OomScore(tmp_path)
    assert os.listdir("/proc/self/fd") == before


def test_one_is_put_first_and_among_others_again(processes: Processes, made_up: OomScore) -> None:
    assert made_up.try_put_first(7)
    assert processes.score == str(HIGHEST)
    processes.seven.joinpath("oom_score_adj").write_text("")
    assert made_up.try_put_among_others(7)
    assert processes.score == str(100 + RAISED)


def test_one_that_is_gone_is_put_nowhere(made_up: OomScore) -> None:
    assert not made_up.try_put_first(8)
    assert not made_up.try_put_among_others(8)


@pytest.mark.parametrize("pending", ["SigPnd", "ShdPnd"])
def test_one_that_was_killed_and_has_yet_to_end_is_not_among_others(
    processes: Processes, made_up: OomScore, pending: str
) -> None:
    processes.say(STATUS.replace(f"{pending}:\t{0:016x}", f"{pending}:\t{KILLED:016x}"))
    assert not made_up.try_put_among_others(7)
    processes.say(STATUS.replace(f"{pending}:\t{0:016x}", f"{pending}:\t{KILLED << 1:016x}"))
    assert made_up.try_put_among_others(7), "any other signal does not end it"
