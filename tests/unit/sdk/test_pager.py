"""The pager on the pure kernel: each fault is a message of the kernel's, each mapping stands in its table."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise

import pytest

from kerneld.failures import Fault
from kerneld.records import ThreadState
from libsel4py import Frame
from libsel4py.abi import ExceptionNumber, FaultLabel, Rights
from libsel4py.errors import ServerDied
from libsel4py.fault_reports import LOST_WITH_PAGER, describe_fault
from libsel4py.interfaces.memory_object import Answer, DataError, LockRequest, later
from libsel4py.pagers.anonymous import Anonymous
from libsel4py.pagers.blob import Blob
from tests.unit.sdk.paging import BASE, PAGE, PagingBoard, paging_board

READ, WRITE = int(Rights.READ), int(Rights.READ | Rights.WRITE)
TEXT = b"".join(number.to_bytes(2, "little") for number in range(5 * PAGE // 2)) + b"tail"


@pytest.fixture
def board() -> Iterator[PagingBoard]:
    with paging_board() as made:
        yield made


# --- demand zero fill -------------------------------------------------------------------------------------------


def test_a_touched_page_is_zeroes_and_keeps_what_is_written(board: PagingBoard) -> None:
    client = board.client()
    board.pager.attach(client.space, BASE, 8 * PAGE, Anonymous(board.frames, 8 * PAGE))
    assert client.read(BASE + 5, 16) == bytes(16)
    client.write(BASE + PAGE + 8, b"written")
    assert client.read(BASE + PAGE, 16) == bytes(8) + b"written\0"
    assert board.pager.counts.mapped == 2


def test_reads_behind_the_fault_are_mapped_along_with_it(board: PagingBoard) -> None:
    client = board.client()
    board.pager.attach(client.space, BASE, 16 * PAGE, Blob(board.frames, TEXT, 16 * PAGE), ahead=3)
    faults = sum(
        not client.may(BASE + number * PAGE) and bool(client.read(BASE + number * PAGE, 1)) for number in range(16)
    )
    assert faults == 4
    assert board.pager.counts.faults == 4
    assert (board.pager.counts.mapped, board.pager.counts.ahead) == (16, 12)


def test_fault_ahead_ends_with_the_region(board: PagingBoard) -> None:
    client = board.client()
    board.pager.attach(client.space, BASE, 2 * PAGE, Anonymous(board.frames, 8 * PAGE), ahead=7)
    client.read(BASE, 1)
    assert [client.rights(BASE + number * PAGE) for number in range(3)] == [3, 3, 0]


def test_pages_can_be_larger(board: PagingBoard) -> None:
    client = board.client()
    board.pager.attach(client.space, BASE, 1 << 17, Anonymous(board.frames, 1 << 17), page_bits=16)
    client.write(BASE + 0x1_2345, b"far")
    assert board.pager.counts.faults == 1
    assert client.may(BASE + 0x1_0000, write=True)
    assert not client.may(BASE)


def test_memory_that_is_used_up_refuses_the_access_and_the_pager_goes_on() -> None:
    with paging_board(pool_bits=15) as board:
        client, other = board.client("greedy"), board.client("other")
        board.pager.attach(client.space, BASE, 64 * PAGE, Anonymous(board.frames, 64 * PAGE))
        board.listen()
        touched = 0
        while client.touch(BASE + touched * PAGE, write=True):
            touched += 1
        assert 4 <= touched <= 8
        assert client.thread.state is ThreadState.INACTIVE
        assert board.heard() is not None
        board.pager.attach(other.space, BASE, PAGE, Blob(board.frames, b"", PAGE, writable=False))
        board.pager.remove_space(client.space)
        assert other.read(BASE, 4) == bytes(4)


# --- who is not served ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [BASE - PAGE, BASE + PAGE, BASE + 2 * PAGE - 1, 0x4FFF_FFFF_F000])
def test_a_fault_outside_of_all_regions_is_passed_on_as_it_was_and_stops_the_thread(
    board: PagingBoard, address: int
) -> None:
    client = board.client()
    board.pager.attach(client.space, BASE, PAGE, Anonymous(board.frames, PAGE))
    board.pager.attach(client.space, BASE + 2 * PAGE, PAGE, Anonymous(board.frames, PAGE))
    board.listen()
    assert not client.touch(address)
    heard = board.heard()
    assert heard is not None
    assert heard[:2] == (client.badge, FaultLabel.VM_FAULT)
    assert heard[2][1] == address
    assert client.thread.state is ThreadState.INACTIVE


def test_a_guarded_access_is_refused_and_nobody_else_is_told(board: PagingBoard) -> None:
    client = board.client()
    board.listen()
    client.fault(BASE, guarded=True)
    board.step()
    assert board.heard() is None
    assert not client.waits


def test_writing_where_the_region_is_read_only_and_executing_anywhere_is_refused(board: PagingBoard) -> None:
    client = board.client()
    board.pager.attach(client.space, BASE, PAGE, Anonymous(board.frames, PAGE), rights=READ)
    assert client.touch(BASE)
    assert client.rights(BASE) == READ
    board.listen()
    assert not client.touch(BASE, write=True)
    assert board.heard() is not None
    other = board.client("other")
    board.pager.attach(other.space, BASE, PAGE, Anonymous(board.frames, PAGE))
    board.listen()
    other.fault(BASE, fetch=True)
    board.step()
    assert board.heard() is not None
    assert other.thread.state is ThreadState.INACTIVE


def test_other_faults_reach_the_supervisor_as_they_were(board: PagingBoard) -> None:
    client = board.client()
    board.listen()
    client.raise_fault(Fault(FaultLabel.USER_EXCEPTION, (0, 0, ExceptionNumber.RING_OVERRUN, 7)))
    board.step()
    heard = board.heard()
    assert heard is not None
    assert heard[:2] == (client.badge, FaultLabel.USER_EXCEPTION)
    assert heard[2][3:] == (ExceptionNumber.RING_OVERRUN, 7)
    other = board.client("other")
    other.raise_fault(Fault(FaultLabel.CAP_FAULT, (77, 0, 2, 5)))
    board.listen()
    board.step()
    heard = board.heard()
    assert heard is not None
    assert (heard[1], heard[2][1]) == (FaultLabel.CAP_FAULT, 77)


def test_a_badge_of_nobodys_does_not_disturb(board: PagingBoard) -> None:
    stray = board.machine.thread("stray", fault_endpoint=board.machine.copy(board.endpoint.cptr, badge=999))
    client = board.client()
    board.pager.attach(client.space, BASE, PAGE, Anonymous(board.frames, PAGE))
    client.thread, own = stray, client.thread
    client.fault(2 * BASE)  # at the start the initial task's space, which it is in, has BootInfo
    board.step()
    client.thread = own
    assert client.touch(BASE)


# --- the end of clients -----------------------------------------------------------------------------------------


def test_when_the_last_thread_has_ended_its_mappings_are_gone_before_anybody_is_told(board: PagingBoard) -> None:
    client = board.client()
    board.pager.attach(client.space, BASE, 4 * PAGE, Anonymous(board.frames, 4 * PAGE))
    client.write(BASE, b"x")
    client.write(BASE + PAGE, b"y")
    free = board.slots.free_count
    board.listen()
    client.ends()
    board.step()
    assert board.ended == ["client"]
    assert client.rights(BASE) == client.rights(BASE + PAGE) == 0
    assert board.heard() is not None
    assert board.slots.free_count == free + 2


def test_who_has_outlived_what_the_pager_had_is_refused_until_it_has_ended(board: PagingBoard) -> None:
    """No zeroes in the place of what was there; and its supervisor hears why."""
    first = board.client()
    second = board.client(beside=first)
    first.space.lost, first.space.alive = True, {first.badge, second.badge}
    board.pager.attach(first.space, BASE, PAGE, Anonymous(board.frames, PAGE))
    first.fault(BASE, guarded=True)
    board.step()
    refused = first.thread.completion()
    assert refused is not None
    assert refused.registers[0] == 1
    board.listen()
    assert not first.touch(BASE)
    heard = board.heard()
    assert heard is not None
    assert (heard[0], heard[1], heard[2][1], heard[2][4:]) == (
        first.badge,
        FaultLabel.VM_FAULT,
        BASE,
        (LOST_WITH_PAGER,),
    )
    assert describe_fault(*heard[1:]).endswith("; what was there was lost when its pager ended")
    assert board.pager.counts.refused == 2
    board.listen()
    second.ends()
    board.step()
    assert (first.space.lost, board.ended) == (True, [])
    board.listen()
    first.ends()
    board.step()
    assert (first.space.lost, board.ended) == (False, ["client"])
    other = board.client(beside=first)
    assert other.touch(BASE)


def test_nothing_is_lost_for_a_space_that_nobody_has_outlived(board: PagingBoard) -> None:
    assert not board.pager.add_space(board.client().vspace, "fresh", (), lost=True).lost
    space = board.pager.add_space(board.client("other").vspace, "old", (5, 6), lost=True)
    assert (space.lost, space.alive) == (True, {5, 6})
    assert not board.pager.add_space(board.client("kept").vspace, "kept", (5, 6)).lost


def test_a_space_that_is_removed_leaves_nothing(board: PagingBoard) -> None:
    free = board.slots.free_count, board.memory.statistics().free_bytes
    client = board.client()
    for number in range(3):
        board.pager.attach(client.space, BASE + number * 4 * PAGE, 4 * PAGE, Anonymous(board.frames, 4 * PAGE))
        client.write(BASE + number * 4 * PAGE, b"x")
    board.pager.remove_space(client.space)
    assert (board.slots.free_count, board.memory.statistics().free_bytes) == free
    assert not client.may(BASE)
    assert not board.pager.is_thread(client.badge)


# --- what is behind the pager's back ------------------------------------------------------------------------------


def test_a_space_whose_object_takes_nothing_back_is_removed_all_the_same(board: PagingBoard) -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            raise OSError("no room")

    client, files = board.client(), [Full(TEXT), io.BytesIO(TEXT), Full(TEXT)]
    for number, file in enumerate(files):
        board.pager.attach(client.space, BASE + 8 * number * PAGE, PAGE, Blob(board.frames, file))
        client.write(BASE + 8 * number * PAGE, b"stored")
    with pytest.raises(DataError, match="no room"):
        board.pager.remove_space(client.space)
    assert client.space.regions == ()
    assert not board.pager.is_thread(client.badge)
    assert not any(client.rights(BASE + 8 * number * PAGE) for number in range(3))
    assert [file.getvalue()[:6] == b"stored" for file in files] == [False, True, False]


def test_two_threads_that_fault_at_one_page_share_one_frame(board: PagingBoard) -> None:
    first, second = board.client("first"), board.client("second")
    shared = Anonymous(board.frames, 4 * PAGE)
    for client in (first, second):
        board.pager.attach(client.space, BASE, 4 * PAGE, shared)
    first.fault(BASE, write=True)
    second.fault(BASE)
    board.step()
    board.step()
    first.write(BASE, b"seen by both")
    assert second.read(BASE, 12) == b"seen by both"
    assert shared.pages == 1


def test_two_threads_of_one_space_that_fault_at_one_page_both_go_on(board: PagingBoard) -> None:
    first = board.client()
    second = board.client("second", beside=first)
    board.pager.attach(first.space, BASE, PAGE, Anonymous(board.frames, PAGE))
    first.fault(BASE, write=True)
    second.fault(BASE, write=True)
    board.step()
    board.step()
    assert not first.waits
    assert not second.waits
    assert board.pager.counts.mapped == 1
    first.ends()
    board.listen()
    board.step()
    assert board.ended == []
    assert second.may(BASE)


def test_a_page_that_was_revoked_behind_the_pagers_back_is_fetched_again(board: PagingBoard) -> None:
    client = board.client()
    memory = Anonymous(board.frames, PAGE)
    board.pager.attach(client.space, BASE, PAGE, memory)
    client.write(BASE, b"kept")
    _, _, frame = memory.data_request(0, PAGE, READ)
    assert frame is not None
    board.frames.revoke(frame)
    assert not client.may(BASE)
    assert client.read(BASE, 4) == b"kept"


# --- files ------------------------------------------------------------------------------------------------------


def test_a_file_is_read_in_by_pages_and_written_back_where_it_was_written(board: PagingBoard) -> None:
    file = io.BytesIO(TEXT)
    client = board.client()
    region = board.pager.attach(client.space, BASE, 6 * PAGE, Blob(board.frames, file))
    assert client.read(BASE + PAGE, 8) == TEXT[PAGE : PAGE + 8]
    assert client.rights(BASE + PAGE) == READ
    client.write(BASE + 2 * PAGE + 3, b"changed")
    assert client.rights(BASE + 2 * PAGE) == WRITE
    assert client.read(BASE + 5 * PAGE, 8) == b"tail\0\0\0\0"
    assert file.getvalue() == TEXT
    board.pager.detach(region)
    expected = bytearray(TEXT)
    expected[2 * PAGE + 3 : 2 * PAGE + 10] = b"changed"
    assert file.getvalue() == bytes(expected)


def test_cleaning_writes_back_and_the_next_write_is_noticed(board: PagingBoard) -> None:
    file = io.BytesIO(TEXT)
    blob = Blob(board.frames, file)
    client = board.client()
    board.pager.attach(client.space, BASE, 5 * PAGE, blob)
    client.write(BASE, b"one")
    ticket = blob.lock(0, 5 * PAGE, clean=True)
    board.step()  # the blob's signal
    assert blob.is_completed(ticket)
    assert file.getvalue()[:3] == b"one"
    assert client.rights(BASE) == READ
    client.write(BASE, b"two")
    assert file.getvalue()[:3] == b"one"
    blob.lock(0, PAGE, clean=True)
    board.step()
    assert file.getvalue()[:3] == b"two"


def test_flushing_takes_the_page_from_all_who_map_it(board: PagingBoard) -> None:
    file = io.BytesIO(TEXT)
    blob = Blob(board.frames, file)
    clients = [board.client("one"), board.client("two")]
    for client in clients:
        board.pager.attach(client.space, BASE, 5 * PAGE, blob)
        client.read(BASE, 1)
    clients[0].write(BASE, b"flushed")
    assert clients[1].read(BASE, 7) == b"flushed"
    blob.lock(0, PAGE, flush=True)
    board.step()
    assert [client.rights(BASE) for client in clients] == [0, 0]
    file.seek(0)
    file.write(b"behind!")
    assert [client.read(BASE, 7) for client in clients] == [b"behind!"] * 2


def test_prohibited_rights_are_gone_until_they_are_granted_again(board: PagingBoard) -> None:
    blob = Blob(board.frames, TEXT)
    client = board.client()
    board.pager.attach(client.space, BASE, 5 * PAGE, blob)
    client.write(BASE, b"x")
    blob.lock(0, PAGE, prohibited=int(Rights.WRITE))
    board.step()
    assert client.rights(BASE) == READ
    blob.lock(0, PAGE, prohibited=WRITE)
    board.step()
    assert client.rights(BASE) == 0
    client.write(BASE, b"y")


def test_pages_behind_the_files_end_are_the_pagers_zeroes_and_become_the_files(board: PagingBoard) -> None:
    file = io.BytesIO(b"short")
    client = board.client()
    region = board.pager.attach(client.space, BASE, 3 * PAGE, Blob(board.frames, file, 3 * PAGE))
    assert client.read(BASE + 2 * PAGE, 4) == bytes(4)
    client.write(BASE + PAGE, b"longer")
    free = board.memory.statistics().free_bytes
    board.pager.detach(region)
    assert file.getvalue()[:5] == b"short"
    assert file.getvalue()[PAGE : PAGE + 6] == b"longer"
    assert board.memory.statistics().free_bytes > free


# --- copy on write ----------------------------------------------------------------------------------------------


def test_a_fork_shares_until_somebody_writes(board: PagingBoard) -> None:
    parent, child = board.client("parent"), board.client("child")
    region = board.pager.attach(parent.space, BASE, 8 * PAGE, Anonymous(board.frames, 8 * PAGE))
    parent.write(BASE, b"before")
    parent.write(BASE + PAGE, b"both")
    board.pager.fork(region, child.space)
    assert parent.rights(BASE) == READ
    assert child.read(BASE, 6) == b"before"
    assert child.physical(BASE) == parent.physical(BASE)
    child.write(BASE, b"child!")
    assert child.physical(BASE) != parent.physical(BASE)
    assert parent.read(BASE, 6) == b"before"
    parent.write(BASE + PAGE, b"mine")
    assert child.read(BASE + PAGE, 4) == b"both"
    assert child.read(BASE + 2 * PAGE, 4) == bytes(4)
    parent.write(BASE + 2 * PAGE, b"late")
    assert child.read(BASE + 2 * PAGE, 4) == bytes(4)


def test_a_fork_of_a_fork_and_what_is_left_of_all(board: PagingBoard) -> None:
    free = board.memory.statistics().free_bytes, board.slots.free_count
    clients = [board.client(f"generation {number}") for number in range(4)]
    region = board.pager.attach(clients[0].space, BASE, 4 * PAGE, Anonymous(board.frames, 4 * PAGE))
    clients[0].write(BASE, b"0")
    for number, (_, younger) in enumerate(pairwise(clients), 1):
        region = board.pager.fork(region, younger.space)
        younger.write(BASE + PAGE, b"%d" % number)
    assert [client.read(BASE, 1) for client in clients] == [b"0"] * 4
    assert [client.read(BASE + PAGE, 1) for client in clients] == [b"\0", b"1", b"2", b"3"]
    for client in clients:
        board.pager.remove_space(client.space)
    assert (board.memory.statistics().free_bytes, board.slots.free_count) == free


def test_a_forked_file_keeps_its_writes_to_itself(board: PagingBoard) -> None:
    file = io.BytesIO(TEXT)
    one, two = board.client("one"), board.client("two")
    region = board.pager.attach(one.space, BASE, 5 * PAGE, Blob(board.frames, file))
    one.write(BASE, b"to the file")
    board.pager.fork(region, two.space)
    one.write(BASE, b"to nobody..")
    two.write(BASE + PAGE, b"nor this")
    assert file.getvalue()[:11] == b"to the file"
    assert two.read(BASE, 11) == b"to the file"
    assert one.read(BASE + PAGE, 8) == TEXT[PAGE : PAGE + 8]
    for client in (one, two):
        board.pager.remove_space(client.space)
    assert file.getvalue()[PAGE : PAGE + 8] == TEXT[PAGE : PAGE + 8]


# --- slow, dead and hostile objects -----------------------------------------------------------------------------


class Slow(Anonymous):
    """Says LATER until it is told that the data is there."""

    def __init__(self, board: PagingBoard, size: int) -> None:
        super().__init__(board.frames, size)
        self.ready = False
        self.asked = 0
        self._wake = board.wake

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        self.asked += 1
        return super().data_request(offset, length, access) if self.ready else later()

    def arrive(self) -> None:
        self.ready = True
        self._wake.signal()


def test_a_second_thread_at_a_page_that_is_being_fetched_waits_with_the_first(board: PagingBoard) -> None:
    slow = Slow(board, PAGE)
    first, second, other = (board.client(name) for name in ("first", "second", "other"))
    for client in (first, second):
        board.pager.attach(client.space, BASE, PAGE, slow)
        client.fault(BASE)
        board.step()
    board.pager.attach(other.space, BASE, PAGE, Anonymous(board.frames, PAGE))
    assert first.waits
    assert second.waits
    assert slow.asked == 1
    assert other.read(BASE, 1) == b"\0"  # the pager does not wait
    slow.arrive()
    board.step()
    assert not first.waits
    assert not second.waits
    assert first.may(BASE)
    assert second.may(BASE)


def test_who_waits_too_long_is_refused(board: PagingBoard) -> None:
    client = board.client()
    board.pager.attach(client.space, BASE, PAGE, Slow(board, PAGE))
    client.fault(BASE)
    board.step()
    assert board.pager.next_deadline == 5.0
    board.clock.now = 5.0
    assert board.pager.next_deadline == 0.0
    board.listen()
    board.step()
    assert board.heard() is not None
    assert client.thread.state is ThreadState.INACTIVE
    assert board.pager.next_deadline is None


def test_a_thread_that_ends_while_it_waits_is_forgotten(board: PagingBoard) -> None:
    slow = Slow(board, PAGE)
    client = board.client()
    board.pager.attach(client.space, BASE, PAGE, slow)
    client.fault(BASE)
    board.step()
    board.listen()
    client.ends()
    board.step()
    assert not board.pager.waiting
    assert len(board.pager.spare) == 1
    slow.arrive()
    board.step()
    assert board.pager.counts.mapped == 0


class Wrong(Anonymous):
    """Answers what the test says."""

    def __init__(self, board: PagingBoard, answer: object) -> None:
        super().__init__(board.frames, PAGE)
        self.answer = answer

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]  # that is the point


@pytest.mark.parametrize(
    "answer",
    [
        DataError("no such data"),
        ServerDied("killed"),
        TimeoutError("slow"),
        (0, READ, None),
        (0, 0, None),
        (2, READ, None),
        (77, READ, None),
        (1, 255, None),
        (1, 0, None),
        (0, READ, Frame(1)),
        (0, READ, Frame(0)),
    ],
    ids=str,
)
def test_an_object_that_fails_or_answers_nonsense_fails_who_touched_it(board: PagingBoard, answer: object) -> None:
    client = board.client()
    board.pager.attach(client.space, BASE, PAGE, Wrong(board, answer))
    board.listen()
    free = board.slots.free_count
    assert not client.touch(BASE)
    assert board.heard() is not None
    assert board.slots.free_count == free
    other = board.client("other")
    board.pager.attach(other.space, BASE, PAGE, Anonymous(board.frames, PAGE))
    assert other.touch(BASE)


# --- what cannot be attached ------------------------------------------------------------------------------------


def test_regions_that_make_no_sense_are_refused_and_leave_nothing(board: PagingBoard) -> None:
    client = board.client()
    board.pager.attach(client.space, BASE + 8 * PAGE, PAGE, Anonymous(board.frames, PAGE))
    attempts = [
        (BASE + 1, PAGE, READ, "multiples"),
        (BASE, PAGE + 1, READ, "multiples"),
        (BASE, 0, READ, "multiples"),
        (0x1000, PAGE, READ, "outside"),
        (BASE, 16 * PAGE, READ, "overlaps"),
        (BASE + 8 * PAGE, PAGE, READ, "overlaps"),
        (BASE, PAGE, 0, "rights"),
        (BASE, PAGE, int(Rights.WRITE), "rights"),
    ]
    for address, size, rights, text in attempts:
        with pytest.raises(ValueError, match=text):
            board.pager.attach(client.space, address, size, Anonymous(board.frames, PAGE), rights=rights)
    assert len(client.space.regions) == 1


def test_an_object_has_one_page_size(board: PagingBoard) -> None:
    client = board.client()
    memory = Anonymous(board.frames, 1 << 16)
    board.pager.attach(client.space, BASE, 1 << 16, memory)
    with pytest.raises(ValueError, match="4096"):
        board.pager.attach(client.space, BASE + (1 << 16), 1 << 16, memory, page_bits=16)


def test_a_prohibition_of_a_range_leaves_other_pages_alone(board: PagingBoard) -> None:
    client = board.client()
    region = board.pager.attach(client.space, BASE, 4 * PAGE, Anonymous(board.frames, 4 * PAGE))
    for number in range(4):
        client.write(BASE + number * PAGE, b"x")
    region.residence.lock(LockRequest(0, PAGE, 2 * PAGE, prohibited=int(Rights.WRITE)))
    assert [client.rights(BASE + number * PAGE) for number in range(4)] == [WRITE, READ, READ, WRITE]


# --- regions that change ----------------------------------------------------------------------------------------


def test_REF02_a_smaller_region_loses_its_tail_and_has_the_bytes_again_when_it_grows(board: PagingBoard) -> None:
    client = board.client()
    region = board.pager.attach(client.space, BASE, 4 * PAGE, Anonymous(board.frames, 8 * PAGE))
    board.pager.attach(client.space, BASE + 6 * PAGE, PAGE, Anonymous(board.frames, PAGE))
    for number in range(4):
        client.write(BASE + number * PAGE, bytes([number + 1]))
    board.pager.resize(region, 2 * PAGE)
    assert [client.rights(BASE + number * PAGE) for number in range(4)] == [WRITE, WRITE, 0, 0]
    with pytest.raises(ValueError, match="overlaps"):
        board.pager.resize(region, 7 * PAGE)
    with pytest.raises(ValueError, match="multiples"):
        board.pager.resize(region, PAGE + 1)
    assert region.size == 2 * PAGE
    board.pager.resize(region, 5 * PAGE)
    assert [client.read(BASE + number * PAGE, 1) for number in range(5)] == [b"\1", b"\2", b"\3", b"\4", b"\0"]
    board.pager.resize(region, 2 * PAGE)
    board.listen()
    assert not client.touch(BASE + 2 * PAGE)
    assert client.thread.state is ThreadState.INACTIVE
    heard = board.heard()
    assert heard is not None
    assert (heard[:2], heard[2][1]) == ((client.badge, FaultLabel.VM_FAULT), BASE + 2 * PAGE)


def test_MACH09_a_region_that_is_moved_is_gone_where_it_was_and_no_byte_is_copied(board: PagingBoard) -> None:
    sender, receiver = board.client("sender"), board.client("receiver")
    region = board.pager.attach(sender.space, BASE, 2 * PAGE, Anonymous(board.frames, 2 * PAGE))
    board.pager.attach(receiver.space, BASE, PAGE, Anonymous(board.frames, PAGE))
    sender.write(BASE + PAGE, b"moved")
    place = sender.physical(BASE + PAGE)
    with pytest.raises(ValueError, match="overlaps"):
        board.pager.move(region, receiver.space, BASE)
    assert sender.may(BASE + PAGE, write=True)
    board.pager.move(region, receiver.space, BASE + 4 * PAGE)
    assert sender.rights(BASE + PAGE) == 0
    assert receiver.read(BASE + 5 * PAGE, 5) == b"moved"
    assert receiver.physical(BASE + 5 * PAGE) == place
    board.listen()
    assert not sender.touch(BASE + PAGE)
    assert sender.space.regions == ()
