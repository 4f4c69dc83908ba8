"""A pager whose memory object is another task's: requests, frames and failures travel through the kernel."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from libsel4py import Endpoint, Frame, Reply, Untyped
from libsel4py.abi import ObjectType, Rights
from libsel4py.capabilities import Notification
from libsel4py.environment import Environment
from libsel4py.interfaces.memory_object import READ_ONLY, READ_WRITE, Answer, DataError, MemoryObject, Supply
from libsel4py.pager import Pager
from libsel4py.pagers.blob import Blob
from libsel4py.pagers.frames import Frames
from libsel4py.server import Server
from libsel4py.task import Task, as_task
from tests.unit.sdk.kernel_cpu import FREE_SLOTS, OWN_REPLY_SLOT
from tests.unit.sdk.paging import BASE, PAGE, KernelContents, PagingBoard, paging_board

SERVED, POOL, BADGE = 20, 21, 77
POOL_BITS = 17
TEXT = b"over there" + bytes(3 * PAGE)


class Served(Blob):
    """A file of another task; supplies frames that cannot be written if it is told to."""

    crippled = False
    is_full = False

    def _write(self, offset: int, data: bytes) -> None:
        if self.is_full:
            raise OSError("no room")
        super()._write(offset, data)

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        kind, rights, frame = super().data_request(offset, length, access)
        if self.crippled and frame is not None:
            frame = self._frames.copy(frame, Rights.READ)
            rights |= Rights.WRITE
        return kind, rights, frame


class Remote:
    """The object's task and the pager's view of it."""

    def __init__(self, board: PagingBoard, room: int = 0) -> None:
        """``room``: bytes behind the file's end that the object has."""
        machine = board.machine
        self.board, self.file = board, io.BytesIO(TEXT)
        endpoint = machine.retype(ObjectType.ENDPOINT)
        thread = board.bench.thread("object")
        machine.grant(thread, endpoint, SERVED)
        machine.grant(thread, machine.retype(ObjectType.UNTYPED, POOL_BITS), POOL)
        task = Task(Environment("object", first_free_slot=FREE_SLOTS[0], free_slots=FREE_SLOTS[1]))
        self.served = Served(
            Frames(task.cnode, task.slots, task.memory, KernelContents(machine)), self.file, len(TEXT) + room
        )
        self.client = board.client()
        self.stub = MemoryObject(Endpoint(machine.copy(endpoint, badge=BADGE)))
        self.other = MemoryObject(Endpoint(machine.copy(endpoint, badge=BADGE + 1)))

        def work(task: Task) -> None:
            task.memory.add(Untyped(POOL), POOL_BITS)
            self.served._task = task
            server = Server(Endpoint(SERVED), task)
            server.provide(self.served, MemoryObject, clients={BADGE: "pager", BADGE + 1: "other"})
            server.serve(Reply(OWN_REPLY_SLOT))

        board.bench.start(thread, task, work)

    def pager_dies(self) -> None:
        """As its successor finds it: what it had is deleted, and nobody has been told."""
        frames, space = self.board.frames, self.client.space
        frames.drop_all([mapped.frame for mapped in space.mapped.values()])
        frames.drop_all([page.frame for region in space.regions for page in region.residence.pages.values()])


@pytest.fixture
def remote() -> Iterator[Remote]:
    with paging_board() as board:
        made = Remote(board)
        with as_task(board.task):
            yield made


def test_pages_of_another_tasks_file_are_mapped_and_written_back(remote: Remote) -> None:
    board, client = remote.board, remote.client
    free = board.slots.free_count
    region = board.pager.attach(client.space, BASE, 4 * PAGE, remote.stub)
    assert client.read(BASE, 10) == b"over there"
    client.write(BASE + PAGE, b"changed")
    board.pager.detach(region)
    assert remote.file.getvalue()[PAGE : PAGE + 7] == b"changed"
    assert board.slots.free_count >= free - 1  # a receive slot stands ready


def test_the_object_refuses_what_it_has_not_and_the_thread_fails(remote: Remote) -> None:
    board, client = remote.board, remote.client
    board.pager.attach(client.space, BASE, 8 * PAGE, remote.stub)
    board.listen()
    assert not client.touch(BASE + 6 * PAGE)
    assert board.heard() is not None


def test_a_frame_that_cannot_what_the_answer_says_is_refused(remote: Remote) -> None:
    board, client = remote.board, remote.client
    remote.served.crippled = True
    board.pager.attach(client.space, BASE, 4 * PAGE, remote.stub)
    board.listen()
    assert not client.touch(BASE, write=True)
    assert board.heard() is not None


