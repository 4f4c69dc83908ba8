"""What a hostile peer, an unlucky moment, or a program's own mistake does to channels: it must hurt nobody else."""

import faulthandler
import gc
import mmap
import os
import select
import signal
import struct
import sys
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from libsel4py.abi import ChannelRole, ControlOp, Error, Status, Syscall
from tests.unit.channel_peer import CALLED, ENDPOINT, NUMBER, bind, call, listen, make_page, pair, read_word, receive
from tests.unit.cpu_peer import Peer
from tests.unit.test_channel_end import wait_asleep
from tests.unit.test_channel_receive import SIGNALLED, connect_signals

INFO = abi.message_info(1, 1)
INVALID = abi.message_info(Error.INVALID_CAPABILITY, 1)
MILLISECOND = 1_000_000


def test_one_end_of_several_that_is_unknown_does_not_keep_the_others_from_waking() -> None:
    def client() -> Any:
        bind()
        return call(INFO, 1)[:3]

    with pair() as scene:
        caller = scene.task(client)
        page = scene.connect(caller)
        while not read_word(page, abi.CHANNEL_DONE) & abi.CHANNEL_WAITER:
            scene.pump()
        wait_asleep(caller)
        os.ftruncate(page, 0)
        scene.tell(caller, ControlOp.CHANNEL_CLOSE, NUMBER + 1, NUMBER)
        scene.serve_until(caller)
        assert caller.task.result() == (Status.DONE, 0, INVALID)


def test_channels_that_ended_before_they_were_bound_leave_their_places() -> None:
    hold, go = os.pipe()

    def client() -> Any:
        os.read(hold, 1)
        bind()
        return call(INFO, 1, timeout_ns=0)[0]

    with pair() as scene:
        caller = scene.task(client)
        for number in range(1000, 1300):
            page = scene.connect(caller, number=number)
            scene.revoke(page, caller, number=number)
        scene.connect(caller)
        os.write(go, b"x")
        scene.serve_until(caller)
        assert caller.task.result() == Status.CANCELLED
    os.close(hold)
    os.close(go)


def test_clients_that_come_and_go_while_a_receiver_is_busy_leave_room_for_others() -> None:
    told, tell = os.pipe()
    hold, go = os.pipe()

    def server() -> Any:
        listen()
        receive()
        os.write(tell, b"x")
        os.read(hold, 1)
        return cpu.reply_recv(ENDPOINT, INFO, 1, 0, 0, 0, 5)[3]

    def client(number: int = NUMBER) -> Any:
        bind(number)
        return call(INFO, 7)[3]

    with pair() as scene:
        serving, first = scene.task(server), scene.task(client)
        scene.connect(first, serving)
        while not select.select([told], [], [], 0)[0]:
            scene.pump()
        for number in range(1000, 1300):
            page = make_page()
            answer = scene.open(serving, page, ChannelRole.SERVER, number, 1, 1)
            os.close(page)
            assert not answer, number
            scene.tell(serving, ControlOp.CHANNEL_CLOSE, number)
        second = scene.task(lambda: client(NUMBER + 1))
        scene.connect(second, serving, number=NUMBER + 1)
        os.write(go, b"x")
        scene.serve_until(first, serving)
        assert (first.task.result(), serving.task.result()) == (1, 7)
    for descriptor in (told, tell, hold, go):
        os.close(descriptor)


def test_a_thread_that_listens_again_takes_by_its_new_number() -> None:
    told, tell = os.pipe()
    hold, go = os.pipe()

    def server() -> Any:
        listen()
        cpu.trap(Syscall.NB_RECV, ENDPOINT, 0, 0, 0, 0, 0, 5)
        cpu.channel_listen(0)
        listen()
        os.write(tell, b"x")
        os.read(hold, 1)
        return receive()[3]

    def client() -> Any:
        bind()
        return call(INFO, 7)[0]

    with pair() as scene:
        serving, caller = scene.task(server), scene.task(client)
        page = make_page()
        scene.stack.callback(os.close, page)
        assert not scene.open(serving, page, ChannelRole.SERVER, NUMBER, 1, 1)
        while not select.select([told], [], [], 0)[0]:
            scene.pump()
        assert not scene.open(serving, page, ChannelRole.SERVER, NUMBER, 1, 2)
        os.write(go, b"x")
        assert not scene.open(caller, page, ChannelRole.CLIENT, NUMBER, 1, 0)
        scene.serve_until(serving)
        assert serving.task.result() == 7
        assert read_word(page, abi.CHANNEL_STATE) >> abi.CHANNEL_LISTENER_SHIFT & abi.CHANNEL_LISTENER_MAX == 2
        scene.tell(caller, ControlOp.RECEIVER_DIED, NUMBER, 2)
        scene.serve_until(caller)
        assert caller.task.result() == Status.SERVER_DIED
    for descriptor in (told, tell, hold, go):
        os.close(descriptor)


