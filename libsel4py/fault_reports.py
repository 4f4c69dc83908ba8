"""What a fault handler is told, in words: faults of threads, and their ends, which come as faults.

Source: `docs/manual/faults.md`. Nothing here decides what follows.
"""

from __future__ import annotations

import os
from typing import Final

from libsel4py import abi
from libsel4py.abi import ExceptionNumber, FaultLabel, PageFault
from libsel4py.pagers.faults import VM_FAULT_WORDS

KILLED: Final = 137  # exit status of what SIGKILL ended, as shells have it
CANNOT_START: Final = 126  # exit status of what never had a process, or whose image did not load
LOST_WITH_PAGER: Final = 1  # a fifth word of a VM fault that a pager passes on: why it does not answer it
WHY_UNANSWERED: Final = {LOST_WITH_PAGER: "; what was there was lost when its pager ended"}
FAULTED: Final = 1  # what a fault that nobody answers counts as


def exit_status(wait_status: int) -> int:
    """The shell's view of a wait status: the exit code, or 128 and the signal's number."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def is_by_signal(wait_status: int) -> bool:
    """Whether a signal ended the process: the host alone says so, and runs nothing of it any more. An exit code may be
    what the process has said by EXIT, and then it may run on."""
    return os.WIFSIGNALED(wait_status)


def is_death(label: int, words: tuple[int, ...]) -> bool:
    """Whether a fault message says that a thread has ended."""
    return label == FaultLabel.USER_EXCEPTION and words[3] == ExceptionNumber.DEATH


def is_guarded(label: int, words: tuple[int, ...]) -> bool:
    """Whether a fault message is of an access that can fail: the thread goes on where nobody brings it the memory."""
    return label == FaultLabel.VM_FAULT and bool(words[3] & PageFault.GUARDED)


def describe_fault(label: int, words: tuple[int, ...]) -> str:
    """A fault message as a sentence."""
    match label:
        case FaultLabel.CAP_FAULT:
            phase = "receiving" if words[2] else "sending"
            kind = abi.LookupFailureKind(words[3]).name.lower().replace("_", " ")
            return f"capability fault while {phase} at address {words[1]:#x}: {kind}"
        case FaultLabel.UNKNOWN_SYSCALL:
            return "unknown system call"
        case FaultLabel.VM_FAULT:
            kind = "write to" if words[3] & PageFault.WRITE else "read from"
            why = WHY_UNANSWERED.get(words[4], "") if len(words) > VM_FAULT_WORDS else ""
            return f"no memory to {kind} at address {words[1]:#x}, instruction {words[0]:#x}{why}"
        case FaultLabel.USER_EXCEPTION if is_death(label, words):
            status = exit_status(words[4])
            return "ended" if status == 0 else f"ended with status {status}"
        case FaultLabel.USER_EXCEPTION:
            return f"exception {words[3]}, code {words[4]:#x}"
        case _:
            return f"fault {label}"


def pager_is_gone(name: str) -> str:
    """Behind the words about a memory fault: why the task's pager did not answer it."""
    return f"; its pager, {name}, does not run"


def where_to_read(name: str, status: int) -> str:
    """Where a person finds what an ended task had to say; nothing where it had not the time to say anything."""
    if status == CANNOT_START:
        return ": it could not be started, and `sel4py logs zygote` says why"
    return f": `sel4py logs {name}` has what it wrote" if 0 < status < 128 else ""
