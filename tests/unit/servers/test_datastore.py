"""The data store: names are their publishers', subscribers are told, and all of it outlives the store's process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from libsel4py import Endpoint, JournalFull, Notification
from libsel4py.capabilities import Capability
from libsel4py.interfaces.data_store import (
    MOST_CHANGES,
    MOST_NAME_BYTES,
    MOST_NAMES,
    MOST_SUBSCRIPTIONS,
    MOST_VALUE_BYTES,
    Changed,
    DataStore,
    NameTaken,
    NotSuch,
    Publish,
    Published,
    TooMuch,
    UnknownName,
)
from libsel4py.testing import TestSystem, system
from libsel4py.testing.fake_objects import FakeCap, FakeNotification, FakeUntyped
from servers.datastore.contents import MOST_BYTES, MOST_PENDING
from servers.datastore.main import Main
from tests.unit.servers.second_life import Lives

EVE = 66


class Store:
    """A data store with a client, ada, and another one, eve."""

    def __init__(self, made: TestSystem, slots: int = 6, state: int = 1 << 17) -> None:
        self.made = made
        self.lives = Lives(made, Main, slots, state)
        self.begin()

    def begin(self) -> None:
        """The store's next life."""
        with self.lives.life() as ada:
            self.ada: DataStore = ada
            self.eve = self.client(EVE)

    def client(self, badge: int) -> DataStore:
        cap = self.made.kernel.objects.caps[self.ada._endpoint.cptr]
        slot = self.made.slots.allocate()
        self.made.kernel.objects.caps[slot] = FakeCap(cap.object, badge)
        return DataStore(Endpoint(slot))

    def memory(self) -> Capability:
        return Capability(self.made.new(FakeUntyped(12)))

    def bell(self) -> tuple[Notification, FakeNotification]:
        bell = FakeNotification()
        return Notification(self.made.new(bell, badge=1)), bell

    def object(self, capability: Capability) -> object:
        return self.made.kernel.objects.caps[capability.cptr].object


@pytest.fixture
def store() -> Iterator[Store]:
    with system() as made:
        yield Store(made)


@pytest.mark.parametrize("value", [0, -1, (1 << 64) - 1, "text", "", b"", b"x" * MOST_VALUE_BYTES])
def test_a_value_is_there_for_all_also_in_the_next_life(store: Store, value: int | str | bytes) -> None:
    store.ada.publish("a", value, Publish.NEW)
    assert store.eve.retrieve("a") == value
    store.begin()
    assert store.eve.retrieve("a") == value
    assert store.eve.names() == [Published("a", type(value).__name__, False)]


def test_a_capability_is_handed_out_as_often_as_one_asks_also_in_the_next_life(store: Store) -> None:
    memory = store.memory()
    store.ada.publish_capability("m", memory, Publish.NEW)
    for _ in range(2):
        assert store.object(store.eve.retrieve_capability("m")) is store.object(memory)
        store.begin()
    assert store.eve.names() == [Published("m", "capability", False)]


def test_values_and_capabilities_are_asked_for_as_what_they_are(store: Store) -> None:
    store.ada.publish("a", 1, Publish.NEW)
    store.ada.publish_capability("m", store.memory(), Publish.NEW)
    with pytest.raises(NotSuch):
        store.ada.retrieve_capability("a")
    with pytest.raises(NotSuch):
        store.ada.retrieve("m")
    for ask in (store.ada.retrieve, store.ada.retrieve_capability, store.ada.delete):
        with pytest.raises(UnknownName):
            ask("b")


def test_a_name_is_its_publishers(store: Store) -> None:
    store.ada.publish("a", 1, Publish.NEW)
    for take in (
        lambda: store.eve.publish("a", 2, Publish.OVERWRITE),
        lambda: store.eve.publish_capability("a", store.memory(), Publish.OVERWRITE),
    ):
        with pytest.raises(NameTaken, match="another client's"):
            take()
    with pytest.raises(UnknownName):
        store.eve.delete("a")
    with pytest.raises(NameTaken, match="say OVERWRITE"):
        store.ada.publish("a", 2, Publish.NEW)
    store.ada.publish("a", 2, Publish.OVERWRITE)
    assert store.eve.retrieve("a") == 2
    store.ada.delete("a")
    store.eve.publish("a", 3, Publish.NEW)


