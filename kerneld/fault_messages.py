"""What a fault tells its handler, and what the handler's reply does (SEL4_API 2.4; SEL4 `handleFaultReply`).

A TCB keeps the label of its fault and the words that the fault itself knows. Registers stand for these things here:
`rip` is the number of the boot image, `rsp` and `rflags` mean nothing. In an UNKNOWN_SYSCALL message the registers
that carry a system call in seL4's x86_64 convention are the saved call's words, so a handler sees what was asked.
"""

from __future__ import annotations

from typing import Final

from hw import ring
from kerneld import completion, scheduler, vm_faults
from kerneld.core import Core
from kerneld.records import Tcb, ThreadState
from libsel4py import abi
from libsel4py.abi import ExceptionNumber, FaultLabel, LookupFailureKind

# Description words of a CAP_FAULT by the kind of its look-up failure.
_DESCRIPTION_WORDS: Final = {
    LookupFailureKind.INVALID_ROOT: 0,
    LookupFailureKind.MISSING_CAPABILITY: 1,
    LookupFailureKind.DEPTH_MISMATCH: 2,
    LookupFailureKind.GUARD_MISMATCH: 3,
}
# Words that the fault itself knows, behind the instruction pointer.
_DEBUG_WORDS: Final = 3


def _register(name: str) -> int:
    return Tcb.REGISTERS + abi.REGISTER_NAMES.index(name) * abi.WORD_BYTES


# Where the words of an UNKNOWN_SYSCALL message stand in the TCB: RAX RBX RCX RDX RSI RDI RBP R8-R15 FaultIP SP FLAGS.
SYSCALL_WORDS: Final = (
    _register("rax"),
    _register("rbx"),
    _register("rcx"),
    Tcb.op.offset,
    Tcb.info.offset,
    Tcb.cptr.offset,
    _register("rbp"),
    Tcb.mr1.offset,
    Tcb.mr2.offset,
    Tcb.mr0.offset,
    _register("r11"),
    Tcb.reply_cptr.offset,
    Tcb.dest_cptr.offset,
    _register("r14"),
    Tcb.mr3.offset,
    _register("rip"),
    _register("rsp"),
    _register("rflags"),
)
EXCEPTION_WORDS: Final = (_register("rip"), _register("rsp"), _register("rflags"))
TIMEOUT_WORDS: Final = tuple(Tcb.REGISTERS + index * abi.WORD_BYTES for index in range(abi.REGISTERS - 1))


def fault_words(tcb: Tcb) -> tuple[int, ...]:
    """The words of the message about the thread's fault."""
    ram = tcb.ram
    label = FaultLabel(tcb.fault_label)
    own = ram.words(tcb.address + Tcb.FAULT_WORDS, 6)
    match label:
        case FaultLabel.CAP_FAULT:
            return (tcb.rip, *own[: 3 + _DESCRIPTION_WORDS[LookupFailureKind(own[2])]])
        case FaultLabel.UNKNOWN_SYSCALL:
            return (*(ram.word(tcb.address + offset) for offset in SYSCALL_WORDS), own[0])
        case FaultLabel.USER_EXCEPTION:
            return (*(ram.word(tcb.address + offset) for offset in EXCEPTION_WORDS), own[2], own[3])
        case FaultLabel.TIMEOUT:
            return own[:2]
        case FaultLabel.VM_FAULT:
            return own[:4]
        case _:
            return (tcb.rip, *own[:_DEBUG_WORDS])


def handle_reply(core: Core, tcb: Tcb, label: int, words: tuple[int, ...]) -> None:
    """End the fault of a thread: its handler has replied with this label and these words.

    Faults about capabilities always carry the system call out again. For the others label 0 lets the thread go on, with
    what the words say written to its registers (but after one about memory), and every other label leaves it stopped.
    """
    fault = FaultLabel(tcb.fault_label)
    number = tcb.fault_word2
    if label:
        vm_faults.remember(core, tcb)
    tcb.fault_label = FaultLabel.NULL_FAULT
    if fault is FaultLabel.CAP_FAULT:
        scheduler.set_state(core, tcb, ThreadState.RESTART)
        return
    if label:
        vm_faults.stop(core, tcb)
        return
    match fault:
        case FaultLabel.VM_FAULT:
            vm_faults.end(core, tcb)
            return
        case FaultLabel.UNKNOWN_SYSCALL:
            _write_back(tcb, SYSCALL_WORDS, words)
            result = core.ram.word(tcb.address + SYSCALL_WORDS[0])
            completion.complete(core, tcb, info=abi.message_info(0, 1), registers=(result, 0, 0, 0))
        case FaultLabel.USER_EXCEPTION:
            _write_back(tcb, EXCEPTION_WORDS, words)
            if number == ExceptionNumber.RING_OVERRUN:
                _skip_overrun(tcb)
        case FaultLabel.TIMEOUT:
            _write_back(tcb, TIMEOUT_WORDS, words)
    scheduler.set_state(core, tcb, ThreadState.RESTART)


def _write_back(tcb: Tcb, offsets: tuple[int, ...], words: tuple[int, ...]) -> None:
    for offset, word in zip(offsets, words, strict=False):
        tcb.ram.set_word(tcb.address + offset, word)


def _skip_overrun(tcb: Tcb) -> None:
    """Go on where the task's impossible index points to: what it never submitted is not looked at."""
    frame = tcb.trap_frame
    entry = ring.take(tcb.ram, frame, tcb.consumed & 0xFFFFFFFF) if frame else None
    if entry is not None and entry[0] == ring.OVERRUN:
        tcb.consumed = entry[2]
