"""What a keeper is told of memory: in order, a window at a time, and never more than the process has mappings."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence

import pytest

from kerneld.host.control import MESSAGE, ControlSocket
from kerneld.host.map_mail import RETRY_S, WINDOW, Handed, MapMail
from libsel4py import abi
from libsel4py.abi import ControlOp, MapFlags, Rights

PAGE = 4096
BASE = abi.MAPPING_BASE


class Keeper:
    """A process's end of the control socket, and the mail that is sent to it."""

    def __init__(self) -> None:
        ours, self.end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.end.setblocking(False)
        self.complaints: list[str] = []
        self.told: list[int] = []
        self.done: list[int] = []
        self.unanswered: list[int] = []
        self.quiet: list[int] = []  # those that are answered only where they fail
        loop = asyncio.get_running_loop()
        self.control = ControlSocket(ours, loop, self.complaints.append)
        self.mail = MapMail(self.control, loop, self.told.append, self.complaints.append)
        self.memory = os.memfd_create("frame")

    def map(self, number: int, rights: int = Rights.READ) -> None:
        self.mail.map(BASE + PAGE * number, PAGE, rights, lambda: Handed(self.memory, opened=False))

    def unmap(self, number: int) -> None:
        self.mail.unmap(BASE + PAGE * number, PAGE, lambda: self.done.append(number))

    def read(self) -> list[tuple[str, int, int]]:
        """What was sent since the last look: op, number of the page, rights."""
        found: list[tuple[str, int, int]] = []
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.end, abi.CONTROL_BYTES, 4, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return found
            op, sequence, _, _, address, size, rights, flags, *_ = MESSAGE.unpack(data)
            assert len(descriptors) == (op == ControlOp.MAP)
            assert size == PAGE
            assert flags & ~MapFlags.QUIET == (MapFlags.REPLACE if op == ControlOp.MAP else 0)
            for descriptor in descriptors:
                os.close(descriptor)
            self.unanswered.append(sequence)
            if flags & MapFlags.QUIET:
                self.quiet.append(sequence)
            found.append((ControlOp(op).name, (address - BASE) // PAGE, rights))

    async def answer(self, error: int = 0) -> None:
        """Answer all that was read."""
        for sequence in self.unanswered:
            self.end.send(MESSAGE.pack(ControlOp.DONE, sequence, 0, 0, error, *(0,) * 5))
        self.unanswered.clear()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def close(self) -> None:
        self.mail.close()
        self.control.close()
        self.end.close()
        os.close(self.memory)


def with_keeper(work: Callable[[Keeper], Awaitable[None]]) -> None:
    async def within() -> None:
        keeper = Keeper()
        try:
            await work(keeper)
        finally:
            keeper.close()

    asyncio.run(asyncio.wait_for(within(), 30))


@pytest.fixture(autouse=True)
def leaves_nothing() -> Iterator[None]:
    gc.collect()  # what a test before has left to be collected
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) == before


def test_messages_are_counted_when_they_are_sent() -> None:
    async def work(keeper: Keeper) -> None:
        keeper.mail.open()
        keeper.map(0, Rights.READ | Rights.WRITE)
        assert (keeper.read(), keeper.told) == ([("MAP", 0, 3)], [1])
        keeper.unmap(0)
        assert (keeper.read(), keeper.told, keeper.done) == ([("UNMAP", 0, 0)], [1, 2], [])
        await keeper.answer()
        assert (keeper.done, keeper.mail.sent) == ([0], 2)

    with_keeper(work)


def test_ten_thousand_frames_at_once_do_not_fill_the_socket() -> None:
    async def work(keeper: Keeper) -> None:
        keeper.mail.open()
        for number in range(10_000):
            keeper.map(number)
        seen = []
        while sent := keeper.read():
            assert len(sent) <= WINDOW
            seen += [number for _, number, _ in sent]
            await keeper.answer()
        assert seen == list(range(10_000))
        assert not keeper.complaints

    with_keeper(work)


def test_nothing_is_sent_before_the_process_runs_and_the_last_word_counts() -> None:
    async def work(keeper: Keeper) -> None:
        for _ in range(100):
            keeper.map(1, Rights.READ)
            keeper.map(2)
            keeper.unmap(2)
        keeper.map(1, Rights.READ | Rights.WRITE)
        assert (len(keeper.mail), keeper.read(), keeper.told) == (1, [], [])
        assert keeper.done == [2] * 100
        keeper.mail.open()
        assert keeper.read() == [("MAP", 1, 3)]

    with_keeper(work)


def test_what_waits_for_a_process_that_does_not_run_stays_small() -> None:
    """Whoever may map into its VSpace does so at ever new addresses."""

    async def work(keeper: Keeper) -> None:
        keeper.mail.open()
        for number in range(5000):
            keeper.map(number)
            keeper.unmap(number)
        assert len(keeper.mail) <= 1
        assert len(keeper.read()) == WINDOW
        assert not keeper.complaints

    with_keeper(work)


def test_an_unmap_that_another_map_overtakes_is_not_told() -> None:
    async def work(keeper: Keeper) -> None:
        keeper.mail.open()
        for number in range(WINDOW):
            keeper.map(number)
        keeper.read()
        keeper.unmap(3)
        keeper.map(3)
        await keeper.answer()
        assert keeper.read() == [("MAP", 3, 2)]
        keeper.unmap(3)
        assert keeper.read() == [("UNMAP", 3, 0)]
        await keeper.answer()
        assert keeper.done == [3]

    with_keeper(work)


def test_an_unmap_after_a_map_that_never_went_still_takes_away_what_was_there_before() -> None:
    async def work(keeper: Keeper) -> None:
        keeper.mail.open()
        for number in range(WINDOW):
            keeper.map(number)
        keeper.read()
        keeper.unmap(3)
        keeper.map(3)
        keeper.unmap(3)
        await keeper.answer()
        assert keeper.read() == [("UNMAP", 3, 0)]

    with_keeper(work)


def test_a_process_that_does_not_map_what_it_is_handed_is_told_of() -> None:
    async def work(keeper: Keeper) -> None:
        keeper.mail.open()
        keeper.map(0)
        keeper.read()
        await keeper.answer(errno.ENOMEM)
        assert keeper.complaints == [f"it did not map the memory that it was handed at {BASE:#x} (ENOMEM)"]

    with_keeper(work)


def test_an_error_of_an_unmap_is_the_processs_own() -> None:
    async def work(keeper: Keeper) -> None:
        keeper.mail.open()
        keeper.map(0)
        keeper.unmap(0)
        keeper.read()
        keeper.end.send(MESSAGE.pack(ControlOp.DONE, keeper.unanswered.pop(0), 0, 0, *(0,) * 6))
        await keeper.answer(errno.EINVAL)
        assert (keeper.complaints, keeper.done) == ([], [0])

    with_keeper(work)


def test_the_end_of_the_process_is_the_end_of_all_that_it_had_mapped() -> None:
    async def work(keeper: Keeper) -> None:
        keeper.mail.open()
        for number in range(WINDOW + 1):
            keeper.map(number)
        keeper.read()
        keeper.unmap(1)
        sent: list[int] = []
        assert keeper.mail.when_sent(lambda: sent.append(1))
        keeper.mail.close()
        keeper.map(5)
        assert (keeper.done, sent, keeper.read()) == ([1], [1], [])
        keeper.unmap(2)
        assert keeper.done == [1, 2]

    with_keeper(work)


def test_who_waits_until_all_is_sent_is_called_then() -> None:
    async def work(keeper: Keeper) -> None:
        keeper.mail.open()
        sent: list[int] = []
        assert not keeper.mail.when_sent(lambda: sent.append(0))
        for number in range(WINDOW + 1):
            keeper.map(number)
        assert keeper.mail.when_sent(lambda: sent.append(1))
        keeper.read()
        assert not sent
        await keeper.answer()
        assert sent == [1]

    with_keeper(work)


def test_descriptors_that_the_host_does_not_let_on_their_way_go_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(keeper: Keeper) -> None:
        keeper.mail.open()
        hand = keeper.control._hand
        refusals = [OSError(errno.ETOOMANYREFS, "too many"), OSError(errno.ETOOMANYREFS, "too many")]

        def refuse(data: bytes, descriptors: Sequence[int]) -> None:
            if refusals:
                raise refusals.pop()
            hand(data, descriptors)

        monkeypatch.setattr(keeper.control, "_hand", refuse)
        keeper.map(0)
        keeper.map(1)
        assert (keeper.read(), keeper.told) == ([], [])
        gone = asyncio.Event()
        assert keeper.mail.when_sent(gone.set)
        await gone.wait()
        assert ([number for _, number, _ in keeper.read()], keeper.told) == ([0, 1], [1, 2])
        assert RETRY_S < 1

    with_keeper(work)


def test_a_descriptor_that_was_opened_for_a_message_is_closed() -> None:
    async def work(keeper: Keeper) -> None:
        keeper.mail.open()
        before = len(os.listdir("/proc/self/fd"))
        for number in range(WINDOW):
            address = BASE + PAGE * number
            keeper.mail.map(address, PAGE, Rights.READ, lambda: Handed(os.dup(keeper.memory), opened=True))
        keeper.read()
        assert len(os.listdir("/proc/self/fd")) == before

    with_keeper(work)


def test_one_answer_stands_for_the_mappings_before_it() -> None:
    async def work(keeper: Keeper) -> None:
        keeper.mail.open()
        for number in range(4 * WINDOW):
            keeper.map(number)
        seen = []
        while sent := keeper.read():
            assert len(sent) <= WINDOW
            seen += [number for _, number, _ in sent]
            keeper.unanswered = [each for each in keeper.unanswered if each not in keeper.quiet]
            await keeper.answer()
        assert seen == list(range(4 * WINDOW))
        assert len(keeper.quiet) == 4 * (WINDOW - 2)
        assert not keeper.complaints

    with_keeper(work)


def test_a_quiet_mapping_that_fails_is_told_of_and_one_that_was_answered_for_is_not_answered_again() -> None:
    async def work(keeper: Keeper) -> None:
        keeper.mail.open()
        keeper.map(0)
        keeper.map(1)
        keeper.unmap(1)
        keeper.read()
        quiet, failed, asked = keeper.unanswered
        keeper.unanswered = [failed]
        await keeper.answer(errno.ENOMEM)
        assert keeper.complaints == [f"it did not map the memory that it was handed at {BASE + PAGE:#x} (ENOMEM)"]
        keeper.unanswered = [asked]
        await keeper.answer()
        assert keeper.done == [1]
        keeper.unanswered = [quiet]
        await keeper.answer()
        assert keeper.complaints[1:] == ["it answered what was not asked"]

    with_keeper(work)


def test_what_has_to_wait_is_not_mapped_at_once() -> None:
    async def work(keeper: Keeper) -> None:
        assert not keeper.mail.try_map(BASE, PAGE, Rights.READ, keeper.memory)
        keeper.mail.open()
        for number in range(WINDOW):
            assert keeper.mail.try_map(BASE + PAGE * number, PAGE, Rights.READ, keeper.memory)
        assert not keeper.mail.try_map(BASE, PAGE, Rights.READ, keeper.memory)
        assert ([number for _, number, _ in keeper.read()], keeper.mail.sent) == (list(range(WINDOW)), WINDOW)
        await keeper.answer()
        assert keeper.mail.try_map(BASE, PAGE, Rights.READ, keeper.memory)
        keeper.mail.close()
        assert not keeper.mail.try_map(BASE, PAGE, Rights.READ, keeper.memory)

    with_keeper(work)


def test_a_process_that_begins_anew_is_told_one_thing_before_it_answers() -> None:
    """However much it has of a kernel before this one: it may be stopped while kernel after kernel ends."""

    async def work(keeper: Keeper) -> None:
        keeper.mail.open()
        keeper.mail.start_over()
        for number in range(3):
            keeper.map(number)
        assert not keeper.mail.try_map(BASE + 7 * PAGE, PAGE, Rights.READ, keeper.memory)
        order = keeper.end.recv(abi.CONTROL_BYTES)
        op, sequence, *_ = MESSAGE.unpack(order)
        assert op == ControlOp.UNMAP
        assert keeper.read() == []
        keeper.unanswered.append(sequence)
        await keeper.answer()
        assert [page for _, page, _ in keeper.read()] == [0, 1, 2]
        assert keeper.mail.try_map(BASE + 7 * PAGE, PAGE, Rights.READ, keeper.memory)
        keeper.read()

    with_keeper(work)


def test_a_process_that_begins_anew_is_told_so_by_a_number_that_no_mapping_before_can_have() -> None:
    """The kernel before may have sent one more than it told of, to a thread: that one would be taken for this."""

    async def work(keeper: Keeper) -> None:
        keeper.mail.go_on_from(7)
        keeper.mail.open()
        keeper.mail.start_over()
        op, *_, number, _ = MESSAGE.unpack(keeper.end.recv(abi.CONTROL_BYTES))
        assert (op, number, keeper.told, keeper.mail.sent) == (ControlOp.UNMAP, 9, [9], 9)

    with_keeper(work)
