"""batch() and the IPC buffer's functions."""

import struct
from typing import Any

import pytest

from hw import cpu, ring
from libsel4py import abi
from tests.unit.cpu_peer import next_entry, running, serve_echo

CALL = abi.Syscall.CALL


def entries(count: int) -> list[Any]:
    return [(CALL, i, 4, (i, i + 1, i + 2, i + 3), ()) for i in range(count)]


@pytest.mark.parametrize("count", [0, 1, 64, 65, 1000])
@pytest.mark.parametrize("spin_ns", [0, 1_000_000])
def test_a_batch_answers_each_entry_in_order(count: int, spin_ns: int) -> None:
    with running(lambda: cpu.batch(entries(count))) as (peer, task):
        assert serve_echo(peer, task, spin_ns) == count
        assert task.result() == [(0, i, 4, i, i + 1, i + 2, i + 3) for i in range(count)]


def test_a_batch_is_one_doorbell_a_fill() -> None:
    with running(lambda: len(cpu.batch(entries(64)))) as (peer, task):
        peer.wait_doorbell()
        taken = [entry for entry in iter(peer.take, None) if entry is not None]
        assert (len(taken), peer.rings) == (64, 1)
        for entry in taken:
            peer.echo(entry)
        assert task.result() == 64


@pytest.mark.parametrize("first", [0, (1 << 32) - 3, (1 << 32) - 5, (1 << 32) - 4])
def test_who_sleeps_in_a_batch_is_woken_by_its_last_completion(first: int) -> None:
    """Also where the numbers go round; 0 and 1 are none that can be waited for, and stand for any."""
    with running(lambda: cpu.batch(entries(5)), first=first) as (peer, task):
        peer.wait_doorbell()
        taken = [entry for entry in iter(peer.take, None) if entry is not None]
        peer.wait_asleep()
        last = (first + 5) % (1 << 32)
        assert peer.waiting() == (1 if last <= 1 else last)
        woken = []
        for entry in taken:
            woken.append(peer.echo(entry))
            if last <= 1 and len(woken) < 5:
                peer.wait_asleep()
        if last > 1:
            assert woken == [False] * 4 + [True]
        assert [completion[1] for completion in task.result()] == [0, 1, 2, 3, 4]


def test_a_batch_beyond_a_ring_is_woken_when_half_of_it_is_free() -> None:
    with running(lambda: len(cpu.batch(entries(100)))) as (peer, task):
        peer.wait_doorbell()
        taken = [entry for entry in iter(peer.take, None) if entry is not None]
        peer.wait_asleep()
        assert (len(taken), peer.waiting()) == (64, 32)
        for entry in taken:
            peer.echo(entry)
        assert serve_echo(peer, task) == 36
        assert task.result() == 100


@pytest.mark.parametrize(
    ("said", "woken"), [(0, False), (1, True), (7, True), (8, False), (1 << 31, False), (8 + (1 << 31), True)]
)
def test_the_kernel_wakes_by_what_the_thread_says(said: int, woken: bool) -> None:
    """Whatever that is: the thread harms itself alone."""
    with running(lambda: None) as (peer, task):
        task.result()
        peer.ram.poke(abi.TASK_WAITING, struct.pack("<I", said))
        assert ring.complete(peer.ram, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0) is woken


def test_at_most_a_ring_is_in_flight() -> None:
    with running(lambda: len(cpu.batch(entries(200)))) as (peer, task):
        most = 0
        while (entry := peer.wait_entry(task)) is not None:
            waiting = [entry]
            while (entry := peer.take()) is not None:
                waiting.append(entry)
            most = max(most, len(waiting))
            for entry in waiting:
                peer.echo(entry)
        assert task.result() == 200
        assert most == abi.RING_ENTRIES


def test_an_entry_carries_eight_words_two_capabilities_and_a_reply() -> None:
    whole: Any = (CALL, 1, 8, tuple(range(10, 18)), (21, 22), 23)
    with running(lambda: cpu.batch([whole])) as (peer, task):
        entry = peer.wait_entry(task)
        assert entry is not None
        assert entry[4:8] == (10, 11, 12, 13)
        assert entry.flags == abi.EntryFlags.INLINE | abi.EntryFlags.HAS_TAIL
        assert peer.tail() == (23, 0, 14, 15, 16, 17, 21, 22)
        peer.echo(entry)
        task.result()


