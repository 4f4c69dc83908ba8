"""A client that works without end, and checks all that it gets (README.md)."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count

from apps.exercise.echoes import by_network
from apps.exercise.values import Values
from libsel4py import Component, component
from libsel4py.errors import KernelError, RemoteError, ServerDied, ServiceError, Timeout
from libsel4py.files import Files
from libsel4py.interfaces.key_value import KeyValue
from libsel4py.interfaces.network import Network
from libsel4py.interfaces.ping import Ping
from libsel4py.workload import Workload

ERRORS = (KernelError, RemoteError, ServerDied, ServiceError, Timeout, OSError)
STORED_BYTES = 500


@component
class Main(Component):
    """All exercises in turn."""

    def run(self) -> int:
        settings = self.task.environment.configuration
        self._random = random.Random(int(str(settings.get("seed", 1))))
        self._names = [f"exercise-{number}" for number in range(int(str(settings.get("files", 8))))]
        self._bytes = int(str(settings.get("bytes", 20_000)))
        self._peer = str(settings.get("peer", ""))
        offered = {
            "files": self._on_files,
            "store": self._on_store,
            "pong": self._on_pong,
            "network": self._on_network,
        }
        given = [name for name in offered if name in self.uses]
        turns: list[Callable[[], None]] = [offered[name]() for name in given]
        if not turns:
            self.log.error("it needs a connection: %s", ", ".join(offered))
            return 2
        while True:
            for turn in turns:
                turn()

    def _on_pong(self) -> Callable[[], None]:
        load = Workload("pong", ERRORS)
        pong: Ping = self.uses.pong
        numbers = count()

        def turn() -> None:
            number = next(numbers)
            with load.attempt():
                load.check(pong.ping(number) == number, f"another number than {number} came back")

        return turn

    def _on_store(self) -> Callable[[], None]:
        store: KeyValue = self.uses.store
        return self._values("store", STORED_BYTES, store.get, store.put)

    def _on_files(self) -> Callable[[], None]:
        files = Files(self.uses.files)
        return self._values("files", self._bytes, lambda name: files.path(name).read_bytes(), files.replace_file)

    def _on_network(self) -> Callable[[], None]:
        network: Network = self.uses.network
        return by_network(Workload("network", ERRORS), self._random, network, self._peer, self._bytes)

    def _values(
        self, what: str, most: int, read: Callable[[str], bytes], write: Callable[[str, bytes], object]
    ) -> Callable[[], None]:
        return Values(Workload(what, ERRORS), self._random, self._names, most, read, write).turn
