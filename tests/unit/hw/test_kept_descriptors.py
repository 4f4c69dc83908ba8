"""What a helper has handed over is kept over its lives, by number, and closed when it says so or nobody wants it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing

import pytest

from hw import kept_descriptors
from hw.kept_descriptors import NUMBER, KeptDescriptors, kept_of


@pytest.fixture
def kept() -> Iterator[KeptDescriptors]:
    with closing(KeptDescriptors()) as made:
        yield made


def say(end: socket.socket, number: int, *descriptors: int) -> None:
    socket.send_fds(end, [NUMBER.pack(number)], descriptors)


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_descriptors_are_kept_until_they_are_let_go_of(kept: KeptDescriptors) -> None:
    reads, writes = os.pipe()
    with kept.begin() as end:
        say(end, 3, reads)
        say(end, 9, writes)
        say(end, 5)
        kept.take()
        assert set(kept.kept) == {3, 9}
        os.close(reads)
        os.close(writes)
        os.write(kept.kept[9], b"x")
        assert os.read(kept.kept[3], 1) == b"x"
        former = kept.kept[3]
        say(end, 3)
        kept.take()
        assert set(kept.kept) == {9}
        assert not is_open(former)


def test_what_was_said_before_a_death_counts_and_the_next_life_says_more(kept: KeptDescriptors) -> None:
    reads, writes = os.pipe()
    end = kept.begin()
    say(end, 0, reads)
    end.close()
    kept.ended()
    assert set(kept.kept) == {0}
    assert kept.end == -1
    with kept.begin() as end:
        say(end, 0, writes)
        kept.take()
        assert len(kept.kept) == 1
        os.write(kept.kept[0], b"x")  # the other end of the pipe, in place of the first
    os.close(reads)
    os.close(writes)


def test_a_helper_cannot_have_more_kept_than_there_is_room_for(
    kept: KeptDescriptors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_descriptors, "MOST_KEPT", 2)
    with kept.begin() as end, open(os.devnull) as nothing:
        before = len(os.listdir("/proc/self/fd"))
        end.send(b"?")
        end.send(NUMBER.pack(1) + b"more")
        for number in (1 << 63, 5, 7, 5):
            say(end, number, nothing.fileno())
        kept.take()
        assert set(kept.kept) == {1 << 63, 5}
        assert len(os.listdir("/proc/self/fd")) == before + 2


def test_the_argument_is_read_as_it_is_written() -> None:
    assert kept_of("") == {}
    assert kept_of("3:17,1023:9") == {3: 17, 1023: 9}
