"""Deriving, revoking, deleting: who is whose child, and what the last capability takes along (manual 3.1.3-3.1.5)."""

from __future__ import annotations

from kerneld.outbox import Tell
from kerneld.records import CapType
from libsel4py.abi import Error, InitialSlot, Label, ObjectType, Rights, Syscall
from tests.conformance.scenes import ENDPOINT, got, held, is_empty, poll, send
from tests.harness import OWN_CNODE, Machine

CNODE = InitialSlot.CNODE


def pool(machine: Machine, size_bits: int) -> int:
    return machine.retype(ObjectType.UNTYPED, size_bits)


def test_REVOKE0001_deletes_descendants(machine: Machine) -> None:
    """Revoke deletes every capability derived from one, and leaves that one."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    children = [machine.copy(endpoint), machine.copy(endpoint, badge=1)]
    grandchild = machine.copy(children[1])
    machine.revoke(endpoint)
    assert not is_empty(machine, endpoint)
    assert all(is_empty(machine, slot) for slot in (*children, grandchild))


def test_REVOKE0002_copies_of_copies_are_siblings(machine: Machine) -> None:
    """A copy is no parent: revoking it does not touch what was copied from it."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    copy = machine.copy(endpoint)
    sibling = machine.copy(copy)
    machine.revoke(copy)
    assert not is_empty(machine, sibling)


def test_REVOKE0003_badged_is_parent_of_its_copies(machine: Machine) -> None:
    """Revoking a badged capability deletes its copies, and neither the original nor other badges."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    five, six = machine.copy(endpoint, badge=5), machine.copy(endpoint, badge=6)
    copy, plain = machine.copy(five), machine.copy(endpoint)
    machine.revoke(five)
    assert is_empty(machine, copy)
    assert not any(is_empty(machine, slot) for slot in (endpoint, five, six, plain))


def test_REVOKE0004_same_badge_minted_twice(machine: Machine) -> None:
    """Two capabilities minted with the same badge are strangers: revoking one spares the other and its copies."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    first, second = machine.copy(endpoint, badge=5), machine.copy(endpoint, badge=5)
    of_first, of_second = machine.copy(first), machine.copy(second)
    machine.revoke(second)
    assert is_empty(machine, of_second)
    assert not is_empty(machine, first)
    assert not is_empty(machine, of_first)


def test_REVOKE0005_reaches_every_space(machine: Machine) -> None:
    """Revoke deletes capabilities in other threads' capability spaces; their next use finds nothing."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    thread = machine.thread("holder")
    machine.grant(thread, endpoint, ENDPOINT)
    machine.revoke(endpoint)
    assert thread.invoke(ENDPOINT) == (Error.INVALID_CAPABILITY, (0,))


def test_REVOKE0006_untyped(machine: Machine) -> None:
    """Revoking untyped memory destroys all objects made from it."""
    memory = pool(machine, 12)
    endpoint = machine.retype(ObjectType.ENDPOINT, untyped=memory)
    tcb = machine.retype(ObjectType.TCB, untyped=memory)
    copy = machine.copy(endpoint, badge=3)
    machine.revoke(memory)
    assert all(is_empty(machine, slot) for slot in (endpoint, tcb, copy))


def test_REVOKE0007_nested_untyped(machine: Machine) -> None:
    """Revoking untyped memory reaches objects in untyped memory made from it."""
    outer = pool(machine, 13)
    inner = machine.retype(ObjectType.UNTYPED, 12, untyped=outer)
    reply = machine.retype(ObjectType.REPLY, untyped=inner)
    machine.revoke(outer)
    assert is_empty(machine, inner)
    assert is_empty(machine, reply)


def test_REVOKE0008_empty_slot(machine: Machine) -> None:
    """Revoking and deleting an empty slot succeeds and does nothing."""
    slot = machine.new_slots()
    machine.revoke(slot)
    machine.delete(slot)
    assert is_empty(machine, slot)


def test_REVOKE0009_preemptible(machine: Machine) -> None:
    """A long Revoke lets other threads' system calls in between, and ends with all descendants gone."""
    endpoint, notification = machine.retype(ObjectType.ENDPOINT), machine.retype(ObjectType.NOTIFICATION)
    other = machine.thread("other")
    machine.grant(other, notification, 1, badge=1)
    machine.check = False
    slots = [machine.copy(endpoint) for _ in range(200)]
    machine.check = True
    root = machine.root
    root.submit(Syscall.CALL, CNODE, Label.CNODE_REVOKE << 12 | 2, (endpoint, 64))
    assert machine.kernel.take(root.tcb)
    machine.settle()
    assert root.completion() is None
    assert not all(is_empty(machine, slot) for slot in slots)
    other.submit(Syscall.SEND, 1)
    assert machine.kernel.take(other.tcb)
    machine.settle()
    assert got(other.completion()).info == 0
    machine.run()
    assert got(root.completion()).label == Error.NO_ERROR
    assert all(is_empty(machine, slot) for slot in slots)