def test_what_is_no_page_is_not_looked_into(remote: Remote) -> None:
    """A pager gives an endpoint back, at which nobody receives, or a page of another size than it was supplied."""
    board, stub = remote.board, remote.stub
    stub.init(None)
    _, _, frame = stub.data_request(0, PAGE, READ_WRITE)
    assert frame is not None
    large, blind = board.frames.new(13), board.frames.copy(frame, Rights.WRITE)
    for strange in (Frame(board.endpoint.cptr), Frame(board.notification.cptr), large, blind):
        with pytest.raises(DataError, match="no frame of 4096 bytes"):
            stub.data_return(0, PAGE, strange, True, True)
    for method in (stub.data_request, stub.data_unlock):
        with pytest.raises(DataError, match="pages of 8192 bytes"):
            method(0, 2 * PAGE, READ_WRITE)
    with pytest.raises(DataError, match="pages of 8192 bytes"):
        stub.data_return(0, 2 * PAGE, large, True, False)
    assert remote.file.getvalue() == TEXT
    KernelContents(board.machine).write(frame, b"OVER")
    stub.data_return(0, PAGE, frame, True, False)
    assert remote.file.getvalue()[:10] == b"OVER there"
    stub.terminate()


def test_a_pager_that_has_died_begins_again_and_finds_all_that_was_written() -> None:
    """Also behind the file's end, where a pager of the object's own task makes the page itself."""
    with paging_board() as board:
        remote = Remote(board, 2 * PAGE)
        with as_task(board.task):
            _begins_again(remote)


def _begins_again(remote: Remote) -> None:
    board, client, contents = remote.board, remote.client, KernelContents(remote.board.machine)
    board.pager.attach(client.space, BASE, 5 * PAGE, remote.stub)
    client.write(BASE + PAGE, b"changed")
    client.write(BASE + 4 * PAGE, b"far away")
    assert client.read(BASE, 10) == b"over there"
    ticket = remote.served.lock(0, 4 * PAGE, clean=True)
    assert remote.file.getvalue() == TEXT
    remote.file.seek(0)
    remote.file.write(b"behind its back")  # of a page that nobody wrote to
    remote.pager_dies()
    again = Pager(board.frames)
    again.attach(again.add_space(client.vspace), BASE, 5 * PAGE, remote.stub)
    assert remote.served.is_completed(ticket)  # nobody has a page any more
    now = remote.file.getvalue()
    assert (now[PAGE : PAGE + 7], now[4 * PAGE : 4 * PAGE + 8]) == (b"changed", b"far away")
    assert now.startswith(b"behind its back")
    for offset, expected in ((0, b"over there"), (PAGE, b"changed"), (4 * PAGE, b"far away")):
        kind, rights, frame = remote.stub.data_request(offset, PAGE, READ_ONLY)
        assert frame is not None
        assert (kind, rights, contents.read(frame, len(expected))) == (Supply.SUPPLIED, READ_ONLY, expected)
        board.frames.drop(frame)


def test_what_could_not_be_written_back_then_is_asked_of_the_next_pager(remote: Remote) -> None:
    board, client = remote.board, remote.client
    board.pager.attach(client.space, BASE, 3 * PAGE, remote.stub)
    client.write(BASE, b"full")
    remote.served.is_full = True
    remote.pager_dies()
    again = Pager(board.frames)
    again.attach(again.add_space(client.vspace), BASE, 3 * PAGE, remote.stub)
    _, rights, frame = remote.stub.data_request(0, PAGE, READ_ONLY)
    assert frame is not None
    assert rights == READ_WRITE
    remote.served.is_full = False
    remote.stub.data_return(0, PAGE, frame, True, False)
    assert remote.file.getvalue()[:4] == b"full"


def test_what_pagers_are_to_be_signalled_by_takes_one_slot_and_goes_with_the_last(remote: Remote) -> None:
    """However often one begins again."""
    bell = Notification(remote.board.task.memory.allocate(ObjectType.NOTIFICATION).start)
    remote.stub.init(None)
    slots = remote.served.task.slots  # of its own task: it serves by now
    free = slots.free_count
    for _ in range(20):
        remote.stub.init(bell)
        assert slots.free_count == free - 1
    with pytest.raises(DataError, match="has a pager already"):
        remote.other.init(bell)
    remote.stub.terminate()
    assert slots.free_count == free


def test_another_pager_is_refused_while_the_first_one_has_the_object(remote: Remote) -> None:
    board, client = remote.board, remote.client
    board.pager.attach(client.space, BASE, PAGE, remote.stub)
    with pytest.raises(DataError, match="has a pager already"):
        remote.other.init(None)
    assert client.read(BASE, 10) == b"over there"
