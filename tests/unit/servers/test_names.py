"""The names server: a client finds what its description grants and what is open to all, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from libsel4py import Endpoint, runtime
from libsel4py.abi import ObjectType
from libsel4py.environment import Connection, Environment, Value
from libsel4py.interfaces.names import Names, NameTaken, Service, UnknownName
from libsel4py.interfaces.ping import Ping
from libsel4py.testing import TestSystem, connect, system
from libsel4py.testing.fake_objects import FakeCap, FakeEndpoint
from servers.names.main import Main
from tests.unit.servers.second_life import Lives

PING = Ping.interface_name
OTHER_BADGE = 12
OTHER = f"#{OTHER_BADGE}"  # how a server calls a client that its environment does not name
GRANTED = ("alice/clock", "alice/pong", f"{OTHER}/pong", "bob/secret", "plain")


class Directory:
    """A names server, and two clients of it."""

    def __init__(self, made: TestSystem, alice: Names) -> None:
        self.made, self.alice = made, alice
        cap = made.kernel.objects.caps[alice._endpoint.cptr]
        self.slot = made.slots.allocate()
        made.kernel.objects.caps[self.slot] = FakeCap(cap.object, OTHER_BADGE)
        self.other = Names(Endpoint(self.slot))

    def service(self) -> Endpoint:
        return Endpoint(self.made.new(FakeEndpoint()))

    def object_of(self, endpoint: Endpoint) -> object:
        return self.made.kernel.objects.caps[endpoint.cptr].object


@contextmanager
def directory(configuration: dict[str, Value] | None = None) -> Iterator[Directory]:
    with system() as made:
        connections = {name: Connection(made.new(FakeEndpoint()), PING) for name in GRANTED}
        environment = Environment("names", connections=connections, configuration=configuration or {})
        with connect(runtime.make(Main, made.task(environment)), client="alice") as alice:
            yield Directory(made, alice)


@pytest.fixture
def names() -> Iterator[Directory]:
    with directory({"open": ["printer", "radio", "pong"]}) as made:
        yield made


def listed(client: Names) -> list[str]:
    return [service.name for service in client.services()]


def test_each_client_sees_its_own_table_alone(names: Directory) -> None:
    assert names.alice.services() == [Service("clock", PING), Service("pong", PING)]
    assert names.other.services() == [Service("pong", PING)]


def test_a_lookup_gives_the_interface_and_a_capability_of_this_clients_own(names: Directory) -> None:
    found = {}
    for client in (names.alice, names.other):
        interface, endpoint = client.lookup("pong")
        assert interface == PING
        found[client] = names.object_of(endpoint)
    assert found[names.alice] is not found[names.other]


def test_what_was_revoked_is_known_no_more_and_no_fault_of_the_server(names: Directory) -> None:
    task = names.made.first_task
    service = Endpoint(task.memory.allocate(ObjectType.ENDPOINT).start)
    names.alice.register("printer", PING, service)
    assert names.other.lookup("printer")[0] == PING
    task.cnode.revoke(service.cptr)
    with pytest.raises(UnknownName, match="was revoked"):
        names.other.lookup("printer")
    names.alice.register("printer", PING, service)
    assert names.other.lookup("printer")[0] == PING


@pytest.mark.parametrize("name", ["secret", "plain", "bob/secret", "", "clock ", "printer"])
def test_nothing_else_can_be_looked_up(names: Directory, name: str) -> None:
    with pytest.raises(UnknownName, match="alice may find clock, pong, and"):
        names.alice.lookup(name)


def test_a_client_without_a_table_finds_nothing(names: Directory) -> None:
    names.made.kernel.objects.caps[names.slot].badge = 99
    assert names.other.services() == []
    with pytest.raises(UnknownName, match="#99 may find nothing"):
        names.other.lookup("pong")


def test_a_registered_name_is_found_by_all_until_its_owner_takes_it_back(names: Directory) -> None:
    service = names.service()
    names.alice.register("printer", "some:Printer", service)
    interface, endpoint = names.other.lookup("printer")
    assert (interface, names.object_of(endpoint)) == ("some:Printer", names.object_of(service))
    assert listed(names.other) == ["pong", "printer"]
    with pytest.raises(UnknownName, match="has not registered 'printer'"):
        names.other.unregister("printer")
    names.alice.unregister("printer")
    assert listed(names.other) == ["pong"]
    with pytest.raises(UnknownName):
        names.alice.unregister("printer")


def test_only_names_that_the_description_opens_can_be_registered(names: Directory) -> None:
    with pytest.raises(NameTaken, match="the description opens pong, printer, radio"):
        names.alice.register("disk", PING, names.service())
    with directory() as closed, pytest.raises(NameTaken, match="opens none"):
        closed.alice.register("printer", PING, closed.service())


def test_anothers_name_is_taken(names: Directory) -> None:
    service = names.service()
    names.alice.register("printer", PING, service)
    with pytest.raises(NameTaken, match="by another task"):
        names.other.register("printer", PING, names.service())
    assert names.object_of(names.other.lookup("printer")[1]) is names.object_of(service)


def test_its_own_name_is_replaced_by_a_task_that_was_started_anew(names: Directory) -> None:
    names.alice.register("printer", PING, names.service())
    again = names.service()
    names.alice.register("printer", "some:Other", again)
    interface, endpoint = names.other.lookup("printer")
    assert (interface, names.object_of(endpoint)) == ("some:Other", names.object_of(again))


def test_what_is_granted_is_not_hidden_by_a_registration(names: Directory) -> None:
    granted = names.object_of(names.other.lookup("pong")[1])
    names.alice.register("pong", "some:Impostor", names.service())
    interface, endpoint = names.other.lookup("pong")
    assert (interface, names.object_of(endpoint)) == (PING, granted)


def test_no_capability_stays_behind(names: Directory) -> None:
    """Registered, replaced, refused and taken back: the directory keeps none of those capabilities."""
    services = [names.service() for _ in range(4)]
    free = []
    for _ in range(3):
        names.alice.register("radio", PING, services[0])
        names.alice.register("radio", PING, services[1])
        with pytest.raises(NameTaken):
            names.other.register("radio", PING, services[2])
        with pytest.raises(NameTaken):
            names.alice.register("disk", PING, services[3])
        names.alice.unregister("radio")
        free.append(names.made.slots.free_count)
    assert free == [free[0]] * 3


def test_registrations_outlive_the_server() -> None:
    with system() as made:
        lives = Lives(made, Main, slots=3, configuration={"open": ["a", "b", "c", "d"]})
        services = [Endpoint(made.new(FakeEndpoint())) for _ in range(3)]
        with lives.life() as ada:
            ada.register("a", PING, services[0])
            ada.register("c", PING, services[0])
            ada.unregister("c")
            ada.register("b", PING, services[1])
            ada.register("a", PING, services[1])
        with lives.life() as ada:
            assert listed(ada) == ["a", "b"]
            found = made.kernel.objects.caps[ada.lookup("a")[1].cptr].object
            assert found is made.kernel.objects.caps[services[1].cptr].object
            ada.register("c", PING, services[2])
            with pytest.raises(NameTaken, match="no room"):
                ada.register("d", PING, services[2])
            ada.unregister("a")
            assert len(lives.held()) == 2
            ada.register("d", PING, services[2])
        for slot in lives.held():
            del made.kernel.objects.caps[slot]
        with lives.life() as ada:
            assert listed(ada) == []