def test_REVOKE0010_irq_control(machine: Machine) -> None:
    """Revoking IRQControl deletes all interrupt handlers that it gave out."""
    handler = machine.new_slots()
    machine.root.call(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, (5, handler, 64), [CNODE])
    copy = machine.copy(handler)
    machine.revoke(InitialSlot.IRQ_CONTROL)
    assert is_empty(machine, handler)
    assert is_empty(machine, copy)


def test_REVOKE0011_invoked_capability(machine: Machine) -> None:
    """A Revoke that deletes the CNode it works in, and the capability it was invoked by, completes all the same."""
    memory = pool(machine, 12)
    cnode = machine.retype(ObjectType.CNODE, 4, untyped=memory)
    reply = machine.retype(ObjectType.REPLY, untyped=memory)
    machine.root.call(cnode, Label.CNODE_MOVE, (1, 4, memory, 64), [CNODE])
    machine.root.call(cnode, Label.CNODE_REVOKE, (1, 4))
    assert is_empty(machine, cnode)
    assert machine.root.invoke(cnode) == (Error.INVALID_CAPABILITY, (0,))
    assert is_empty(machine, reply)


def test_DELETE0001_object_lives_on(machine: Machine) -> None:
    """Deleting one of several capabilities leaves the object."""
    notification = machine.retype(ObjectType.NOTIFICATION)
    badged = machine.copy(notification, badge=4)
    copy = machine.copy(badged)
    machine.delete(badged)
    send(machine.root, cptr=copy)
    assert poll(machine, notification) == 4


def test_DELETE0002_original_may_go_first(machine: Machine) -> None:
    """The object lives until its last capability goes, also when the original is deleted first."""
    notification = machine.retype(ObjectType.NOTIFICATION)
    badged, reader = machine.copy(notification, badge=4), machine.copy(notification, Rights.READ)
    machine.delete(notification)
    send(machine.root, cptr=badged)
    assert poll(machine, reader) == 4


def test_DELETE0003_last_one_frees_memory(machine: Machine) -> None:
    """With the last capability the object is gone, and its untyped memory can be retyped again from the start."""
    memory = pool(machine, 11)
    tcb = machine.retype(ObjectType.TCB, untyped=memory)
    address = held(machine, tcb).object
    machine.delete(tcb)
    assert held(machine, machine.retype(ObjectType.TCB, untyped=memory)).object == address


def test_DELETE0004_cnode_takes_its_slots_along(machine: Machine) -> None:
    """Deleting the last capability of a CNode deletes the capabilities in it, and with them their objects."""
    cnode = machine.retype(ObjectType.CNODE, 3)
    memory = pool(machine, 6)
    notification = machine.retype(ObjectType.NOTIFICATION, untyped=memory)
    machine.root.call(cnode, Label.CNODE_MOVE, (5, 3, notification, 64), [CNODE])
    machine.delete(cnode)
    machine.retype(ObjectType.NOTIFICATION, untyped=memory)


def test_DELETE0005_cnode_with_other_capability(machine: Machine) -> None:
    """Deleting a CNode capability that is not the last leaves the slots alone."""
    cnode = machine.retype(ObjectType.CNODE, 3)
    machine.root.call(cnode, Label.CNODE_COPY, (5, 3, machine.retype(ObjectType.REPLY), 64, 15), [CNODE])
    copy = machine.copy(cnode)
    machine.delete(cnode)
    slot = machine.new_slots()
    machine.root.call(CNODE, Label.CNODE_MOVE, (slot, 64, 5, 3), [copy])
    assert held(machine, slot).type is CapType.REPLY


