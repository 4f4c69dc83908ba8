"""Logs of ended tasks are bounded; those of running ones stay."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kerneld.host.task_logs import TaskLogs, log_name


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


def names(path: Path) -> set[str]:
    return {each.stem for each in path.iterdir()}


def write(path: Path, name: str) -> str:
    (path / f"{name}.log").write_text("x")
    return f"{name}.log"


def test_the_oldest_log_of_an_ended_task_goes_first(tmp_path: Path, folder: int) -> None:
    logs = TaskLogs(folder, kept=2)
    for name in ("a", "b", "c", "d"):
        logs.started(write(tmp_path, name))
    for name in ("c", "a", "b"):
        logs.ended(f"{name}.log")
    assert names(tmp_path) == {"a", "b", "d"}


def test_a_log_in_use_again_stays(tmp_path: Path, folder: int) -> None:
    logs = TaskLogs(folder, kept=0)
    file = write(tmp_path, "task")
    logs.started(file)
    logs.started(file)
    logs.ended(file)
    assert names(tmp_path) == {"task"}
    logs.ended(file)
    assert names(tmp_path) == set()


def test_a_new_life_makes_its_log_the_latest(tmp_path: Path, folder: int) -> None:
    logs = TaskLogs(folder, kept=1)
    for name in ("a", "b", "a"):
        logs.started(write(tmp_path, name))
        logs.ended(f"{name}.log")
    assert names(tmp_path) == {"a"}


def test_a_log_that_is_gone_already_is_no_trouble(tmp_path: Path, folder: int) -> None:
    logs = TaskLogs(folder, kept=0)
    logs.started("never.log")
    logs.ended("never.log")
    logs.started(write(tmp_path, "after"))
    logs.ended("after.log")
    assert names(tmp_path) == set()


def test_a_name_is_no_path() -> None:
    assert log_name("../../etc/passwd") == "%2E.%2F..%2Fetc%2Fpasswd.log"
    assert log_name("..") == "%2E..log"
    assert log_name("") == "unnamed.log"
    assert len(log_name("x" * 1000)) < 255


def test_no_other_name_writes_in_the_log_of_a_task() -> None:
    names = ("a_b", "a/b", "a b", "a\0b", "a%b", "a%2Fb", ".a_b", "..a_b", "a.b", "\xe9", "\ufffd")
    assert len({log_name(name) for name in names}) == len(names)
    assert log_name("a_b.standby") == log_name("a_b")
