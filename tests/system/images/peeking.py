"""Looks into another task's paged memory before and after the death of its pager, which that one outlives."""

from __future__ import annotations

from libsel4py import Component, component, uses
from libsel4py.errors import RemoteError
from libsel4py.interfaces.system import System
from tests.system.images.failing import failing_with
from tests.system.images.paged import Peek


@component
class Main(Component):
    peek = uses(Peek)
    system = uses(System, "system")

    def run(self) -> int:
        self.peek.write(0, b"written")
        assert self.peek.read(0, 7) == b"written"
        self.system.kill("pager")
        with failing_with(RemoteError, match="VMFault"):
            self.peek.read(0, 7)
        self.system.kill("client")
        assert self.peek.read(0, 7) == bytes(7)
        return 0
