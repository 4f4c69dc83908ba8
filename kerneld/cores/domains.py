"""Whose domain's turn it is. Threads of another one do not run, whatever their priority.

The schedule (`objects/domain.py`) is entries of a domain and a duration, from the start entry to the next end marker,
over and over. SEL4 `nextDomain`, `ksDomSchedule`.
"""

from __future__ import annotations

from itertools import takewhile
from typing import Final

from kerneld.core import Core
from kerneld.records import KernelRecord
from libsel4py import abi

DURATION_BITS: Final = 56
_DURATION_MASK: Final = (1 << DURATION_BITS) - 1


def current(kernel: KernelRecord) -> int:
    """The domain whose turn it is."""
    return _entry(kernel, kernel.domain_index) >> DURATION_BITS


def others(kernel: KernelRecord) -> frozenset[int]:
    """The domains whose turn comes later."""
    now = current(kernel)
    entries = (_entry(kernel, index) for index in range(kernel.domain_start, abi.DOMAIN_SCHEDULE_LENGTH))
    return frozenset(entry >> DURATION_BITS for entry in takewhile(bool, entries)) - {now}


def restart(core: Core, index: int) -> None:
    """Go on at this entry, now: what is left of the present one's time is forfeited."""
    core.kernel.domain_start = index
    core.kernel.domain_index = index
    core.kernel.domain_until = core.now() + _duration(core.kernel, index)


def advance(core: Core) -> None:
    """Go on to the entry whose time it is."""
    kernel, now = core.kernel, core.now()
    if now < kernel.domain_until:
        return
    durations = _durations(kernel)
    index, until = kernel.domain_index, kernel.domain_until
    if not until:
        until = now + _duration(kernel, index)
    elif durations:
        # Whole rounds that went by while nothing ran are passed over.
        until += (now - until) // sum(durations) * sum(durations)
        while until <= now:
            index = _behind(kernel, index)
            until += _duration(kernel, index)
    kernel.domain_index = index
    kernel.domain_until = until


def _behind(kernel: KernelRecord, index: int) -> int:
    """The entry after this one."""
    following = index + 1
    return following if following < abi.DOMAIN_SCHEDULE_LENGTH and _entry(kernel, following) else kernel.domain_start


def _durations(kernel: KernelRecord) -> list[int]:
    """Of one round, from the start entry on."""
    found = []
    for index in range(kernel.domain_start, abi.DOMAIN_SCHEDULE_LENGTH):
        if not _entry(kernel, index):
            break
        found.append(_duration(kernel, index))
    return found


def _entry(kernel: KernelRecord, index: int) -> int:
    return kernel.ram.word(kernel.address + KernelRecord.DOMAIN_SCHEDULE + index * abi.WORD_BYTES)


def _duration(kernel: KernelRecord, index: int) -> int:
    return _entry(kernel, index) & _DURATION_MASK
