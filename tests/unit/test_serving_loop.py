# mypy: disable-error-code="empty-body"
"""The server loop on the real machine, between which and its requests `Cpu.serve` stands."""

from __future__ import annotations

import weakref
from typing import Any

import pytest

from libsel4py import Endpoint, Interface, Reply, ServiceError, component
from libsel4py.environment import Environment
from libsel4py.server import Server
from libsel4py.task import Task, set_current_task
from tests.unit.channel_peer import BADGE, CALLED, ENDPOINT, REPLY, bind, pair


class Refused(ServiceError):
    """Nothing to log."""


class Lent(Interface):
    def use(self) -> None: ...
    def is_held(self) -> bool: ...
    def stop(self) -> None: ...


class Memory:
    """What a client has lent, say, and wants back."""


@component
class Main(Lent):
    def use(self) -> None:
        memory = Memory()
        self.used = weakref.ref(memory)
        raise Refused("not this memory")

    def is_held(self) -> bool:
        return self.used() is not None

    def stop(self) -> None:
        self.server.stop()


def serve() -> None:
    task = Task(Environment(name="lent"))
    set_current_task(task)
    server, implementation = Server(Endpoint(ENDPOINT), task), Main()
    implementation._task, implementation._server = task, server
    server.provide(implementation, clients={BADGE: "client"})
    server.serve(Reply(REPLY))


def test_what_a_method_held_when_it_raised_is_let_go_of() -> None:
    def client() -> Any:
        bind()
        stub = Lent(Endpoint(CALLED))
        with pytest.raises(Refused, match="not this memory"):
            stub.use()
        held = stub.is_held()
        stub.stop()
        return held

    with pair() as scene:
        server, caller = scene.task(serve), scene.task(client)
        scene.connect(caller, server)
        scene.serve_until(caller, server)
        assert caller.task.result() is False
