"""Does what the tasks ask for fit RAM? Answered by packing it as root's buddy allocator will.

Rule: powers of two, aligned to their size, placed largest first; that order wastes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deploy.sections import KIB, MIB, RAM_LOW, TaskDraft
from libsel4py import abi

RESERVED: Final = 16 * MIB  # at the start of RAM: the kernel's records, root's objects and what root builds with
ROOT_MEMORY: Final = 64 * MIB  # root's own VSpace; the monitor is told so
RAM_STEP: Final = 32 * MIB
SLOT_BYTES: Final = 1 << abi.SLOT_BITS
TASK_OVERHEAD: Final = 64 * KIB  # TCB, trap frame, scheduling context, endpoints
THREAD_OVERHEAD: Final = 32 * KIB


def demands(tasks: Sequence[TaskDraft]) -> list[int]:
    """Sizes in bytes of the untyped memory that root and the tasks need, largest first."""
    sizes = [ROOT_MEMORY, *[TASK_OVERHEAD] * len(tasks)]
    for task in tasks:
        sizes += [
            SLOT_BYTES << task.slot_bits,
            task.memory,
            *([task.pool] if task.pool else []),
            *([task.state] if task.state else []),
            *[THREAD_OVERHEAD] * task.threads,
            *([task.memory, *[THREAD_OVERHEAD] * (1 + task.threads)] if task.standby else []),
            *[assigned.io_space for assigned in task.devices if assigned.io_space],
        ]
    return sorted(sizes, reverse=True)


def memory_needed(tasks: Sequence[TaskDraft]) -> int:
    """Bytes that the tasks, root and the reserve come to, without what alignment leaves unused."""
    return RESERVED + sum(demands(tasks))


def fits(ram: int, tasks: Sequence[TaskDraft]) -> bool:
    """Whether RAM of ``ram`` bytes holds the tasks beside the reserve."""
    blocks = _aligned_blocks(RESERVED, ram)
    for size in demands(tasks):
        # The smallest block that is large enough; its unused half, quarter, … go on being free.
        block = min((block for block in blocks if block >= size), default=0)
        if not block:
            return False
        blocks.remove(block)
        while block > size:
            block //= 2
            blocks.append(block)
    return True


def ram_that_fits(tasks: Sequence[TaskDraft]) -> int:
    """The smallest size of RAM, in steps of 32 MiB, that holds the tasks."""
    ram = max(RAM_LOW, -(-memory_needed(tasks) // RAM_STEP) * RAM_STEP)
    while not fits(ram, tasks):
        ram += RAM_STEP
    return ram


def _aligned_blocks(start: int, end: int) -> list[int]:
    blocks = []
    while start < end:
        size = min(start & -start, 1 << ((end - start).bit_length() - 1))
        blocks.append(size)
        start += size
    return blocks
