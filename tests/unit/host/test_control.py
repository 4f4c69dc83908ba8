"""The kernel's end of a control socket: what its messages look like."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
from collections.abc import Iterator

import pytest

from kerneld.host import descriptors
from kerneld.host.control import AWAKE, MESSAGE, MISSED, NO_SOCKET, NUMBER_BITS, SEQUENCE, ControlSocket
from libsel4py import abi
from libsel4py.abi import ControlOp


def test_the_ends_of_channels_travel_two_to_a_word() -> None:
    ours, keeper = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = asyncio.new_event_loop()
    control = ControlSocket(ours, loop, lambda what: None)
    numbers = [2**32 - 1 - number for number in range(abi.CONTROL_CLOSED_TOGETHER)]
    read = []
    with ours, keeper:
        for count in (1, 3, len(numbers)):
            control.channel_close(5, numbers[:count], lambda error, word: None)
            op, _, thread, _, *words = MESSAGE.unpack(keeper.recv(abi.CONTROL_BYTES))
            assert (op, thread) == (ControlOp.CHANNEL_CLOSE, 5)
            read.append([half for word in words for half in (word & 2**32 - 1, word >> 32) if half])
        control.close()
    loop.close()
    assert read == [numbers[:1], numbers[:3], numbers]


class Peer:
    """A process's keeper, played by the test."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.complaints: list[str] = []
        ours, self.channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.setblocking(False)
        self.control = ControlSocket(ours, self.loop, self.complaints.append)

    def asked(self) -> tuple[ControlOp, int]:
        """What was asked, and its number. What came with it is closed."""
        op, sequence, *_ = MESSAGE.unpack(self.channel.recv(abi.CONTROL_BYTES))
        return ControlOp(op), sequence

    def answer(self, sequence: int, error: int = 0) -> None:
        self.channel.send(MESSAGE.pack(ControlOp.DONE, sequence, 0, 0, error, *(0,) * 5))
        self.control._readable()

    def close(self) -> None:
        self.control.close()
        self.channel.close()
        self.loop.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    before = os.listdir("/proc/self/fd")
    peer = Peer()
    yield peer
    peer.close()
    assert os.listdir("/proc/self/fd") == before


def test_a_second_socket_takes_none_of_the_kernels_last_descriptors(peer: Peer) -> None:
    lowest = os.dup(peer.channel.fileno())
    os.close(lowest)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 1 + descriptors.KEPT, limits[1]))
    try:
        peer.control.words[MISSED] = 5
        peer.control.open_awake()
        with pytest.raises(BlockingIOError):
            peer.asked()
        assert peer.control.words[MISSED] == 0  # it is not tried at each fault
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    peer.control.open_awake()
    assert peer.asked()[0] == ControlOp.AWAKE


def test_a_second_socket_that_is_refused_is_closed_and_another_one_is_tried(peer: Peer) -> None:
    before = len(os.listdir("/proc/self/fd"))
    peer.control.open_awake()
    peer.answer(peer.asked()[1], errno.EMFILE)
    assert len(os.listdir("/proc/self/fd")) == before
    assert peer.control.words[AWAKE] == NO_SOCKET
    peer.control.open_awake()
    peer.answer(peer.asked()[1])
    assert peer.control.words[AWAKE] != NO_SOCKET
    peer.control.open_awake()
    with pytest.raises(BlockingIOError):
        peer.asked()


def test_a_second_socket_that_cannot_be_sent_is_closed_and_another_one_is_tried(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_many(data: bytes, descriptors: object) -> None:
        raise OSError(errno.ETOOMANYREFS, "too many descriptors are on their way")

    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patched:
        patched.setattr(peer.control, "_hand", too_many)
        peer.control.open_awake()
    assert len(os.listdir("/proc/self/fd")) == before
    peer.control.open_awake()
    assert peer.asked()[0] == ControlOp.AWAKE


def test_the_answer_to_another_request_says_nothing_of_quiet_mappings(peer: Peer) -> None:
    """They may have come by the second socket, where no thread has looked yet."""
    errors: list[tuple[str, int]] = []
    peer.control.mapped(1, lambda error, word: errors.append(("first", error)), True)
    peer.control.mapped(2, lambda error, word: errors.append(("second", error)), True)
    peer.control.words[SEQUENCE] = 2
    peer.control.park(0, lambda error, word: errors.append(("park", error)))
    peer.answer(peer.asked()[1])
    peer.answer(1, errno.ENOMEM)
    assert (errors, peer.complaints) == ([("park", 0), ("first", errno.ENOMEM)], [])
    peer.control.unmap(0x1000, 0x1000, 3, lambda error, word: errors.append(("unmap", error)))
    peer.answer(peer.asked()[1])
    assert not peer.complaints
    peer.answer(2, errno.ENOMEM)
    assert (errors[2:], peer.complaints) == ([("unmap", 0)], ["it answered what was not asked"])


def test_a_quiet_mapping_is_forgotten_also_behind_most_of_all_numbers(peer: Peer) -> None:
    """Many threads may be parked between two mappings of a process."""
    errors: list[int] = []
    peer.control.mapped(1, lambda error, word: errors.append(error), True)
    peer.control.words[SEQUENCE] = 3 << NUMBER_BITS - 2
    peer.control.unmap(0x1000, 0x1000, 2, lambda error, word: errors.append(error))
    peer.answer(peer.asked()[1])
    peer.answer(1, errno.ENOMEM)
    assert (errors, peer.complaints) == ([0], ["it answered what was not asked"])
