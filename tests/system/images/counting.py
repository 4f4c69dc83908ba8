# mypy: disable-error-code="empty-body"
"""A counter that survives its deaths, and its interface: counts by name and by client, an increment exactly once."""

from __future__ import annotations

from libsel4py import (
    DEFER,
    Interface,
    ReplyToken,
    ServiceError,
    component,
    idempotent,
    long_result,
    remembered,
)


class OddCount(ServiceError):
    """The count that `increment_oddly` has reached."""


class Counter(Interface):
    """Counts of the calling client, by name."""

    @remembered
    def increment(self, name: str, by: int) -> int:
        """The count, after it has grown."""

    @remembered
    def step(self) -> int:
        """The count without a name, one further: in registers."""

    @remembered
    def increment_oddly(self, name: str) -> str:
        """The count after it has grown by one, as text. Raises OddCount, where it is odd; it has grown all the same."""

    @remembered
    def increment_later(self, name: str) -> int:
        """As `increment` by one, answered when the next call comes."""

    @idempotent
    def count(self, name: str) -> int: ...

    @idempotent
    @long_result
    def counts(self) -> list[tuple[str, int]]:
        """All counts, with much that is none."""

    def life(self) -> int:
        """How many lives the server has had. It is not to be repeated."""


PADDING = [(f"padding {number}", number) for number in range(200)]


@component
class Main(Counter):
    """Keeps its counts by client and name."""

    def start(self) -> None:
        self._kept = self.kept(dict[str, int])
        self._kept.value["lives"] = self._kept.value.get("lives", 0) + 1
        self._kept.commit()
        self._later: list[tuple[ReplyToken, str]] = []

    def _add(self, name: str, by: int) -> int:
        key = f"{self.caller.badge} {name}"
        found = self._kept.value[key] = self._kept.value.get(key, 0) + by
        return found

    def _answer_later(self) -> None:
        for token, key in self._later:
            found = self._kept.value[key] = self._kept.value.get(key, 0) + 1
            token.complete(found)
        self._later.clear()

    def increment(self, name: str, by: int) -> int:
        self._answer_later()
        return self._add(name, by)

    def step(self) -> int:
        self._answer_later()
        return self._add("", 1)

    def increment_oddly(self, name: str) -> str:
        self._answer_later()
        found = self._add(name, 1)
        if found % 2:
            raise OddCount(found)
        return str(found)

    def increment_later(self, name: str) -> int:
        self._answer_later()
        self._later.append((self.defer_reply(), f"{self.caller.badge} {name}"))
        return DEFER

    def count(self, name: str) -> int:
        self._answer_later()
        return self._kept.value.get(f"{self.caller.badge} {name}", 0)

    def counts(self) -> list[tuple[str, int]]:
        return [*self._kept.value.items(), *PADDING]

    def life(self) -> int:
        return self._kept.value["lives"]
