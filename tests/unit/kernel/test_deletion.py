"""Delete and revoke: what ends with the last capability, zombies, and that long work is done in pieces."""

import itertools
import time
from collections.abc import Callable

import pytest

from hw.ram import Interrupted
from kerneld import caps, deletion
from kerneld.kernel import Kernel
from kerneld.outbox import Tell
from kerneld.records import CapType, Endpoint, Slot, Tcb, TcbSlot, ThreadState, VSpace
from kerneld.work import WORK_UNITS
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights, Syscall
from tests.harness import OWN_CNODE, OWN_TCB, Machine, Refused, Thread

CNODE = InitialSlot.CNODE
DEPTH = abi.WORD_BITS


def put(machine: Machine, table: int, index: int, depth: int, source: int) -> None:
    """Move a capability of the initial task's into a slot of a table."""
    machine.root.call(table, Label.CNODE_MOVE, (index, depth, source, DEPTH), [CNODE])


def submit(machine: Machine, label: Label, slot: int) -> None:
    machine.root.submit(Syscall.CALL, CNODE, abi.message_info(label, 2), (slot, DEPTH))


def transactions(machine: Machine, each: Callable[[], None] = lambda: None) -> int:
    """Carry out the initial task's system call; returns in how many transactions. ``each`` runs between them."""
    assert machine.kernel.take(machine.root.tcb)
    machine.settle()
    count = 1
    while (done := machine.root.completion()) is None:
        each()
        assert machine.kernel.continue_one()
        machine.settle()
        count += 1
    assert done.label == abi.Error.NO_ERROR
    return count


@pytest.mark.parametrize("kind", [kind for kind in ObjectType if kind is not ObjectType.UNTYPED])
def test_the_last_capability_frees_the_memory(machine: Machine, kind: ObjectType) -> None:
    memory = machine.retype(ObjectType.UNTYPED, 16)
    sizes = {ObjectType.CNODE: 3, ObjectType.SCHED_CONTEXT: 8, ObjectType.FRAME: 12, ObjectType.VSPACE: 13}
    size = (sizes | {ObjectType.IO_SPACE: 13}).get(kind, 0)
    made = machine.retype(kind, size, untyped=memory)
    copy = machine.copy(made)
    machine.delete(made)
    assert machine.slot(copy).word0
    machine.delete(copy)
    machine.retype(ObjectType.FRAME, 16, untyped=memory)


def test_the_last_frame_capability_takes_the_frame_from_everybody(machine: Machine) -> None:
    frame = machine.retype(ObjectType.FRAME, 13)
    address = machine.slot(frame).object
    copy = machine.copy(frame)
    machine.delete(frame)
    assert not machine.told(Tell.FRAME_GONE)
    machine.delete(copy)
    assert [(message.subject, message.detail) for message in machine.told(Tell.FRAME_GONE)] == [(address, 1 << 13)]


def own_vspace(machine: Machine, thread: Thread) -> tuple[int, int]:
    """The address of the thread's VSpace, and the initial task's slot with its first capability."""
    space = thread.tcb.slot(TcbSlot.VSPACE).object
    slots = [number for number in range(machine.next_slot) if machine.slot(number).cap_type == CapType.VSPACE]
    (original,) = [number for number in slots if machine.slot(number).object == space]
    return space, original


def test_the_last_vspace_capability_ends_the_process(machine: Machine) -> None:
    thread = machine.thread("own", own_vspace=True)
    space, original = own_vspace(machine, thread)
    machine.delete(original)
    assert not machine.told(Tell.VSPACE_GONE)
    assert VSpace(machine.ram, space).threads == thread.tcb
    machine.root.call(thread.cnode, Label.CNODE_DELETE, (OWN_TCB, 8))
    machine.delete(thread.cap)
    assert [message.subject for message in machine.told(Tell.VSPACE_GONE)] == [space]
    assert [message.subject for message in machine.told(Tell.KILL)] == [thread.tcb.address]