def test_a_receive_behind_others_gets_a_whole_message() -> None:
    receive: Any = (abi.Syscall.REPLY_RECV, 1, 2, (10, 11), (), 23)
    with running(lambda: cpu.batch([*entries(1), receive])) as (peer, task):
        peer.echo(next_entry(peer, task))
        entry = peer.wait_entry(task)
        assert entry is not None
        assert (entry.flags, entry[2:6], peer.tail()[0]) == (abi.EntryFlags.HAS_TAIL, (1, 2, 10, 11), 23)
        peer.complete(entry.tag, badge=5, info=3, mrs=(7, 8, 9))
        assert task.result()[1] == (0, 5, 3, 7, 8, 9, 0)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ((CALL, 1, 9, tuple(range(9)), ()), ValueError),
        ((CALL, 1, 0, (), (1, 2, 3, 4)), ValueError),
        ((CALL, 1, 0, tuple(range(5)), (1, 2, 3)), ValueError),
        ((CALL, 1, 0, [1], ()), ValueError),
        ((CALL, 1, 0, (-1,), ()), OverflowError),
        ((CALL, 1), TypeError),
        (7, TypeError),
    ],
)
def test_a_malformed_entry_submits_nothing(wrong: Any, error: type[Exception]) -> None:
    def call() -> Any:
        with pytest.raises(error):
            cpu.batch([*entries(3), wrong])
        return cpu.trap(CALL, 9, 0, 0, 0, 0, 0)[1]

    with running(call) as (peer, task):
        assert serve_echo(peer, task) == 1
        assert task.result() == 9


def test_one_entry_brings_three_capabilities_by_the_message_area() -> None:
    wide = (CALL, 7, 3 << 7, (1, 2), (11, 12, 13))
    with running(lambda: cpu.batch([*entries(2), wide])) as (peer, task):
        peer.wait_doorbell()
        taken = [entry for entry in iter(peer.take, None) if entry is not None]
        assert [entry.flags & abi.EntryFlags.INLINE for entry in taken] == [abi.EntryFlags.INLINE] * 2 + [0]
        assert struct.unpack("<3Q", peer.ram.read(abi.IPC_CAPS_OR_BADGES, 24)) == (11, 12, 13)
        for entry in taken:
            peer.echo(entry)
        assert [completion[3] for completion in task.result()] == [0, 1, 1]


def test_a_second_entry_with_three_capabilities_is_refused() -> None:
    wide = (CALL, 7, 3 << 7, (), (11, 12, 13))

    def call() -> Any:
        with pytest.raises(ValueError, match="one entry of a batch may have 3"):
            cpu.batch([wide, wide])
        return cpu.trap(CALL, 9, 0, 0, 0, 0, 0)[1]

    with running(call) as (peer, task):
        assert serve_echo(peer, task) == 1
        assert task.result() == 9


def test_batches_and_calls_take_turns() -> None:
    def calls() -> list[int]:
        counts = []
        for i in range(20):
            counts.append(len(cpu.batch(entries(i * 7))))
            counts.append(cpu.trap(CALL, i, 0, 0, 0, 0, 0)[1])
        return counts

    with running(calls) as (peer, task):
        serve_echo(peer, task)
        assert task.result() == [value for i in range(20) for value in (i * 7, i)]


def test_message_words_lie_where_the_table_says() -> None:
    def call() -> Any:
        cpu.message_write(4, bytes(range(16)))
        cpu.set_caps(1, 2, 3)
        cpu.set_receive(4, 5, 6)
        cpu.message_write(120, b"")
        cpu.message_write(119, b"end word")
        return cpu.message_read(4, 2), cpu.badges(), cpu.receive_path(), cpu.message_read(119, 1)

    with running(call) as (peer, task):
        assert task.result() == (bytes(range(16)), (1, 2, 3), (4, 5, 6), b"end word")
        assert peer.ram.read(abi.IPC_MESSAGE + 32, 16) == bytes(range(16))
        assert peer.ram.words(abi.IPC_CAPS_OR_BADGES, 3) == (1, 2, 3)
        assert peer.ram.word(abi.IPC_RECEIVE_CNODE) == 4
        assert peer.ram.word(abi.IPC_RECEIVE_INDEX) == 5
        assert peer.ram.word(abi.IPC_RECEIVE_DEPTH) == 6


def test_the_message_area_is_bounded() -> None:
    def call() -> None:
        for first, count in [(0, 121), (120, 1), (-1, 1), (119, 2), (2**62, 1), (0, -1)]:
            with pytest.raises(ValueError, match="0 to 119"):
                cpu.message_read(first, count)
        for first, data in [(120, b"8 bytes."), (-1, b""), (0, bytes(968)), (2**62, bytes(8))]:
            with pytest.raises(ValueError, match="0 to 119"):
                cpu.message_write(first, data)
        with pytest.raises(ValueError, match="whole words"):
            cpu.message_write(0, b"seven b")

    with running(call) as (_, task):
        task.result()
