# mypy: disable-error-code="empty-body"
"""A server that is called often, and its interface: one method for each thing that a channel must not change."""

from __future__ import annotations

import os

from libsel4py import (
    DEFER,
    Endpoint,
    Interface,
    ReplyToken,
    ServiceError,
    Untyped,
    component,
    long_result,
    oneway,
)

DIED = 7  # exit status of `die`


class Refused(ServiceError):
    """What `refuse` raises."""


class Called(Interface):
    def add(self, a: int, b: int) -> int: ...

    def who(self) -> tuple[int, str]: ...

    def taken(self) -> int:
        """How many requests came by channel."""

    def echo(self, data: bytes) -> bytes: ...

    @long_result
    def numbers(self, count: int) -> list[int]: ...

    def refuse(self, number: int) -> None: ...

    @oneway
    def note(self, text: str) -> None: ...

    def notes(self) -> list[str]: ...

    def lend(self, pool: Untyped) -> None: ...

    def open(self) -> Endpoint:
        """A capability to this server, as the client `lent` it: without a badge of its own."""

    def wait_for_ring(self) -> int: ...

    def waiting(self) -> int: ...

    def ring(self, value: int) -> None: ...

    def meet(self, clients: int) -> None:
        """Answered when so many clients have called it."""

    def die(self) -> None: ...


@component
class Main(Called):
    def __init__(self) -> None:
        self._notes: list[str] = []
        self._waiting: list[ReplyToken] = []
        self._meeting: list[ReplyToken] = []

    def add(self, a: int, b: int) -> int:
        return a + b

    def who(self) -> tuple[int, str]:
        return self.caller.badge, self.caller.name

    def taken(self) -> int:
        return self.task.channels.statistics().taken

    def echo(self, data: bytes) -> bytes:
        return data

    def numbers(self, count: int) -> list[int]:
        return list(range(count))

    def refuse(self, number: int) -> None:
        raise Refused(number)

    def note(self, text: str) -> None:
        self._notes.append(text)

    def notes(self) -> list[str]:
        return self._notes

    def lend(self, pool: Untyped) -> None:
        self.task.delete(pool)

    def open(self) -> Endpoint:
        return next(Endpoint(each.cptr) for each in self.task.environment.provides.values())

    def wait_for_ring(self) -> int:
        self._waiting.append(self.defer_reply())
        return DEFER

    def waiting(self) -> int:
        return len(self._waiting)

    def ring(self, value: int) -> None:
        for token in self._waiting:
            token.complete(value)
        self._waiting.clear()

    def meet(self, clients: int) -> None:
        self._meeting.append(self.defer_reply())
        if len(self._meeting) == clients:
            for token in self._meeting:
                token.complete()
            self._meeting.clear()

    def die(self) -> None:
        os._exit(DIED)