def test_DELETE0006_nested_cnodes(machine: Machine) -> None:
    """A CNode whose last capability is in a deleted CNode stays, unreachable, until its memory is revoked."""
    memory, inner_memory = pool(machine, 6), pool(machine, 7)
    inner = machine.retype(ObjectType.CNODE, 2, untyped=inner_memory)
    outer = machine.retype(ObjectType.CNODE, 2)
    notification = machine.retype(ObjectType.NOTIFICATION, untyped=memory)
    machine.root.call(inner, Label.CNODE_MOVE, (3, 2, notification, 64), [CNODE])
    machine.root.call(outer, Label.CNODE_MOVE, (1, 2, inner, 64), [CNODE])
    machine.delete(outer)
    machine.revoke(inner_memory)
    machine.retype(ObjectType.NOTIFICATION, untyped=memory)
    machine.retype(ObjectType.CNODE, 2, untyped=inner_memory)


def test_DELETE0007_cyclic_cnode(machine: Machine) -> None:
    """A CNode that holds its own last but one capability can be deleted; revoking its memory cleans up."""
    memory = pool(machine, 12)
    cnode = machine.retype(ObjectType.CNODE, 4, untyped=memory)
    machine.root.call(cnode, Label.CNODE_COPY, (1, 4, cnode, 64, 15), [CNODE])
    machine.delete(cnode)
    assert is_empty(machine, cnode)
    machine.revoke(memory)
    machine.retype(ObjectType.UNTYPED, 12, untyped=memory)


def test_DELETE0008_tcb_stops(machine: Machine) -> None:
    """Deleting the last capability of a TCB ends the thread and drops the capabilities inside it."""
    thread = machine.thread("victim")
    machine.root.call(thread.cnode, Label.CNODE_DELETE, (250, 8))
    machine.delete(thread.cap)
    assert [message.subject for message in machine.told(Tell.KILL)] == [thread.tcb.address]


def test_DELETE0009_thread_deletes_itself(machine: Machine) -> None:
    """A thread may delete the last capability to its own TCB; it ends."""
    thread = machine.thread("suicide")
    machine.delete(thread.cap)
    assert thread.syscall(Syscall.CALL, OWN_CNODE, Label.CNODE_DELETE << 12 | 2, (250, 8)) is None
    assert [message.subject for message in machine.told(Tell.KILL)] == [thread.tcb.address]
    assert held_by_is_empty(machine, thread.cnode, 250)


def held_by_is_empty(machine: Machine, cnode: int, index: int) -> bool:
    slot = machine.new_slots()
    error, _ = machine.root.invoke(CNODE, Label.CNODE_MOVE, (slot, 64, index, 8), [cnode])
    return error == Error.FAILED_LOOKUP


def test_UNTYPED0001_copy_is_child(machine: Machine) -> None:
    """A copy of untyped memory is its child, and while it lives the parent has no bytes left."""
    memory = pool(machine, 12)
    copy = machine.copy(memory)
    words = (ObjectType.REPLY, 0, 0, 0, machine.new_slots(), 1)
    assert machine.root.invoke(memory, Label.UNTYPED_RETYPE, words, [CNODE]) == (Error.NOT_ENOUGH_MEMORY, (0,))
    machine.retype(ObjectType.REPLY, untyped=copy)
    machine.revoke(memory)
    assert is_empty(machine, copy)
    machine.retype(ObjectType.REPLY, untyped=memory)


def test_UNTYPED0002_with_children_is_not_copied(machine: Machine) -> None:
    """Untyped memory with children cannot be copied: RevokeFirst. It can be moved."""
    memory = pool(machine, 12)
    reply = machine.retype(ObjectType.REPLY, untyped=memory)
    slot = machine.new_slots()
    assert machine.root.invoke(CNODE, Label.CNODE_COPY, (slot, 64, memory, 64, 15), [CNODE])[0] == Error.REVOKE_FIRST
    machine.root.call(CNODE, Label.CNODE_MOVE, (slot, 64, memory, 64), [CNODE])
    machine.revoke(slot)
    assert is_empty(machine, reply)
