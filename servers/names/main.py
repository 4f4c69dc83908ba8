"""The names server: a directory of capabilities. A client finds only what its own ``names`` table grants it.

Must be given: a connection ``CLIENT/NAME`` for each entry of each client's table (root does so from the description).
Names that tasks may register at run time stand in ``config.open`` of this task; every client finds those. A task that
registers its own name again (it was started anew) replaces what it had registered. Registrations end with this server;
what the description grants is there again when it is started anew.
"""

from __future__ import annotations

from dataclasses import dataclass

from libsel4py import component
from libsel4py.capabilities import Endpoint
from libsel4py.interfaces.names import Names, NameTaken, Service, UnknownName


@dataclass(frozen=True, slots=True)
class Registered:
    """A service that a task offers; only that task may take it back."""

    interface: str
    endpoint: Endpoint
    owner: int


@component
class Main(Names):
    """The directory."""

    def __init__(self) -> None:
        self._granted: dict[tuple[str, str], Registered] = {}
        for name, connection in self.task.environment.connections.items():
            client, _, service = name.partition("/")
            if service:
                self._granted[client, service] = Registered(connection.interface, Endpoint(connection.cptr), 0)
        allowed = self.task.environment.configuration.get("open", [])
        self._open = {str(name) for name in allowed} if isinstance(allowed, list) else set()
        self._registered: dict[str, Registered] = {}

    def lookup(self, name: str) -> tuple[str, Endpoint]:
        found = self._visible().get(name)
        if found is None:
            known = ", ".join(sorted(self._visible())) or "nothing"
            raise UnknownName(f"{self.caller.name} may find {known}, and {name!r} is not among it")
        return found.interface, found.endpoint

    def services(self) -> list[Service]:
        return [Service(name, found.interface) for name, found in sorted(self._visible().items())]

    def register(self, name: str, interface: str, service: Endpoint) -> None:
        former = self._registered.get(name)
        if former is not None and former.owner != self.caller.badge:
            raise NameTaken(f"{name!r} is registered already, by another task")
        if name not in self._open:
            may = ", ".join(sorted(self._open)) or "none"
            raise NameTaken(f"{name!r} cannot be registered; the description opens {may}")
        self._registered[name] = Registered(interface, service, self.caller.badge)
        if former is not None:
            self.task.delete(former.endpoint)

    def unregister(self, name: str) -> None:
        found = self._registered.get(name)
        if found is None or found.owner != self.caller.badge:
            raise UnknownName(f"{self.caller.name} has not registered {name!r}")
        del self._registered[name]
        self.task.delete(found.endpoint)

    def _visible(self) -> dict[str, Registered]:
        client = self.caller.name
        granted = {name: found for (owner, name), found in self._granted.items() if owner == client}
        return self._registered | granted
