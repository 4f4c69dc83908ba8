"""Mapping: the memory's buffer, and guarded copies, which raise VMFault where nobody gives memory."""

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from libsel4py.abi import ControlOp, PageFault, Syscall
from tests.unit.cpu_peer import Peer, Task, next_entry, running, start, wait_forever
from tests.unit.fault_peer import (
    BASE,
    PAGE,
    READ,
    WRITE,
    Told,
    map_memory,
    map_page,
    memory,
    next_fault,
    run_threads,
    serve_pages,
)

CALL, EXIT = Syscall.CALL, Syscall.EXIT
GUARDED, PRESENT, USER = PageFault.GUARDED, PageFault.PRESENT, PageFault.USER
BIG = 12 * PAGE  # copied without the GIL from the start
NOBODY = (1,)


def mapping(pages: int = 1, writable: bool = True) -> cpu.Mapping:
    return cpu.Mapping(BASE, pages * PAGE, writable)


def refuse(peer: Peer, task: Task) -> list[Told]:
    """Answer that nobody resolves it, until the task ends."""
    told = []
    while (entry := peer.wait_entry(task)) is not None:
        told.append(Told.of(entry))
        peer.complete(entry.tag, mrs=NOBODY)
    return told


# --- the object


def test_it_says_where_memory_is() -> None:
    made = cpu.Mapping(BASE, 5, True)
    assert (made.address, made.size, len(made), made.writable) == (BASE, 5, 5, True)
    assert repr(made) == "Mapping(0x100000000000, 5, writable=True)"
    assert repr(cpu.Mapping(address=BASE, size=7)) == "Mapping(0x100000000000, 7)"
    view = memoryview(made)
    assert (view.nbytes, view.readonly, view.format, view.itemsize) == (5, False, "B", 1)
    assert memoryview(cpu.Mapping(BASE, 5)).readonly


@pytest.mark.parametrize(
    ("address", "size"),
    [
        (0, PAGE),
        (BASE - 1, PAGE),
        (abi.MAPPING_END, 1),
        (abi.MAPPING_END - 1, 2),
        (BASE, 0),
        (BASE, abi.MAPPING_END),
        (BASE, (1 << 64) - 1),
    ],
)
def test_it_is_of_managed_memory_alone(address: int, size: int) -> None:
    with pytest.raises(ValueError, match=r"abi.MAPPING_BASE"):
        cpu.Mapping(address, size)


@pytest.mark.parametrize("arguments", [(-1, 1), (BASE, -1), (1 << 64, 1)])
def test_numbers_are_words(arguments: tuple[int, int]) -> None:
    with pytest.raises(OverflowError):
        cpu.Mapping(*arguments)


def test_nothing_reaches_beyond_it() -> None:
    whole = mapping()
    for offset, size in ((0, PAGE + 1), (PAGE, 1), (PAGE + 1, 0), ((1 << 64) - 1, 2)):
        with pytest.raises(ValueError, match=r"not in a mapping of 4096 bytes"):
            whole.read(offset, size)
        with pytest.raises(ValueError, match=r"not in a mapping of 4096 bytes"):
            whole.copy(offset, whole, 0, size)
        with pytest.raises(ValueError, match=r"not in a mapping of 4096 bytes"):
            whole.copy(0, whole, offset, size)
    with pytest.raises(ValueError, match=r"not in a mapping of 4096 bytes"):
        whole.write(PAGE - 1, b"ab")
    with pytest.raises(ValueError, match=r"overlap"):
        whole.copy(0, whole, 1, 2)
    assert whole.read(PAGE, 0) == b""
    assert whole.write(PAGE, b"") is None


def test_one_that_is_read_only_is_not_written() -> None:
    whole = mapping(writable=False)
    with pytest.raises(TypeError, match=r"read-only"):
        whole.write(0, b"a")
    with pytest.raises(TypeError, match=r"read-only"):
        whole.copy(0, whole, 8, 8)
    with pytest.raises(TypeError):
        memoryview(whole)[0] = 1


def test_what_is_no_mapping_is_no_source() -> None:
    with pytest.raises(TypeError):
        mapping().copy(0, b"abc", 0, 1)  # type: ignore[arg-type]


# --- guarded copies that are resolved


