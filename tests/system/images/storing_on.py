"""A client of the data store and the names server, which are killed while it uses them: what it did is there, once."""

from __future__ import annotations

import threading

from libsel4py import Component, DataSpace, Endpoint, component, set_thread_entry, uses, with_timeout
from libsel4py.abi import ObjectType, Rights
from libsel4py.capabilities import Notification
from libsel4py.interfaces.data_store import DataStore, Publish
from libsel4py.interfaces.names import Names
from libsel4py.interfaces.ping import Ping
from libsel4py.interfaces.system import System

PATIENCE = 60.0  # seconds that a call may take, whatever happens to its server
KILLS = 30


@component
class Main(Component):
    store = uses(DataStore)
    names = uses(Names)
    pong = uses(Ping)

    def start(self) -> None:
        self.done = threading.Event()
        set_thread_entry(self.kill)

    def kill(self) -> None:
        """The other thread: end both servers, again and again."""
        system: System = self.uses.system
        for _ in range(KILLS):
            for server in ("datastore", "names"):
                system.kill(server)
        self.done.set()

    def run(self) -> int:
        store, names = with_timeout(self.store, PATIENCE), with_timeout(self.names, PATIENCE)
        bell = Notification(self.task.memory.allocate(ObjectType.NOTIFICATION).start)
        space = DataSpace.allocate(8192)
        space.attach().write(0, b"published")
        store.subscribe("", bell)
        pong = Endpoint(self.task.environment.connections["pong"].cptr)
        number = 0
        while number < 10 or not self.done.is_set():
            number += 1
            self.use_store(store, number, space)
            self.use_names(names, number, pong)
            changed = store.changed("")
            assert sorted(changed.names) == ["memory", "number", "text"], changed
            assert not changed.more
            assert not changed.all
        bell.wait()
        assert self.pong.count() == number
        self.log.info("%d rounds while both servers were killed %d times", number, KILLS)
        return 0

    def use_store(self, store: DataStore, number: int, space: DataSpace) -> None:
        store.publish("text", str(number))  # refused, if it were there already
        store.publish("number", number, Publish.OVERWRITE)
        shared = space.share(Rights.READ)
        store.publish_capability("memory", shared, Publish.NEW)
        space.drop(shared)
        assert (store.retrieve("text"), store.retrieve("number")) == (str(number), number)
        with DataSpace.receive(store.retrieve_memory("memory")) as found:
            assert found.attach(Rights.READ).read(0, 9) == b"published"
        store.delete("text")  # refused, if it were not there any more
        assert [each.name for each in store.names()] == ["memory", "number"]

    def use_names(self, names: Names, number: int, pong: Endpoint) -> None:
        names.register("echo", Ping.interface_name, pong)
        interface, endpoint = names.lookup("echo")
        assert interface == Ping.interface_name
        assert Ping(endpoint).ping(number) == number
        self.task.delete(endpoint)
        names.unregister("echo")
        assert names.services() == []
