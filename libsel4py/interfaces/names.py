# mypy: disable-error-code="empty-body"
"""A directory of capabilities: a client finds only what its system description grants it."""

from __future__ import annotations

import msgspec

from libsel4py.capabilities import Endpoint
from libsel4py.errors import ServiceError
from libsel4py.interface import Interface, idempotent, long_result, raises, remembered


class UnknownName(ServiceError):
    """No service of this name, or none that the asking client may find."""


class NameTaken(ServiceError):
    """Another service has this name."""


class Service(msgspec.Struct, frozen=True):
    """A name in the directory, and the interface that is spoken there."""

    name: str
    interface: str


class Names(Interface):
    """The directory."""

    @idempotent
    @raises(UnknownName)
    def lookup(self, name: str) -> tuple[str, Endpoint]:
        """The service's interface, and a capability to call it."""

    @idempotent
    @long_result
    def services(self) -> list[Service]:
        """What the asking client may look up, sorted by name."""

    @idempotent
    @raises(NameTaken)
    def register(self, name: str, interface: str, service: Endpoint) -> None:
        """Offer a service. All who look it up get copies of ``service``, with the one badge that it has."""

    @remembered
    @raises(UnknownName)
    def unregister(self, name: str) -> None:
        """Take back a service that the asking client registered."""
