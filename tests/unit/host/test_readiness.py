"""What a process that may become the kernel does about its priority, whenever the order comes."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from hw.kernel_process import FIRST
from kerneld.host.readiness import LATER, Haste


def _in_a_child(body: Callable[[], list[int]]) -> list[int]:
    """The nice values that ``body`` finds, in a process of its own."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(tell, " ".join(map(str, body())).encode())
        finally:
            os._exit(0)
    os.close(tell)
    with os.fdopen(told) as answer:
        found = answer.read().split()
    os.waitpid(pid, 0)
    return [int(each) for each in found]


def _now() -> int:
    return os.getpriority(os.PRIO_PROCESS, 0)


def _may_go_first() -> bool:
    def body() -> list[int]:
        os.setpriority(os.PRIO_PROCESS, 0, FIRST)
        return [_now()]

    return _in_a_child(body) == [FIRST]


@pytest.mark.parametrize("is_early", [False, True], ids=["while it waits", "before it has begun to wait"])
def test_it_goes_first_when_ordered_and_back_to_the_nurserys_priority(is_early: bool) -> None:
    if not _may_go_first():
        pytest.skip("the host lets no process of this user go before others")
    own = _now()

    def body() -> list[int]:
        if is_early:
            os.setpriority(os.PRIO_PROCESS, 0, FIRST)  # as the monitor does with its order
        haste = Haste(own)
        waiting = _now()
        haste.begin()
        haste.go_first()
        running = _now()
        haste.end()
        return [waiting, running, _now()]

    assert _in_a_child(body) == [min(own + LATER, 19), FIRST, own]
