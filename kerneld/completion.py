"""The end of a system call: recorded in the TCB, published to the trap frame by the host after the commit."""

from __future__ import annotations

from kerneld.core import Core
from kerneld.records import Tcb
from libsel4py.abi import EntryFlags, Status

AREA_CAPS = 1 << 32


def complete(
    core: Core,
    tcb: Tcb,
    badge: int = 0,
    info: int = 0,
    registers: tuple[int, int, int, int] = (0, 0, 0, 0),
    area: int = 0,
    status: Status = Status.DONE,
) -> None:
    """End the thread's system call.

    Args:
        registers: message words 0..3.
        area: message words in `Tcb.TOLD_MESSAGE` to publish as well (those from 4 on), or'ed with `AREA_CAPS` when
            the words at `Tcb.TOLD_CAPS_OR_BADGES` are to be published. The caller has written both.
    """
    tcb.told_status = status
    tcb.told_badge = badge
    tcb.told_info = info
    tcb.told_mr0, tcb.told_mr1, tcb.told_mr2, tcb.told_mr3 = registers
    tcb.told_tag = tcb.tag
    tcb.told_area = area
    tcb.produced = tcb.produced + 1
    tcb.in_trap = 0
    tcb.told_pending = 1
    core.touched[tcb.address] = None


def complete_unchanged(core: Core, tcb: Tcb, badge: int, status: Status = Status.DONE) -> None:
    """End a receive that brings a badge and no message: info and registers stay as the thread submitted them."""
    complete(core, tcb, badge, tcb.info, (tcb.mr0, tcb.mr1, tcb.mr2, tcb.mr3), status=status)


def complete_empty(core: Core, tcb: Tcb) -> None:
    """End a polling receive that has found nothing. The status tells that apart from an unbadged sender's message."""
    complete_unchanged(core, tcb, 0, Status.EMPTY)


def registers_of(words: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Message words 0..3; those that the message lacks are 0."""
    mr0, mr1, mr2, mr3 = (*words[:4], 0, 0, 0, 0)[:4]
    return mr0, mr1, mr2, mr3


def complete_with_words(core: Core, tcb: Tcb, info: int, words: tuple[int, ...], badge: int = 0) -> None:
    """End the thread's system call with a message of these words (at most 120); a batched one gets the first four."""
    registers = registers_of(words)
    if len(words) > 4 and not tcb.entry_flags & EntryFlags.INLINE:
        ram = core.ram
        for index in range(4, len(words)):
            ram.set_word(tcb.address + Tcb.TOLD_MESSAGE + index * 8, words[index])
        complete(core, tcb, badge, info, registers, len(words))
    else:
        complete(core, tcb, badge, info, registers)
