"""Capabilities in messages: the receive slot, unwrapping, and what silently stays behind (manual 4.2.2)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kerneld.records import CapType
from libsel4py import abi
from libsel4py.abi import FaultLabel, InitialSlot, Label, LookupFailureKind, ObjectType, Rights, Syscall
from tests.conformance.scenes import (
    ENDPOINT,
    FREE,
    Pair,
    answer,
    call,
    faulting,
    got,
    held,
    held_by,
    next_fault,
    pair,
    receive,
    set_root,
)
from tests.harness import OWN_CNODE, Completion, Machine

FIRST, SECOND, THIRD = 10, 11, 12  # slots of the client's CNode


@pytest.fixture
def scene(machine: Machine) -> Pair:
    """A server that has named an empty slot for a capability."""
    made = pair(machine)
    made.server.set_receive(OWN_CNODE, FREE, 8)
    return made


def pass_on(scene: Pair, caps: Sequence[int]) -> Completion:
    """Send capabilities from the client to the server; what the server gets."""
    assert receive(scene.server) is None
    scene.client.syscall(Syscall.SEND, ENDPOINT, words=(1,), caps=caps)
    done = got(scene.server.completion())
    assert done.words == (1,)
    return done


def counts(done: Completion) -> tuple[int, int]:
    return abi.info_extra_caps(done.info), abi.info_caps_unwrapped(done.info)


def give(scene: Pair, object_type: ObjectType, index: int) -> int:
    slot = scene.machine.retype(object_type)
    scene.machine.grant(scene.client, slot, index)
    return slot


def test_CAPTRANSFER0001_into_the_receive_slot(scene: Pair) -> None:
    """A capability goes to the slot that the receiver named; the sender keeps its own."""
    give(scene, ObjectType.TCB, FIRST)
    assert counts(pass_on(scene, [FIRST])) == (1, 0)
    assert held_by(scene.server, FREE) == held_by(scene.client, FIRST)


def test_CAPTRANSFER0002_rights_travel(scene: Pair) -> None:
    """The received capability has the rights and the badge of the sent one."""
    machine = scene.machine
    other = machine.retype(ObjectType.ENDPOINT)
    machine.grant(scene.client, other, FIRST, Rights.READ | Rights.GRANT_REPLY, 77)
    pass_on(scene, [FIRST])
    cap = held_by(scene.server, FREE)
    assert (cap.rights, cap.badge) == (Rights.READ | Rights.GRANT_REPLY, 77)


def test_CAPTRANSFER0003_derived_from_the_senders(scene: Pair) -> None:
    """The received capability is derived from the sent one: revoking that takes it away."""
    machine = scene.machine
    notification = machine.retype(ObjectType.NOTIFICATION)
    assert receive(scene.server) is None
    machine.root.syscall(Syscall.SEND, scene.endpoint, words=(), caps=[notification])
    assert held_by(scene.server, FREE).type is CapType.NOTIFICATION
    machine.revoke(notification)
    assert held_by(scene.server, FREE).type is CapType.NULL


def test_CAPTRANSFER0004_unwrap(scene: Pair) -> None:
    """A capability to the endpoint of the message itself arrives as its badge, and uses up no slot."""
    scene.machine.grant(scene.client, scene.endpoint, FIRST, Rights.NONE, 55)
    done = pass_on(scene, [FIRST])
    assert counts(done) == (1, 1)
    assert done.caps_or_badges[0] == 55
    assert held_by(scene.server, FREE).type is CapType.NULL


def test_CAPTRANSFER0005_unwrap_then_transfer(scene: Pair) -> None:
    """An unwrapped capability and a transferred one go in one message, in either order."""
    scene.machine.grant(scene.client, scene.endpoint, FIRST, badge=55)
    give(scene, ObjectType.TCB, SECOND)
    done = pass_on(scene, [FIRST, SECOND])
    assert counts(done) == (2, 0b01)
    assert done.caps_or_badges[0] == 55
    assert held_by(scene.server, FREE).type is CapType.TCB
    scene.server.set_receive(OWN_CNODE, FREE + 1, 8)
    done = pass_on(scene, [SECOND, FIRST])
    assert counts(done) == (2, 0b10)
    assert done.caps_or_badges[1] == 55
    assert held_by(scene.server, FREE + 1).type is CapType.TCB


def test_CAPTRANSFER0006_three_unwrapped(scene: Pair) -> None:
    """Three capabilities can be unwrapped in one message."""
    for index, badge in ((FIRST, 7), (SECOND, 8), (THIRD, 9)):
        scene.machine.grant(scene.client, scene.endpoint, index, badge=badge)
    done = pass_on(scene, [FIRST, SECOND, THIRD])
    assert counts(done) == (3, 0b111)
    assert done.caps_or_badges == (7, 8, 9)


def test_CAPTRANSFER0007_one_slot(scene: Pair) -> None:
    """The second capability that needs a slot ends the transfer; those behind it are not looked at."""
    give(scene, ObjectType.TCB, FIRST)
    give(scene, ObjectType.REPLY, SECOND)
    scene.machine.grant(scene.client, scene.endpoint, THIRD, badge=9)
    assert counts(pass_on(scene, [FIRST, SECOND, THIRD])) == (1, 0)
    assert held_by(scene.server, FREE).type is CapType.TCB


def test_CAPTRANSFER0008_occupied_slot(scene: Pair) -> None:
    """An occupied receive slot is no error to anybody: no capability arrives."""
    give(scene, ObjectType.TCB, FIRST)
    scene.server.set_receive(OWN_CNODE, ENDPOINT, 8)
    assert counts(pass_on(scene, [FIRST])) == (0, 0)
    assert held_by(scene.server, ENDPOINT).type is CapType.ENDPOINT


@pytest.mark.parametrize(
    ("cnode", "index", "depth"),
    [
        (0, FREE, 8),
        (OWN_CNODE, FREE, 0),
        (OWN_CNODE, FREE, 65),
        (OWN_CNODE, FREE, 64),
        (1 << 60, FREE, 8),
        (1, FREE, 8),
    ],
)
def test_CAPTRANSFER0009_bad_receive_path(scene: Pair, cnode: int, index: int, depth: int) -> None:
    """A receive slot that does not resolve is no error to anybody: no capability arrives."""
    give(scene, ObjectType.TCB, FIRST)
    scene.server.set_receive(cnode, index, depth)
    assert counts(pass_on(scene, [FIRST])) == (0, 0)


def test_CAPTRANSFER0010_untyped_with_children(scene: Pair) -> None:
    """Untyped memory with children cannot travel; childless it can."""
    machine = scene.machine
    memory = machine.retype(ObjectType.UNTYPED, 8)
    machine.root.call(scene.client.cnode, Label.CNODE_MOVE, (FIRST, 8, memory, 64), [InitialSlot.CNODE])
    slot = machine.new_slots()
    scene.client.call(FIRST, Label.UNTYPED_RETYPE, (ObjectType.REPLY, 0, 0, 0, THIRD, 1), [OWN_CNODE])
    assert counts(pass_on(scene, [FIRST])) == (0, 0)
    scene.client.call(OWN_CNODE, Label.CNODE_DELETE, (THIRD, 8))
    assert counts(pass_on(scene, [FIRST])) == (1, 0)
    assert held(machine, slot).type is CapType.NULL


def test_CAPTRANSFER0011_control_does_not_travel(machine: Machine) -> None:
    """IRQControl cannot travel."""
    scene = pair(machine)
    scene.server.set_receive(OWN_CNODE, FREE, 8)
    assert receive(scene.server) is None
    machine.root.syscall(Syscall.SEND, scene.endpoint, words=(), caps=[InitialSlot.IRQ_CONTROL])
    assert counts(got(scene.server.completion())) == (0, 0)


def test_CAPTRANSFER0012_null_capability(scene: Pair) -> None:
    """An empty slot among the capabilities ends the transfer."""
    give(scene, ObjectType.TCB, SECOND)
    assert counts(pass_on(scene, [FIRST, SECOND])) == (0, 0)


@pytest.mark.parametrize("op", [Syscall.SEND, Syscall.CALL])
def test_CAPTRANSFER0013_failed_lookup(machine: Machine, op: int) -> None:
    """A capability address that does not resolve makes the sender fault in the send phase, at that address."""
    thread, handler = faulting(machine)
    machine.grant(thread, machine.retype(ObjectType.ENDPOINT), ENDPOINT)
    assert thread.syscall(op, ENDPOINT, words=(1,), caps=[FIRST, 1 << 40]) is None
    fault = got(next_fault(machine, handler))
    assert fault.label == FaultLabel.CAP_FAULT
    assert fault.words[1:] == (1 << 40, 0, LookupFailureKind.GUARD_MISMATCH, 64, 0, 56)


def test_CAPTRANSFER0014_reply_does_not_unwrap(scene: Pair) -> None:
    """In a reply a capability to the endpoint of the call is transferred, not unwrapped."""
    scene.client.set_receive(OWN_CNODE, FREE, 8)
    assert receive(scene.server) is None
    assert call(scene.client) is None
    scene.server.syscall(Syscall.SEND, scene.server.reply, words=(1,), caps=[ENDPOINT])
    assert counts(got(scene.client.completion())) == (1, 0)
    assert held_by(scene.client, FREE).type is CapType.ENDPOINT


def test_CAPTRANSFER0015_queued_sender(scene: Pair) -> None:
    """Capabilities of a sender that waited are transferred when its message is taken."""
    give(scene, ObjectType.TCB, FIRST)
    assert scene.client.syscall(Syscall.SEND, ENDPOINT, words=(1,), caps=[FIRST]) is None
    assert counts(got(receive(scene.server))) == (1, 0)
    assert held_by(scene.server, FREE).type is CapType.TCB


def test_CAPTRANSFER0016_call_and_reply(scene: Pair) -> None:
    """A call can carry a capability there and its reply one back."""
    give(scene, ObjectType.TCB, FIRST)
    scene.client.set_receive(OWN_CNODE, FREE, 8)
    assert receive(scene.server) is None
    assert scene.client.syscall(Syscall.CALL, ENDPOINT, words=(1,), caps=[FIRST]) is None
    assert counts(got(scene.server.completion())) == (1, 0)
    assert scene.server.syscall(Syscall.SEND, scene.server.reply, words=(2,), caps=[OWN_CNODE]) is not None
    assert counts(got(scene.client.completion())) == (1, 0)
    assert held_by(scene.client, FREE).type is CapType.CNODE


def test_CAPTRANSFER0017_nested_receive_slot(scene: Pair) -> None:
    """The receive slot may lie in a CNode below the receiver's root."""
    machine, server = scene.machine, scene.server
    inner = machine.retype(ObjectType.CNODE, 4)
    machine.grant(server, inner, FREE)
    set_root(machine, server, server.cnode, 0, 56, scene.endpoint)
    give(scene, ObjectType.TCB, FIRST)
    server.set_receive(FREE, 6, 4)
    assert counts(pass_on(scene, [FIRST])) == (1, 0)
    slot = machine.new_slots()
    machine.root.call(InitialSlot.CNODE, Label.CNODE_MOVE, (slot, 64, 6, 4), [inner])
    assert held(machine, slot).type is CapType.TCB


def test_CAPTRANSFER0018_badges_untouched(scene: Pair) -> None:
    """Without an unwrapped capability the receiver's badge words stay as they are."""
    scene.machine.poke_words(scene.server.tcb.trap_frame + abi.IPC_CAPS_OR_BADGES, (1, 2, 3))
    give(scene, ObjectType.TCB, FIRST)
    assert pass_on(scene, [FIRST]).caps_or_badges == (1, 2, 3)
    answer(scene.server)
