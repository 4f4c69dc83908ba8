"""Mappings: what a frame capability's being mapped means to the table of its space, and to the process.

A capability is mapped at most once. Its second word says where, the space's table names its slot, and both always
agree: `end` is called by whatever ends the capability, `mdb.py` by whatever moves it. The host is told each change; it
takes memory away before it publishes that a system call has ended which may have taken some (`takes_memory`).

Rules: these functions never refuse. What may be mapped where is `objects/frame.py`'s matter.
"""

from __future__ import annotations

from typing import Final

from kerneld import caps, mapping_table
from kerneld.caps import Cap
from kerneld.core import Core
from kerneld.mapping_table import Mapping
from kerneld.outbox import Tell
from kerneld.records import IoSpace, MappingSpace, Slot, Tcb, VSpace
from kerneld.work import Work
from libsel4py.abi import Rights, VmAttributes

_READ: Final = int(Rights.READ)
_READ_AND_WRITE: Final = int(Rights.READ | Rights.WRITE)


def access(cap: Cap, asked: int) -> int:
    """The rights of a mapping: what the capability has of what is asked. Without Read there is none (x86)."""
    both = cap.rights & asked & _READ_AND_WRITE
    return both if both & _READ else 0


def map_frame(core: Core, slot: Slot, space: VSpace, address: int, rights: int, attributes: int) -> bool:
    """Map the capability in a slot; or, if it is mapped there already, give the mapping these rights.

    Returns whether the process loses something by that.
    """
    cap = caps.read(slot)
    loses = False
    now = Mapping(address, cap.frame_size_bits, rights, attributes, slot.address)
    if cap.is_mapped:
        before = mapping_table.set_access(space, address, rights, attributes)
        loses = bool(before.rights & ~rights)
        if loses:
            _tell(core, Tell.UNMAP, space, before, cap)
    else:
        mapping_table.insert(space, now)
        caps.write(slot, caps.mapped(cap, space.address, address))
    _tell(core, Tell.MAP, space, now, cap)
    return loses


def map_io(core: Core, slot: Slot, space: IoSpace, address: int, rights: int) -> None:
    """Map the capability in a slot, which is not mapped, for the IOSpace's device. Nobody is told: a device asks."""
    core.io_changed()
    cap = caps.read(slot)
    mapping_table.insert(space, Mapping(address, cap.frame_size_bits, rights, VmAttributes.DEFAULT, slot.address))
    caps.write(slot, caps.mapped(cap, space.address, address, by_io=True))


def end(core: Core, slot: Slot) -> None:
    """End the mapping of the frame capability in a slot; without one nothing happens."""
    cap = caps.read(slot)
    if not cap.is_mapped:
        return
    space = MappingSpace(core.ram, cap.mapped_space)
    mapping = mapping_table.remove(space, cap.mapped_address)
    slot.word1 = 0
    if cap.is_mapped_by_io:
        core.io_changed()
    else:
        _tell(core, Tell.UNMAP, space, mapping, cap)


def empty(core: Core, space: MappingSpace, work: Work, *, lives: bool) -> bool:
    """End all mappings of a space. False if some are left.

    Args:
        lives: whether there is a process yet that is to lose each.
    """
    while (mapping := mapping_table.first(space)) is not None:
        slot = core.slot(mapping.slot)
        if lives:
            end(core, slot)
        else:
            core.io_changed()
            mapping_table.remove(space, mapping.address)
            slot.word1 = 0
        if not work.spend():
            return not space.mapping_count
    return True


def takes_memory(core: Core, thread: int) -> None:
    """The system call of the thread (a TCB's address, 0: the kernel's own work) may take memory from processes."""
    if thread:
        tcb = Tcb(core.ram, thread)
        if not tcb.takes_memory:
            tcb.takes_memory = 1


def _tell(core: Core, kind: Tell, space: MappingSpace, mapping: Mapping, cap: Cap) -> None:
    if mapping.is_registers:
        return
    core.outbox.tell(kind, space.address, mapping.address | mapping.rights, cap.object | mapping.size_bits)
