"""A component that tries to have servers do for it what it may not do itself: attempts of the family ``deputies``.

``only`` names those that are made. It writes a line for each: its path, then how it ended as a wait status; and then
ends with 40. Behind each it looks for harm: all servers answer, and the other one has what it had.
"""

from __future__ import annotations

from libsel4py import Component, Interface, component, uses
from libsel4py.errors import InvalidMessage, KernelError, ServerDied, Timeout
from libsel4py.interface import find_interface, verify, with_timeout
from libsel4py.interfaces.file import Directory
from libsel4py.interfaces.names import Names
from libsel4py.interfaces.ping import Ping
from tests.escape.attempt import DEPUTIES, corpus, run
from tests.escape.held import Held

ENDED = 40  # not 0: a system that ends well keeps no logs
SECONDS = 15.0  # in which a server that works answers, on a busy host too
CORPUS = [attempt for attempt in corpus() if attempt.family == DEPUTIES]


@component
class Main(Component):
    files = uses(Directory)
    names = uses(Names)
    pong = uses(Ping)

    def run(self) -> int:
        only = self.task.environment.configuration["only"]
        assert isinstance(only, list)
        held = Held(self.task, self.files, self.names)
        for name, connection in self.task.environment.connections.items():
            find_interface(connection.interface)
            getattr(self.uses, name)
        with_timeout(held.other, None).told()  # it has begun
        for attempt in CORPUS:
            if attempt.path in only:
                print("ended", attempt.path, "status", run(attempt, held) << 8, flush=True)
                for harm in self.harm(held):
                    print("harm", f"{attempt.path}: {harm}", flush=True)
        return ENDED

    def harm(self, held: Held) -> list[str]:
        """What is not as it was before."""
        found = []
        for name in self.task.environment.connections:
            client: Interface = with_timeout(getattr(self.uses, name), SECONDS)
            try:
                verify(client)
            except (Timeout, ServerDied, InvalidMessage, KernelError) as error:
                found.append(f"{name} does not answer any more: {error!r}")
        if found:
            return found
        if self.pong.ping(7) != 7 or self.files.stat("").kind != 2:
            found.append("a server answers what is not so")
        return found + with_timeout(held.other, 4 * SECONDS).harmed()
