"""Loads and stores of a device's registers, where a task has mapped the frame of their page.

A register is no memory: nothing is mapped at the host, each access faults, and comes here by Syscall.FAULT. It is done
inside of the system call's transaction, as one by an I/O port is: a kernel that dies has done it and ended the system
call, or neither.

Rule: what the access would do is the task's own word. What it may do is its mapping's: the page, and the rights.
"""

from __future__ import annotations

from typing import Final

from kerneld.core import Core
from kerneld.mapping_table import Mapping
from kerneld.records import Slot
from libsel4py import abi

_WIDTH_SHIFT: Final = abi.ACCESS_WIDTH_SHIFT


def perform(core: Core, mapping: Mapping, address: int, *, is_store: bool, access: int) -> int | None:
    """Do what FAULT's message register 3 says at an address of the mapping, which allows it.

    Returns:
        What was loaded, 0 of a store; None if it is no access to a register.
    """
    width, value = access >> _WIDTH_SHIFT, access & (1 << _WIDTH_SHIFT) - 1
    if width not in abi.ACCESS_WIDTHS or address % width:
        return None
    place = Slot(core.ram, mapping.slot).object + (address - mapping.address)
    if not is_store:
        return core.ports.load(place, width)
    core.ports.store(place, width, value & (1 << 8 * width) - 1)
    return 0