def test_what_is_private_nobody_else_sees(store: Store) -> None:
    store.ada.publish("a", 1, Publish.PRIVATE)
    bell = store.bell()[0]
    store.eve.subscribe("", bell)
    store.ada.publish("a", 2, Publish.PRIVATE | Publish.OVERWRITE)
    with pytest.raises(UnknownName):
        store.eve.retrieve("a")
    assert store.eve.names() == []
    assert store.eve.changed("") == Changed([])
    assert store.ada.retrieve("a") == 2


def test_slots_are_emptied_when_nothing_stands_on_them(store: Store) -> None:
    for _ in range(10):
        store.ada.publish_capability("m", store.memory(), Publish.NEW)
    assert len(store.lives.held()) == 1
    store.ada.publish("m", 1, Publish.OVERWRITE)
    assert store.lives.held() == set()
    store.ada.publish_capability("m", store.memory(), Publish.NEW)
    store.ada.delete("m")
    store.ada.subscribe("", store.bell()[0])
    store.ada.subscribe("", store.bell()[0])
    assert len(store.lives.held()) == 1
    store.ada.unsubscribe("")
    store.ada.unsubscribe("")
    assert store.lives.held() == set()


def test_what_a_death_left_in_a_slot_goes(store: Store) -> None:
    left = store.lives.held()
    store.made.kernel.objects.put(10_003, FakeNotification())
    store.begin()
    assert store.lives.held() == left


def test_a_revoked_capability_is_not_there(store: Store) -> None:
    memory = store.memory()
    store.ada.publish_capability("m", memory, Publish.NEW)
    for slot in store.lives.held():
        del store.made.kernel.objects.caps[slot]
    with pytest.raises(UnknownName, match="was revoked"):
        store.eve.retrieve_capability("m")
    store.begin()
    assert store.eve.names() == []


def test_subscribers_are_signalled_and_told_what_begins_so(store: Store) -> None:
    wake, bell = store.bell()
    store.eve.subscribe("printer/", wake)
    store.ada.publish("other", 1, Publish.NEW)
    assert not bell.word
    store.ada.publish("printer/state", "empty", Publish.NEW)
    store.ada.publish("printer/state", "full", Publish.OVERWRITE)
    store.ada.delete("printer/state")
    assert bell.word
    assert store.eve.changed("printer/") == Changed(["printer/state"])
    assert store.eve.changed("printer/") == Changed([])
    with pytest.raises(UnknownName):
        store.eve.changed("other")


def test_subscriptions_outlive_the_store_which_signals_what_it_could_not(store: Store) -> None:
    wake, bell = store.bell()
    store.eve.subscribe("", wake)
    store.ada.publish("a", 1, Publish.NEW)
    bell.word = 0
    store.begin()
    assert bell.word
    assert store.eve.changed("") == Changed(["a"])


def test_more_than_an_answer_holds_comes_in_parts_and_too_much_is_everything(store: Store) -> None:
    store.eve.subscribe("", store.bell()[0])
    names = [f"{number:0{MOST_NAME_BYTES}}" for number in range(MOST_CHANGES + 2)]
    for name in names:
        store.ada.publish(name, 0, Publish.NEW)
    assert store.eve.changed("") == Changed(names[:MOST_CHANGES], more=True)
    assert store.eve.changed("") == Changed(names[MOST_CHANGES:])
    for number in range(MOST_PENDING + 1):
        store.ada.publish(f"n{number}", 0, Publish.NEW)
    assert store.eve.changed("") == Changed([], all=True)