@pytest.mark.parametrize("size", [1, 8, 4095, 3 * PAGE, BIG])
def test_a_guarded_read_is_resolved(size: int) -> None:
    with running(lambda: mapping(13).read(9, size), with_keeper=True) as (peer, task):
        told = serve_pages(peer, task, lambda page: bytes([(page - BASE) // PAGE]) * PAGE)
        assert {fault.kind for fault in told} == {GUARDED | USER}
        assert [fault.address & -PAGE for fault in told] == [
            BASE + page * PAGE for page in range((9 + size + PAGE - 1) // PAGE)
        ]
        assert task.result() == b"".join(bytes([page]) * PAGE for page in range(13))[9 : 9 + size]


@pytest.mark.parametrize("size", [1, 8, 4095, 3 * PAGE, BIG])
def test_a_guarded_write_is_resolved(size: int) -> None:
    data = os.urandom(size)

    def run() -> bytes:
        whole = mapping(13)
        whole.write(9, bytearray(data))
        return bytes(memoryview(whole)[9 : 9 + size])

    with running(run, with_keeper=True) as (peer, task):
        told = serve_pages(peer, task, lambda _: b"")
        assert {fault.kind for fault in told} == {GUARDED | USER | PageFault.WRITE}
        assert task.result() == data


def test_a_guarded_copy_is_resolved() -> None:
    def run() -> bytes:
        whole = mapping(6)
        whole.copy(3, whole, 3 * PAGE, 2 * PAGE)
        return bytes(memoryview(whole)[3 : 3 + 2 * PAGE])

    with running(run, with_keeper=True) as (peer, task):
        told = serve_pages(peer, task, lambda page: bytes([(page - BASE) // PAGE]) * PAGE)
        assert {fault.kind & PageFault.WRITE for fault in told} == {PageFault.WRITE, PageFault.NONE}
        assert task.result() == b"\3" * PAGE + b"\4" * PAGE


def test_other_threads_run_while_a_guarded_access_waits() -> None:
    """The one that answers may be a thread of the same process."""

    def pager(thread: int, *_: int) -> None:
        cpu.trap(CALL, thread, 0, 0, 0, 0, 0)

    def first() -> bytes:
        cpu.set_thread_entry(pager)
        wait_forever()
        return mapping().read(0, 1)

    with running(first, with_keeper=True) as (peer, task), contextlib.closing(Peer()) as other:
        waiting = next_entry(peer, task)
        peer.echo(waiting)
        entry, _ = next_fault(peer, task)
        assert start(task, other, 1) == 0
        other.echo(next_entry(other, task))
        assert next_entry(other, task).op == EXIT
        map_page(task, BASE, b"z")
        peer.complete(entry.tag)
        assert task.result() == b"z"


# --- guarded copies that are not


@pytest.mark.parametrize(
    ("access", "kind"),
    [
        (lambda: mapping(13).read(8, 4), "read"),
        (lambda: mapping(13).read(8, BIG), "read"),
        (lambda: mapping(13).write(8, b"abcd"), "write"),
        (lambda: mapping(13).write(8, bytes(BIG)), "write"),
    ],
)
def test_nobody_gives_memory(access: Callable[[], object], kind: str) -> None:
    def run() -> Any:
        found = []
        for _ in range(3):
            try:
                access()
            except cpu.VMFault as fault:
                found.append((fault.address, fault.kind, str(fault)))
        return found

    with running(run, with_keeper=True) as (peer, task):
        told = refuse(peer, task)
        assert [fault.address for fault in told] == [BASE + 8] * 3
        text = f"no memory at 0x100000000008 to {kind}, and no pager gave any"
        assert task.result() == [(BASE + 8, kind, text)] * 3


def test_a_copy_ends_where_memory_ends() -> None:
    def run() -> tuple[int, bytes]:
        whole = mapping(3)
        with pytest.raises(cpu.VMFault) as raised:
            whole.write(PAGE - 2, b"abcd" + bytes(PAGE))
        return raised.value.address, bytes(memoryview(whole)[PAGE - 2 : PAGE + 2])

    with running(run, with_keeper=True) as (peer, task):
        pages = iter([True, True, False])
        while (entry := peer.wait_entry(task)) is not None:
            given = next(pages)
            if given:
                map_page(task, Told.of(entry).address & -PAGE)
            peer.complete(entry.tag, mrs=() if given else NOBODY)
        assert task.result() == (BASE + 2 * PAGE, b"abcd")


def test_a_write_to_read_only_memory_raises() -> None:
    def run() -> Any:
        whole = mapping()
        assert whole.read(0, 1) == b"r"
        with pytest.raises(cpu.VMFault) as raised:
            whole.write(1, b"w")
        return raised.value.kind, raised.value.address, whole.read(1, 1)

    with running(run, with_keeper=True) as (peer, task):
        entry, _ = next_fault(peer, task)
        map_page(task, BASE, b"r", READ)
        peer.complete(entry.tag)
        assert {fault.kind for fault in refuse(peer, task)} == {GUARDED | USER | PRESENT | PageFault.WRITE}
        assert task.result() == ("write", BASE + 1, b"\0")


def test_the_source_of_a_write_is_guarded_too() -> None:
    def run() -> Any:
        memoryview(mapping())[0] = 1
        with pytest.raises(cpu.VMFault) as raised:
            mapping().write(0, memoryview(cpu.Mapping(BASE + PAGE, 8)))
        return raised.value.kind, raised.value.address

    with running(run, with_keeper=True) as (peer, task):
        entry, _ = next_fault(peer, task)
        map_page(task, BASE)
        peer.complete(entry.tag)
        refuse(peer, task)
        assert task.result() == ("read", BASE + PAGE)


def test_a_thread_without_a_trap_frame_gets_the_exception() -> None:
    def run() -> Any:
        cpu.set_exchange_ns(20_000_000)
        found: list[object] = []

        def read() -> None:
            try:
                mapping().read(0, 1)
            except cpu.VMFault as fault:
                found.append(fault.address)

        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        return found

    with running(run, with_keeper=True) as (_, task):
        assert task.result() == [BASE]


def test_a_thread_is_parked_within_a_guarded_access_beside_others() -> None:
    """It does not hold the GIL then, so the stop is not deferred."""

    def entry(*_: int) -> int:
        return mapping().read(0, 1)[0]

    def first() -> Any:
        cpu.set_thread_entry(entry)
        return wait_forever()

    with running(first, with_keeper=True) as (peer, task), contextlib.closing(Peer()) as other:
        waiting = next_entry(peer, task)
        assert start(task, other, 1) == 0
        asked, _ = next_fault(other, task)
        assert task.ask(ControlOp.PARK, 1) == 0
        map_page(task, BASE, b"\x15")
        other.complete(asked.tag)
        assert task.ask(ControlOp.PARK, 1) == 0
        assert other.take() is None
        assert task.ask(ControlOp.UNPARK, 1) == 0
        assert next_entry(other, task).mr0 == 21
        peer.echo(waiting)
        task.result()


def test_eight_threads_copy_what_comes_and_goes() -> None:
    """Each read ends, with bytes or with an exception; the memory is cut and given back all the while."""
    pages, rounds = 4, 200

    def entry(thread: int, *_: int) -> int:
        whole = mapping(pages)
        good = 0
        for number in range(rounds):
            try:
                good += len(whole.read((number + thread) % pages * PAGE, PAGE)) == PAGE
            except cpu.VMFault:
                good += 1
        return good

    def first() -> Any:
        cpu.set_thread_entry(entry)
        return wait_forever()

    lock = threading.Lock()
    memories = [memory(bytes([page + 1]) * PAGE) for page in range(pages)]
    ends: list[int] = []

    def serve(other: Peer, task: Task) -> None:
        answered = 0
        while (asked := next_entry(other, task)).op != EXIT:
            page = (Told.of(asked).address - BASE) // PAGE
            answered += 1
            with lock:
                os.ftruncate(memories[answered % pages], 0)
                if answered % 5:
                    os.ftruncate(memories[page], PAGE)
                    map_memory(task, BASE + page * PAGE, memories[page], READ | WRITE)
            other.complete(asked.tag, mrs=() if answered % 5 else NOBODY)
        ends.append(asked.mr0)

    run_threads(8, first, serve, lock)
    assert ends == [rounds] * 8
    for fd in memories:
        os.close(fd)
