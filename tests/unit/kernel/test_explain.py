"""The most usual mistakes, and what the kernel says about them."""

import re
from collections.abc import Callable

import pytest

from kerneld import caps, explain
from kerneld.records import ProcessState, TcbSlot
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights, Syscall
from tests.harness import OWN_CNODE, Machine
from tests.steps import lines_run

CNODE = InitialSlot.CNODE
DEPTH = abi.WORD_BITS
GUARD = abi.WORD_BITS - abi.INITIAL_CNODE_BITS  # bits, of the initial task's CNode
LAST_SLOT = (1 << abi.INITIAL_CNODE_BITS) - 1  # of the initial task's CNode


def last(machine: Machine) -> str:
    return explain.last_refusal(machine.kernel.core, machine.root.tcb)


def copy(machine: Machine, destination: int, source: int, label: Label = Label.CNODE_COPY, *more: int) -> None:
    machine.root.invoke(CNODE, label, (destination, DEPTH, source, DEPTH, 15, *more), [CNODE])


def retype(machine: Machine, *words: int) -> None:
    machine.root.invoke(machine.untyped, Label.UNTYPED_RETYPE, words, [CNODE])


def occupied(machine: Machine) -> str:
    copy(machine, InitialSlot.TCB, CNODE)
    return r"CNode.copy .* \(DELETE_FIRST\): the destination slot holds a capability \(TCB\); delete it first"


def empty_source(machine: Machine) -> str:
    copy(machine, machine.new_slots(), 900)
    return r"\(FAILED_LOOKUP\): the slot .* is empty\. The source did not resolve\. .*Nothing is known to have been"


def revoked_source(machine: Machine) -> str:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    gone = machine.copy(endpoint, badge=3)
    machine.revoke(endpoint)
    copy(machine, machine.new_slots(), gone)
    return r"The slot held ENDPOINT capability to 0x\w+, badge 3, .*; root revoked what it was made from"


def deleted_capability(machine: Machine) -> str:
    gone = machine.retype(ObjectType.NOTIFICATION)
    machine.delete(gone)
    machine.root.invoke(gone)
    return r"\(INVALID_CAPABILITY\): there is no capability .*The slot held NOTIFICATION .*; root deleted it"


def second_badge(machine: Machine) -> str:
    badged = machine.copy(machine.retype(ObjectType.ENDPOINT), badge=3)
    copy(machine, machine.new_slots(), badged, Label.CNODE_MINT, 4)
    return r"CNode.mint .* has badge 3 already; only an unbadged one can be given a badge"


def untyped_with_children(machine: Machine) -> str:
    machine.retype(ObjectType.ENDPOINT)
    copy(machine, machine.new_slots(), machine.untyped)
    return r"\(REVOKE_FIRST\): capabilities made from this one exist; revoke it, then it can be copied"


def no_copy_of_control(machine: Machine) -> str:
    copy(machine, machine.new_slots(), InitialSlot.IRQ_CONTROL)
    return r"a capability of type IRQ_CONTROL cannot be copied; move it"


def no_memory_anywhere(machine: Machine) -> str:
    retype(machine, ObjectType.FRAME, 30, 0, 0, machine.new_slots(), 1)
    return r"1 objects of 2\*\*30 bytes need 1073741824 bytes .* No untyped memory in the thread's CNode has"


def memory_elsewhere(machine: Machine) -> str:
    small = machine.retype(ObjectType.UNTYPED, 12)
    words = (ObjectType.FRAME, 13, 0, 0, machine.new_slots(), 1)
    machine.root.invoke(small, Label.UNTYPED_RETYPE, words, [CNODE])
    return (
        rf"need 8192 bytes and 4096 are left.*Untyped memory with 8192 bytes left.*: slot {machine.untyped} \(\d+ bytes"
    )


def wrong_size(machine: Machine) -> str:
    retype(machine, ObjectType.FRAME, 11, 0, 0, machine.new_slots(), 1)
    return r"size_bits of FRAME is 12\.\.30, not 11\. It is argument 1"


