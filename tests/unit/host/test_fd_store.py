"""Descriptors that the monitor keeps for the kernel."""

from __future__ import annotations

import asyncio
import os
import socket

import msgpack

from hw.fd_store import FdStore as Keeper
from hw.monitor import MESSAGE_BYTES
from kerneld.host.fd_store import DROPPED_TOGETHER, FdStore


def identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def receive(channel: socket.socket, keeper: Keeper) -> None:
    data, descriptors, _, _ = socket.recv_fds(channel, 4096, 4)
    keeper.take(msgpack.unpackb(data), descriptors)


def test_kept_replaced_and_dropped() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = asyncio.new_event_loop()
    first, second = os.memfd_create("first"), os.memfd_create("second")
    with ours, theirs:
        store, keeper = FdStore(ours, loop), Keeper()
        store.keep("frame:1", first)
        receive(theirs, keeper)
        assert identity(keeper.kept["frame:1"]) == identity(first)
        store.keep("frame:1", second)
        receive(theirs, keeper)
        assert identity(keeper.kept["frame:1"]) == identity(second)
        store.drop("frame:1")
        store.drop("frame:2")
        store.keep("frame:3", second)
        receive(theirs, keeper)
        assert not keeper.kept
        receive(theirs, keeper)
        assert set(keeper.kept) == {"frame:3"}
        store.close()
        keeper.close()
    loop.close()
    os.close(first)
    os.close(second)


def test_what_is_dropped_is_told_together_soon() -> None:
    count = DROPPED_TOGETHER + 2
    keys = [f"channel:{2**64 - 1 - number:x}" for number in range(count)]  # the longest that there are

    async def drop_all() -> list[list[str]]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        store = FdStore(ours, loop)
        told = []
        with ours, theirs:
            for key in keys:
                store.drop(key)
            for _ in range(2):
                told.append(msgpack.unpackb(await loop.sock_recv(theirs, MESSAGE_BYTES)))
        store.close()
        assert [each["op"] for each in told] == ["drop", "drop"]
        return [each["keys"] for each in told]

    assert asyncio.run(drop_all()) == [keys[:DROPPED_TOGETHER], keys[DROPPED_TOGETHER:]]


def test_what_the_socket_does_not_take_is_sent_later_in_order() -> None:
    count = 300  # more than the shrunken socket takes, and fewer than a process may have open by default

    async def fill_and_drain() -> list[str]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        theirs.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least that the host has
        loop = asyncio.get_running_loop()
        store, keeper = FdStore(ours, loop), Keeper()
        descriptor = os.memfd_create("frame")
        for number in range(count):
            store.keep(f"{number}", descriptor)
            os.ftruncate(descriptor, number)
            store.drop(f"{number - 1}")
        done = loop.create_future()
        seen = 0

        def readable() -> None:
            nonlocal seen
            receive(theirs, keeper)
            seen += 1
            if seen == 2 * count:  # each keep, and the drop before
                done.set_result(None)

        loop.add_reader(theirs.fileno(), readable)
        await asyncio.wait_for(done, 20)
        loop.remove_reader(theirs.fileno())
        store.close()
        kept = list(keeper.kept)
        keeper.close()
        os.close(descriptor)
        ours.close()
        theirs.close()
        return kept

    before = len(os.listdir("/proc/self/fd"))
    assert asyncio.run(fill_and_drain()) == [str(count - 1)]
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_no_message_is_closed() -> None:
    keeper = Keeper()
    descriptor = os.memfd_create("stray")
    keeper.take({"op": "keep"}, [descriptor])
    assert not keeper.kept
    try:
        os.fstat(descriptor)
    except OSError:
        return
    raise AssertionError("the stray descriptor is still open")
