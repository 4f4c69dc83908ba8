"""The kernel's own time is charged to whom it works for. Times in microseconds."""

from __future__ import annotations

import pytest

from kerneld import scheduler
from kerneld.records import CapType
from kerneld.service import Service
from kerneld.work import WORK_UNITS
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Syscall
from tests.harness import Machine, Thread

from .scene import ENDPOINT, Scene, call, receive, reply_receive
from .test_budgets import context_of, give, held

CALL_US = 30
EMPTY = 9  # a slot of a thread's CNode that holds nothing, where nothing else is said


class SlowMachine(Machine):
    """One whose kernel runs for so long with each thing that it does."""

    def carry_out_tells(self) -> None:
        super().carry_out_tells()
        self.clock.advance(CALL_US)


class Slow(Scene):
    """A scene on such a machine."""

    def __init__(self) -> None:
        self.machine = SlowMachine()
        self.endpoint = self.machine.retype(ObjectType.ENDPOINT)
        self.looks = 0
        self.machine.kernel.core.service = Service(self._time)

    def _time(self) -> int:
        self.looks += 1
        return self.machine.clock()

    def consumed(self, thread: Thread) -> int:
        """Since it was asked for the last time."""
        return self.machine.root.call(thread.sched_context, Label.SCHED_CONTEXT_CONSUMED)[0]


def test_a_thread_that_only_asks_uses_up_its_budget() -> None:
    slow = Slow()
    thread = held(slow.machine, "asks", 1000, 100_000)
    asked = 0
    while scheduler.may_run(thread.tcb) and asked < 1000:
        thread.syscall(Syscall.NB_SEND, EMPTY)
        asked += 1
    assert 1000 // CALL_US <= asked <= 1000 // CALL_US + 2
    assert context_of(slow.machine, thread).postponed
    slow.machine.pass_time(100_000)
    assert scheduler.may_run(thread.tcb)


def test_what_was_done_is_charged_once() -> None:
    slow = Slow()
    thread = held(slow.machine, "asks", 50_000, 100_000)
    for _ in range(3):
        thread.syscall(Syscall.NB_SEND, EMPTY)
    assert slow.consumed(thread) == 3 * CALL_US
    assert slow.consumed(thread) == 0


def test_round_robin_is_not_timed() -> None:
    slow = Slow()
    thread = slow.machine.thread("free")
    thread.syscall(Syscall.NB_SEND, EMPTY)
    assert not slow.looks
    assert slow.consumed(thread) == 0


def test_what_a_passive_server_asks_is_its_client_s() -> None:
    slow = Slow()
    server, client = slow.thread("server"), slow.thread("client")
    receive(server)
    slow.machine.root.call(server.sched_context, Label.SCHED_CONTEXT_UNBIND_OBJECT, (), [server.cap])
    give(slow.machine, client, 50_000, 100_000)
    call(client)
    for _ in range(4):
        server.syscall(Syscall.NB_SEND, EMPTY)
    reply_receive(server, ())
    assert slow.consumed(client) == 6 * CALL_US


def test_cancelling_is_charged() -> None:
    slow = Slow()
    thread = held(slow.machine, "cancels", 50_000, 100_000)
    slow.machine.grant(thread, slow.endpoint, ENDPOINT)
    assert receive(thread) is None
    thread.syscall(Syscall.CANCEL)
    assert slow.consumed(thread) == 3 * CALL_US  # the receive, its end, and what CANCEL itself is answered


def test_each_part_of_a_long_operation_is_charged() -> None:
    slow = Slow()
    machine = slow.machine
    thread = held(machine, "revokes", 50_000, 100_000)
    machine.grant(thread, InitialSlot.CNODE, EMPTY)
    endpoint = machine.retype(ObjectType.ENDPOINT)
    machine.check = False
    for _ in range(4 * WORK_UNITS):
        machine.copy(endpoint)
    machine.check = True
    thread.call(EMPTY, Label.CNODE_REVOKE, (endpoint, abi.WORD_BITS))
    assert slow.consumed(thread) >= 4 * CALL_US


def test_a_ring_that_is_empty_after_all_leaves_nothing_for_its_thread_to_pay() -> None:
    slow = Slow()
    machine = slow.machine
    thread = held(machine, "says that it asks", 50_000, 100_000)
    assert not machine.kernel.take_slowly(thread.tcb)
    machine.settle()  # of what another one asked
    assert machine.kernel.core.service.take(context_of(machine, thread).address) == 0


def test_a_context_that_is_made_where_another_was_owes_nothing() -> None:
    slow = Slow()
    machine = slow.machine
    thread = held(machine, "deletes its own", 50_000, 100_000)
    machine.grant(thread, InitialSlot.CNODE, EMPTY)
    address = context_of(machine, thread).address
    machine.revoke(thread.sched_context)
    thread.submit(Syscall.CALL, EMPTY, abi.message_info(Label.CNODE_DELETE, 2), (thread.sched_context, abi.WORD_BITS))
    assert machine.kernel.take(thread.tcb)
    machine.settle()
    assert machine.slot(thread.sched_context).cap_type == CapType.NULL
    assert machine.kernel.core.service.take(address) == 0


class Device:
    """A device of a machine whose clock stands still but where a test moves it."""

    NUMBER = 5

    def __init__(self) -> None:
        self.now = 0
        self.service = Service(lambda: self.now)

    def rung_by(self, context: int) -> None:
        """By a thread on the context at this address; 0: on one without a budget."""
        if context:
            self.service.begin(context)
        self.service.rang(self.NUMBER)
        self.service.end()

    def works(self, us: int, *, rings: bool = False, fails: bool = False) -> None:
        with self.service.turn_of(self.NUMBER):
            self.now += us
            if rings:
                self.service.rang(self.NUMBER)
            if fails:
                raise OSError("full")


def test_a_device_works_for_who_has_rung_it() -> None:
    device = Device()
    device.works(10)
    device.rung_by(64)
    device.works(20, rings=True)
    device.works(5)
    with device.service.turn_of(device.NUMBER + 1):
        device.now += 100
    assert device.service.take(64) == 25
    assert device.service.take(64) == 0


def test_a_device_works_for_who_has_rung_it_last() -> None:
    device = Device()
    device.rung_by(64)
    device.rung_by(128)
    device.works(20)
    assert (device.service.take(64), device.service.take(128)) == (0, 20)
    device.rung_by(0)
    device.works(20)
    assert device.service.take(128) == 0


def test_nobody_pays_for_a_device_whose_ringer_s_context_is_gone() -> None:
    device = Device()
    device.rung_by(64)
    with device.service.turn_of(device.NUMBER):
        device.now += 7
        device.service.forget(64)
    device.works(20)
    assert device.service.take(64) == 0


def test_a_turn_that_fails_is_paid_for() -> None:
    device = Device()
    device.rung_by(64)
    with pytest.raises(OSError, match="full"):
        device.works(7, fails=True)
    device.works(3)
    assert device.service.take(64) == 10
