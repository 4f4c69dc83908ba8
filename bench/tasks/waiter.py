# mypy: disable-error-code="empty-body"
"""Waits on a notification for as long as it is told to: the other side of a signal.

A thread takes channels of one object only, and the first one is the server: so the second thread waits.
"""

from __future__ import annotations

import threading

from libsel4py import Interface, component, set_thread_entry
from libsel4py.capabilities import Notification
from libsel4py.lowlevel.syscalls import listen

STOP = 1 << 1  # a badge


class Waiter(Interface):
    """Takes signals."""

    def wait(self, notification: Notification) -> None:
        """From now on take what is signalled, until a signal has STOP."""

    def woken(self) -> int:
        """How often something was taken since `wait`. Waits for its end."""


@component
class Main(Waiter):
    """The first thread answers, the second waits for signals."""

    def start(self) -> None:
        self._notification: Notification | None = None
        self._given, self._listens, self._done = threading.Event(), threading.Event(), threading.Event()
        self._woken = 0
        set_thread_entry(self._work)

    def wait(self, notification: Notification) -> None:
        self._done.clear()
        self._notification = notification
        self._given.set()
        self._listens.wait()
        self._listens.clear()

    def woken(self) -> int:
        self._done.wait()
        return self._woken

    def _work(self) -> None:
        while True:
            self._given.wait()
            self._given.clear()
            assert self._notification is not None
            self._woken = self._take(self._notification)
            self._done.set()

    def _take(self, notification: Notification) -> int:
        listen(notification.cptr)
        self._listens.set()
        bits = woken = 0
        while not bits & STOP:
            bits = notification.wait()
            woken += 1
        listen(0)
        self.task.delete(notification)
        return woken
