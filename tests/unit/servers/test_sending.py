"""What is told of a send that cannot go on: what was taken, and with the next call why no more."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from libsel4py.interfaces.network import AGAIN, Reset, StaleSocket
from servers.network.sending import PART_BYTES, Sending
from servers.network.sockets import NOT_YET, NetSocket


class Stream:
    """Takes so many bytes, call by call; then it is broken."""

    def __init__(self, *rooms: int) -> None:
        self.rooms = list(rooms)
        self.taken = b""

    def send(self, data: bytes) -> int:
        if not self.rooms:
            raise Reset("the other side has broken it off")
        part = data[: self.rooms.pop(0)]
        self.taken += part
        return len(part)


DATA = bytes(range(250)) * 1000


def sending(stream: Stream, length: int, at: int = 0) -> Sending:
    def get(size: int, offset: int) -> bytes:
        if offset + size > len(DATA):
            raise StaleSocket("the buffer's memory was taken back")
        return DATA[offset : offset + size]

    return Sending(cast(NetSocket, SimpleNamespace(session=SimpleNamespace(get=get), stream=stream)), length, at)


def test_all_is_sent_in_order_whatever_room_there_is() -> None:
    stream = Stream(PART_BYTES, 10, 0, PART_BYTES, PART_BYTES, PART_BYTES)
    work = sending(stream, 3 * PART_BYTES, 7)
    assert [work.attempt() for _ in range(2)] == [NOT_YET, NOT_YET]
    assert work.so_far() == PART_BYTES + 10
    assert work.attempt() == 3 * PART_BYTES
    assert stream.taken == DATA[7 : 7 + 3 * PART_BYTES]


def test_nothing_sent_is_again_and_nothing_to_send_is_done() -> None:
    work = sending(Stream(0), 1)
    assert (work.attempt(), work.so_far()) == (NOT_YET, AGAIN)
    assert sending(Stream(), 0).attempt() == 0


def test_what_breaks_is_told_by_the_call_that_sends_nothing() -> None:
    work = sending(Stream(5), 100)
    assert [work.attempt(), work.attempt()] == [NOT_YET, 5]
    with pytest.raises(Reset):
        sending(Stream(), 100).attempt()


def test_a_buffer_that_goes_ends_it_as_well() -> None:
    work = sending(Stream(PART_BYTES), 2 * PART_BYTES, len(DATA) - PART_BYTES)
    assert work.attempt() == PART_BYTES
    with pytest.raises(StaleSocket):
        sending(Stream(1), 1, len(DATA)).attempt()