def test_revoking_a_vspace_stops_the_threads_that_run_in_it(machine: Machine) -> None:
    thread = machine.thread("tenant", own_vspace=True)
    space, original = own_vspace(machine, thread)
    machine.revoke(original)
    assert thread.state == ThreadState.INACTIVE
    assert VSpace(machine.ram, space).threads is None
    assert [(m.subject, m.detail) for m in machine.told(Tell.KILL)] == [(thread.tcb.address, space)]
    assert not machine.told(Tell.VSPACE_GONE)


def test_deleting_a_tcb_takes_its_capabilities_along(machine: Machine) -> None:
    thread = machine.thread("gone")
    endpoint = machine.retype(ObjectType.ENDPOINT)
    machine.grant(thread, endpoint, 1)
    tcb = thread.tcb
    assert thread.syscall(Syscall.CALL, 1) is None
    machine.root.call(thread.cnode, Label.CNODE_DELETE, (OWN_TCB, 8))
    machine.delete(thread.cap)
    assert Endpoint(machine.ram, machine.slot(endpoint).object).head is None
    assert not any(machine.ram.read(tcb.address, 5 * Slot.SIZE))
    assert machine.slot(thread.cnode).word0
    machine.delete(thread.cnode)


def test_a_cnode_with_its_own_last_capability_is_gone_with_its_memory(machine: Machine) -> None:
    """Reachable by nobody, it stays until its untyped memory is revoked."""
    memory = machine.retype(ObjectType.UNTYPED, 14)
    table = machine.retype(ObjectType.CNODE, 3, untyped=memory)
    endpoint = machine.retype(ObjectType.ENDPOINT, untyped=memory)
    address = machine.slot(table).object
    put(machine, table, 6, 3, endpoint)
    inside = machine.copy(table)
    put(machine, table, 5, 3, inside)
    machine.delete(table)
    held = [machine.ram.word(address + number * Slot.SIZE) >> 59 for number in range(8)]
    assert held == [0, 0, 0, 0, 0, CapType.CNODE, CapType.ENDPOINT, 0]
    machine.revoke(memory)
    assert not any(machine.ram.read(address, 8 * Slot.SIZE))


def test_a_chain_of_cnodes_leaves_self_made_zombies_and_revoke_cleans_them(machine: Machine) -> None:
    """Deleting the first must not follow the chain for ever: each further CNode becomes a zombie inside itself."""
    memory = machine.retype(ObjectType.UNTYPED, 16)
    tables = [machine.retype(ObjectType.CNODE, 2, untyped=memory) for _ in range(6)]
    addresses = [machine.slot(table).object for table in tables]
    for outer, inner in zip(reversed(tables[:-1]), reversed(tables[1:]), strict=True):
        put(machine, outer, 3, 2, inner)
    machine.delete(tables[0])
    zombies = [address for address in addresses if machine.ram.word(address) >> 59 == CapType.ZOMBIE]
    assert zombies == addresses[1:2]
    machine.revoke(memory)
    assert not any(any(machine.ram.read(address, 4 * Slot.SIZE)) for address in addresses)
    machine.retype(ObjectType.FRAME, 16, untyped=memory)


def test_two_cnodes_that_hold_each_other(machine: Machine) -> None:
    memory = machine.retype(ObjectType.UNTYPED, 14)
    first = machine.retype(ObjectType.CNODE, 2, untyped=memory)
    second = machine.retype(ObjectType.CNODE, 2, untyped=memory)
    put(machine, first, 2, 2, machine.copy(second))
    put(machine, second, 1, 2, machine.copy(first))
    machine.delete(first)
    machine.delete(second)
    machine.revoke(memory)
    machine.retype(ObjectType.FRAME, 14, untyped=memory)


