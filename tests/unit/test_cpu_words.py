"""The words of a Mapping: one load or store each, guarded as its copies are; and the end of a Mapping."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from hw import cpu
from libsel4py.abi import PageFault, Syscall
from tests.unit.cpu_peer import Peer, Task, next_entry, running, start
from tests.unit.fault_peer import BASE, PAGE, READ, Told, map_page, next_fault

LARGEST = (1 << 64) - 1
NOBODY = (1,)


def mapping(pages: int = 1, writable: bool = True) -> cpu.Mapping:
    return cpu.Mapping(BASE, pages * PAGE, writable)


def answer(peer: Peer, task: Task, resolved: bool) -> list[Told]:
    """Bring the pages that are asked for, or say that nobody has them; what was asked."""
    told = []
    while (entry := peer.wait_entry(task)) is not None:
        told.append(Told.of(entry))
        if resolved:
            map_page(task, told[-1].address & -PAGE)
        peer.complete(entry.tag, mrs=() if resolved else NOBODY)
    return told


def test_words_are_stored_and_loaded() -> None:
    def run() -> list[int]:
        words = mapping()
        words.store_word(0, LARGEST)
        words.store_word(PAGE - 8, 3)
        looked = words.store_then_load(8, 7, PAGE - 8)
        return [words.load_word(0), words.load_word(8), looked, int.from_bytes(words.read(0, 8), "little")]

    with running(run, with_keeper=True) as (peer, task):
        told = answer(peer, task, resolved=True)
        assert {fault.address for fault in told} == {BASE}
        assert task.result() == [LARGEST, 7, 3, LARGEST]


@pytest.mark.parametrize("offset", [1, 7, PAGE - 4, PAGE, PAGE + 8, LARGEST - 7])
def test_there_is_no_word_but_at_multiples_of_eight(offset: int) -> None:
    words = mapping()
    for use in (
        lambda: words.load_word(offset),
        lambda: words.store_word(offset, 1),
        lambda: words.store_then_load(offset, 1, 0),
    ):
        with pytest.raises(ValueError, match="there is no word at offset"):
            use()


def test_a_mapping_may_be_too_short_or_lie_askew() -> None:
    for made in (cpu.Mapping(BASE, 7, True), cpu.Mapping(BASE + 4, 16, True)):
        with pytest.raises(ValueError, match="there is no word"):
            made.load_word(0)


def test_wrong_arguments_are_told() -> None:
    words: Any = mapping()
    with pytest.raises(OverflowError):
        words.store_word(0, 1 << 64)
    with pytest.raises(OverflowError):
        words.load_word(-8)
    with pytest.raises(TypeError, match="read-only"):
        mapping(writable=False).store_word(0, 1)
    with pytest.raises(TypeError, match=r"store_word\(\) takes 2 arguments, and 1 were given"):
        words.store_word(0)
    with pytest.raises(TypeError, match=r"store_then_load\(\) takes 3 arguments, and 4 were given"):
        words.store_then_load(0, 1, 2, 3)
    with pytest.raises(TypeError):
        words.load_word("0")


@pytest.mark.parametrize("way", ["load", "store", "look"])
def test_words_that_nobody_brings_raise(way: str) -> None:
    def run() -> tuple[int, str]:
        words = mapping()
        try:
            match way:
                case "load":
                    words.load_word(16)
                case "store":
                    words.store_word(16, 1)
                case "look":
                    words.store_then_load(16, 1, 24)
        except cpu.VMFault as fault:
            return fault.address, fault.kind
        return 0, ""

    with running(run, with_keeper=True) as (peer, task):
        (told,) = answer(peer, task, resolved=False)
        wanted = PageFault.GUARDED | PageFault.USER | (PageFault(0) if way == "load" else PageFault.WRITE)
        assert told[0::2] == (BASE + 16, wanted)
        assert tuple(task.result()) == (BASE + 16, "read" if way == "load" else "write")


def test_a_read_only_page_takes_no_word() -> None:
    def run() -> str:
        words = mapping()
        words.load_word(0)
        try:
            words.store_word(0, 1)
        except cpu.VMFault as fault:
            return fault.kind
        return "none"

    with running(run, with_keeper=True) as (peer, task):
        entry, _ = next_fault(peer, task)
        map_page(task, BASE, b"\1", READ)
        peer.complete(entry.tag)
        entry, fault = next_fault(peer, task)
        assert fault.kind & PageFault.PRESENT
        peer.complete(entry.tag, mrs=NOBODY)
        assert task.result() == "write"


def test_other_threads_run_while_a_word_is_waited_for() -> None:
    """The pager may be one of them."""

    def entry(thread: int, *_: int) -> int:
        return mapping().load_word(0)

    def first() -> None:
        cpu.set_thread_entry(entry)
        for _ in range(2):
            cpu.trap(Syscall.CALL, 0, 0, 0, 0, 0, 0)

    with running(first, with_keeper=True) as (peer, task):
        waiting = next_entry(peer, task)
        other = Peer()
        assert start(task, other, 1) == 0
        asked, _ = next_fault(other, task)
        peer.echo(waiting)
        waiting = next_entry(peer, task)  # the first thread has had the GIL meanwhile
        map_page(task, BASE, b"\x09")
        other.complete(asked.tag)
        assert next_entry(other, task).op == Syscall.EXIT
        other.close()
        peer.echo(waiting)
        task.result()


def test_two_threads_never_both_miss_the_others_word() -> None:
    """Each says something and then looks: at least one of them sees it, or both would sleep."""
    rounds = 300

    def run() -> int:
        words, missed = mapping(), 0
        words.store_word(0, 0)
        barrier = threading.Barrier(2)
        seen = [0, 0]

        def say(me: int) -> None:
            for number in range(1, rounds + 1):
                barrier.wait()
                seen[me] = words.store_then_load(64 * me, number, 64 * (1 - me))
                barrier.wait()
                if me == 0 and seen[0] < number and seen[1] < number:
                    nonlocal missed
                    missed += 1

        threads = [threading.Thread(target=say, args=(me,)) for me in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return missed

    with running(run, with_keeper=True) as (peer, task):
        answer(peer, task, resolved=True)
        assert task.result() == 0


def test_a_released_mapping_gives_nothing() -> None:
    made = mapping()
    view = memoryview(made)
    part = view[8:16]
    with pytest.raises(BufferError, match="1 views of the mapping are in use"):
        made.release()
    view.release()
    with pytest.raises(BufferError):
        made.release()
    part.release()
    made.release()
    made.release()
    assert (len(made), made.size) == (0, 0)
    for use in (
        lambda: made.read(0, 1),
        lambda: made.write(0, b"1"),
        lambda: made.load_word(0),
        lambda: made.store_word(0, 1),
        lambda: memoryview(made),
        lambda: mapping().copy(0, made, 0, 1),
    ):
        with pytest.raises(ValueError, match=r"released|mapping of 0 bytes"):
            use()


def test_numpy_keeps_it() -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    made = mapping()
    array = numpy.frombuffer(made, dtype="<u8")
    with pytest.raises(BufferError):
        made.release()
    del array
    made.release()
