"""No way leads to more private memory than the sandbox gives: what is not counted is refused."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
from collections.abc import Callable
from typing import Any

import pytest

from hw import cpu
from tests.system.images import hoarding
from tests.unit.cpu_peer import running, tried

MEBIBYTE = 1 << 20
LIMIT, WANTED = 8 * MEBIBYTE, 28 * MEBIBYTE
INHERITED = 1024 * MEBIBYTE  # free memory that the C library may hold when the process is forked, and use up first
SETRLIMIT = {"x86_64": 160, "aarch64": 164}[platform.machine()]
BY_LIBRARY = (hoarding.an_object, hoarding.small_objects, hoarding.thread_stacks)


LIBC = ctypes.CDLL(None, use_errno=True)


def host_call(number: int, *arguments: int | bytes) -> int:
    """A raw host system call; raises OSError."""
    result = LIBC.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(result)


@pytest.mark.parametrize("way", hoarding.WAYS, ids=lambda way: way.__name__)
def test_more_than_the_limit_cannot_be_had(way: Callable[[int], object]) -> None:
    def enter_and_hoard() -> Any:
        cpu.enter_sandbox(LIMIT)
        try:
            held = way(WANTED + INHERITED if way in BY_LIBRARY else WANTED)
        except (OSError, MemoryError):
            # The process goes on, and has what it may have.
            return len(bytearray(LIMIT // 128))
        return f"got {WANTED} bytes: {type(held).__name__}"

    with running(enter_and_hoard) as (_, task):
        assert task.result() == LIMIT // 128


def test_the_limit_can_be_lowered_and_not_raised() -> None:
    """The filter lets it be set, for a process that is told only behind it how much it may have (hw/_cpu/ahead.c)."""

    def set_to(amount: int) -> object:
        return tried(lambda: host_call(SETRLIMIT, resource.RLIMIT_DATA, struct.pack("=2Q", amount, amount)))

    def enter_and_set() -> Any:
        cpu.enter_sandbox(LIMIT)
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        return set_to(most + 1), set_to(most - 1), set_to(most), resource.getrlimit(resource.RLIMIT_DATA)[1] - most

    with running(enter_and_set) as (_, task):
        assert task.result() == (errno.EPERM, 0, errno.EPERM, -1)


def test_the_first_threads_stack_is_limited() -> None:
    def enter_and_ask() -> Any:
        cpu.enter_sandbox(LIMIT)
        return resource.getrlimit(resource.RLIMIT_STACK)

    with running(enter_and_ask) as (_, task):
        soft, hard = task.result()
        assert soft == hard <= 8 * MEBIBYTE
