"""What one transaction does must not grow with how many threads a task has made: steps and stores are counted."""

import pytest

from kerneld import deletion, scheduler
from kerneld.records import Tcb, TcbSlot
from kerneld.work import Work
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Syscall
from tests.harness import THREAD_CNODE_BITS, Machine
from tests.steps import lines_run

GUARD = abi.cnode_cap_data(0, abi.WORD_BITS - THREAD_CNODE_BITS)
FEW, MANY = 3, 60


def crowd(count: int) -> tuple[Machine, list[int]]:
    """Threads of one address space, the eldest first: capabilities to them."""
    machine = Machine(check=False)
    cnode = machine.retype(ObjectType.CNODE, THREAD_CNODE_BITS)
    first = machine.retype(ObjectType.TCB, count=count)
    threads = list(range(first, first + count))
    for tcb in threads:
        machine.root.call(tcb, Label.TCB_CONFIGURE, (GUARD, 0, 0), [cnode, InitialSlot.VSPACE, 0])
    return machine, threads


def test_ending_a_thread_does_not_look_at_the_others_of_its_address_space() -> None:
    def work(count: int) -> tuple[int, int]:
        machine, slots = crowd(count)
        info = abi.message_info(Label.CNODE_DELETE, 2)
        machine.root.submit(Syscall.CALL, InitialSlot.CNODE, info, (slots[0], abi.WORD_BITS))
        return lines_run(lambda: machine.kernel.take_slowly(machine.root.tcb)), machine.ram.stores

    work(FEW)  # what is made once in a process is made by now
    assert work(MANY) == work(FEW)


def test_losing_an_address_space_does_not_look_at_the_others_of_it() -> None:
    def work(count: int) -> tuple[int, int]:
        machine, slots = crowd(count)
        core = machine.kernel.core
        thread = Tcb(machine.ram, machine.slot(slots[0]).object)
        with machine.ram.transaction():
            lines = lines_run(lambda: deletion.delete(core, thread.slot(TcbSlot.VSPACE), Work()))
            scheduler.settle(core)
        machine.assert_invariants()
        return lines, machine.ram.stores

    work(FEW)  # what is made once in a process is made by now
    assert work(MANY) == work(FEW)


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_leaving_the_restart_queue_does_not_look_at_the_others_in_it(place: str) -> None:
    def work(count: int) -> tuple[int, int]:
        machine, slots = crowd(count)
        kernel = machine.kernel.core.kernel
        threads = [Tcb(machine.ram, machine.slot(slot).object) for slot in slots]
        with machine.ram.transaction():
            for thread in threads:
                scheduler.enqueue_restart(kernel, thread)
        gone = threads.pop({"first": 0, "middle": count // 2, "last": -1}[place])
        with machine.ram.transaction():
            lines = lines_run(lambda: scheduler.forget(kernel, gone))
        stores = machine.ram.stores
        with machine.ram.transaction():
            left = [scheduler.dequeue_restart(kernel) for _ in threads]
        assert left == threads
        assert kernel.restart_head is None
        assert kernel.restart_tail is None
        return lines, stores

    work(FEW)  # what is made once in a process is made by now
    assert work(MANY) == work(FEW)
