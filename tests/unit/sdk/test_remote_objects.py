"""A pager whose memory object is another task's: requests, frames and failures travel through the kernel."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from libsel4py import Endpoint, Reply, Untyped
from libsel4py.abi import ObjectType, Rights
from libsel4py.environment import Environment
from libsel4py.interfaces.memory_object import Answer, MemoryObject
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

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        kind, rights, frame = super().data_request(offset, length, access)
        if self.crippled and frame is not None:
            frame = self._frames.copy(frame, Rights.READ)
            rights |= Rights.WRITE
        return kind, rights, frame


class Remote:
    """The object's task and the pager's view of it."""

    def __init__(self, board: PagingBoard) -> None:
        machine = board.machine
        self.board, self.file = board, io.BytesIO(TEXT)
        endpoint = machine.retype(ObjectType.ENDPOINT)
        thread = board.bench.thread("object")
        machine.grant(thread, endpoint, SERVED)
        machine.grant(thread, machine.retype(ObjectType.UNTYPED, POOL_BITS), POOL)
        task = Task(Environment("object", first_free_slot=FREE_SLOTS[0], free_slots=FREE_SLOTS[1]))
        self.served = Served(Frames(task.cnode, task.slots, task.memory, KernelContents(machine)), self.file)
        self.client = board.client()
        self.stub = MemoryObject(Endpoint(machine.copy(endpoint, badge=BADGE)))

        def work(task: Task) -> None:
            task.memory.add(Untyped(POOL), POOL_BITS)
            self.served._task = task
            server = Server(Endpoint(SERVED), task)
            server.provide(self.served, MemoryObject, clients={BADGE: "pager"})
            server.serve(Reply(OWN_REPLY_SLOT))

        board.bench.start(thread, task, work)


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
