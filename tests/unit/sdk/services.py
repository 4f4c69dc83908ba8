# mypy: disable-error-code="empty-body"
"""Interfaces and components that the SDK's tests use."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import msgspec

from libsel4py import (
    DEFER,
    Endpoint,
    Interface,
    ReplyToken,
    ServiceError,
    Untyped,
    Word,
    component,
    local,
    long_result,
    method,
    on_notification,
    oneway,
    raises,
    uses,
)
from libsel4py.errors import NotEnoughMemory
from libsel4py.testing import Events


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Point:
    x: int
    y: int


class Shape(msgspec.Struct, frozen=True):
    points: list[Point]
    colour: Colour
    note: str | None = None


class OutOfPaint(ServiceError):
    """Carries two arguments."""

    def __init__(self, colour: str, litres: int) -> None:
        super().__init__(colour, litres)
        self.litres = litres


class Studio(Interface):
    """One method for each way in which a value can travel."""

    def add(self, a: int, b: int) -> int:
        """Registers."""

    def rotate(self, value: Word, by: int = 1, *, left: bool = True) -> Word: ...

    def is_small(self, value: int) -> bool: ...

    def nothing(self) -> None: ...

    def five(self, a: int, b: int, c: int, d: int, e: int) -> int: ...

    @method(label=40)
    def paint(self, shape: Shape, colour: Colour) -> Shape | None: ...

    def echo(self, data: bytes) -> bytes: ...

    @long_result
    def repeat(self, text: str, times: int) -> list[str]: ...

    @raises(FileNotFoundError, NotEnoughMemory)
    def fail(self, kind: str) -> None: ...

    @oneway
    def note(self, text: str) -> None: ...

    def lend(self, pool: Untyped, amount: int) -> int: ...

    def lend_named(self, name: str, pool: Untyped | None) -> str: ...

    def open(self, name: str) -> Endpoint: ...

    def open_described(self, name: str) -> tuple[str, Endpoint | None, int]: ...

    def who(self) -> tuple[int, str]: ...

    def wait_for_ring(self, name: str) -> str: ...

    def wait_silently(self) -> None: ...

    @local
    def add_three(self, a: int, b: int, c: int) -> int:
        return self.add(self.add(a, b), c)


@component
class Painter(Studio):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.pools: list[Untyped] = []
        self.waiting: list[ReplyToken] = []
        self.deferred: Events[int] = Events()
        self.rings = 0

    def add(self, a: int, b: int) -> int:
        return a + b

    def rotate(self, value: Word, by: int = 1, *, left: bool = True) -> Word:
        by = by % 64 if left else -by % 64
        return (value << by | value >> (64 - by)) & (1 << 64) - 1

    def is_small(self, value: int) -> bool:
        return value < 10

    def nothing(self) -> None:
        return

    def five(self, a: int, b: int, c: int, d: int, e: int) -> int:
        return a * b * c * d * e

    def paint(self, shape: Shape, colour: Colour) -> Shape | None:
        return Shape(shape.points, colour, "painted") if shape.points else None

    def echo(self, data: bytes) -> bytes:
        return data

    def repeat(self, text: str, times: int) -> list[str]:
        return [text] * times

    def fail(self, kind: str) -> None:
        match kind:
            case "declared":
                raise FileNotFoundError(2, "no such colour")
            case "service":
                raise OutOfPaint("red", 3)
            case "kernel":
                raise NotEnoughMemory(48, invocation="Untyped.retype", explanation="the client's pool is full")
            case "huge":
                raise RuntimeError("x" * 5000 + "\ud800")
            case "recursion":
                self.fail(kind)
            case _:
                raise KeyError(kind)

    def note(self, text: str) -> None:
        if text == "bad":
            raise ValueError("a bad note")
        self.notes.append(text)

    def lend(self, pool: Untyped, amount: int) -> int:
        if amount < 0:
            raise OutOfPaint("none", amount)
        self.pools.append(pool)
        return amount

    def lend_named(self, name: str, pool: Untyped | None) -> str:
        return f"{name}: {'nothing' if pool is None else 'a pool'}"

    def open(self, name: str) -> Endpoint:
        return Endpoint(self.task.environment.first_free_slot)

    def open_described(self, name: str) -> tuple[str, Endpoint | None, int]:
        return name, Endpoint(self.task.environment.first_free_slot) if name else None, 7

    def who(self) -> tuple[int, str]:
        return self.caller.badge, self.caller.name

    def wait_for_ring(self, name: str) -> str:
        token = self.defer_reply()
        self.waiting.append(token)
        if name == "bad":
            raise ValueError("changed my mind")
        self.deferred.add(len(self.waiting))
        return DEFER

    def wait_silently(self) -> None:
        self.waiting.append(self.defer_reply())

    @on_notification("bell")
    def ring(self) -> None:
        self.rings += 1
        for token in self.waiting:
            token.complete(f"ring {self.rings} for {token.caller.name}")
        self.waiting.clear()


class Relay(Interface):
    """Calls on: a server that is a client."""

    def add_twice(self, a: int) -> int: ...

    def open_through(self, name: str) -> Endpoint: ...


@component
class Middle(Relay):
    studio = uses(Studio)

    def start(self) -> None:
        self.started = self.studio.add(20, 1)

    def add_twice(self, a: int) -> int:
        return int(self.uses.studio.add(a, a)) + self.started

    def open_through(self, name: str) -> Endpoint:
        return self.studio.open(name)