def test_revoke_takes_copies_and_children_and_leaves_the_slot(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    badged = machine.copy(endpoint, badge=4)
    copies = [machine.copy(endpoint), machine.copy(badged), badged]
    machine.revoke(endpoint)
    assert machine.slot(endpoint).word0
    assert all(machine.slot(copy).word0 == 0 for copy in copies)


def test_revoke_of_a_badge_leaves_others(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    five, six = machine.copy(endpoint, badge=5), machine.copy(endpoint, badge=6)
    copy = machine.copy(five)
    machine.revoke(five)
    assert [machine.slot(slot).word0 != 0 for slot in (endpoint, five, six, copy)] == [True, True, True, False]


def test_a_long_revoke_is_done_in_pieces(machine: Machine) -> None:
    """300 copies; between two pieces RAM is sound, and another thread's system call is carried out."""
    other = machine.thread("other")
    endpoint = machine.retype(ObjectType.ENDPOINT)
    machine.check = False
    copies = [machine.copy(endpoint) for _ in range(300)]
    machine.check = True
    yields = 0

    def one_more() -> None:
        nonlocal yields
        other.submit(Syscall.YIELD)
        assert machine.kernel.take(other.tcb)
        machine.settle()
        yields += other.completion() is not None

    submit(machine, Label.CNODE_REVOKE, endpoint)
    count = transactions(machine, one_more)
    assert count == -(-300 // WORK_UNITS)
    assert yields == count - 1
    assert not any(machine.slot(copy).word0 for copy in copies)


def test_a_full_cnode_is_taken_apart_in_pieces(machine: Machine) -> None:
    table = machine.retype(ObjectType.CNODE, 8)
    endpoint = machine.retype(ObjectType.ENDPOINT)
    machine.check = False
    for index in range(256):
        machine.root.call(table, Label.CNODE_COPY, (index, 8, endpoint, DEPTH, Rights.ALL), [CNODE])
    machine.check = True
    seen: list[int] = []
    submit(machine, Label.CNODE_DELETE, table)
    count = transactions(machine, lambda: seen.append(machine.slot(table).word1))
    assert count > 3
    assert seen == sorted(seen, reverse=True)
    assert machine.slot(table).word0 == 0


def test_a_large_empty_cnode_is_quickly_gone() -> None:
    machine = Machine(32 << 20)
    table = machine.retype(ObjectType.CNODE, 17)
    submit(machine, Label.CNODE_DELETE, table)
    assert transactions(machine) <= (1 << 17) // (deletion.SKIP_SLOTS * WORK_UNITS) + 1


def test_a_transaction_that_passes_over_empty_slots_is_no_longer_than_one_that_deletes() -> None:
    """Others wait for one or the other. The least of each is compared: what the host does meanwhile is in neither."""
    machine = Machine(64 << 20, check=False)
    full, empty = machine.retype(ObjectType.CNODE, 10), machine.retype(ObjectType.CNODE, 18)
    endpoint = machine.retype(ObjectType.ENDPOINT)
    for index in range(1 << 10):
        machine.root.call(full, Label.CNODE_COPY, (index, 10, endpoint, DEPTH, Rights.ALL), [CNODE])

    def least(table: int) -> int:
        moments: list[int] = []
        submit(machine, Label.CNODE_DELETE, table)
        transactions(machine, lambda: moments.append(time.thread_time_ns()))
        return min(after - before for before, after in itertools.pairwise(moments))

    assert least(empty) < 2 * least(full)


@pytest.mark.parametrize("slots", [1, 2, 3, 127, 128, 129, 1000])
def test_empty_slots_are_passed_over_up_to_the_last_capability(slots: int) -> None:
    machine = Machine(check=False)
    table = machine.slot(machine.retype(ObjectType.CNODE, 10)).object
    looked_from = max(0, slots - deletion.SKIP_SLOTS)
    assert deletion._without_empty_tail(machine.kernel.core, table, slots) == looked_from
    for last in {0, 1, slots // 2, slots - 2, slots - 1} & set(range(slots)):
        machine.ram.poke(table + last * Slot.SIZE, b"\1")
        left = deletion._without_empty_tail(machine.kernel.core, table, slots)
        assert left == max(last + 1, looked_from), last
        machine.ram.poke(table + last * Slot.SIZE, b"\0")


def test_while_it_is_taken_apart_a_cnode_cannot_be_used(machine: Machine) -> None:
    thread = machine.thread("user")
    table = machine.retype(ObjectType.CNODE, 8)
    endpoint = machine.retype(ObjectType.ENDPOINT)
    machine.check = False
    for index in range(256):
        machine.root.call(table, Label.CNODE_COPY, (index, 8, endpoint, DEPTH, Rights.ALL), [CNODE])
    machine.check = True
    machine.root.call(thread.cnode, Label.CNODE_MOVE, (9, 8, table, DEPTH), [CNODE])
    machine.root.submit(Syscall.CALL, thread.cnode, abi.message_info(Label.CNODE_DELETE, 2), (9, 8))

    def invoke_zombie() -> None:
        thread.submit(Syscall.CALL, 9, abi.message_info(Label.CNODE_DELETE, 2), (1, 8))
        assert machine.kernel.take(thread.tcb)
        machine.settle()
        answer = thread.completion()
        assert answer is not None
        assert answer.label == abi.Error.INVALID_CAPABILITY

    assert transactions(machine, invoke_zombie) > 3


def test_an_endpoint_with_many_waiting_threads_goes_in_pieces(machine: Machine) -> None:
    """All are told to send again, and find that their capability is gone."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    machine.check = False
    threads = [machine.thread(f"waiter {number}") for number in range(70)]
    for thread in threads:
        machine.grant(thread, endpoint, 1)
        assert thread.syscall(Syscall.CALL, 1) is None
    machine.check = True
    machine.revoke(endpoint)
    assert all(thread.state == ThreadState.BLOCKED_ON_SEND for thread in threads)
    submit(machine, Label.CNODE_DELETE, endpoint)
    assert transactions(machine) > 1
    machine.run()
    answers = [thread.completion() for thread in threads]
    assert {answer.label for answer in answers if answer is not None} == {abi.Error.INVALID_CAPABILITY}
    assert None not in answers


def test_a_thread_may_delete_itself(machine: Machine) -> None:
    thread = machine.thread("lemming")
    machine.delete(thread.cap)
    thread.submit(Syscall.CALL, OWN_CNODE, abi.message_info(Label.CNODE_DELETE, 2), (OWN_TCB, 8))
    machine.run()
    assert [message.subject for message in machine.told(Tell.KILL)] == [thread.tcb.address]


def test_a_thread_may_revoke_the_memory_that_it_is_made_of(machine: Machine) -> None:
    memory = machine.retype(ObjectType.UNTYPED, 20)
    machine.untyped, first = memory, machine.untyped
    thread = machine.thread("branch")
    machine.untyped = first
    machine.grant(thread, CNODE, 1)
    machine.check = False
    for _ in range(200):
        machine.copy(thread.cap)
    machine.check = True
    thread.submit(Syscall.CALL, 1, abi.message_info(Label.CNODE_REVOKE, 2), (memory, DEPTH))
    machine.run()
    # It has lost its scheduling context on the way, so that somebody else has to finish.
    assert not machine.told(Tell.KILL)
    machine.revoke(memory)
    assert [message.subject for message in machine.told(Tell.KILL)] == [thread.tcb.address]
    machine.retype(ObjectType.FRAME, 20, untyped=memory)


def threads_of(machine: Machine) -> list[Thread]:
    return [thread for thread in machine.threads.values() if thread is not machine.root]


def test_revoking_all_memory_ends_everybody_else(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    for name in ("one", "two", "three"):
        thread = machine.thread(name, own_vspace=True)
        machine.grant(thread, endpoint, 1)
        thread.syscall(Syscall.CALL, 1)
    addresses = {thread.tcb.address for thread in threads_of(machine)}
    machine.revoke(machine.untyped)
    assert {message.subject for message in machine.told(Tell.KILL)} == addresses
    assert len(machine.told(Tell.VSPACE_GONE)) == 3
    assert not threads_of(machine)
    machine.retype(ObjectType.FRAME, 22)


def test_deletions_are_remembered(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    copy = machine.copy(endpoint)
    held = caps.read(machine.slot(copy))
    machine.revoke(endpoint)
    last = machine.kernel.core.deletions()[-1]
    assert (last.slot, last.word0, last.word1) == (machine.slot(copy).address, held.word0, held.word1)
    assert (last.thread, last.revoked) == (machine.root.tcb.address, True)


def busy_machine() -> tuple[Machine, int]:
    """A machine, and a slot whose revoke does some of everything."""
    machine = Machine(check=False)
    memory = machine.retype(ObjectType.UNTYPED, 20)
    machine.untyped = memory
    endpoint = machine.retype(ObjectType.ENDPOINT)
    thread = machine.thread("doomed", own_vspace=True)
    machine.grant(thread, endpoint, 1, badge=3)
    thread.syscall(Syscall.CALL, 1)
    table = machine.retype(ObjectType.CNODE, 3)
    put(machine, table, 6, 3, machine.copy(table))
    machine.delete(table)
    notification = machine.retype(ObjectType.NOTIFICATION)
    handler = machine.new_slots()
    machine.root.call(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, (4, handler, DEPTH), [CNODE])
    machine.root.call(handler, Label.IRQ_HANDLER_SET_NOTIFICATION, (), [notification])
    return machine, memory


def test_a_crash_at_any_store_of_a_revoke_leaves_the_state_before_it() -> None:
    machine, memory = busy_machine()
    submit(machine, Label.CNODE_REVOKE, memory)
    before = machine.ram.read(0x21000, machine.ram.size - 0x21000)
    store = 0
    while True:
        machine.ram.interrupt_at(store)
        try:
            machine.kernel.take(machine.root.tcb)
        except Interrupted:
            machine.kernel = Kernel(machine.ram)
            assert machine.ram.read(0x21000, machine.ram.size - 0x21000) == before, f"after a crash at store {store}"
            store += 1
            continue
        break
    machine.ram.disarm()
    assert store > 100
    machine.check = True
    machine.settle()
    machine.run()
    machine.retype(ObjectType.FRAME, 20, untyped=memory)


def test_a_kernel_that_is_restarted_between_two_pieces_goes_on(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    machine.check = False
    copies = [machine.copy(endpoint) for _ in range(150)]
    machine.check = True

    def restart() -> None:
        machine.kernel = Kernel(machine.ram)

    submit(machine, Label.CNODE_REVOKE, endpoint)
    assert transactions(machine, restart) > 2
    assert not any(machine.slot(copy).word0 for copy in copies)


def test_the_initial_task_can_go_and_others_stay(machine: Machine) -> None:
    thread = machine.thread("heir")
    machine.root.submit(Syscall.CALL, CNODE, abi.message_info(Label.CNODE_DELETE, 2), (InitialSlot.TCB, DEPTH))
    machine.run()
    assert machine.kernel.core.kernel.initial_tcb is None
    assert thread.syscall(Syscall.YIELD) is not None


def test_refused_is_an_assertion(machine: Machine) -> None:
    with pytest.raises(Refused, match="DELETE_FIRST"):
        machine.root.call(CNODE, Label.CNODE_COPY, (1, DEPTH, 2, DEPTH, 15), [CNODE])


def test_a_killed_thread_is_out_of_the_restart_queue(machine: Machine) -> None:
    """Deleted while its own revoke was preempted: nothing carries that out any more."""
    thread = machine.thread("preempted")
    machine.grant(thread, CNODE, 1)
    endpoint = machine.retype(ObjectType.ENDPOINT)
    machine.check = False
    for _ in range(200):
        machine.copy(endpoint)
    machine.check = True
    thread.submit(Syscall.CALL, 1, abi.message_info(Label.CNODE_REVOKE, 2), (endpoint, DEPTH))
    assert machine.kernel.take(thread.tcb)
    machine.settle()
    assert machine.kernel.core.kernel.restart_head == Tcb(machine.ram, thread.tcb.address)
    machine.root.call(thread.cnode, Label.CNODE_DELETE, (OWN_TCB, 8))
    machine.delete(thread.cap)
    assert machine.kernel.core.kernel.restart_head is None
    machine.revoke(endpoint)
