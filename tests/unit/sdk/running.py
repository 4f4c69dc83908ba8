"""A server on threads of its own, with badged clients, for tests of the server loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from libsel4py import Endpoint, Reply
from libsel4py.environment import SIGNAL_BADGE
from libsel4py.server import Server
from libsel4py.testing import TestSystem
from libsel4py.testing.fake_objects import FakeCap, FakeEndpoint, FakeReply
from tests.unit.sdk.services import Painter, Studio

SHELL, OTHER, RELAY = 5, 6, 7


class Running:
    """A server on threads of its own, and badged clients for it."""

    def __init__(self, fake: TestSystem, server: Server, endpoint: FakeEndpoint) -> None:
        self.fake, self.server, self.endpoint = fake, server, endpoint

    def client(self, badge: int) -> Endpoint:
        slot = self.fake.slots.allocate()
        self.fake.kernel.objects.caps[slot] = FakeCap(self.endpoint, badge)
        return Endpoint(slot)


@contextmanager
def running(fake: TestSystem, server: Server, endpoint: FakeEndpoint, threads: int = 1) -> Iterator[Running]:
    replies = [Reply(fake.new(FakeReply())) for _ in range(threads)]
    loops = [threading.Thread(target=server.serve, args=(reply,)) for reply in replies]
    for loop in loops:
        loop.start()
    try:
        yield Running(fake, server, endpoint)
    finally:
        server.stop()
        for loop in loops:
            while loop.is_alive():
                fake.kernel.signal(SIGNAL_BADGE | 1 << 40)
                loop.join(0.05)


def make_server(fake: TestSystem, painter: Painter) -> tuple[Server, FakeEndpoint]:
    endpoint = FakeEndpoint()
    server = Server(Endpoint(fake.new(endpoint)), fake.first_task, max_deferred=4)
    server.provide(painter, Studio, name="studio", clients={SHELL: "shell", OTHER: "other"})
    server.on_signal(1 << 40, lambda bits: None)
    return server, endpoint
