"""What `inject` names: a task with a process, or a refusal that lists those alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from kerneld.host import injection
from kerneld.host.operations import Refused


def _process(name: str, pid: int, *, orphan: bool = False) -> Any:
    process = SimpleNamespace(name=name, pid=pid, threads=[])
    process.threads.append(SimpleNamespace(orphan=orphan, process=process))
    return process


def test_a_task_that_is_between_two_lives_is_not_among_those_that_run() -> None:
    running, away, left = _process("pong", 7), _process("store", 0), _process("names", 8, orphan=True)
    system = cast(Any, SimpleNamespace(processes=[left, away, running]))
    assert injection._process(system, {"task": "pong"}) is running
    for name in ("store", "names", "nobody"):
        with pytest.raises(Refused, match=f"no task that runs is called '{name}'; there are pong$"):
            injection._process(system, {"task": name})
