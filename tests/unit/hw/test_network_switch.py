"""The switch between systems: it learns, bounds what it keeps, and is followed by another; and links that are bad."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Iterator
from pathlib import Path

import pytest

from hw.devices.impaired_link import ImpairedLink, Impairment
from hw.devices.network_switch import MOST_ADDRESSES, Member, Switch

EVERYONE = b"\xff" * 6


def mac(number: int) -> bytes:
    return b"\x52\x54" + number.to_bytes(4, "big")


def frame(target: bytes, source: bytes, data: bytes = b"") -> bytes:
    return target + source + b"\x08\0" + data


class Ports:
    """A switch with ``count`` ports, and what has gone out at each."""

    def __init__(self, count: int) -> None:
        self.switch = Switch()
        self.out: dict[int, list[bytes]] = {}
        for _ in range(count):
            sent: list[bytes] = []
            self.out[self.switch.plug(sent.append)] = sent

    def counts(self) -> list[int]:
        return [len(sent) for sent in self.out.values()]


def test_it_floods_until_it_has_learned() -> None:
    ports = Ports(3)
    ports.switch.receive(1, frame(mac(2), mac(1)))
    assert ports.counts() == [0, 1, 1]
    ports.switch.receive(2, frame(mac(1), mac(2)))
    assert ports.counts() == [1, 1, 1]
    ports.switch.receive(1, frame(mac(2), mac(1)))
    assert ports.counts() == [1, 2, 1]
    ports.switch.receive(1, frame(EVERYONE, mac(1)))
    assert ports.counts() == [1, 3, 2]


def test_who_moves_is_found() -> None:
    ports = Ports(3)
    ports.switch.receive(1, frame(EVERYONE, mac(1)))
    ports.switch.receive(3, frame(EVERYONE, mac(1)))
    ports.switch.receive(2, frame(mac(1), mac(2)))
    assert [len(ports.out[1]), len(ports.out[3])] == [1, 2]


def test_who_has_gone_is_forgotten() -> None:
    ports = Ports(3)
    ports.switch.receive(1, frame(EVERYONE, mac(1)))
    ports.switch.unplug(1)
    ports.switch.receive(2, frame(mac(1), mac(2)))
    assert ports.counts() == [0, 1, 2]


def test_addresses_are_bounded_and_nonsense_is_dropped() -> None:
    ports = Ports(2)
    for number in range(MOST_ADDRESSES + 50):
        ports.switch.receive(1, frame(EVERYONE, mac(number)))
    assert len(ports.switch._seen) == MOST_ADDRESSES
    before = ports.counts()
    ports.switch.receive(1, b"short")
    ports.switch.receive(1, frame(EVERYONE, b"\xff" * 6))  # no source is a group
    assert ports.counts() == [before[0], before[1] + 1]
    assert b"\xff" * 6 not in ports.switch._seen


class Systems:
    """Members of one switch, each with the system's end of its link."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.path = folder / "lans" / "lan"
        self.members: list[Member] = []
        self.ends: list[socket.socket] = []
        self._all: list[socket.socket] = []

    def add(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self.ends.append(ours)
        self._all += (ours, theirs)
        self.members.append(Member(self.loop, theirs, self.path, lambda: None))

    def run(self, what: Awaitable[object]) -> object:
        async def bounded() -> object:
            return await asyncio.wait_for(what, 20)

        return self.loop.run_until_complete(bounded())

    async def arrives(self, sender: int, receiver: int, data: bytes) -> None:
        """Send until it comes: frames may be lost while a switch begins."""
        while True:
            self.ends[sender].send(frame(EVERYONE, mac(sender), data))
            try:
                found = await asyncio.wait_for(self.loop.sock_recv(self.ends[receiver], 2000), 0.1)
            except TimeoutError:
                continue
            if found[14:] == data:
                return

    def close(self) -> None:
        for member in self.members:
            member.close()
        self.loop.close()
        for end in self._all:
            end.close()


@pytest.fixture
def systems(tmp_path: Path) -> Iterator[Systems]:
    (tmp_path / "lans").mkdir()
    made = Systems(tmp_path)
    yield made
    made.close()


def test_systems_are_joined_by_a_path(systems: Systems) -> None:
    for _ in range(3):
        systems.add()
    assert [member.is_switch for member in systems.members] == [True, False, False]
    for sender, receiver in ((0, 1), (1, 0), (1, 2), (2, 1)):
        systems.run(systems.arrives(sender, receiver, bytes((sender, receiver))))


def test_another_is_the_switch_when_the_first_has_gone(systems: Systems) -> None:
    for _ in range(3):
        systems.add()
    systems.run(systems.arrives(2, 1, b"before"))
    systems.members[0].close()
    systems.run(systems.arrives(1, 2, b"after"))
    systems.run(systems.arrives(2, 1, b"back"))
    assert sorted(member.is_switch for member in systems.members[1:]) == [False, True]


def test_who_cannot_join_now_does_later(systems: Systems, tmp_path: Path) -> None:
    for _ in range(3):
        systems.add()
    systems.run(systems.arrives(2, 1, b"before"))
    away = systems.path.parent.rename(tmp_path / "away")
    systems.members[0].close()

    async def parted() -> None:
        while any(member.is_joined for member in systems.members):
            await asyncio.sleep(0)

    systems.run(parted())
    away.rename(systems.path.parent)
    systems.run(systems.arrives(1, 2, b"after"))


def test_where_nobody_can_listen_nothing_stays_open(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = asyncio.new_event_loop()
    path = tmp_path / ("x" * 120)  # more than a socket's address has
    before = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match="too long"):
        Member(loop, theirs, path, lambda: None)
    assert os.listdir("/proc/self/fd") == before
    loop.close()
    ours.close()
    theirs.close()


def pass_through(worse: Impairment, seed: int) -> tuple[list[int], ImpairedLink]:
    loop = asyncio.new_event_loop()
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    link = ImpairedLink(loop, pairs[0][1], pairs[1][1], worse, seed)
    found: list[int] = []

    async def main() -> None:
        for number in range(100):
            pairs[0][0].send(bytes([number]))
        pairs[1][0].setblocking(False)
        await asyncio.sleep(0)
        while True:
            try:
                found.append((await asyncio.wait_for(loop.sock_recv(pairs[1][0], 10), 0.2))[0])
            except TimeoutError:
                return

    loop.run_until_complete(main())
    link.close()
    loop.close()
    for pair in pairs:
        for end in pair:
            end.close()
    return found, link


def test_a_link_that_is_good_changes_nothing() -> None:
    assert pass_through(Impairment(), 1)[0] == list(range(100))


def test_a_bad_link_is_the_same_for_the_same_seed() -> None:
    worse = Impairment(lost=0.1, repeated=0.1, reordered=0.1)
    found, link = pass_through(worse, 7)
    assert min(link.lost, link.repeated, link.reordered) > 0
    assert len(found) == 100 - link.lost + link.repeated
    assert found != sorted(found)
    again, same = pass_through(worse, 7)
    assert sorted(found) == sorted(again)
    assert (link.lost, link.repeated, link.reordered) == (same.lost, same.repeated, same.reordered)


@pytest.mark.parametrize("handed", ["nothing", "a file", "another kind of socket"])
def test_who_hands_over_no_socket_of_frames_is_parted_from(systems: Systems, handed: str) -> None:
    systems.add()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger, socket.socket() as other:
        stranger.connect(str(systems.path))
        stranger.setblocking(False)
        with open("/dev/null", "rb") as file:
            descriptors = {"nothing": [], "a file": [file.fileno()], "another kind of socket": [other.fileno()]}
            socket.send_fds(stranger, [b"frames"], descriptors[handed])
            assert systems.run(systems.loop.sock_recv(stranger, 10)) == b""
    systems.add()
    systems.run(systems.arrives(0, 1, b"still"))


def test_who_is_plugged_in_and_ends_takes_no_port_any_more(systems: Systems) -> None:
    for _ in range(2):
        systems.add()
    systems.run(systems.arrives(0, 1, b"before"))
    systems.ends[1].close()  # its system

    async def parted() -> None:
        while systems.members[1].is_joined or systems.members[0]._plugged:
            await asyncio.sleep(0)

    systems.run(parted())
    systems.add()
    systems.run(systems.arrives(0, 2, b"after"))
