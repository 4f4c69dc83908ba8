"""Fault messages as a pager sees them (SEL4 manual, chapter 6: VM_FAULT holds IP, address, prefetch and FSR)."""

from __future__ import annotations

from dataclasses import dataclass

from libsel4py.abi import ExceptionNumber, FaultLabel, PageFault, Rights
from libsel4py.lowlevel.syscalls import Received

VM_FAULT_WORDS = 4
EXCEPTION_NUMBER_WORD = 3


@dataclass(frozen=True, slots=True)
class VmFault:
    """An instruction at ``ip`` touched ``address`` and may not.

    Attributes:
        access: what it wanted (`abi.Rights`). fetch: it wanted to execute, which nobody may. guarded: it can fail
        without harm; so it is told that it failed, where others would stop.
    """

    badge: int
    address: int
    ip: int
    access: int
    fetch: bool
    guarded: bool

    @classmethod
    def of(cls, message: Received) -> VmFault | None:
        """The fault that a message tells of; None if it tells of something else."""
        if message.label != FaultLabel.VM_FAULT or len(message.words) < VM_FAULT_WORDS:
            return None
        ip, address, prefetch, fsr = message.words[:VM_FAULT_WORDS]
        wants = Rights.READ | Rights.WRITE if fsr & PageFault.WRITE else Rights.READ
        fetch = bool(prefetch or fsr & PageFault.FETCH)
        return cls(message.badge, address, ip, int(wants), fetch, bool(fsr & PageFault.GUARDED))


def is_death(message: Received) -> bool:
    """Whether a message says that a thread has ended."""
    words = message.words
    return (
        message.label == FaultLabel.USER_EXCEPTION
        and len(words) > EXCEPTION_NUMBER_WORD
        and words[EXCEPTION_NUMBER_WORD] == ExceptionNumber.DEATH
    )
