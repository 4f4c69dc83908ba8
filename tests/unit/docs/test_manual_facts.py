"""What the hand-written pages of the manual say and the code can be asked for."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kerneld import explain
from libsel4py.abi import ExceptionNumber, FaultLabel, LookupFailureKind, Syscall
from tests.harness import Machine
from tests.unit.kernel.test_explain import MISTAKES

MANUAL = Path(__file__).parents[3] / "docs" / "manual"
QUOTED = [
    re.sub(r"0x[0-9a-f]+", "0x", line) for line in re.findall(r"^> (.+)$", (MANUAL / "errors.md").read_text(), re.M)
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_the_kernel_says_what_the_page_of_errors_quotes(mistake: Callable[[Machine], str]) -> None:
    machine = Machine()
    mistake(machine)
    text = explain.last_refusal(machine.kernel.core, machine.root.tcb)
    assert re.sub(r"0x[0-9a-f]+", "0x", text) in QUOTED


def test_the_page_of_errors_quotes_nothing_else() -> None:
    assert len(QUOTED) == len(MISTAKES)


def test_every_system_call_has_a_row_with_its_number() -> None:
    page = (MANUAL / "syscalls.md").read_text(encoding="utf-8")
    numbers = [int(each) for each in re.findall(r"^\| \w+ \| (-\d+) \|", page, re.MULTILINE)]
    assert sorted(numbers) == sorted(int(call) for call in Syscall)


def test_fault_labels_and_look_up_failures_are_those_of_the_abi() -> None:
    page = (MANUAL / "syscalls.md").read_text(encoding="utf-8")
    for kind in LookupFailureKind:
        assert kind is LookupFailureKind.NO_FAILURE or f"\n| {kind.name} | {int(kind)} |" in page
    for label in (FaultLabel.CAP_FAULT, FaultLabel.UNKNOWN_SYSCALL, FaultLabel.TIMEOUT, FaultLabel.VM_FAULT):
        assert f"\n| {label.name} | {int(label)} |" in page
    for number in (ExceptionNumber.DEATH, ExceptionNumber.RING_OVERRUN):
        assert f"\n| USER_EXCEPTION {int(number)} | {int(FaultLabel.USER_EXCEPTION)} |" in page
