"""One table of a TOML document, read key by key with its type checked.

Rules: a getter never raises; it reports and returns its fallback, so that one reading finds every mistake. ``finish``
reports the keys that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from deploy.names import NAME_PATTERN, NAME_RULE
from deploy.problems import Problems, dotted, suggest
from deploy.quantities import format_duration, format_size, parse_duration, parse_size
from deploy.scanner import Path

_INTEGER_BITS: Final = 64  # TOML 1.0.0, Integer; Python writes none of more than some thousand digits
_KINDS: Final = {bool: "a boolean", int: "a whole number", float: "a fraction", str: "a string", list: "an array"}


def kind(value: object) -> str:
    """What a TOML value is, in words."""
    return _KINDS.get(type(value), "a table" if isinstance(value, dict) else "a date or time")


class Table:
    """A table at ``path``. Sizes are returned in bytes and durations in microseconds.

    ``sound`` is False for what was reported to be no table: nothing is missing in it then.
    """

    def __init__(self, values: Mapping[str, object], path: Path, problems: Problems, sound: bool = True) -> None:
        self.values = values
        self.path = path
        self.problems = problems
        self._sound = sound
        self._asked: list[str] = []

    def report(self, key: str, finding: str, remedy: str) -> None:
        path = (*self.path, key) if key else self.path
        self.problems.add(path, f"{dotted(path)} {finding}", remedy)

    def has(self, key: str) -> bool:
        return key in self.values

    def _value(self, key: str, expected: type, words: str) -> object | None:
        """The value of ``key`` if it is there and of the expected type; None, with a report if it is there."""
        self._asked.append(key)
        value = self.values.get(key)
        if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
            self.report(key, f"is a number of {value.bit_length()} bits", f"it must be {words}")
            return None
        if value is None or type(value) is expected:
            return value
        self.report(key, f"is {kind(value)}", f"it must be {words}")
        return None

    def require(self, key: str, example: str) -> bool:
        if key in self.values:
            return True
        self._asked.append(key)
        if self._sound:
            self.report("", f"has no {key!r}", f"add {key} = {example}")
        return False

    def string(self, key: str, fallback: str = "", choices: tuple[str, ...] = (), example: str = "") -> str:
        """With an ``example`` it may not be empty, either."""
        words = "one of " + ", ".join(map(repr, choices)) if choices else "a string"
        value = self._value(key, str, words)
        if not isinstance(value, str):
            return fallback
        if example and not value:
            self.report(key, "is empty", f"write {example}")
            return fallback
        if choices and value not in choices:
            self.report(key, f"is {value!r}", f"it must be {words}")
            return fallback
        return value

    def strings(self, key: str) -> tuple[str, ...]:
        value = self._value(key, list, "an array of strings")
        if not isinstance(value, list):
            return ()
        for index, element in enumerate(value):
            if not isinstance(element, str):
                self.problems.add(
                    (*self.path, key, index),
                    f"{dotted((*self.path, key, index))} is {kind(element)}",
                    "it must be a string",
                )
        return tuple(element for element in value if isinstance(element, str))

    def boolean(self, key: str, fallback: bool = False) -> bool:
        value = self._value(key, bool, "true or false")
        return value if isinstance(value, bool) else fallback

    def integer(self, key: str, fallback: int, low: int, high: int) -> int:
        words = f"a whole number in {low}..{high}"
        value = self._value(key, int, words)
        if not isinstance(value, int):
            return fallback
        if not low <= value <= high:
            self.report(key, f"is {value}", f"it must be {words}")
            return fallback
        return value

    def size(self, key: str, fallback: int, low: int, high: int, power_of_two: bool = True) -> int:
        size = self._quantity(key, fallback, parse_size, "a size such as '32M'")
        if (power_of_two and size & (size - 1)) or size % 4096:
            rule = "a power of two" if power_of_two else "a multiple of 4K"
            self.report(key, f"is {self.values[key]!r}", f"it must be {rule}, such as {format_size(_nearest(size))!r}")
            return fallback
        return self._in_range(key, size, fallback, low, high, format_size)

    def duration(self, key: str, fallback: int, low: int, high: int) -> int:
        duration = self._quantity(key, fallback, parse_duration, "a time such as '10ms'")
        return self._in_range(key, duration, fallback, low, high, format_duration)

    def _quantity(self, key: str, fallback: int, parse: Callable[[str], int], words: str) -> int:
        value = self._value(key, str, words)
        if not isinstance(value, str):
            return fallback
        try:
            return parse(value)
        except ValueError as error:
            self.report(key, f"is {value!r}", str(error))
            return fallback

    def _in_range(self, key: str, value: int, fallback: int, low: int, high: int, write: Callable[[int], str]) -> int:
        if key in self.values and value != fallback and not low <= value <= high:
            self.report(key, f"is {write(value)}", f"it must be between {write(low)} and {write(high)}")
            return fallback
        return value

    def table(self, key: str) -> Table:
        value = self._value(key, dict, "a table")
        sound = isinstance(value, dict) or key not in self.values
        return Table(value if isinstance(value, dict) else {}, (*self.path, key), self.problems, sound)

    def named_tables(self, key: str) -> dict[str, Table]:
        """The tables in the table ``key``, by name; each name is checked."""
        outer = self.table(key)
        return {name: outer.table(name) for name in outer.names()}

    def names(self) -> list[str]:
        """The keys that are good names; the others are reported."""
        for name in self.values:
            if not NAME_PATTERN.fullmatch(name):
                self.problems.add((*self.path, name), f"{dotted(self.path)} has the name {name!r}", NAME_RULE)
        return [name for name in self.values if NAME_PATTERN.fullmatch(name)]

    def finish(self) -> None:
        """Reports every key that no getter asked for."""
        for key in self.values:
            if key not in self._asked:
                self.problems.add(
                    (*self.path, key),
                    f"{dotted(self.path) or 'the description'} has an unknown key {key!r}",
                    suggest(key, self._asked),
                )


def _nearest(size: int) -> int:
    return max(4096, 1 << max(0, size.bit_length() - 1))
