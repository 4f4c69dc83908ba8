"""Scenarios of memory that is not there: told, waiting to be told, answered. They join the table of `scenarios.py`."""

from __future__ import annotations

from typing import Final

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, PageFault, Rights, Syscall
from tests.harness import OWN_REPLY
from tests.model.scenarios import RECEIVER, TABLE, Stage, Trap, waiting_server

MEMORY: Final = abi.MAPPING_BASE + (1 << 30)


def _fault(stage: Stage) -> Trap:
    return Trap(stage.client, Syscall.FAULT, words=(MEMORY, 0x1234, PageFault.WRITE))


@TABLE.of(Syscall.FAULT)
def fault_that_is_told(stage: Stage) -> Trap:
    waiting_server(stage)
    return _fault(stage)


@TABLE.of(Syscall.FAULT)
def fault_that_waits_to_be_told(stage: Stage) -> Trap:
    return _fault(stage)


@TABLE.of(Syscall.FAULT)
def fault_where_memory_is(stage: Stage) -> Trap:
    """What had been on its way is there: the instruction is carried out again."""
    frame = stage.machine.retype(ObjectType.FRAME, abi.FRAME_MIN_BITS)
    words = (MEMORY, Rights.READ | Rights.WRITE, 0)
    stage.root.call(frame, Label.FRAME_MAP, words, (InitialSlot.VSPACE,))
    return _fault(stage)


@TABLE.of(Syscall.REPLY_RECV)
def reply_to_memory_fault(stage: Stage) -> Trap:
    waiting_server(stage)
    _fault(stage).submit()
    stage.machine.run()
    assert stage.server.completion() is not None
    return Trap(stage.server, Syscall.REPLY_RECV, RECEIVER, reply=OWN_REPLY)
