"""What people see of `inspect memory`: exact sums, and a tree in which neighbours that are alike are one line."""

from __future__ import annotations

from typing import Any, cast

import pytest

from deploy.cli.memory import show_memory
from kerneld import inspection
from libsel4py.abi import ObjectType
from tests.harness import Machine


def test_sums_are_shown_and_what_is_alike_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    machine = Machine()
    pool = machine.retype(ObjectType.UNTYPED, 16)
    machine.grant(machine.thread("client"), pool, 21)
    machine.retype(ObjectType.FRAME, 12, count=5)
    show_memory(cast("dict[str, Any]", inspection.memory(machine.ram)))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["ram:", "8388608", "bytes"]
    assert ["sum", "8388608"] in lines
    paid = {line[2]: int(line[3]) for line in lines if line[:2] == ["paid", "by"]}
    assert set(paid) == {"root", "client"}
    assert paid["client"] > 1 << 16
    (frames,) = [line for line in lines if line[:3] == ["5", "×", "FRAME"]]
    assert frames[4] == str(5 * 4096)
