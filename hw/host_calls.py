"""The host's system calls by name (hw/_cpu/host_calls.c): those that a description may let a task's image make."""

from __future__ import annotations

import functools

from hw.cpu import host_call_name

_HIGHEST = 1024


@functools.cache
def _numbers() -> dict[str, int]:
    named = ((host_call_name(number), number) for number in range(_HIGHEST))
    return {name: number for name, number in named if name is not None}


def number_of(name: str) -> int | None:
    """The number on this architecture; None: it has no call of this name, or the filter does not know it."""
    return _numbers().get(name)
