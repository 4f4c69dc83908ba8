"""The names server: a directory of capabilities. A client finds only what its own ``names`` table grants it.

Must be given: a connection ``CLIENT/NAME`` for each entry of each client's table (root does so from the description).
Names that tasks may register at run time stand in ``config.open`` of this task; every client finds those. A task that
registers its own name again (it was started anew) replaces what it had registered. With ``state``, and in
``state_slots`` a slot for each open name and one more, registrations survive this server's death; without, they end
with it.
"""

from __future__ import annotations

import msgspec

from libsel4py import JournalFull, component
from libsel4py.abi import CapType
from libsel4py.capabilities import Endpoint
from libsel4py.interfaces.names import Names, NameTaken, Service, UnknownName
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.identify import identify
from libsel4py.state import StateSlots


class Registered(msgspec.Struct, frozen=True, array_like=True):
    """A service that a task offers: the slot of its endpoint. Only that task may take it back."""

    interface: str
    slot: int
    owner: int


@component
class Main(Names):
    """The directory."""

    def __init__(self) -> None:
        self._granted: dict[tuple[str, str], Registered] = {}
        for name, connection in self.task.environment.connections.items():
            client, _, service = name.partition("/")
            if service:
                self._granted[client, service] = Registered(connection.interface, connection.cptr, 0)
        allowed = self.task.environment.configuration.get("open", [])
        self._open = {str(name) for name in allowed} if isinstance(allowed, list) else set()
        self._slots = StateSlots(self.task)
        self._kept = self.kept(dict[str, Registered])
        there = self._slots.begin(each.slot for each in self._registered.values())
        for name in [name for name, each in self._registered.items() if each.slot not in there]:
            del self._registered[name]
        self._kept.commit()

    @property
    def _registered(self) -> dict[str, Registered]:
        return self._kept.value

    def lookup(self, name: str) -> tuple[str, Endpoint]:
        found = self._visible().get(name)
        if found is None:
            known = ", ".join(sorted(self._visible())) or "nothing"
            raise UnknownName(f"{self.caller.name} may find {known}, and {name!r} is not among it")
        if identify(found.slot).type == CapType.NULL.name:
            raise UnknownName(f"what was registered as {name!r} was revoked: its task may register another one")
        return found.interface, Endpoint(found.slot)

    def services(self) -> list[Service]:
        return [Service(name, found.interface) for name, found in sorted(self._visible().items())]

    def register(self, name: str, interface: str, service: Endpoint) -> None:
        former = self._registered.get(name)
        if former is not None and former.owner != self.caller.badge:
            raise NameTaken(f"{name!r} is registered already, by another task")
        if name not in self._open:
            may = ", ".join(sorted(self._open)) or "none"
            raise NameTaken(f"{name!r} cannot be registered; the description opens {may}")
        try:
            slot = self._slots.put(service)
        except OutOfSlots as error:
            raise NameTaken(f"{name!r} cannot be registered, there is no room: {error}") from error
        self._registered[name] = Registered(interface, slot, self.caller.badge)
        self._commit(slot)
        if former is not None:
            self._slots.drop(former.slot)

    def unregister(self, name: str) -> None:
        found = self._registered.get(name)
        if found is None or found.owner != self.caller.badge:
            raise UnknownName(f"{self.caller.name} has not registered {name!r}")
        del self._registered[name]
        self._kept.commit(lambda: self._slots.drop(found.slot))

    def _commit(self, slot: int) -> None:
        try:
            self._kept.commit()
        except JournalFull as error:
            self._slots.drop(slot)
            raise NameTaken(f"nothing more can be registered: {error}") from error

    def _visible(self) -> dict[str, Registered]:
        client = self.caller.name
        granted = {name: found for (owner, name), found in self._granted.items() if owner == client}
        return self._registered | granted
