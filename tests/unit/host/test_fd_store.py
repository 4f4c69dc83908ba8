"""Descriptors that the monitor keeps for the kernel."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

import msgpack

from hw.fd_store import ENTRIES_TOGETHER
from hw.fd_store import FdStore as Keeper
from hw.kernel_process import MESSAGE_BYTES, KernelProcess
from kerneld.host.fd_store import DROPPED_TOGETHER, KEPT_TOGETHER, FdStore


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
        assert identity(keeper.kept["frame:1"].descriptor) == identity(first)
        store.keep("frame:1", second)
        receive(theirs, keeper)
        assert identity(keeper.kept["frame:1"].descriptor) == identity(second)
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


def test_as_many_as_a_message_holds_are_kept_by_one() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = asyncio.new_event_loop()
    made = [os.memfd_create(f"number {number}") for number in range(KEPT_TOGETHER)]
    with ours, theirs:
        store, keeper = FdStore(ours, loop), Keeper()
        store.keep_some([f"stock:{number:x}" for number in range(KEPT_TOGETHER)], made, 4096)
        received = KernelProcess(0, 0, theirs).receive()
        assert received is not None
        keeper.take(*received)
        found = {key: identity(entry.descriptor) for key, entry in keeper.kept.items()}
        assert found == {f"stock:{number:x}": identity(each) for number, each in enumerate(made)}
        assert {entry.note for entry in keeper.kept.values()} == {4096}
        store.close()
        keeper.close()
    loop.close()
    for each in made:
        os.close(each)


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


def test_the_kernel_waits_until_the_monitor_has_room() -> None:
    """What was kept when a call returns is with the monitor, whatever becomes of the kernel."""
    count = 300  # more than the shrunken socket takes
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the least that the host has
    loop = asyncio.new_event_loop()
    store, keeper = FdStore(ours, loop), Keeper()
    descriptor = os.memfd_create("frame")

    def read() -> None:
        for _ in range(2 * count - 1):  # each keep, and the drop before
            receive(theirs, keeper)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(count):
        store.keep(f"{number}", descriptor)
        store.drop(f"{number}")
    reader.join()
    assert list(keeper.kept) == [str(count - 1)]
    store.close()
    keeper.close()
    loop.close()
    for each in (ours, theirs):
        each.close()
    os.close(descriptor)


def test_one_entry_becomes_another_in_one_step() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = asyncio.new_event_loop()
    old, new = os.memfd_create("old"), os.memfd_create("new")
    with ours, theirs:
        store, keeper = FdStore(ours, loop), Keeper()
        store.keep("frame:1", old, 4096)
        store.keep("move:1", new, (4096, True))
        store.keep("frame:1", new, 4096, was="gone:1", drop=["move:1"])
        for _ in range(3):
            receive(theirs, keeper)
        assert set(keeper.kept) == {"frame:1", "gone:1"}
        assert identity(keeper.kept["gone:1"].descriptor) == identity(old)
        store.rename("frame:1", "gone:2", drop=["gone:1"])
        store.rename("frame:1", "gone:3")  # there is none
        store.note("use:1", [4096, False])
        for _ in range(3):
            receive(theirs, keeper)
        assert set(keeper.kept) == {"gone:2", "use:1"}
        assert keeper.kept["use:1"] == (-1, [4096, False])
        keeper.close()
    loop.close()
    os.close(old)
    os.close(new)


def test_all_is_handed_to_a_kernel_that_takes_over() -> None:
    count = 2 * ENTRIES_TOGETHER + 1
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keeper = Keeper()
    for number in range(count):
        keeper.take({"op": "note", "key": f"mail:{number}", "note": number}, [])
    made = os.memfd_create("frame")
    keeper.take({"op": "keep", "key": "frame:1", "note": 4096, "was": "", "drop": []}, [os.dup(made)])
    found: dict[str, tuple[object, int]] = {}
    with ours, theirs:
        keeper.hand(ours, {"ram": made})
        ours.shutdown(socket.SHUT_WR)
        while (received := socket.recv_fds(theirs, 1 << 18, 253))[0]:
            waiting = iter(received[1])
            for key, note, has_descriptor in msgpack.unpackb(received[0])["entries"]:
                found[key] = (note, next(waiting) if has_descriptor else -1)
    assert len(found) == count + 2
    assert identity(found["frame:1"][1]) == identity(found["ram"][1]) == identity(made)
    assert found["frame:1"][0] == 4096
    assert found["mail:7"] == (7, -1)
    keeper.close()
    for descriptor in (made, found["frame:1"][1], found["ram"][1]):
        os.close(descriptor)


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
