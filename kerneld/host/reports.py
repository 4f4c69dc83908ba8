"""Whom the table of processes tells: who serves rings, and who hears of deaths."""

from __future__ import annotations

from typing import Protocol

from kerneld.host.kernel_log import LineKind
from kerneld.host.process import Thread
from kerneld.records import Tcb


class Rings(Protocol):
    """Who serves the rings of threads."""

    def open(self, thread: Thread) -> None: ...

    def close(self, thread: Thread) -> None: ...

    def look(self, thread: Thread) -> None: ...


class Reports(Protocol):
    """Who is told."""

    def died(self, tcb: Tcb, status: int) -> None: ...

    def reaped(self, tcb: Tcb) -> None: ...

    def event(self, kind: str, **details: object) -> None: ...

    def log(self, kind: LineKind, text: str) -> None: ...
