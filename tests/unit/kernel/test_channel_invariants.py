"""Every predicate of channels finds the damage that it is about."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kerneld import caps, channel_invariants, invariants
from kerneld.records import Tcb, TcbSlot
from libsel4py import abi
from libsel4py.abi import Label
from tests.channel_scene import CHANNEL, ENDPOINT, NOTIFICATION, RECEIVER, ChannelScene
from tests.harness import Machine, Thread


class Connected:
    """Two receivers that listen, a waiter that listens to the notification, and a client with channels to both."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.scene = ChannelScene(self.machine)
        self.second = self.scene.receiver("second")
        self.waiter = self.scene.receiver("waiter")
        self.client: Thread = self.scene.sender("caller", channels=4)
        assert self.scene.listen() == 1
        assert self.scene.listen(self.second) == 2
        assert self.scene.listen(self.waiter, NOTIFICATION) == 1
        for number in range(2):
            assert self.scene.connect(self.client, ENDPOINT, CHANNEL + number) > 0
        assert self.scene.connect(self.client, NOTIFICATION, CHANNEL + 2) > 0


@pytest.fixture
def connected() -> Connected:
    return Connected()


def bound_in_a_cnode(on: Connected) -> None:
    slot = on.scene.slot_of(on.client, ENDPOINT)
    slot.word0 = slot.word0 | caps.BOUND


def bound_handler(on: Connected) -> None:
    slot = on.client.tcb.slot(TcbSlot.FAULT_HANDLER)
    caps.write(slot, caps.bind(caps.endpoint(on.scene.endpoint_record().address)))


def not_bound(on: Connected) -> None:
    on.scene.channel(on.client).slot.bound = 0


def another_client(on: Connected) -> None:
    on.scene.channel(on.client).client = on.scene.client.tcb


def client_of_nothing(on: Connected) -> None:
    on.scene.channel(on.client, CHANNEL + 3).client = on.client.tcb


def not_in_the_target(on: Connected) -> None:
    on.scene.notification_record().channels = None
    on.scene.notification_record().channel_count = 0


def back_link(on: Connected) -> None:
    on.scene.channel(on.client, CHANNEL + 1).client_prev = None


def target_back_link(on: Connected) -> None:
    on.scene.channel(on.client).target_prev = None


def count_of_a_client(on: Connected) -> None:
    on.client.tcb.channel_count = 4


def count_of_a_target(on: Connected) -> None:
    on.scene.endpoint_record().channel_count = 1


def same_numbers(on: Connected) -> None:
    on.second.tcb.listener = 1


def number_nought(on: Connected) -> None:
    on.second.tcb.listener = 0


def listener_back_link(on: Connected) -> None:
    on.scene.server.tcb.listen_prev = None


def two_waiters(on: Connected) -> None:
    on.waiter.tcb.listen_next = Tcb(on.machine.ram, on.client.tcb.address)


def listens_by_nothing(on: Connected) -> None:
    on.second.tcb.slot(TcbSlot.LISTEN).bound = 0


def another_is_bound(on: Connected) -> None:
    notification = on.scene.notification_record()
    notification.bound_tcb = on.second.tcb
    on.second.tcb.bound_notification = notification


DAMAGE: dict[Callable[[Connected], None], str] = {
    bound_in_a_cnode: "bound",
    bound_handler: "bound",
    not_bound: "channel-ends",
    another_client: "channel-ends",
    client_of_nothing: "channel-ends",
    not_in_the_target: "channel-ends",
    back_link: "channel-lists",
    target_back_link: "channel-lists",
    count_of_a_client: "channel-lists",
    count_of_a_target: "channel-lists",
    same_numbers: "listeners",
    number_nought: "listeners",
    listener_back_link: "listeners",
    two_waiters: "listeners",
    listens_by_nothing: "listeners",
    another_is_bound: "notification-taker",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_found(connected: Connected, damage: Callable[[Connected], None]) -> None:
    with connected.machine.ram.transaction():
        damage(connected)
    assert DAMAGE[damage] in {violation.name for violation in invariants.check(connected.machine.ram)}


def test_every_predicate_is_tried() -> None:
    assert {item.name for item in channel_invariants.PREDICATES} == set(DAMAGE.values())


def test_any_bytes_can_be_checked(connected: Connected) -> None:
    """A damaged image gives violations, never an exception."""
    ram, scene = connected.machine.ram, connected.scene
    tcb, channel = connected.client.tcb.address, scene.channel(connected.client).address
    places = [
        *range(tcb + Tcb.listen_prev.offset, tcb + Tcb.channels.offset + 8, 8),
        *range(tcb + TcbSlot.LISTEN * 32, tcb + TcbSlot.LISTEN * 32 + 32, 8),
        *range(channel, channel + 72, 8),
        *range(scene.endpoint_record().address, scene.endpoint_record().address + 32, 8),
        *range(scene.notification_record().address, scene.notification_record().address + 64, 8),
    ]
    for address in places:
        held = ram.word(address)
        for wrong in (abi.WORD_MASK, 0x7, ram.size - 8, held ^ 1 << 59, channel, tcb):
            with ram.transaction():
                ram.set_word(address, wrong)
            invariants.check(ram)
        with ram.transaction():
            ram.set_word(address, held)
    assert invariants.check(ram) == []


def test_lists_stay_sound_whichever_goes_first() -> None:
    """Channels leave both lists from every place in them."""
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)):
        connected = Connected()
        assert connected.scene.connect(connected.client, ENDPOINT, CHANNEL + 3) > 0
        for number in order:
            connected.client.call(CHANNEL + number, Label.CHANNEL_DISCONNECT)
        assert connected.client.tcb.channel_count == 1


def test_listeners_leave_from_every_place() -> None:
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        scene = ChannelScene(Machine())
        threads = [scene.receiver(f"receiver{number}") for number in range(3)]
        for thread in threads:
            assert scene.listen(thread, RECEIVER) > 0
        for number in order:
            scene.listen(threads[number], 0)
        assert scene.endpoint_record().listeners is None
