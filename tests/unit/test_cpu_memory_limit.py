"""No way leads to more private memory than the sandbox gives: what is not counted is refused."""

from __future__ import annotations

import resource
from collections.abc import Callable
from typing import Any

import pytest

from hw import cpu
from tests.system.images import hoarding
from tests.unit.cpu_peer import running

MEBIBYTE = 1 << 20
LIMIT, WANTED = 8 * MEBIBYTE, 28 * MEBIBYTE
INHERITED = 1024 * MEBIBYTE  # free memory that the allocator may hold when the process is forked, and use up first
BY_ALLOCATOR = (hoarding.an_object, hoarding.small_objects)


@pytest.mark.parametrize("way", hoarding.WAYS, ids=lambda way: way.__name__)
def test_more_than_the_limit_cannot_be_had(way: Callable[[int], object]) -> None:
    def enter_and_hoard() -> Any:
        cpu.enter_sandbox(LIMIT)
        try:
            held = way(WANTED + INHERITED if way in BY_ALLOCATOR else WANTED)
        except (OSError, MemoryError):
            # The process goes on, and has what it may have.
            return len(bytearray(LIMIT // 128))
        return f"got {WANTED} bytes: {type(held).__name__}"

    with running(enter_and_hoard) as (_, task):
        assert task.result() == LIMIT // 128


def test_the_first_threads_stack_is_limited() -> None:
    def enter_and_ask() -> Any:
        cpu.enter_sandbox(LIMIT)
        return resource.getrlimit(resource.RLIMIT_STACK)

    with running(enter_and_ask) as (_, task):
        soft, hard = task.result()
        assert soft == hard <= 8 * MEBIBYTE
