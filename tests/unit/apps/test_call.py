"""Typed words as arguments: each kind of parameter, and words that fit none."""
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from apps.shell.call import BadArguments, call, show, split
from libsel4py.capabilities import Untyped
from libsel4py.errors import ServiceError
from libsel4py.interface import Interface, raises
from libsel4py.signature import Word
from libsel4py.testing import connect


class Point(msgspec.Struct, frozen=True):
    x: int
    y: int = 0


class Refused(ServiceError):
    """The method refuses."""


class Sampler(Interface):
    """A method for each kind of argument."""

    def signed(self, value: int) -> int: ...

    def word(self, value: Word) -> Word: ...

    def boolean(self, value: bool) -> bool: ...

    def text(self, value: str) -> str: ...

    def mixed(self, name: str, count: int, scale: float = 1.5) -> list[str | int | float]: ...

    def struct(self, point: Point, more: list[int] | None = None) -> Point: ...

    def raw(self, value: bytes) -> bytes: ...

    def nothing(self) -> None: ...

    def lend(self, pool: Untyped) -> None: ...

    @raises(Refused)
    def refuse(self) -> None: ...


class Main(Sampler):
    def signed(self, value: int) -> int:
        return value

    def word(self, value: Word) -> Word:
        return value

    def boolean(self, value: bool) -> bool:
        return value

    def text(self, value: str) -> str:
        return value

    def mixed(self, name: str, count: int, scale: float = 1.5) -> list[str | int | float]:
        return [name, count, scale]

    def struct(self, point: Point, more: list[int] | None = None) -> Point:
        return Point(point.x + sum(more or []), point.y)

    def raw(self, value: bytes) -> bytes:
        return value

    def nothing(self) -> None:
        return

    def lend(self, pool: Untyped) -> None:
        return

    def refuse(self) -> None:
        raise Refused("not today")


@pytest.fixture
def sampler() -> Iterator[Sampler]:
    with connect(Main) as client:
        yield client


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("signed 42", 42),
        ("signed -9223372036854775808", -(1 << 63)),
        ("word 18446744073709551615", (1 << 64) - 1),
        ("boolean true", True),
        ("boolean false", False),
        ("text 42", "42"),
        ("text 'two words'", "two words"),
        ('text ""', ""),
        ("mixed ada 3", ["ada", 3, 1.5]),
        ("mixed 7 3 2", ["7", 3, 2.0]),
        ('struct \'{"x": 1, "y": 2}\'', Point(1, 2)),
        ("struct '{\"x\": 1}' [2,3]", Point(6, 0)),
        ("raw '\"aGk=\"'", b"hi"),
        ("nothing", None),
    ],
)
def test_words_become_arguments(sampler: Sampler, line: str, result: object) -> None:
    method, *words = split(line)
    found = call(sampler, method, words)
    assert (found, type(found)) == (result, type(result))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("missing", "Sampler has no method 'missing'; it has signed, word"),
        ("interface_methods", "has no method"),
        ("signed", "^signed VALUE$"),
        ("signed 1 2", "^signed VALUE$"),
        ("mixed ada", "^mixed NAME COUNT SCALE$"),
        ("mixed ada 1 2 3", "^mixed NAME COUNT SCALE$"),
        ("nothing 1", "^nothing$"),
        ("signed word", "signed VALUE: value is not 'word'"),
        ("signed 1.5", "signed VALUE: value is not '1.5'"),
        ("signed true", "signed VALUE: value is not 'true'"),
        ("signed '\"1\"'", "signed VALUE: value is not"),
        ("signed 9223372036854775808", "value"),
        ("word -1", "value"),
        ("boolean 1", "boolean VALUE: value is not '1'"),
        ("boolean yes", "boolean VALUE: value is not 'yes'"),
        ("mixed ada 3 fast", "scale is not 'fast'"),
        ("struct 1", "point is not '1'"),
        ("struct '{\"y\": 1}'", "point is not"),
        ("struct {x:1}", "point is not"),
        ("raw 5", "value is not '5'"),
        ("lend 5", "lend takes a capability, which cannot be typed"),
        ("text " + "x" * 2000, "text VALUE: .*bytes"),
        ("mixed ada " + "9" * 5000, "count is not"),
    ],
)
def test_words_that_do_not_fit_are_refused_with_what_would(sampler: Sampler, line: str, text: str) -> None:
    method, *words = split(line)
    with pytest.raises(BadArguments, match=text):
        call(sampler, method, words)


def test_what_the_server_raises_is_not_ours(sampler: Sampler) -> None:
    with pytest.raises(Refused, match="not today"):
        call(sampler, "refuse", [])


def test_an_open_quote_is_refused() -> None:
    assert split("a 'b c' d\\ e") == ["a", "b c", "d e"]
    with pytest.raises(BadArguments, match="quotes come in pairs"):
        split("call x 'y")


def test_results_are_shown_as_text_or_json() -> None:
    assert [show(result) for result in (None, "as it is", 5, [1, "a"], Point(1), b"hi")] == [
        "",
        "as it is",
        "5",
        '[1,"a"]',
        '{"x":1,"y":0}',
        '"aGk="',
    ]
    assert show({1: object}).startswith("{1: ")
