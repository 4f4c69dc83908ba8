"""The Domain capability: order of checks and what is written (seL4 Reference Manual 6.3, RFC-20)."""

import pytest

from kerneld.objects import domain
from libsel4py.abi import DOMAIN_SCHEDULE_LENGTH, DOMAINS, Error, InitialSlot, Label
from tests.harness import Machine

LAST = DOMAIN_SCHEDULE_LENGTH - 1
SET, CONFIGURE, START = Label.DOMAIN_SET, Label.DOMAIN_SCHEDULE_CONFIGURE, Label.DOMAIN_SCHEDULE_SET_START


@pytest.mark.parametrize(
    ("label", "words", "caps", "error", "payload"),
    [
        (SET, (), [InitialSlot.TCB], Error.TRUNCATED_MESSAGE, ()),
        (SET, (DOMAINS,), [], Error.INVALID_ARGUMENT, (0,)),
        (SET, (0,), [], Error.TRUNCATED_MESSAGE, ()),
        (SET, (0,), [InitialSlot.CNODE], Error.INVALID_ARGUMENT, (1,)),
        (CONFIGURE, (0, 0), [], Error.TRUNCATED_MESSAGE, ()),
        (CONFIGURE, (LAST, DOMAINS, 0), [], Error.RANGE_ERROR, (0, LAST - 1)),
        (CONFIGURE, (0, DOMAINS, 1 << 56), [], Error.RANGE_ERROR, (0, DOMAINS - 1)),
        (CONFIGURE, (1, 1, 1 << 56), [], Error.INVALID_ARGUMENT, (2,)),
        (CONFIGURE, (1, 1, 0), [], Error.INVALID_ARGUMENT, (1,)),
        (CONFIGURE, (0, 0, 0), [], Error.INVALID_ARGUMENT, (2,)),
        (START, (), [], Error.TRUNCATED_MESSAGE, ()),
        (START, (LAST + 1,), [], Error.RANGE_ERROR, (0, LAST)),
        (START, (LAST,), [], Error.INVALID_ARGUMENT, (0,)),
        (99, (), [], Error.ILLEGAL_OPERATION, ()),
    ],
)
def test_what_is_refused(
    label: int, words: tuple[int, ...], caps: list[int], error: Error, payload: tuple[int, ...]
) -> None:
    assert Machine().root.invoke(InitialSlot.DOMAIN, label, words, caps) == (error, payload)


def test_a_thread_is_put_into_a_domain() -> None:
    machine = Machine()
    machine.root.call(InitialSlot.DOMAIN, SET, (DOMAINS - 1,), [InitialSlot.TCB])
    assert machine.root.tcb.domain == DOMAINS - 1


def test_the_schedule_is_written_and_started() -> None:
    machine = Machine()
    kernel = machine.kernel.core.kernel
    machine.root.call(InitialSlot.DOMAIN, CONFIGURE, (3, 5, 1000))
    assert machine.ram.word(domain.entry_address(kernel, 3)) == 5 << 56 | 1000
    machine.root.call(InitialSlot.DOMAIN, START, (3,))
    assert (kernel.domain_start, kernel.domain_index) == (3, 3)
    assert machine.root.invoke(InitialSlot.DOMAIN, CONFIGURE, (3, 0, 0)) == (Error.INVALID_ARGUMENT, (2,))
    machine.root.call(InitialSlot.DOMAIN, CONFIGURE, (0, 0, 0))
    assert machine.root.invoke(InitialSlot.DOMAIN, START, (0,)) == (Error.INVALID_ARGUMENT, (0,))
