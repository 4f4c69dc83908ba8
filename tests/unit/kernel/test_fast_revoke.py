"""Revoke by the fast path: what it takes on. The harness carries each out by the slow path too, and compares RAM."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kerneld import _fastpath, layout
from kerneld.outbox import Tell
from kerneld.records import Endpoint
from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, ObjectType, Rights, Syscall
from tests.channel_scene import CHANNEL, ENDPOINT, RECEIVER, ChannelScene, answer
from tests.harness import Machine, TwinKernel, take_fast_after_each_store

LOG_END = layout.UNDO_LOG + layout.UNDO_LOG_BYTES
MOST = 60  # descendants


def taken_by(machine: Machine, slot: int) -> int:
    """How many system calls of a Revoke the fast path has carried out."""
    before = TwinKernel.fast_takes
    machine.revoke(slot)
    return TwinKernel.fast_takes - before


def scene_of(machine: Machine, channels: int = 1) -> ChannelScene:
    """Two clients with so many channels each, all connected, and nothing told."""
    scene = ChannelScene(machine)
    assert scene.listen() > 0
    scene.more_channels(scene.client, 1, channels - 1)
    for thread in (scene.client, scene.sender("another", channels=channels)):
        for number in range(channels):
            assert scene.connect(thread, channel=CHANNEL + number) > 0
    machine.tells.clear()
    return scene


@pytest.mark.parametrize("copies", [0, 1, MOST])
@pytest.mark.parametrize("badge", [0, 3])
def test_copies_go(machine: Machine, copies: int, badge: int) -> None:
    original = machine.retype(ObjectType.ENDPOINT)
    held = machine.copy(original, badge=badge) if badge else original
    made = [machine.copy(held) for _ in range(copies)]
    assert taken_by(machine, held) == 1
    assert [machine.slot(each).word0 for each in made] == [0] * copies
    assert machine.slot(held).word0
    assert machine.slot(original).word0
    machine.retype(ObjectType.ENDPOINT)  # the order is whole


def test_who_is_badged_apart_stays(machine: Machine) -> None:
    """A badged capability's descendants are those of its badge; the first of another one is not passed over."""
    original = machine.retype(ObjectType.ENDPOINT)
    first, other = machine.copy(original, badge=3), machine.copy(original, badge=3)
    below = [machine.copy(first), machine.copy(first)]
    assert taken_by(machine, first) == 1
    assert [bool(machine.slot(each).word0) for each in (first, other, *below)] == [True, True, False, False]
    assert taken_by(machine, original) == 1
    assert not machine.slot(first).word0
    assert not machine.slot(other).word0


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_severed(machine: Machine, channels: int) -> None:
    scene = scene_of(machine, channels)
    numbers = [scene.channel(slot=CHANNEL + number).address for number in range(channels)]
    assert taken_by(machine, scene.way) == 1
    gone = machine.told(Tell.CHANNEL_GONE)
    assert len(gone) == 2 * channels
    assert {message.subject for message in gone} >= set(numbers)
    assert scene.channel().client is None
    assert scene.client.tcb.channel_count == 0
    assert Endpoint(machine.ram, machine.slot(scene.endpoint).object).channel_count == 0
    assert machine.slot(scene.way).word0
    error, _ = scene.client.invoke(CHANNEL, Label.CHANNEL_CONNECT, (), [ENDPOINT])
    assert error == Error.INVALID_CAPABILITY


def test_a_completion_waits_for_memory_that_is_taken(machine: Machine) -> None:
    scene = scene_of(machine)
    machine.deliveries.clear()
    assert taken_by(machine, scene.way) == 1
    assert [(each.subject, each.detail) for each in machine.deliveries] == [(machine.root.tcb.address, 1)]
    assert not machine.root.tcb.takes_memory


def with_too_many(machine: Machine) -> int:
    slot = machine.retype(ObjectType.ENDPOINT)
    for _ in range(MOST + 1):
        machine.copy(slot)
    return slot


def with_a_listener(machine: Machine) -> int:
    scene = ChannelScene(machine)
    assert scene.listen() > 0
    return scene.endpoint


def of_a_notification(machine: Machine) -> int:
    slot = machine.retype(ObjectType.NOTIFICATION)
    machine.copy(slot)
    return slot


def of_memory(machine: Machine) -> int:
    return machine.retype(ObjectType.UNTYPED, 12)


def whose_copies_are_watched(machine: Machine, *, through: bool = False) -> int:
    slot = machine.retype(ObjectType.ENDPOINT)
    badged = machine.copy(slot, badge=3)
    machine.copy(badged)
    notice, bell = machine.retype(ObjectType.DEATH_NOTICE), machine.retype(ObjectType.NOTIFICATION)
    machine.root.call(notice, Label.DEATH_NOTICE_WATCH_COPIES, (), [badged, bell])
    return slot if through else badged


