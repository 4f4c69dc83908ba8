"""Values that are written and looked at again: what may be found under each name, and whether it is."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Final

from libsel4py.interfaces.key_value import UnknownKey
from libsel4py.workload import Workload

DIGEST_BYTES: Final = hashlib.sha256().digest_size


class Versions:
    """What may be found under each name: the version that was acknowledged last, and those that were tried since.

    What the disk had of a name at the start counts as acknowledged (`begins`); without it nothing may be tried.
    """

    def __init__(self) -> None:
        self._acknowledged: dict[str, bytes] = {}
        self._since: dict[str, set[bytes]] = {}

    def begins(self, name: str, value: bytes) -> None:
        """This was there before anything was tried; no bytes: it was not there."""
        self.acknowledged(name, value)

    def knows(self, name: str) -> bool:
        """Whether it is known with what a name began."""
        return name in self._acknowledged

    def tried(self, name: str, value: bytes) -> None:
        self._since[name].add(value)

    def acknowledged(self, name: str, value: bytes) -> None:
        self._acknowledged[name] = value
        self._since[name] = set()

    def is_right(self, name: str, value: bytes) -> bool:
        return value == self._acknowledged[name] or value in self._since[name]

    def found(self, name: str, value: bytes) -> None:
        """What is not right is counted once: from now on it may be found."""
        self._since[name].add(value)


class Values:
    """Writes values, and looks at each when it is written, and before it is written over.

    Args:
        load: counts it. most: bytes of a value. read, write: one by its name; one that is not there raises
            FileNotFoundError or UnknownKey.
    """

    def __init__(
        self,
        load: Workload,
        chance: random.Random,
        names: Sequence[str],
        most: int,
        read: Callable[[str], bytes],
        write: Callable[[str, bytes], object],
    ) -> None:
        self._load = load
        self._chance = chance
        self._names = names
        self._most = most
        self._read = read
        self._write = write
        self._versions = Versions()

    def turn(self) -> None:
        """Once."""
        versions = self._versions
        name, value = self._chance.choice(self._names), self._value()
        with self._load.attempt():
            if versions.knows(name):
                self._look(name)
            else:
                versions.begins(name, self._found(name))
        if not versions.knows(name):
            return
        with self._load.attempt():
            versions.tried(name, value)
            self._write(name, value)
            versions.acknowledged(name, value)
        with self._load.attempt():
            self._look(name)

    def _look(self, name: str) -> None:
        found, right = self._found(name), self._versions.is_right
        self._load.check(_is_whole(found), f"{name} is a mix")
        self._load.check(right(name, found), f"{name} is neither the old nor the new one", kept=True)
        self._versions.found(name, found)

    def _found(self, name: str) -> bytes:
        """What is not there any more is an answer like others, and may be a loss: it is told as no bytes."""
        try:
            return self._read(name)
        except (FileNotFoundError, UnknownKey):
            return b""

    def _value(self) -> bytes:
        """A value that ends in its own digest."""
        body = self._chance.randbytes(self._chance.randint(1, self._most - DIGEST_BYTES))
        return body + hashlib.sha256(body).digest()


def _is_whole(value: bytes) -> bool:
    return not value or hashlib.sha256(value[:-DIGEST_BYTES]).digest() == value[-DIGEST_BYTES:]
