"""Builds two products of one untrusted program (`apps/vendor/adviser.py`), and sells them.

``plain`` has nothing but its program. ``chatty`` can call the vendor's mail, and would be useful to the vendor. Must be
given: a connection ``meta`` (MetaConstructor).
"""

from __future__ import annotations

from libsel4py import component, uses
from libsel4py.badges import Badges
from libsel4py.capabilities import Endpoint
from libsel4py.interfaces.adviser import Mail, Shop
from libsel4py.interfaces.constructor import Constructor, MetaConstructor

IMAGE = "apps.vendor.adviser"
INTERFACES = "libsel4py.interfaces.adviser"
MEMORY_BITS, POOL_BITS = 24, 16


@component
class Main(Shop, Mail):
    """The vendor."""

    meta = uses(MetaConstructor)

    def start(self) -> None:
        self._told: list[str] = []
        self._keys = {"plain": self._build({}), "chatty": self._build({"mail": self._mail()})}

    def _mail(self) -> Endpoint:
        """A capability to call this task's own mail by."""
        badges = Badges(self.server.endpoint, self.task)
        badge = badges.new()
        self.server.provide(self, Mail, clients={badge: "product"})
        return badges.file(badge)

    def _build(self, parts: dict[str, Endpoint]) -> Endpoint:
        constructor = Constructor(self.meta.constructor())
        constructor.program(IMAGE, f"{INTERFACES}:Adviser", MEMORY_BITS, POOL_BITS)
        for name, capability in parts.items():
            constructor.install(name, f"{INTERFACES}:Mail", capability)
        return constructor.seal()

    def product(self, name: str) -> Endpoint:
        return self._keys[name]

    def told(self) -> list[str]:
        return self._told

    def tell(self, text: str) -> None:
        self._told.append(text)
