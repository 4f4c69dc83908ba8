"""Invoke each object with every label of others.

Stopped by: kernel
Outside: no, every object has its own labels
"""

from __future__ import annotations

from libsel4py.abi import Label
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    others = ("UNTYPED", "IRQ", "IO_", "X86", "DOMAIN", "SCHED_CONTROL")
    wrong = [label for label in Label if label.name.startswith(others)]
    held = (slots.CANARY, slots.OWN_CONTEXT, slots.OWN_VSPACE)
    return [
        (held_at, label)
        for held_at in held
        for label in wrong
        if syscalls.call(held_at, Message(label, (slots.FREE, 6, 1, 6, 15, 0), (slots.OWN_CNODE,))).label == 0
    ]
