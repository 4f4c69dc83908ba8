"""The observer of calls that come often through the kernel, which may connect a channel for them."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from libsel4py.abi import Syscall
from tests.unit.channel_peer import CALLED, bind, call, pair
from tests.unit.test_channel_call import echo

OTHER = CALLED + 1
INFO = abi.message_info(1, 0)


def test_each_threshold_of_slow_calls_on_a_candidate_is_reported_before_the_call() -> None:
    def client() -> Any:
        told: list[tuple[int, int]] = []
        answered: list[int] = []
        cpu.set_upgrade(3, lambda cptr: told.append((cptr, len(answered))))
        cpu.candidate(CALLED)
        for _ in range(7):
            answered.append(call(INFO)[1])
            call(INFO, cptr=OTHER)
            cpu.kernel_trap(Syscall.CALL, CALLED, INFO, 0, 0, 0, 0)
        cpu.set_upgrade(1, None)
        call(INFO)
        return told

    with pair() as scene:
        caller = scene.task(client)
        scene.serve_until(caller)
        assert caller.task.result() == [(CALLED, 2), (CALLED, 5)]


def test_a_candidate_that_is_forgotten_is_counted_no_more_and_begins_anew_if_it_is_one_again() -> None:
    def client() -> Any:
        told: list[int] = []
        cpu.set_upgrade(3, told.append)
        for _ in range(200):  # more than there is room for at one time
            cpu.candidate(OTHER)
            cpu.candidate(CALLED)
            call(INFO)
            call(INFO)
            cpu.forget_candidate(OTHER)
            cpu.forget_candidate(CALLED)
            cpu.forget_candidate(CALLED)
            call(INFO)
        cpu.candidate(CALLED)
        for _ in range(3):
            call(INFO)
        return told

    with pair() as scene:
        caller = scene.task(client)
        scene.serve_until(caller)
        assert caller.task.result() == [CALLED]


def test_the_call_that_is_reported_goes_by_the_channel_that_the_observer_binds() -> None:
    """The observer may trap: the message that waits to be sent is as it was."""
    words = tuple(range(7, 15))

    def upgrade(cptr: int) -> None:
        cpu.message_write(4, bytes(8 * 116))
        cpu.set_caps(1, 2, 3)
        cpu.trap(Syscall.CALL, OTHER, abi.message_info(9, 2, 1), 5, 6, 0, 0)
        bind(cptr=cptr)

    def client() -> Any:
        cpu.set_upgrade(1, upgrade)
        cpu.candidate(CALLED)
        cpu.message_write(4, struct.pack("<4Q", *words[4:]))
        answer = call(abi.message_info(7, 8), *words[:4])
        return answer[3:] + struct.unpack("<4Q", cpu.message_read(4, 4)), cpu.channel_statistics()[0]

    with pair() as scene:
        server, caller = scene.task(echo), scene.task(client)
        scene.connect(caller, server)
        scene.serve_until(caller)
        assert caller.task.result() == (words, 1)
        assert [entry.cptr for entry in caller.entries] == [OTHER]


def test_calls_that_are_bound_and_go_through_the_kernel_are_not_reported() -> None:
    """Messages with a capability do; whoever took that for a channel that was lost would connect without end."""

    def client() -> Any:
        bind()
        told: list[int] = []
        cpu.set_upgrade(1, told.append)
        cpu.candidate(CALLED)
        badges = [cpu.trap(Syscall.CALL, CALLED, abi.message_info(1, 0, 1), 0, 0, 0, 0)[1] for _ in range(3)]
        before = list(told)
        cpu.channel_unbind(CALLED)
        call(INFO)
        return badges, before, told

    with pair() as scene:
        server, caller = scene.task(echo), scene.task(client)
        scene.connect(caller, server)
        scene.serve_until(caller)
        assert caller.task.result() == ([CALLED] * 3, [], [CALLED])


def test_what_the_observer_raises_is_the_calls() -> None:
    def upgrade(cptr: int) -> None:
        raise LookupError("no")

    def client() -> Any:
        cpu.set_upgrade(1, upgrade)
        cpu.candidate(CALLED)
        with pytest.raises(LookupError, match="no"):
            call(INFO)
        cpu.set_upgrade(2, upgrade)
        return call(INFO)[1]

    with pair() as scene:
        caller = scene.task(client)
        scene.serve_until(caller)
        assert caller.task.result() == CALLED
        assert len(caller.entries) == 1


def test_an_observer_has_a_threshold_and_can_be_called() -> None:
    for threshold, observer in ((0, print), (1, 7)):
        with pytest.raises(TypeError, match="takes a number from 1 on and a callable or None"):
            cpu.set_upgrade(threshold, observer)  # type: ignore[arg-type]