def window(machine: Machine) -> str:
    retype(machine, ObjectType.ENDPOINT, 0, 0, 0, LAST_SLOT, 2)
    return rf"from slot {LAST_SLOT} on the destination has 1 slots\. Allowed are 1\.\.1"


def wrong_depth(machine: Machine) -> str:
    machine.root.invoke(CNODE, Label.CNODE_DELETE, (5, 12))
    return rf"with 12 bits of 0x5 left, the guard 0x0 of {GUARD} bits does not match"


def no_cnode(machine: Machine) -> str:
    machine.root.invoke(CNODE, Label.CNODE_COPY, (machine.new_slots(), DEPTH, 1, DEPTH, 15), [InitialSlot.TCB])
    return r"the root of the look-up is not a CNode capability"


def no_write(machine: Machine) -> str:
    weak = machine.copy(machine.retype(ObjectType.ENDPOINT), Rights.READ)
    machine.root.invoke(weak, 77)
    return r"The message with label 77 .* lacks Write, so it cannot send\. 0x\w+ names ENDPOINT .*, Read\."


def short_message(machine: Machine) -> str:
    machine.root.invoke(machine.untyped, Label.UNTYPED_RETYPE, (1, 2, 3), [CNODE])
    return r"Untyped.retype .* \(TRUNCATED_MESSAGE\): Retype takes six words and the destination's CNode capability"


def wrong_method(machine: Machine) -> str:
    machine.root.invoke(machine.untyped, Label.TCB_RESUME)
    return r"TCB.resume on .* \(ILLEGAL_OPERATION\): untyped memory has no method with label 13\. .* names UNTYPED"


def line_taken(machine: Machine) -> str:
    machine.root.call(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, (4, machine.new_slots(), DEPTH), [CNODE])
    machine.root.invoke(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, (4, machine.new_slots(), DEPTH), [CNODE])
    return r"the handler of interrupt line 4 has been given out; revoke IRQControl first"


def port_outside(machine: Machine) -> str:
    place = machine.new_slots()
    machine.root.call(InitialSlot.IO_PORT_CONTROL, Label.IO_PORT_CONTROL_ISSUE, (0x60, 0x64, place, DEPTH), [CNODE])
    machine.root.invoke(place, Label.IO_PORT_IN32, (0x64,))
    return r"4 bytes at port 0x64 are outside of the capability's range 0x60\.\.0x64"


def guard_too_long(machine: Machine) -> str:
    table = machine.retype(ObjectType.CNODE, 8)
    copy(machine, machine.new_slots(), table, Label.CNODE_MINT, abi.cnode_cap_data(0, 57))
    return r"guard and 8 index bits together are longer than 64 bits"


def weak_cancel(machine: Machine) -> str:
    weak = machine.copy(machine.retype(ObjectType.ENDPOINT), Rights.READ | Rights.WRITE)
    machine.root.invoke(CNODE, Label.CNODE_CANCEL_BADGED_SENDS, (weak, DEPTH))
    return r"sends are cancelled by an endpoint capability with all four rights"


