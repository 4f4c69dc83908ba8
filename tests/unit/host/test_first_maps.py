"""What the fast path hands by itself: the same as `Mappings.map` would, or nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import struct
from collections.abc import Callable

import pytest

from kerneld.host.control import AWAKE, MESSAGE, ROOM, SENT, SEQUENCE
from kerneld.host.frame_stock import FIRST_MADE
from kerneld.host.map_mail import ANSWERED_EVERY, WINDOW
from kerneld.host.process import Thread
from kerneld.records import Tcb
from libsel4py import abi
from libsel4py.abi import ControlOp, FaultLabel
from tests.unit.host.keepers import BASE, BOTH, PAGE, READ, Order, Scene, Task, in_scene, turn

FIRST, FRAME, OTHER = 0x400000, 0x401000, 0x402000
ELSEWHERE = 0x800000
TRAP = 0x8000  # a trap frame


def fill_stock(scene: Scene) -> None:
    """Have as much made ahead as a test takes: what is made is twice as much each time."""
    for number in range(FIRST_MADE + 2 * FIRST_MADE + 4 * FIRST_MADE):
        scene.mappings.frame_fd(ELSEWHERE + number * PAGE, PAGE)
    while scene.mappings.make_ahead():
        continue


def armed(scene: Scene, first: int = FIRST) -> Task:
    """A task with one thread, to which the fast path may hand: it has got one page, of ``first``, at page 0."""
    task = scene.task()
    task.process.threads[0] = Thread(Tcb(scene.ram, 0x2000), task.process, 0, TRAP, os.eventfd(0))
    scene.map(task, 0, BOTH, first)
    assert task.told_ops() == ["MAP"]
    return task


def told_in(scene: Scene) -> int:
    count: int = struct.unpack("<I", scene.ram.read(TRAP + abi.MAPPINGS_TOLD, 4))[0]
    return count


def hand(scene: Scene, task: Task, page: int, frame: int) -> Order:
    """Hand a page by the fast path; what the keeper was told, which it has not obeyed."""
    assert scene.map_fast(task, page, BOTH, frame)
    scene.mappings.first_maps.note()
    (order,) = task.read()
    return order


def refuses(scene: Scene, task: Task, page: int = 1, rights: int = BOTH, frame: int = FRAME, size: int = PAGE) -> None:
    """The fast path leaves it, and has told nobody."""
    before = list(task.process.control.words)
    assert not scene.map_fast(task, page, rights, frame, size)
    assert task.read() == []
    assert list(task.process.control.words) == before


def test_the_keeper_gets_the_frame_s_memory_and_the_threads_are_told() -> None:
    async def work(scene: Scene) -> None:
        task = armed(scene)
        order = hand(scene, task, 1, FRAME)
        assert (order.op, order.address, order.size, order.rights) == (ControlOp.MAP, BASE + PAGE, PAGE, BOTH)
        assert told_in(scene) == task.process.map_mail.sent == 2
        task.obey(order)
        task.maps[BASE + PAGE][:4] = b"task"
        assert scene.ram.read(FRAME, 4) == b"task"
        scene.ram.poke(FRAME + 8, b"kernel")
        assert task.maps[BASE + PAGE][8:14] == b"kernel"
        assert scene.mappings.frame_fd(FRAME, PAGE) >= 0
        seals = fcntl.fcntl(order.descriptor, fcntl.F_GET_SEALS)
        assert seals & fcntl.F_SEAL_GROW
        scene.unmap(task, 1)
        assert task.told_ops() == ["UNMAP"]
        await turn()
        await scene.settled()
        assert os.fstat(order.descriptor).st_size == 0  # what it has kept is nothing
        assert scene.ram.read(FRAME, 4) == b"task"

    in_scene(work)


def test_messages_are_numbered_and_answered_as_if_python_had_sent_them() -> None:
    async def work(scene: Scene) -> None:
        fill_stock(scene)
        task = armed(scene)
        sequence = task.process.control.words[SEQUENCE]
        asked = []
        for number in range(1, 2 * ANSWERED_EVERY):
            order = hand(scene, task, number, FIRST + number * PAGE)
            assert order.sequence == sequence + number
            asked.append(order)
        loud = [order for order in asked if not order.quiet]
        assert [asked.index(order) for order in loud] == [ANSWERED_EVERY - 2, 2 * ANSWERED_EVERY - 2]
        task.answer(loud[0])
        await turn()
        assert not task.ended
        assert set(task.process.map_mail._unanswered) == set(range(ANSWERED_EVERY + 1, 2 * ANSWERED_EVERY + 1))
        task.answer(loud[1])
        await turn()
        # The next one by Python goes on from there, and the fast path from that.
        page = 2 * ANSWERED_EVERY + 1
        scene.map(task, page, READ, FIRST)
        (order,) = task.read()
        assert order.sequence == sequence + 2 * ANSWERED_EVERY
        assert task.process.map_mail.sent == task.process.control.words[SENT] + 1
        # Before Python has looked whether anything waits:
        refuses(scene, task, page + 1, frame=FIRST + (page + 1) * PAGE)
        scene.map(task, page + 1, BOTH, FIRST + (page + 1) * PAGE)
        task.read()
        assert hand(scene, task, page + 2, FIRST + (page + 2) * PAGE).sequence == sequence + 2 * ANSWERED_EVERY + 2

    in_scene(work)


def test_a_keeper_that_does_not_answer_gets_no_more_than_a_window() -> None:
    async def work(scene: Scene) -> None:
        fill_stock(scene)
        task = armed(scene)
        for number in range(1, WINDOW):
            hand(scene, task, number, FIRST + number * PAGE)
        assert task.process.control.words[ROOM] == 0
        refuses(scene, task, WINDOW)
        scene.map(task, WINDOW, BOTH, FRAME + WINDOW * PAGE)
        assert (task.read(), len(task.process.map_mail)) == ([], 1)

    in_scene(work)


def test_what_a_keeper_answers_with_an_error_ends_the_process() -> None:
    async def work(scene: Scene) -> None:
        task = armed(scene)
        task.answer(hand(scene, task, 1, FRAME), error=12)
        await turn()
        assert len(task.ended) == 1
        assert f"{BASE + PAGE:#x}" in task.ended[0]

    in_scene(work)


class Faulting:
    """A task with a thread that waits for its pager, and with the socket by which it is answered."""

    def __init__(self, scene: Scene) -> None:
        fill_stock(scene)
        self.scene, self.task, self.pages = scene, armed(scene), 1
        self.tcb = self.task.process.threads[0].tcb
        with scene.ram.transaction():
            self.tcb.fault_label = FaultLabel.VM_FAULT
        assert (self.hand(), self.hand()) == ([2], [3])
        self.awake, answer = opened(self.task)
        self.task.end.send(answer)
        self.task.process.control._readable()

    def hand(self) -> list[int]:
        """Hand a page; the numbers of what the keeper was told."""
        page, self.pages = self.pages, self.pages + 1
        assert self.scene.map_fast(self.task, page, BOTH, FIRST + page * PAGE)
        self.scene.mappings.first_maps.note()
        return numbers_told(self.task.end)

    def close(self) -> None:
        self.awake.close()


def numbers_told(end: socket.socket) -> list[int]:
    """Of the mappings that came since the last look, behind which an AWAKE may be."""
    found: list[int] = []
    size = socket.CMSG_LEN(struct.calcsize("i"))
    while True:
        try:
            data, ancillary, *_ = end.recvmsg(abi.CONTROL_BYTES, size, socket.MSG_PEEK)
        except BlockingIOError:
            return found
        for *_, descriptor in ancillary:
            os.close(int.from_bytes(descriptor, "little"))
        op, *_, number, _ = MESSAGE.unpack(data)
        if op != ControlOp.MAP:
            return found
        end.recv(abi.CONTROL_BYTES)  # what rides along is closed
        found.append(number)


def opened(task: Task) -> tuple[socket.socket, bytes]:
    """The message AWAKE: the socket, and the answer to it."""
    data, (descriptor,), _, _ = socket.recv_fds(task.end, abi.CONTROL_BYTES, 2)
    op, sequence, *_ = MESSAGE.unpack(data)
    assert op == ControlOp.AWAKE
    return socket.socket(fileno=descriptor), MESSAGE.pack(ControlOp.DONE, sequence, 0, 0, 0, *(0,) * 5)


def test_what_a_thread_waits_for_goes_to_that_thread() -> None:
    async def work(scene: Scene) -> None:
        faulting = Faulting(scene)
        with contextlib.closing(faulting):
            assert [faulting.hand() for _ in range(3)] == [[], [], []]
            assert numbers_told(faulting.awake) == [4, 5, 6]
            assert told_in(scene) == faulting.task.process.map_mail.sent == 6
            with scene.ram.transaction():
                faulting.tcb.fault_label = FaultLabel.NULL_FAULT
            assert faulting.hand() == [7]
            assert numbers_told(faulting.awake) == []

    in_scene(work)


def test_the_keeper_is_told_what_is_to_be_answered() -> None:
    """So no more than a window is on its way to threads that never look."""

    async def work(scene: Scene) -> None:
        faulting = Faulting(scene)
        with contextlib.closing(faulting):
            told = [each for _ in range(WINDOW - 3) for each in faulting.hand()]
            assert told == [ANSWERED_EVERY, 2 * ANSWERED_EVERY]
            assert faulting.task.process.control.words[ROOM] == 0
            refuses(scene, faulting.task, WINDOW + 1)

    in_scene(work)


def test_an_answer_with_an_error_ends_the_process_whoever_has_laid_it() -> None:
    async def work(scene: Scene) -> None:
        faulting = Faulting(scene)
        with contextlib.closing(faulting):
            faulting.hand()
            sequence = faulting.task.process.control.words[SEQUENCE]
            faulting.task.end.send(MESSAGE.pack(ControlOp.DONE, sequence, 0, 0, 12, *(0,) * 5))
            await turn()
            assert len(faulting.task.ended) == 1
            assert faulting.task.process.control.words[ROOM] == 0

    in_scene(work)


def test_a_socket_that_takes_no_more_leaves_it_to_python_and_the_keeper() -> None:
    async def work(scene: Scene) -> None:
        faulting = Faulting(scene)
        faulting.close()
        refuses(scene, faulting.task, faulting.pages, frame=FIRST + faulting.pages * PAGE)
        scene.map(faulting.task, faulting.pages, BOTH, FIRST + faulting.pages * PAGE)
        assert numbers_told(faulting.task.end) == [4]

    in_scene(work)


def test_a_process_that_answers_for_what_it_never_took_is_ended() -> None:
    """So descriptors on their way to it are soon no more: the host counts those of all tasks together."""

    async def work(scene: Scene) -> None:
        faulting = Faulting(scene)
        process = faulting.task.process
        ours = socket.socket(fileno=os.dup(process.control.words[AWAKE]))
        ours.setblocking(False)
        with contextlib.closing(faulting), ours:
            with contextlib.suppress(BlockingIOError):
                while True:
                    ours.send(bytes(abi.CONTROL_BYTES))
            page = faulting.pages
            assert not scene.map_fast(faulting.task, page, BOTH, FIRST + page * PAGE)
            scene.map(faulting.task, page, BOTH, FIRST + page * PAGE)
            assert faulting.task.ended == ["its second socket is full"]
            assert numbers_told(faulting.task.end) == []

    in_scene(work)


def test_a_process_that_takes_no_socket_is_ended_when_all_is_noted() -> None:
    async def work(scene: Scene) -> None:
        fill_stock(scene)
        task = armed(scene)
        with scene.ram.transaction():
            task.process.threads[0].tcb.fault_label = FaultLabel.VM_FAULT
        for page in range(1, 4):
            assert scene.map_fast(task, page, BOTH, FIRST + page * PAGE)
        ours = socket.socket(fileno=os.dup(task.process.kept_fd))
        ours.setblocking(False)
        with ours, contextlib.suppress(BlockingIOError):
            while True:
                ours.send(bytes(abi.CONTROL_BYTES))
        scene.mappings.first_maps.note()
        assert task.ended == ["its control socket is full"]
        assert len(scene.mappings) >= 4

    in_scene(work)


def wants_more(scene: Scene, task: Task) -> None:
    refuses(scene, task, rights=READ)
    refuses(scene, task, rights=0)
    refuses(scene, task, frame=FRAME & ~0x3FFF, size=4 * PAGE)


def frame_that_somebody_has(scene: Scene, task: Task) -> None:
    refuses(scene, task, frame=FIRST)


def frame_that_was_handed_and_not_noted(scene: Scene, task: Task) -> None:
    assert scene.map_fast(task, 1, BOTH, FRAME)
    task.read()
    refuses(scene, task, 2)
    scene.mappings.first_maps.note()


def frame_with_memory_that_nobody_has(scene: Scene, task: Task) -> None:
    scene.mappings.frame_fd(FRAME, PAGE)
    refuses(scene, task)


def frame_with_bytes_in_ram(scene: Scene, task: Task) -> None:
    scene.ram.poke(FRAME, b"kept")
    refuses(scene, task)
    scene.map(task, 1, BOTH, FRAME)
    assert task.told_ops() == ["MAP"]
    assert task.maps[BASE + PAGE][:4] == b"kept"


def nothing_in_stock(scene: Scene, task: Task) -> None:
    page = 1
    while scene.map_fast(task, page, BOTH, FIRST + page * PAGE):
        scene.mappings.first_maps.note()
        for order in task.read():
            task.answer(order)
        task.process.control._readable()
        page += 1
    assert page > 2
    refuses(scene, task, page, frame=FIRST + page * PAGE)
    scene.map(task, page, BOTH, FIRST + page * PAGE)
    assert [order.address for order in task.read()] == [BASE + page * PAGE]


def something_waits_for_the_process(scene: Scene, task: Task) -> None:
    task.process.map_mail.more_to_come = True
    refuses(scene, task)


def thread_that_is_not_known(scene: Scene, task: Task) -> None:
    task.process.threads[0].close()
    refuses(scene, task)


def process_that_is_killed(scene: Scene, task: Task) -> None:
    task.kill()
    refuses(scene, task)


def other_message_first(scene: Scene, task: Task) -> None:
    scene.unmap(task, 0)
    assert [order.op for order in task.read()] == [ControlOp.UNMAP]
    refuses(scene, task)


def full_socket(scene: Scene, task: Task) -> None:
    """Then the kernel does it over, and finds out."""
    ours = socket.socket(fileno=os.dup(task.process.kept_fd))
    ours.setblocking(False)
    with ours, contextlib.suppress(BlockingIOError):
        while True:
            ours.send(bytes(abi.CONTROL_BYTES))
    before = list(task.process.control.words)
    assert not scene.map_fast(task, 1, BOTH, FRAME)
    assert list(task.process.control.words) == before
    scene.map(task, 1, BOTH, FRAME)
    assert task.ended == ["its control socket is full"]


def test_what_did_not_go_is_nobodys_where_python_does_not_do_it_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next frame gets that memory, and the two are not one."""

    async def work(scene: Scene) -> None:
        task, other = armed(scene), armed(scene, OTHER)
        ours = socket.socket(fileno=os.dup(task.process.kept_fd))
        ours.setblocking(False)
        with ours, contextlib.suppress(BlockingIOError):
            while True:
                ours.send(bytes(abi.CONTROL_BYTES))
        assert not scene.map_fast(task, 1, BOTH, FRAME)
        with monkeypatch.context() as patched:
            patched.setattr(scene.mappings.shares, "is_beyond", lambda process: True)
            scene.map(task, 1, BOTH, FRAME)
        assert "far more than its share" in task.ended[0]
        page = FRAME + 16 * PAGE
        scene.map(other, 1, BOTH, page)
        other.told_ops()
        other.maps[BASE + PAGE][:5] = b"other"
        assert (scene.ram.read(page, 5), scene.ram.read(FRAME, 5)) == (b"other", bytes(5))
        scene.ram.poke(FRAME, b"kernel")
        assert other.maps[BASE + PAGE][:5] == b"other"

    in_scene(work)


@pytest.mark.parametrize(
    "case",
    [
        wants_more,
        frame_that_somebody_has,
        frame_that_was_handed_and_not_noted,
        frame_with_memory_that_nobody_has,
        frame_with_bytes_in_ram,
        nothing_in_stock,
        something_waits_for_the_process,
        thread_that_is_not_known,
        process_that_is_killed,
        other_message_first,
        full_socket,
    ],
)
def test_the_rest_is_left_to_python(case: Callable[[Scene, Task], None]) -> None:
    async def work(scene: Scene) -> None:
        case(scene, armed(scene))
        await turn()

    in_scene(work)


def test_another_process_in_the_same_vspace_is_not_handed_what_its_predecessor_would_be() -> None:
    async def work(scene: Scene) -> None:
        before = armed(scene)
        before.kill()
        await turn()
        after = Task(scene)
        scene.tasks.append(after)
        after.process.vspace = before.process.vspace
        refuses(scene, after)
        scene.map(after, 0, BOTH, OTHER)
        assert [order.address for order in after.read()] == [BASE]
        scene.mappings.ends(before.process)  # heard of late
        assert hand(scene, after, 1, FRAME).address == BASE + PAGE
        assert before.read() == []

    in_scene(work)
