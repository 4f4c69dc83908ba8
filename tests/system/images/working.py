"""A boot image that uses processor time as its first argument says. Capabilities by their addresses, times in us."""

from __future__ import annotations

import contextlib
import time
from typing import Final

from libsel4py.capabilities import Endpoint, Notification, Reply
from libsel4py.lowlevel.syscalls import Message, yield_now

SPIN, WORK, JOBS, SERVE, ASK, YIELDS, SLEEP = range(7)
STUCK: Final = 0  # of a server: work without end
GIVEN_UP: Final = 7  # the label of an answer that somebody else gave


def work(microseconds: int) -> None:
    """Use so much processor time."""
    end = time.thread_time_ns() + 1000 * microseconds
    while time.thread_time_ns() < end:
        pass


def jobs(parent: Endpoint, idle: Endpoint, reply: Reply, count: int, amount: int, period: int) -> None:
    """Do a job in each period, and say how many were not done by its end, and the longest that one took."""
    late, longest = 0, 0
    begin = time.monotonic_ns() // 1000
    for number in range(count):
        release = begin + number * period
        wait = release - time.monotonic_ns() // 1000
        if wait > 0:
            with contextlib.suppress(TimeoutError):
                idle.recv(reply, timeout=wait / 1e6)
        work(amount)
        took = time.monotonic_ns() // 1000 - release
        late, longest = late + (took > period), max(longest, took)
    parent.call(Message(0, (late, longest)))


def serve(ready: Notification, endpoint: Endpoint, reply: Reply) -> None:
    """Work as long as is asked for. Says that it waits, and has no time of its own from then on."""
    asked = endpoint.nb_send_recv(ready, Message(), reply).words[0]
    while True:
        while asked == STUCK:
            pass
        work(asked)
        asked = endpoint.reply_recv(Message(), reply).words[0]


def ask(parent: Endpoint, endpoint: Endpoint, count: int, amount: int) -> None:
    """Ask a server for so much work so many times. Tells before and after, with the label of the last answer."""
    parent.call(Message())
    label = 0
    for _ in range(count):
        label = endpoint.call(Message(0, (amount,))).label
    parent.call(Message(label))


def yields(parent: Endpoint, count: int) -> None:
    """Give up the rest of so many refills once the parent has answered, and say that it is done."""
    parent.call(Message())
    for _ in range(count):
        yield_now()
    parent.call(Message())


def sleep(parent: Endpoint) -> None:
    """Say that it is about to, and sleep as the host knows it: the kernel sees a thread that may run."""
    parent.send(Message())
    while True:
        time.sleep(3600)


def main(what: int, first: int = 0, second: int = 0, third: int = 0, fourth: int = 0, fifth: int = 0) -> None:
    if what == SPIN:
        while True:
            pass
    if what == WORK:
        work(first)
    if what == JOBS:
        jobs(Endpoint(first), Endpoint(second), Reply(third), fourth, *divmod(fifth, 1 << 32))
    if what == SERVE:
        serve(Notification(first), Endpoint(second), Reply(third))
    if what == ASK:
        ask(Endpoint(first), Endpoint(second), third, fourth)
    if what == SLEEP:
        sleep(Endpoint(first))
    if what == YIELDS:
        yields(Endpoint(first), second)
