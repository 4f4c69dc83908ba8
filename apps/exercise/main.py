"""A client that works without end, and checks all that it gets (README.md)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from itertools import count

from libsel4py import Component, component
from libsel4py.errors import KernelError, RemoteError, ServerDied, ServiceError, Timeout
from libsel4py.files import Files
from libsel4py.interfaces.key_value import KeyValue
from libsel4py.interfaces.ping import Ping
from libsel4py.workload import Workload

ERRORS = (KernelError, RemoteError, ServerDied, ServiceError, Timeout, OSError)
DIGEST_BYTES = hashlib.sha256().digest_size


class Versions:
    """What may be found under each name: the version that was acknowledged last, and those that were tried since."""

    def __init__(self) -> None:
        self._allowed: dict[str, set[bytes]] = {}

    def tried(self, name: str, value: bytes) -> None:
        self._allowed.setdefault(name, {b""}).add(value)

    def acknowledged(self, name: str, value: bytes) -> None:
        self._allowed[name] = {value}

    def is_right(self, name: str, value: bytes) -> bool:
        return value in self._allowed.get(name, {value})


@component
class Main(Component):
    """All exercises in turn."""

    def run(self) -> int:
        settings = self.task.environment.configuration
        self._random = random.Random(int(str(settings.get("seed", 1))))
        self._names = [f"exercise-{number}" for number in range(int(str(settings.get("files", 8))))]
        self._bytes = int(str(settings.get("bytes", 20_000)))
        offered = {"files": self._on_files, "store": self._on_store, "pong": self._on_pong}
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
        load, versions = Workload("store", ERRORS), Versions()
        store: KeyValue = self.uses.store

        def turn() -> None:
            name, value = self._choose(500)
            with load.attempt():
                versions.tried(name, value)
                store.put(name, value)
                versions.acknowledged(name, value)
            with load.attempt():
                load.check(versions.is_right(name, store.get(name)), f"{name} is neither the old nor the new value")

        return turn

    def _on_files(self) -> Callable[[], None]:
        load, versions = Workload("files", ERRORS), Versions()
        files = Files(self.uses.files)

        def turn() -> None:
            name, value = self._choose(self._bytes)
            with load.attempt():
                versions.tried(name, value)
                files.replace_file(name, value)
                versions.acknowledged(name, value)
            with load.attempt():
                found = files.path(name).read_bytes()
                load.check(_is_whole(found), f"{name} is a mix")
                load.check(versions.is_right(name, found), f"{name} is neither the old nor the new version")

        return turn

    def _choose(self, most: int) -> tuple[str, bytes]:
        """A name, and a value of up to so many bytes that ends in its own digest."""
        body = self._random.randbytes(self._random.randint(1, most - DIGEST_BYTES))
        return self._random.choice(self._names), body + hashlib.sha256(body).digest()


def _is_whole(value: bytes) -> bool:
    return hashlib.sha256(value[:-DIGEST_BYTES]).digest() == value[-DIGEST_BYTES:]
