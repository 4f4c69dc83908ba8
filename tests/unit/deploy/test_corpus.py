"""Every file of ``tests/manifests/bad`` is refused for the one reason that its first line names, at the marked line."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.description import load
from deploy.problems import BadDescription

CORPUS = sorted((Path(__file__).parents[2] / "manifests" / "bad").glob("*.toml"))
MARK = b"# here"


def test_corpus_is_there() -> None:
    assert len(CORPUS) >= 60


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_bad_description_is_refused(path: Path) -> None:
    lines = path.read_bytes().splitlines()
    expected = lines[0].decode().removeprefix("# expects: ")
    marked = [number for number, line in enumerate(lines, 1) if MARK in line]
    with pytest.raises(BadDescription) as refusal:
        load(path)
    problems = [problem for problem in refusal.value.problems if expected in str(problem)]
    assert problems, f"expected {expected!r}, got:\n{refusal.value}"
    assert all(problem.file == str(path) and problem.remedy for problem in refusal.value.problems)
    if marked:
        assert [problem.line for problem in problems] == marked
    assert len(refusal.value.problems) == 1, f"one file, one error:\n{refusal.value}"
