"""Our side: the booted system of `bench/systems/ipc.toml`, with clients and servers in numbers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.booted import SYSTEMS, BootedSystem
from bench.ipc.placement import Placement, pin, place, processors

CLIENT = """
[task.client{number}]
image = "bench.tasks.load"
pool = "2M"
provides = {{ load = "bench.tasks.load:Load" }}
uses = {{ {uses} }}
"""
SERVER = """
[task.server{number}]
image = "bench.tasks.null"
provides = {{ echo = "libsel4py.interfaces.ping:Ping" }}
"""


def description(clients: int, pairs: int) -> str:
    """The system's description. The first ``pairs`` clients have a server of their own, and all share the hub."""
    parts = [(SYSTEMS / "ipc.toml").read_text()]
    for number in range(clients):
        parts.append(f'client{number} = {{ from = "client{number}.load", rights = "wgp" }}\n')
    parts += [f'server{number} = "server{number}.echo"\n' for number in range(pairs)]
    parts += [SERVER.format(number=number) for number in range(pairs)]
    for number in range(clients):
        own = f'own = "server{number}.echo", ' if number < pairs else ""
        parts.append(CLIENT.format(number=number, uses=f'{own}hub = "hub.echo"'))
    return "".join(parts)


class System:
    """The running system. A context manager."""

    def __init__(self, clients: int, pairs: int) -> None:
        self.clients, self.pairs = clients, pairs
        self._folder = tempfile.TemporaryDirectory(prefix="sel4py-bench-")
        file = Path(self._folder.name) / "ipc.toml"
        file.write_text(description(clients, pairs))
        self._booted = BootedSystem(file)
        self._pids: dict[str, int] = {}

    def order(self, *words: object) -> dict[str, Any]:
        """An order to `bench.tasks.ipc_driver`, and its answer."""
        return self._booted.order(" ".join(map(str, words)))

    def pid(self, task: str) -> int:
        return self._pids[task]

    def place(self, placement: Placement, server: str) -> None:
        """The driver and the server that it calls."""
        place(placement, [self._pids["driver"]], [self._pids[server]])

    def place_pairs(self, placement: Placement) -> None:
        """The clients that have a server of their own, and these."""
        numbers = range(self.pairs)
        place(
            placement,
            [self._pids[f"client{number}"] for number in numbers],
            [self._pids[f"server{number}"] for number in numbers],
        )

    def place_crowd(self, placement: Placement) -> None:
        """All clients, and the hub: SPLIT leaves the hub a processor of its own."""
        first, second = processors()
        pids = [self._pids[f"client{number}"] for number in range(self.clients)]
        match placement:
            case Placement.ONE:
                pin(pids, {first})
                pin([self._pids["hub"]], {first})
            case Placement.SPLIT:
                pin(pids, {first})
                pin([self._pids["hub"]], {second})
            case Placement.FREE:
                pin([*pids, self._pids["hub"]], {first, second})

    def pin(self, tasks: list[str], cpus: set[int]) -> None:
        pin([self._pids[task] for task in tasks], cpus)

    def __enter__(self) -> System:
        self._booted.__enter__()
        try:
            self.order("prepare")
            self._pids = self._booted.tasks()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._booted.__exit__(kind, error, trace)
        finally:
            self._folder.cleanup()