def test_a_signal_without_a_badge_wakes_all_the_same() -> None:
    """The kernel's way: a notification becomes active by a signal of badge 0, too."""

    def signaller() -> Any:
        cpu.channel_bind(SIGNALLED, NUMBER, 10_000 * MILLISECOND)
        cpu.trap(Syscall.SEND, SIGNALLED, 0, 0, 0, 0, 0)
        cpu.signal_many([SIGNALLED])

    def waiter() -> Any:
        listen()
        return cpu.trap(Syscall.WAIT, ENDPOINT, 0, 0, 0, 0, 0)[1]

    with pair() as scene:
        waiting, signalling = scene.task(waiter), scene.task(signaller)
        connect_signals(scene, signalling, waiting, NUMBER, 0)
        scene.serve_until(signalling)
        assert [(entry.op, entry.cptr) for entry in signalling.entries] == [
            (Syscall.SEND, SIGNALLED),
            (Syscall.NB_SEND, SIGNALLED),
        ]


class Trapping:
    """Garbage whose finalizer makes a system call."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        cpu.trap(Syscall.YIELD, 3, 5, 6, 7, 8, 9)


def test_a_finalizer_that_traps_while_a_result_is_made_changes_no_result() -> None:
    """Where an allocation collects garbage, it may run in the midst of the making of a result."""

    def task() -> Any:
        trap, number = cpu.trap, int(Syscall.CALL)
        kept: list[tuple[int, ...]] = []
        gc.disable()
        drained = [tuple(range(n, n + 7)) for n in range(3000)]  # the interpreter has none of that size lying ready
        gc.set_threshold(1)
        for n in range(300):
            Trapping(), Trapping(), Trapping()
            gc.enable()
            answer = trap(number, 1000 + n, 1, n, n + 1, 3, 4)
            gc.disable()
            kept.append(answer)
            # Held here, in the list, as the thread's last result unless a finalizer's is that, and by the argument.
            assert sys.getrefcount(answer) <= 4
            del answer
            kept.append(trap(number, 3, 5, 6, 7, 8, 9))
        assert all(sys.getrefcount(kept[n]) >= 2 for n in range(len(kept)))
        assert len(drained) == 3000
        assert len({id(each) for each in kept}) == len(kept)
        assert kept[1::2] == [(0, 3, 5, 6, 7, 8, 9)] * 300
        return [n for n, each in enumerate(kept[::2]) if each != (0, 1000 + n, 1, n, n + 1, 3, 4)]

    with pair() as scene:
        task_ = scene.task(task)
        scene.serve_until(task_)
        assert task_.task.result() == []


def test_a_channel_is_bound_to_one_address() -> None:
    def client() -> Any:
        bind()
        bind()  # the same again is no harm
        with pytest.raises(LookupError, match="bound"):
            cpu.channel_bind(CALLED + 1, NUMBER, MILLISECOND)
        return call(INFO, 7)[3]

    def server() -> Any:
        listen()
        word = receive()[3]
        cpu.trap(Syscall.SEND, 5, INFO, word, 0, 0, 0)

    with pair() as scene:
        caller, serving = scene.task(client), scene.task(server)
        page = scene.connect(caller, serving)
        scene.serve_until(caller, serving)
        serving.task.result()
        assert caller.task.result() == 7
        assert read_word(page, abi.CHANNEL_DONE) >> 16 == 1


def test_a_process_has_room_for_the_channels_of_many_threads() -> None:
    """Eight threads of one server listen to 120 channels each."""
    with pair() as scene:
        task = scene.task(receive)
        page = make_page()
        scene.stack.callback(os.close, page)
        answers = {scene.open(task, page, ChannelRole.CLIENT, number, 0, 0) for number in range(8 * 120)}
        assert answers == {0}


def post(page: int, sequence: int) -> None:
    """A request as a client writes it that does not wait for its answers."""
    os.pwrite(page, struct.pack("<IIQQ", 0, abi.ChannelOp.CALL, INFO, sequence)[4:], abi.CHANNEL_POSTED + 4)
    os.pwrite(page, struct.pack("<I", sequence << 16 | abi.CHANNEL_VALID), abi.CHANNEL_POSTED)


def test_a_client_cannot_pile_up_answers_that_are_put_off() -> None:
    def server() -> Any:
        listen()
        first = receive()[3]
        handle = cpu.detach()
        os.write(tell, b"x")
        os.read(hold, 1)
        polled = cpu.trap(Syscall.NB_RECV, ENDPOINT, 0, 0, 0, 0, 0, 5)[0]
        timed = cpu.recv(ENDPOINT, 5, 50 * MILLISECOND)[0]
        assert cpu.answer(handle, INFO, 1, 0, 0, 0)
        return first, polled, timed, receive()[3]

    told, tell = os.pipe()
    hold, go = os.pipe()
    with pair() as scene:
        serving = scene.task(server)
        page = make_page()
        scene.stack.callback(os.close, page)
        post(page, 1)
        assert not scene.open(serving, page, ChannelRole.SERVER, NUMBER, 1, 1)
        while not select.select([told], [], [], 0)[0]:
            scene.pump()
        post(page, 2)
        os.write(go, b"x")
        scene.serve_until(serving)
        assert serving.task.result() == (1, Status.EMPTY, Status.CANCELLED, 2)
    for descriptor in (told, tell, hold, go):
        os.close(descriptor)


def test_what_is_posted_while_an_answer_is_owed_wakes_the_receiver_that_sleeps() -> None:
    """Another thread answers. What was posted since is taken without a further word of the client."""

    def server() -> Any:
        listen()
        first = receive()[3]
        handle = cpu.detach()

        def answer() -> None:
            os.read(hold, 1)
            cpu.answer(handle, INFO, 1, 0, 0, 0)

        cpu.set_thread_entry(lambda *_: answer())
        os.write(tell, b"x")
        return first, receive()[3]

    told, tell = os.pipe()
    hold, go = os.pipe()
    with pair() as scene:
        serving = scene.task(server)
        page = make_page()
        scene.stack.callback(os.close, page)
        post(page, 1)
        assert not scene.open(serving, page, ChannelRole.SERVER, NUMBER, 1, 1)
        while not select.select([told], [], [], 0)[0]:
            scene.pump()
        post(page, 2)
        other = Peer()
        scene.stack.callback(other.close)
        assert not serving.task.ask(ControlOp.THREAD, 1, 5, (), (other.frame_fd, other.doorbell))
        while serving.posted is None:
            scene.pump()
        wait_asleep(serving)
        os.write(go, b"x")
        scene.serve_until(serving)
        assert serving.task.result() == (1, 2)
    for descriptor in (told, tell, hold, go):
        os.close(descriptor)


@pytest.mark.parametrize("ours", [True, False])
def test_a_server_that_enables_faulthandler_survives_a_page_that_is_gone(ours: bool) -> None:
    """A fault that is no channel's ends it as ever."""

    def server() -> Any:
        faulthandler.disable()  # the test's own
        os.write(tell, b"x")
        listen()
        receive()
        with open(os.devnull, "w") as nowhere:
            faulthandler.enable(nowhere)
            if not ours:
                empty = os.memfd_create("empty")
                os.ftruncate(empty, 4096)
                memory = mmap.mmap(empty, 4096)
                os.ftruncate(empty, 0)
                return memory[0]
            os.write(tell, b"x")
            os.read(hold, 1)
            return cpu.reply_recv(ENDPOINT, INFO, 1, 0, 0, 0, 5, 20 * MILLISECOND)[0]

    told, tell = os.pipe()
    hold, go = os.pipe()
    with pair() as scene:
        serving = scene.task(server)
        page = make_page()
        scene.stack.callback(os.close, page)
        post(page, 1)
        assert os.read(told, 1)
        assert not scene.open(serving, page, ChannelRole.SERVER, NUMBER, 1, 1)
        if ours:
            while not select.select([told], [], [], 0)[0]:
                scene.pump()
            os.ftruncate(page, 0)
            os.write(go, b"x")
        scene.serve_until(serving)
        if ours:
            assert serving.task.result() == Status.CANCELLED
        else:
            assert os.WTERMSIG(serving.task.reap()) == signal.SIGBUS
    for descriptor in (told, tell, hold, go):
        os.close(descriptor)
