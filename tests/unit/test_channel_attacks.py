"""What a hostile peer, an unlucky moment, or a program's own mistake does to channels: it must hurt nobody else."""

import gc
import os
import sys
from typing import Any

from hw import cpu
from libsel4py import abi
from libsel4py.abi import ControlOp, Error, Status, Syscall
from tests.unit.channel_peer import ENDPOINT, NUMBER, bind, call, listen, pair, read_word
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


def test_a_signal_without_a_badge_wakes_all_the_same() -> None:
    """The kernel's way: a notification becomes active by a signal of badge 0, too."""

    def signaller() -> Any:
        cpu.channel_bind(SIGNALLED, NUMBER, 10_000 * MILLISECOND)
        return cpu.trap(Syscall.SEND, SIGNALLED, 0, 0, 0, 0, 0)[0], cpu.signal_many([SIGNALLED])

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
