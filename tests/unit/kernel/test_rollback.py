"""A transaction that is rolled back leaves nothing behind in the kernel's process either."""

from __future__ import annotations

import pytest

from hw.ram import Interrupted
from libsel4py.abi import ObjectType, Syscall
from tests.harness import Machine

ENDPOINT = 100


def test_what_a_rolled_back_transaction_has_touched_is_not_settled_by_the_next() -> None:
    machine = Machine()
    thread = machine.thread("task")
    machine.grant(thread, machine.retype(ObjectType.ENDPOINT), ENDPOINT)
    thread.submit(Syscall.RECV, ENDPOINT)
    touched = 0
    while True:
        machine.ram.interrupt_at(touched, True)
        try:
            machine.kernel.take_slowly(thread.tcb)
        except Interrupted:
            assert machine.kernel.core.touched == {}
            touched += 1
            continue
        machine.ram.disarm()
        break
    assert touched > 4
    machine.settle()


def test_a_settlement_that_fails_is_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    thread = machine.thread("task")
    thread.submit(Syscall.YIELD)

    def fail(core: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("kerneld.scheduler.settle", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        machine.kernel.take_slowly(thread.tcb)
    assert machine.kernel.core.touched == {}
    assert machine.ram.recover() == 0
    assert thread.tcb.consumed == 0
