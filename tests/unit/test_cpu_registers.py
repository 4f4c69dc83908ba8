"""A device's registers by a task's loads and stores: what FAULT says of each, and what its answer does."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from hw import cpu
from libsel4py.abi import ACCESS_WIDTH_SHIFT, FaultAnswer, PageFault, Syscall
from tests.unit.cpu_peer import Peer, Task, running
from tests.unit.fault_peer import BASE, PAGE, map_page, next_fault

Access = tuple[int, int, int]  # offset, width, and the value that is stored; -1 of a load


STORES = [(1, 1, 0xFF), (2, 2, 0xFFFE), (4, 4, 0xFFFFFFFD)]
LOADS = [(0, 1, -1), (6, 2, -1), (PAGE - 4, 4, -1)]


def mapping(writable: bool = True) -> cpu.Mapping:
    return cpu.Mapping(BASE, PAGE, writable)


def answer(peer: Peer, task: Task, values: list[int]) -> list[Access]:
    """Do the accesses of a task that ends: each load gives the next value; what each was."""
    given, told = iter(values), []
    while (entry := peer.wait_entry(task)) is not None:
        assert entry.op == Syscall.FAULT
        is_store = bool(entry.mr2 & PageFault.WRITE)
        width, value = entry.mr3 >> ACCESS_WIDTH_SHIFT, entry.mr3 & (1 << ACCESS_WIDTH_SHIFT) - 1
        assert is_store or not value
        told.append((entry.mr0 - BASE, width, value if is_store else -1))
        peer.complete(entry.tag, mrs=(FaultAnswer.DONE, 0 if is_store else next(given)))
    return told


def by_registers() -> list[int]:
    registers = mapping()
    loaded = [registers.load_register(offset, width) for offset, width in ((0, 1), (6, 2), (PAGE - 4, 4))]
    for offset, width, value in STORES:
        registers.store_register(offset, width, value)
    return loaded


def by_views() -> list[int]:
    whole = memoryview(mapping())
    views = {width: whole.cast(form) for width, form in ((1, "B"), (2, "H"), (4, "I"))}
    loaded = [views[1][0], views[2][3], views[4][1023]]
    views[1][1], views[2][1], views[4][1] = 0xFF, 0xFFFE, 0xFFFFFFFD
    return loaded


def by_ctypes() -> list[int]:
    """Its stores load what is there first, so they are no registers' matter."""
    forms = (ctypes.c_uint8, 0), (ctypes.c_uint16, 6), (ctypes.c_uint32, PAGE - 4)
    loaded = [form.from_address(BASE + offset).value for form, offset in forms]
    registers = mapping()
    for offset, width, value in STORES:
        registers.store_register(offset, width, value)
    return loaded


def by_numpy() -> list[int]:
    import numpy

    whole = numpy.frombuffer(mapping(), dtype=numpy.uint8)
    shorts, words = whole.view("<u2"), whole.view("<u4")
    loaded = [int(whole[0]), int(shorts[3]), int(words[1023])]
    whole[1], shorts[1], words[1] = 0xFF, 0xFFFE, 0xFFFFFFFD
    return loaded


@pytest.mark.parametrize("run", [by_registers, by_views, by_ctypes, by_numpy])
def test_each_access_is_told_and_has_what_the_kernel_did(run: Callable[[], list[int]]) -> None:
    with running(run, with_keeper=True) as (peer, task):
        assert answer(peer, task, [0x81, 0x9182, 0xA1928374]) == LOADS + STORES
        assert task.result() == [0x81, 0x9182, 0xA1928374]


def test_what_is_no_plain_access_is_told_without_one() -> None:
    """A pager may still bring memory, and the instruction is carried out again."""

    def run() -> list[int]:
        registers = mapping()
        return [registers.load_word(8), len(registers.read(16, 16)), registers.load_register(0, 4)]

    with running(run, with_keeper=True) as (peer, task):
        entry, _ = next_fault(peer, task)
        assert entry.mr3 == 0
        map_page(task, BASE, (7).to_bytes(8, "little") * 2)
        peer.complete(entry.tag)
        assert task.result() == [7, 16, 7]


def test_registers_that_are_gone_raise() -> None:
    def run() -> list[str]:
        registers, kinds = mapping(), []
        for access in (lambda: registers.load_register(4, 4), lambda: registers.store_register(4, 4, 1)):
            try:
                access()
            except cpu.VMFault as fault:
                kinds.append(f"{fault.kind} at {fault.address - BASE}")
        return kinds

    with running(run, with_keeper=True) as (peer, task):
        while (entry := peer.wait_entry(task)) is not None:
            assert entry.mr2 & PageFault.GUARDED
            peer.complete(entry.tag, mrs=(FaultAnswer.NOBODY,))
        assert task.result() == ["read at 4", "write at 4"]


@pytest.mark.parametrize(
    ("offset", "width", "said"),
    [
        (0, 8, "a register of 8 bytes: they have 1, 2 or 4"),
        (0, 0, "a register of 0 bytes"),
        (0, 3, "a register of 3 bytes"),
        (2, 4, "no register of 4 bytes at offset 2"),
        (1, 2, "no register of 2 bytes at offset 1"),
        (PAGE, 1, f"no register of 1 bytes at offset {PAGE} of a mapping of {PAGE}"),
        ((1 << 64) - 4, 4, "no register of 4 bytes at offset"),
    ],
)
def test_where_no_register_can_be_is_told(offset: int, width: int, said: str) -> None:
    registers = mapping()
    for access in (
        lambda: registers.load_register(offset, width),
        lambda: registers.store_register(offset, width, 0),
    ):
        with pytest.raises(ValueError, match=said):
            access()


def test_wrong_arguments_are_told() -> None:
    registers: Any = mapping()
    for width in (1, 2, 4):
        with pytest.raises(OverflowError, match=f"does not fit a register of {width} bytes"):
            registers.store_register(0, width, 1 << 8 * width)
    with pytest.raises(OverflowError):
        registers.store_register(0, 4, -1)
    with pytest.raises(TypeError, match="read-only"):
        mapping(writable=False).store_register(0, 4, 1)
    with pytest.raises(TypeError, match=r"load_register\(\) takes 2 arguments, and 1 were given"):
        registers.load_register(0)
    with pytest.raises(TypeError, match=r"store_register\(\) takes 3 arguments, and 2 were given"):
        registers.store_register(0, 4)


def test_an_answer_that_nobody_asked_for_ends_the_process() -> None:
    """The kernel says that it did an access which the thread could not describe."""
    with running(lambda: memoryview(mapping()).cast("Q")[0], with_keeper=True) as (peer, task):
        entry, _ = next_fault(peer, task)
        assert entry.mr3 == 0
        peer.complete(entry.tag, mrs=(FaultAnswer.DONE, 5))
        assert peer.wait_entry(task) is None
        assert os.waitstatus_to_exitcode(task.reap()) == -signal.SIGSEGV
