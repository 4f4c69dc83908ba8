"""The first version of a server that counts, what its next version goes on from."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

from libsel4py import Interface, component, idempotent, remembered


class Versioned(Interface):
    """Counts, whatever version serves."""

    def version(self) -> str:
        """Which one serves."""

    @remembered
    def add(self) -> int:
        """How often this was called, all versions together."""

    @idempotent
    def total(self) -> int:
        """The same, without a further call."""


class Base(Versioned):
    """What all versions have."""

    name = "one"

    def start(self) -> None:
        self.count = self.kept(dict[str, int])

    def version(self) -> str:
        return f"version {self.name}"

    def add(self) -> int:
        self.count.value["count"] = self.count.value.get("count", 0) + 1
        return self.count.value["count"]

    def total(self) -> int:
        return self.count.value.get("count", 0)


@component
class Main(Base):
    """The server."""