def with_one_whose_copies_are_watched(machine: Machine) -> int:
    return whose_copies_are_watched(machine, through=True)


WATCHED = (whose_copies_are_watched, with_one_whose_copies_are_watched)


@pytest.mark.parametrize("make", [*WATCHED, with_too_many, with_a_listener, of_a_notification, of_memory])
def test_what_else_hangs_on_it_is_slow(machine: Machine, make: Callable[[Machine], int]) -> None:
    assert taken_by(machine, make(machine)) == 0


@pytest.mark.parametrize(
    ("slot", "depth", "error"),
    [
        (0, abi.WORD_BITS, Error.NO_ERROR),
        (InitialSlot.TCB, 0, Error.RANGE_ERROR),
        (InitialSlot.TCB, abi.WORD_BITS + 1, Error.RANGE_ERROR),
        (InitialSlot.TCB, 3, Error.FAILED_LOOKUP),
    ],
)
def test_what_names_no_endpoint_capability_is_slow(machine: Machine, slot: int, depth: int, error: Error) -> None:
    before = TwinKernel.fast_takes
    assert machine.root.invoke(InitialSlot.CNODE, Label.CNODE_REVOKE, (slot, depth))[0] == error
    assert TwinKernel.fast_takes == before


def test_one_word_is_too_few(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    before = TwinKernel.fast_takes
    assert machine.root.invoke(InitialSlot.CNODE, Label.CNODE_REVOKE, (endpoint,))[0] == Error.TRUNCATED_MESSAGE
    assert TwinKernel.fast_takes == before


def test_people_can_ask_what_became_of_a_capability(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    copy = machine.copy(endpoint, rights=Rights.WRITE)
    held = machine.slot(copy).word0
    assert taken_by(machine, endpoint) == 1
    found = [each for each in machine.kernel.core.deletions() if each.slot == machine.slot(copy).address]
    assert {(each.word0, each.thread, each.revoked) for each in found} == {(held, machine.root.tcb.address, True)}


def test_every_store_can_be_interrupted(machine: Machine) -> None:
    scene = scene_of(machine, 3)
    root = machine.root
    root.submit(Syscall.CALL, InitialSlot.CNODE, abi.message_info(Label.CNODE_REVOKE, 2), (scene.way, abi.WORD_BITS))
    assert take_fast_after_each_store(machine, root.tcb) > 60
    assert root.completion() is not None
    assert len(machine.told(Tell.CHANNEL_GONE)) == 6


def many(machine: Machine, *, fast: bool) -> tuple[int, bytes]:
    """How many tells a Revoke with more descendants than the fast path takes on makes, and RAM afterwards."""
    scene = scene_of(machine, 33)
    extra = [machine.copy(scene.way) for _ in range(40)]
    listening = scene.receiver("another server")
    machine.tells.clear()
    if not fast:
        machine.kernel.core.fast_layout = None
    assert taken_by(machine, scene.way) == 0
    assert not any(machine.slot(each).word0 for each in extra)
    tells = len(machine.told(Tell.CHANNEL_GONE))
    # A thread that listens hangs on a copy of the endpoint's capability: that one is Python's.
    assert answer(listening.syscall(Syscall.LISTEN, RECEIVER)) > 0
    if not fast:
        machine.kernel.core.fast_layout = None
    machine.revoke(scene.endpoint)
    assert scene.endpoint_record().listeners is None
    return tells, machine.ram.read(LOG_END, machine.ram.size - LOG_END)


def test_where_the_slow_path_has_c_delete_copies_it_is_as_by_python() -> None:
    assert many(Machine(), fast=True) == many(Machine(), fast=False)


def test_no_more_copies_go_than_a_transaction_may_delete(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    copies = [machine.copy(endpoint) for _ in range(5)]
    layout_of, core = machine.kernel.fast_layout, machine.kernel.core
    assert layout_of is not None
    address = machine.slot(endpoint).address
    with machine.ram.transaction():
        assert _fastpath.delete_copies(core.ram, layout_of, address, 0, 3) == 3
    assert [bool(machine.slot(each).word0) for each in copies].count(True) == 2
    with machine.ram.transaction():
        assert _fastpath.delete_copies(core.ram, layout_of, address, 0, 3) == 2
        assert _fastpath.delete_copies(core.ram, layout_of, address, 0, 3) == 0
    with pytest.raises(TypeError):
        _fastpath.delete_copies(core.ram, layout_of, address)  # type: ignore[call-arg]
