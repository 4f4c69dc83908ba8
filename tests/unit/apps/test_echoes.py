"""What comes back by the network: each byte is looked at, and a broken connection is told and replaced."""

from __future__ import annotations

import random
from collections.abc import Callable
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import Any

from apps.exercise.echoes import MOST_TURNS, Echoes
from libsel4py.workload import Workload

PEER = ("10.9.0.2", 7)


class Line:
    """A connection, and a network that has made it: what is sent comes back in small pieces, as ``spoil`` has it."""

    def __init__(self) -> None:
        self.made = 0
        self.prompt: object = False
        self.spoil: Callable[[bytes], bytes] = bytes
        self.ends_after = 1 << 30
        self._waiting = b""

    def create_connection(self, address: tuple[str, int], timeout: float) -> Line:
        assert address == PEER
        self.made += 1
        self._waiting = b""
        return self

    def setsockopt(self, level: int, option: int, value: object) -> None:
        assert (level, option) == (IPPROTO_TCP, TCP_NODELAY)
        self.prompt = value

    def sendall(self, data: bytes) -> None:
        self._waiting += self.spoil(data)

    def recv(self, most: int) -> bytes:
        count = min(most, 100, self.ends_after)
        self.ends_after -= count
        piece, self._waiting = self._waiting[:count], self._waiting[count:]
        return piece

    def close(self) -> None:
        self._waiting = b""


def echoes_by(line: Any) -> tuple[Workload, Echoes]:
    load = Workload("network", (OSError,), lambda text: None)
    made = Echoes(load, random.Random(1), line, PEER, 500)
    made._net = line
    return load, made


def test_what_comes_back_whole_is_right_and_connections_are_made_anew_now_and_then() -> None:
    line = Line()
    load, echoes = echoes_by(line)
    for _ in range(2 * MOST_TURNS + 1):
        echoes.turn()
    assert (load.checks, load.wrong, load.failed, line.made) == (2 * MOST_TURNS + 1, 0, 0, 3)


def test_one_byte_is_enough_to_be_wrong() -> None:
    line = Line()
    load, echoes = echoes_by(line)
    line.spoil = lambda data: data[:-1] + bytes([data[-1] ^ 1])
    echoes.turn()
    assert (load.wrong, load.failed) == (1, 0)


def test_a_connection_that_ends_in_the_midst_is_told_and_another_is_made() -> None:
    line = Line()
    load, echoes = echoes_by(line)
    line.ends_after = 3
    echoes.turn()
    line.ends_after = 1 << 30
    echoes.turn()
    assert (load.wrong, load.failed, load.checks, line.made) == (0, 1, 1, 2)