def test_a_client_has_so_much_and_no_more_and_others_go_on(store: Store) -> None:
    for name in ("", "x" * (MOST_NAME_BYTES + 1), "ä" * MOST_NAME_BYTES):
        with pytest.raises(TooMuch, match="a name has"):
            store.eve.publish(name, 1, Publish.NEW)
    with pytest.raises(TooMuch, match="a value has"):
        store.eve.publish("v", b"x" * (MOST_VALUE_BYTES + 1), Publish.NEW)
    for number in range(MOST_BYTES // MOST_VALUE_BYTES):
        store.eve.publish(f"v{number}", b"x" * MOST_VALUE_BYTES, Publish.NEW)
    with pytest.raises(TooMuch, match="bytes together"):
        store.eve.publish("v", b"x" * MOST_VALUE_BYTES, Publish.NEW)
    for name in store.eve.names():
        store.eve.delete(name.name)
    for number in range(MOST_NAMES):
        store.eve.publish(f"{number}", 1, Publish.NEW)
    with pytest.raises(TooMuch, match="names"):
        store.eve.publish("v", 1, Publish.NEW)
    store.eve.publish("1", 2, Publish.OVERWRITE)
    store.ada.publish("a", 1, Publish.NEW)


def test_there_is_room_for_so_many_capabilities_and_subscriptions(store: Store) -> None:
    """Of which one client takes half at most, where there are others."""
    store.eve.subscribe("", store.bell()[0])
    for number in range(2):
        store.eve.publish_capability(f"{number}", store.memory(), Publish.NEW)
    with pytest.raises(TooMuch, match="at most 3 of the store's slots"):
        store.eve.subscribe("more", store.bell()[0])
    with pytest.raises(TooMuch, match="at most 3 of the store's slots"):
        store.eve.publish_capability("2", store.memory(), Publish.NEW)
    store.eve.publish_capability("1", store.memory(), Publish.NEW)
    store.eve.subscribe("", store.bell()[0])
    for number in range(3):
        store.ada.publish_capability(f"ada's {number}", store.memory(), Publish.NEW)
    with pytest.raises(TooMuch, match="no room for another"):
        store.client(EVE + 1).publish_capability("third", store.memory(), Publish.NEW)


def test_the_only_client_has_all_slots_and_all_room() -> None:
    with system() as made:
        store = Store(made, state=4096)
        for number in range(6):
            store.ada.publish_capability(f"{number}", store.memory(), Publish.NEW)
        with pytest.raises(TooMuch, match="at most 6 of the store's slots"):
            store.ada.subscribe("", store.bell()[0])
        for number in range(6):
            store.ada.delete(f"{number}")
        for number in range(2):
            store.ada.publish(f"{number}", b"x" * MOST_VALUE_BYTES, Publish.NEW)


def test_one_clients_names_subscriptions_and_changes_leave_room_for_others() -> None:
    """All that one client can have the store hold, where the state is that of one client."""
    with system() as made:
        store = Store(made, slots=20, state=1 << 14)
        for number in range(MOST_SUBSCRIPTIONS):
            store.eve.subscribe("x" * number, store.bell()[0])
        refused = 0
        for number in range(MOST_NAMES):
            try:
                store.eve.publish(f"{number}".rjust(MOST_NAME_BYTES, "x"), b"x" * 100, Publish.NEW)
            except TooMuch:
                refused += 1
        assert 0 < refused < MOST_NAMES
        assert store.eve.changed("").all
        for number in range(25):
            store.ada.publish(f"{number}".rjust(MOST_NAME_BYTES, "y"), b"", Publish.NEW)
        store.begin()
        assert len(store.ada.names("y")) == 25


def test_a_client_has_so_many_subscriptions() -> None:
    with system() as made:
        store = Store(made, slots=20)
        for number in range(MOST_SUBSCRIPTIONS):
            store.eve.subscribe(f"{number}", store.bell()[0])
        with pytest.raises(TooMuch, match="subscriptions"):
            store.eve.subscribe("more", store.bell()[0])
        with pytest.raises(TooMuch, match="a prefix has"):
            store.ada.subscribe("x" * (MOST_NAME_BYTES + 1), store.bell()[0])
        store.eve.subscribe("1", store.bell()[0])


def test_what_is_signalled_is_a_notification(store: Store) -> None:
    with pytest.raises(TooMuch, match="none"):
        store.eve.subscribe("", Notification(store.memory().cptr))


def test_a_store_that_is_full_keeps_what_it_has() -> None:
    with system() as made:
        store = Store(made, state=4096)
        store.ada.publish("a", 1, Publish.NEW)
        for number in range(3):
            store.client(EVE + number).publish(f"{number}", b"x" * 500, Publish.NEW)
        with pytest.raises(TooMuch, match="bytes of the store's state"):
            store.eve.publish("3", b"x" * 500, Publish.NEW)
        with pytest.raises(JournalFull):
            store.client(EVE + 3).publish("3", b"x" * MOST_VALUE_BYTES, Publish.NEW)
        store.begin()
        assert store.ada.retrieve("a") == 1
        store.ada.publish("a", 2, Publish.OVERWRITE)