MISTAKES = [
    occupied,
    empty_source,
    revoked_source,
    deleted_capability,
    second_badge,
    untyped_with_children,
    no_copy_of_control,
    no_memory_anywhere,
    memory_elsewhere,
    wrong_size,
    window,
    wrong_depth,
    no_cnode,
    no_write,
    short_message,
    wrong_method,
    line_taken,
    port_outside,
    guard_too_long,
    weak_cancel,
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_usual_mistakes(machine: Machine, mistake: Callable[[Machine], str]) -> None:
    expected = mistake(machine)
    text = last(machine)
    assert re.search(expected, text), text
    assert len(text.encode()) <= explain.EXPLANATION_BYTES


def test_nothing_refused_is_nothing_to_explain(machine: Machine) -> None:
    fresh = machine.thread("fresh")
    assert explain.last_refusal(machine.kernel.core, fresh.tcb) == ""
    assert explain.account(machine.kernel.core, fresh.tcb) == ""


@pytest.mark.parametrize(
    ("status", "words"), [(9, "was ended by signal 9"), (126 << 8, "ended with status 126"), (0, "ended with status 0")]
)
def test_a_processs_end_is_told_as_a_person_knows_it(machine: Machine, status: int, words: str) -> None:
    gone = machine.thread("gone")
    with machine.ram.transaction():
        gone.tcb.process = ProcessState.LIVE
    machine.kernel.died(gone.tcb, status)
    assert explain.last_refusal(machine.kernel.core, gone.tcb).startswith(
        f"The thread faulted (USER_EXCEPTION): its process {words}. "
    )


def test_a_cap_fault_says_where_the_look_up_stopped(machine: Machine) -> None:
    lost = machine.thread("lost")
    assert lost.syscall(Syscall.CALL, 0x1234) is None
    text = explain.last_refusal(machine.kernel.core, lost.tcb)
    assert re.search(r"Sending to capability address 0x1234 faulted: .* guard 0x0 of 56 bits does not match 0x12", text)
    assert "has no fault endpoint" in text


def test_a_receive_on_nothing_says_what_was_there(machine: Machine) -> None:
    lost = machine.thread("lost")
    endpoint = machine.retype(ObjectType.ENDPOINT)
    machine.grant(lost, endpoint, 5, Rights.WRITE)
    assert lost.syscall(Syscall.RECV, 5, reply=lost.reply) is None
    text = explain.last_refusal(machine.kernel.core, lost.tcb)
    assert re.search(
        r"Receiving from capability address 0x5 faulted: .*lacks Read.*It names ENDPOINT .*, Write\.", text
    )


def test_an_account_names_the_other_holders(machine: Machine) -> None:
    weak = machine.thread("weak")
    endpoint = machine.retype(ObjectType.ENDPOINT)
    machine.grant(weak, endpoint, 5, Rights.READ)
    weak.invoke(5)
    core = machine.kernel.core
    assert f"slot {endpoint} of root" in explain.account(core, weak.tcb)
    assert "root" not in explain.last_refusal(core, weak.tcb)


def waiting(machine: Machine) -> tuple[int, int]:
    return machine.retype(ObjectType.ENDPOINT), machine.retype(ObjectType.NOTIFICATION)


def test_why_follows_calls_to_the_end(machine: Machine) -> None:
    outer, inner = machine.retype(ObjectType.ENDPOINT, count=2), machine.next_slot - 1
    client, server, back_end = (machine.thread(name) for name in ("client", "server", "back end"))
    machine.grant(client, outer, 1, Rights.WRITE | Rights.GRANT_REPLY)
    machine.grant(server, outer, 1, Rights.READ)
    machine.grant(server, inner, 2, Rights.WRITE | Rights.GRANT_REPLY)
    machine.grant(back_end, inner, 1, Rights.READ)
    server.syscall(Syscall.RECV, 1, reply=server.reply)
    client.syscall(Syscall.CALL, 1)
    server.syscall(Syscall.CALL, 2)
    lines = explain.why(machine.kernel.core, client.tcb).splitlines()
    assert [line.split(" waits ")[0] for line in lines[:2]] == ["client", "server"]
    assert re.match(r"client waits for the reply to its call, by reply object 0x\w+; .*server", lines[0])
    assert re.match(r"server waits until somebody receives on endpoint 0x\w+; .*back end.* can receive there", lines[1])
    assert lines[2:] == ["back end may run: the kernel waits for its next system call."]


def test_why_finds_a_circle(machine: Machine) -> None:
    first, second = machine.thread("first"), machine.thread("second")
    ahead, back = machine.retype(ObjectType.ENDPOINT, count=2), machine.next_slot - 1
    for endpoint, sender, receiver in ((ahead, first, second), (back, second, first)):
        machine.grant(sender, endpoint, 1, Rights.WRITE | Rights.GRANT_REPLY)
        machine.grant(receiver, endpoint, 2, Rights.READ)
        assert sender.syscall(Syscall.CALL, 1) is None
    assert "first stands in this chain already" in explain.why(machine.kernel.core, first.tcb).splitlines()[-1]


def test_why_names_who_signals(machine: Machine) -> None:
    _, notification = waiting(machine)
    driver, friend = machine.thread("driver"), machine.thread("friend")
    machine.grant(driver, notification, 1, Rights.READ)
    machine.grant(friend, notification, 1, Rights.WRITE)
    handler = machine.new_slots()
    machine.root.call(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, (9, handler, DEPTH), [CNODE])
    machine.root.call(handler, Label.IRQ_HANDLER_SET_NOTIFICATION, (), [notification])
    assert driver.syscall(Syscall.WAIT, 1) is None
    text = explain.why(machine.kernel.core, driver.tcb)
    assert re.search(r"driver waits for a signal .*friend.* can signal it; so does interrupt line 9", text)


def test_why_of_those_who_do_not_wait(machine: Machine) -> None:
    core = machine.kernel.core
    assert "never resumed" in explain.why(core, machine.thread("new", start=False).tcb)
    passive = machine.thread("passive", passive=True)
    assert "has no scheduling context" in explain.why(core, passive.tcb)
    lost = machine.thread("lost")
    lost.syscall(Syscall.CALL, 0x1234)
    assert "Sending to capability address 0x1234 faulted" in explain.why(core, lost.tcb)
    unserved = machine.thread("unserved")
    endpoint, _ = waiting(machine)
    machine.grant(unserved, endpoint, 1)
    machine.delete(endpoint)
    unserved.syscall(Syscall.CALL, 1)
    assert "nobody can receive there" in explain.why(core, unserved.tcb)


def test_why_tells_of_a_fault_that_nobody_handles(machine: Machine) -> None:
    handler, _ = waiting(machine)
    faulty = machine.thread("faulty", fault_endpoint=handler)
    assert faulty.syscall(Syscall.CALL, 0x1234) is None
    assert re.match(
        r"faulty has faulted \(CAP_FAULT\) and waits until somebody receives",
        explain.why(machine.kernel.core, faulty.tcb),
    )


def test_a_place_inside_a_tcb_has_a_name(machine: Machine) -> None:
    thread = machine.thread("holder")
    thread.invoke(OWN_CNODE, 4000)
    assert "CSPACE of holder" in explain.account(machine.kernel.core, thread.tcb)


def test_the_search_for_memory_is_bounded_and_says_so() -> None:
    """The initial task's CNode is larger than what is looked at; memory behind that is not found."""
    machine = Machine(check=False)
    cnode_slots = 1 << caps.read(machine.root.tcb.slot(TcbSlot.CSPACE)).radix
    seen = rf"\(the first {explain.OWN_SLOTS} of its CNode's {cnode_slots} slots were looked at\)"
    retype(machine, ObjectType.FRAME, 30, 0, 0, machine.new_slots(), 1)
    assert re.search(rf"No untyped memory in .* has \d+ bytes left {seen}\.", last(machine))
    machine.next_slot = explain.OWN_SLOTS
    large = machine.retype(ObjectType.UNTYPED, 13)
    small = machine.retype(ObjectType.UNTYPED, 12)
    words = (ObjectType.UNTYPED, 13, 0, 0, machine.new_slots(), 1)
    machine.root.invoke(small, Label.UNTYPED_RETYPE, words, [CNODE])
    found = last(machine)
    assert re.search(rf"Untyped memory with 8192 bytes left {seen}: slot {machine.untyped} ", found)
    assert f"slot {large}" not in found


def test_a_cnode_full_of_memory_does_not_make_the_explanation_long_work() -> None:
    machine = Machine(check=False)
    for _ in range(12):
        machine.retype(ObjectType.UNTYPED, 4, count=abi.RETYPE_MAX_OBJECTS)
    small = machine.retype(ObjectType.UNTYPED, 4)
    words = (ObjectType.UNTYPED, 5, 0, 0, machine.new_slots(), 1)
    machine.root.invoke(small, Label.UNTYPED_RETYPE, words, [CNODE])
    assert lines_run(lambda: last(machine)) < 10_000
