# mypy: disable-error-code="empty-body"
"""A client that calls until a given time, or until it is refused: many of these make a crowd."""

from __future__ import annotations

import time

from bench.tasks import channel
from libsel4py import Interface, component, oneway
from libsel4py.abi import Error, info_label, message_info
from libsel4py.capabilities import Channel, Endpoint
from libsel4py.lowlevel.syscalls import machine

INFO = message_info(1, 4)
RUN = 16  # calls between two looks at the clock


class Load(Interface):
    """Makes calls on order. Times are `time.perf_counter_ns`, which all processes of a host share."""

    def connect(self) -> None:
        """Connect to everything that the description gives."""

    @oneway
    def begin(self, server: str, start_ns: int, stop_ns: int) -> None:
        """From ``start_ns`` to ``stop_ns`` call the connection of that name."""

    def calls(self) -> int:
        """How many calls were made since `begin`, or answered since `call_until_refused`. Waits for their end."""

    def hold(self, endpoint: Endpoint) -> None:
        """Connect a channel to ``endpoint`` for `call_until_refused`."""

    @oneway
    def call_until_refused(self) -> None:
        """Call until a call is refused, and give the channel back."""

    def refused_at(self) -> int:
        """When the refusal came. Waits for it."""

    def open(self, endpoint: Endpoint, count: int) -> None:
        """Connect ``count`` channels to ``endpoint``."""

    def close(self) -> int:
        """Give them all back; returns at how many of them a call was still answered."""


@component
class Main(Load):
    """The load itself. All calls are raw: four words there and back."""

    def start(self) -> None:
        self._calls = self._refused_at = 0
        self._open: list[tuple[Endpoint, Channel]] = []

    def connect(self) -> None:
        for name, connection in self.task.environment.connections.items():
            endpoint = Endpoint(connection.cptr)
            if _call(endpoint):
                raise RuntimeError(f"{name} refuses calls")
            channel.connect(self.task, endpoint)  # who has answered takes channels by then

    def begin(self, server: str, start_ns: int, stop_ns: int) -> None:
        call, clock = machine.call, time.perf_counter_ns
        cptr = self.task.environment.connections[server].cptr
        time.sleep(max(0, start_ns - clock()) / 1e9)
        count = 0
        while clock() < stop_ns:
            for _ in range(RUN):
                call(cptr, INFO, 1, 2, 3, 4)
            count += RUN
        self._calls = count

    def calls(self) -> int:
        return self._calls

    def hold(self, endpoint: Endpoint) -> None:
        self._held = endpoint, channel.connect(self.task, endpoint)

    def call_until_refused(self) -> None:
        endpoint, opened = self._held
        self._calls = 0
        while not _call(endpoint):
            self._calls += 1
        self._refused_at = time.perf_counter_ns()
        channel.disconnect(self.task, endpoint, opened)
        self.task.delete(endpoint)

    def refused_at(self) -> int:
        return self._refused_at

    def open(self, endpoint: Endpoint, count: int) -> None:
        for _ in range(count):
            copy = Endpoint(self.task.slots.allocate())
            self.task.cnode.copy(copy.cptr, self.task.cnode, endpoint.cptr)
            self._open.append((copy, channel.connect(self.task, copy)))
        self.task.delete(endpoint)

    def close(self) -> int:
        answered = 0
        for endpoint, opened in self._open:
            answered += not _call(endpoint)
            channel.disconnect(self.task, endpoint, opened)
            self.task.delete(endpoint)
        self._open.clear()
        return answered


def _call(endpoint: Endpoint) -> bool:
    """One call; returns whether the kernel refused it."""
    status, _, info, *_ = machine.call(endpoint.cptr, INFO, 1, 2, 3, 4)
    return bool(status) or info_label(info) == Error.INVALID_CAPABILITY
