"""Invoke an empty slot, with every label that there is.

Stopped by: kernel
Outside: no, nothing answers there
"""

from __future__ import annotations

from libsel4py.abi import Label
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return [label for label in Label if syscalls.call(slots.FREE, Message(label, (0,) * 6)).label == 0]
