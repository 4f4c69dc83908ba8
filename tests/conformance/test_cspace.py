"""Capability addresses: guards, index bits, depths (seL4 Reference Manual 3.3; `resolveAddressBits`)."""

from __future__ import annotations

import pytest

from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, LookupFailureKind, ObjectType, Syscall
from tests.conformance.scenes import FREE, faulting, got, next_fault, poll, set_root
from tests.harness import THREAD_CNODE_BITS, Machine, Thread

SIGNAL = 1
RADIX = THREAD_CNODE_BITS


@pytest.fixture
def notification(machine: Machine) -> int:
    return machine.retype(ObjectType.NOTIFICATION)


@pytest.fixture
def thread(machine: Machine) -> Thread:
    return faulting(machine)[0]


def second_level(machine: Machine, thread: Thread, radix: int, guard: int = 0, guard_size: int = 0) -> int:
    """A CNode in slot 7 of the thread's root, which has 48 guard bits, so that 8 bits are left below it."""
    inner = machine.retype(ObjectType.CNODE, radix)
    machine.grant(thread, inner, 7, badge=abi.cnode_cap_data(guard, guard_size))
    return inner


def put(machine: Machine, cnode: int, index: int, depth: int, source: int, badge: int = SIGNAL) -> None:
    words = (index, depth, source, abi.WORD_BITS, 15, badge)
    machine.root.call(cnode, Label.CNODE_MINT, words, [InitialSlot.CNODE])


def reaches(machine: Machine, thread: Thread, cptr: int, notification: int) -> bool:
    """Whether the thread's address leads to the notification."""
    got(thread.syscall(Syscall.SEND, cptr))
    return poll(machine, notification) == SIGNAL


def fault_words(machine: Machine, thread: Thread, cptr: int, endpoint: int) -> tuple[int, ...]:
    """The fault message of a Send by the address, without the instruction pointer."""
    assert thread.syscall(Syscall.SEND, cptr) is None
    return got(next_fault(machine, endpoint)).words[1:]


def test_CSPACE0001_guard_and_index(machine: Machine, notification: int) -> None:
    """A capability address is resolved by the guard of the root CNode and the index bits behind it."""
    thread, endpoint = faulting(machine)
    machine.grant(thread, notification, 5, badge=SIGNAL)
    set_root(machine, thread, thread.cnode, 0xAB, 56, endpoint)
    assert reaches(machine, thread, 0xAB << 8 | 5, notification)


def test_CSPACE0002_guard_mismatch(machine: Machine) -> None:
    """An address whose bits differ from the guard faults with GuardMismatch: bits left, guard, guard size."""
    thread, endpoint = faulting(machine)
    set_root(machine, thread, thread.cnode, 0xAB, 56, endpoint)
    words = fault_words(machine, thread, 0xAC << 8 | 5, endpoint)
    assert words == (0xAC << 8 | 5, 0, LookupFailureKind.GUARD_MISMATCH, 64, 0xAB, 56)


def test_CSPACE0003_two_levels(machine: Machine, notification: int) -> None:
    """A CNode in a slot continues the resolution with its own guard and index bits."""
    thread, endpoint = faulting(machine)
    inner = second_level(machine, thread, 4, 5, 4)
    put(machine, inner, 3, 4, notification)
    set_root(machine, thread, thread.cnode, 0, 48, endpoint)
    assert reaches(machine, thread, 7 << 8 | 5 << 4 | 3, notification)


def test_CSPACE0004_remaining_bits_ignored(machine: Machine, notification: int) -> None:
    """A system call ignores the address bits that are left when something else than a CNode is met."""
    thread, endpoint = faulting(machine)
    machine.grant(thread, notification, 5, badge=SIGNAL)
    set_root(machine, thread, thread.cnode, 0, 48, endpoint)
    assert reaches(machine, thread, 5 << 8 | 0x5A, notification)
    assert reaches(machine, thread, 5 << 8, notification)


def test_CSPACE0005_depth_mismatch(machine: Machine) -> None:
    """A CNode that resolves more bits than are left faults with DepthMismatch: bits left, bits found."""
    thread, endpoint = faulting(machine)
    second_level(machine, thread, 9)
    set_root(machine, thread, thread.cnode, 0, 48, endpoint)
    words = fault_words(machine, thread, 7 << 8, endpoint)
    assert words == (7 << 8, 0, LookupFailureKind.DEPTH_MISMATCH, 8, 9)


def test_CSPACE0006_inner_guard_mismatch(machine: Machine) -> None:
    """A guard mismatch at the second level tells the bits that were left there."""
    thread, endpoint = faulting(machine)
    second_level(machine, thread, 4, 5, 4)
    set_root(machine, thread, thread.cnode, 0, 48, endpoint)
    words = fault_words(machine, thread, 7 << 8 | 6 << 4, endpoint)
    assert words == (7 << 8 | 6 << 4, 0, LookupFailureKind.GUARD_MISMATCH, 8, 5, 4)


def test_CSPACE0007_guard_longer_than_address(machine: Machine) -> None:
    """A guard longer than the bits that are left is a guard mismatch, even if it is zero."""
    thread, endpoint = faulting(machine)
    second_level(machine, thread, 4, 0, 9)
    set_root(machine, thread, thread.cnode, 0, 48, endpoint)
    words = fault_words(machine, thread, 7 << 8, endpoint)
    assert words == (7 << 8, 0, LookupFailureKind.GUARD_MISMATCH, 8, 0, 9)


