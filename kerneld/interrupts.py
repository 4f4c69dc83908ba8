"""Interrupt lines as the kernel keeps them: their states, and what a raised line does.

A line that has interrupted is masked until its handler acknowledges it; what it raises meanwhile is remembered, once.
What handlers may ask for is `objects/irq.py`'s.
"""

from __future__ import annotations

from typing import Final

from kerneld import caps
from kerneld.core import Core
from kerneld.objects import notification
from kerneld.records import IRQ_MASKED, CapType, IrqState, Notification
from libsel4py.abi import IRQS

IRQ_PENDING: Final = 1 << 9  # raised while it was masked, or while it had no notification


def raise_line(core: Core, line: int) -> None:
    """A device raises an interrupt line. Lines without a handler are ignored."""
    if not 0 <= line < IRQS:
        return
    state = state_of(core, line)
    if state == IrqState.INACTIVE:
        return
    slot = core.kernel.irq_slot(line)
    word0 = slot.word0
    if state & IRQ_MASKED or word0 >> caps.TYPE_SHIFT != CapType.NOTIFICATION:
        set_state(core, line, state | IRQ_MASKED | IRQ_PENDING)
        return
    set_state(core, line, state | IRQ_MASKED)
    notification.send_signal(core, Notification(core.ram, word0 & caps.OBJECT_MASK), slot.word1)


def finalise(core: Core, line: int) -> None:
    """The line's last handler capability is gone, and its notification's before: it can be given out again."""
    set_state(core, line, IrqState.INACTIVE)


def state_of(core: Core, line: int) -> int:
    """A line's state word."""
    return core.ram.word(core.kernel.address + core.kernel.IRQ_STATES + line * 8)


def set_state(core: Core, line: int, state: int) -> None:
    """Write a line's state word: an `IrqState`, or'ed with IRQ_MASKED and IRQ_PENDING."""
    core.ram.set_word(core.kernel.address + core.kernel.IRQ_STATES + line * 8, state)
