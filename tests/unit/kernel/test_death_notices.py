"""What an end costs, however many watch: the stores of each transaction."""

from __future__ import annotations

import pytest

from kerneld import death_notices
from kerneld.death_notices import TOLD_AT_ONCE
from kerneld.records import DeathNotice
from libsel4py import abi
from libsel4py.abi import DeathNoticeState, InitialSlot, Label, ObjectType, Syscall
from tests.harness import Machine


def costs(watchers: int, others: int) -> list[int]:
    """Stores of each transaction that the end of an object leads to, which so many watch; others are watched, too."""
    machine = Machine(check=False)
    target = machine.retype(ObjectType.ENDPOINT)
    bell = machine.retype(ObjectType.NOTIFICATION)
    elsewhere = machine.retype(ObjectType.ENDPOINT, count=others)
    notices: list[int] = []
    while len(notices) < watchers + others:
        count = min(abi.RETYPE_MAX_OBJECTS, watchers + others - len(notices))
        first = machine.retype(ObjectType.DEATH_NOTICE, count=count)
        notices += range(first, first + count)
    targets = [target] * watchers + list(range(elsewhere, elsewhere + others))
    for notice, watched in zip(notices, targets, strict=True):
        machine.root.call(notice, Label.DEATH_NOTICE_WATCH, (), [watched, bell])
    machine.root.submit(Syscall.CALL, InitialSlot.CNODE, abi.message_info(Label.CNODE_DELETE, 2), (target, 64))
    found = []
    while machine.kernel.take(machine.root.tcb) or machine.kernel.continue_one():
        found.append(machine.ram.stores)
        machine.settle()
    machine.assert_invariants()
    states = [DeathNotice(machine.ram, machine.slot(notice).object).state for notice in notices]
    assert states == [DeathNoticeState.DESTROYED] * watchers + [DeathNoticeState.WATCHING] * others
    return found


def test_no_transaction_is_longer_because_many_watch() -> None:
    few, many = costs(2 * TOLD_AT_ONCE, 8), costs(40 * TOLD_AT_ONCE, 8)
    assert (len(few), len(many)) == (2, 40)
    assert max(many) <= max(few)


def test_what_others_watch_costs_the_depth_of_a_tree() -> None:
    alone, beside = costs(1, 8), costs(1, 250)
    assert len(alone) == len(beside) == 1
    assert beside[0] <= alone[0] + 40


def test_the_rest_is_told_though_no_system_call_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel has work as long as one is to be told."""
    machine = Machine()
    thread = machine.thread("mortal")
    bell = machine.retype(ObjectType.NOTIFICATION)
    for _ in range(3):
        notice = machine.retype(ObjectType.DEATH_NOTICE)
        machine.root.call(notice, Label.DEATH_NOTICE_WATCH, (), [thread.cap, bell])
    monkeypatch.setattr(death_notices, "TOLD_AT_ONCE", 2)
    machine.kernel.died(thread.tcb, 9)
    assert machine.kernel.has_work
    assert machine.kernel.continue_one()
    assert not machine.kernel.has_work
    machine.settle()