def test_CSPACE0008_no_root(machine: Machine) -> None:
    """Without a root CNode every address faults with InvalidRoot, which has no description words."""
    thread, endpoint = faulting(machine)
    machine.revoke(thread.cnode)
    assert fault_words(machine, thread, 5, endpoint) == (5, 0, LookupFailureKind.INVALID_ROOT)


def test_CSPACE0009_depth_selects_low_bits(machine: Machine, thread: Thread, notification: int) -> None:
    """CNode methods use the low `depth` bits of an index, and ignore those above."""
    put(machine, thread.cnode, 0x1203, RADIX, notification)
    assert reaches(machine, thread, 3, notification)


@pytest.mark.parametrize("depth", [RADIX + 1, 16, 64])
def test_CSPACE0010_depth_too_long(machine: Machine, thread: Thread, depth: int) -> None:
    """CNode methods must use up all bits: what is left gives FailedLookup with DepthMismatch(bits left, 0)."""
    error = machine.root.invoke(thread.cnode, Label.CNODE_DELETE, (FREE << depth - RADIX, depth))
    assert error == (Error.FAILED_LOOKUP, (0, LookupFailureKind.DEPTH_MISMATCH, depth - RADIX, 0))


def test_CSPACE0011_depth_too_short(machine: Machine, thread: Thread) -> None:
    """A depth shorter than the CNode's own bits gives FailedLookup with DepthMismatch(depth, bits)."""
    error = machine.root.invoke(thread.cnode, Label.CNODE_DELETE, (FREE, RADIX - 1))
    assert error == (Error.FAILED_LOOKUP, (0, LookupFailureKind.DEPTH_MISMATCH, RADIX - 1, RADIX))


def test_CSPACE0012_nested_method(machine: Machine, thread: Thread, notification: int) -> None:
    """A CNode method reaches a slot of an inner CNode when the depth covers both levels."""
    second_level(machine, thread, 4, 5, 4)
    put(machine, thread.cnode, 7 << 8 | 5 << 4 | 3, 16, notification)
    handler = machine.retype(ObjectType.ENDPOINT)
    set_root(machine, thread, thread.cnode, 0, 48, handler)
    assert reaches(machine, thread, 7 << 8 | 5 << 4 | 3, notification)


def test_CSPACE0013_sixty_four_levels(machine: Machine, notification: int) -> None:
    """Sixty-four CNodes of one index bit each resolve an address of sixty-four bits."""
    thread, endpoint = faulting(machine)
    first = machine.retype(ObjectType.CNODE, 1, 64)
    for number in range(first, first + 63):
        words = (1, 1, number + 1, 64, 15)
        machine.root.call(number, Label.CNODE_COPY, words, [InitialSlot.CNODE])
    put(machine, first + 63, 1, 1, notification)
    set_root(machine, thread, first, 0, 0, endpoint)
    assert reaches(machine, thread, abi.WORD_MASK, notification)


def test_CSPACE0014_cyclic_space(machine: Machine, notification: int) -> None:
    """A CNode that contains itself is walked once per level of the address."""
    thread, endpoint = faulting(machine)
    machine.grant(thread, thread.cnode, 1)
    machine.grant(thread, notification, 2, badge=SIGNAL)
    set_root(machine, thread, thread.cnode, 0, 0, endpoint)
    assert reaches(machine, thread, 0x0101010101010102, notification)
    assert reaches(machine, thread, 0x0200000000000000, notification)


def test_CSPACE0015_guard_too_long(machine: Machine, thread: Thread) -> None:
    """A guard that together with the index bits is longer than a word is refused with IllegalOperation."""
    words = (abi.cnode_cap_data(0, 64 - RADIX + 1), 0)
    caps = [InitialSlot.NULL, thread.cnode, InitialSlot.VSPACE]
    assert machine.root.invoke(thread.cap, Label.TCB_SET_SPACE, words, caps) == (Error.ILLEGAL_OPERATION, ())
    minted = (FREE, RADIX, thread.cnode, 64, 15, abi.cnode_cap_data(0, 64 - RADIX + 1))
    error = machine.root.invoke(thread.cnode, Label.CNODE_MINT, minted, [InitialSlot.CNODE])
    assert error == (Error.ILLEGAL_OPERATION, ())


@pytest.mark.parametrize("depth", [0, 65, 1 << 63])
def test_CSPACE0016_depth_range(machine: Machine, thread: Thread, depth: int) -> None:
    """A depth outside of 1..64 is refused with RangeError(1, 64)."""
    error = machine.root.invoke(thread.cnode, Label.CNODE_DELETE, (0, depth))
    assert error == (Error.RANGE_ERROR, (1, 64))


def test_CSPACE0017_source_root_is_no_cnode(machine: Machine, thread: Thread, notification: int) -> None:
    """A source root that is no CNode gives FailedLookup with InvalidRoot, before its depth is looked at."""
    words = (FREE, RADIX, 1, 0, 15)
    error = machine.root.invoke(thread.cnode, Label.CNODE_COPY, words, [notification])
    assert error == (Error.FAILED_LOOKUP, (1, LookupFailureKind.INVALID_ROOT))


def test_CSPACE0018_guard_mismatch_in_method(machine: Machine, thread: Thread) -> None:
    """A guard mismatch inside a CNode method is an error with five words, the description behind the kind."""
    cnode = machine.copy(thread.cnode, badge=abi.cnode_cap_data(3, 4))
    error = machine.root.invoke(cnode, Label.CNODE_DELETE, (0x200, RADIX + 4))
    assert error == (Error.FAILED_LOOKUP, (0, LookupFailureKind.GUARD_MISMATCH, RADIX + 4, 3, 4))
