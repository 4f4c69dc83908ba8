"""A TCB's registers: what a new process starts with. `rip` is the boot image's number; six others are its arguments.

Writing them changes nothing about a process that runs; the next start uses them. Words are in the order of
`abi.REGISTER_NAMES`: the first 18 are seL4's frame registers, the last two its integer registers.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kerneld import ipc, threads
from kerneld.core import Call, Core, Invocation, Result
from kerneld.failures import illegal_operation, invalid_capability, range_error, truncated_message
from kerneld.records import CapType, Tcb
from libsel4py import abi
from libsel4py.abi import Label

FRAME_REGISTERS: Final = 18
FS_BASE: Final = abi.REGISTER_NAMES.index("fs_base")
FLAGS_MASK: Final = 1  # FPU disabled

READ_SUSPEND: Final = 1
WRITE_RESUME: Final = 1
COPY_SUSPEND_SOURCE: Final = 1
COPY_RESUME_TARGET: Final = 2
COPY_FRAME: Final = 4
COPY_INTEGER: Final = 8


def read(thread: Tcb, first: int, count: int) -> tuple[int, ...]:
    """``count`` registers from number ``first`` on."""
    return thread.ram.words(thread.address + Tcb.REGISTERS + first * abi.WORD_BYTES, count)


def write(thread: Tcb, first: int, values: tuple[int, ...]) -> None:
    """Set registers from number ``first`` on."""
    data = struct.pack(f"<{len(values)}Q", *values)
    thread.ram.write(thread.address + Tcb.REGISTERS + first * abi.WORD_BYTES, data)


@dataclass(frozen=True, slots=True)
class ReadRegisters:
    target: Tcb
    suspend: bool
    count: int

    def perform(self, core: Core) -> Result:
        if self.suspend:
            threads.suspend(core, self.target)
        return read(self.target, 0, self.count)


@dataclass(frozen=True, slots=True)
class WriteRegisters:
    target: Tcb
    resume: bool
    values: tuple[int, ...]

    def perform(self, core: Core) -> Result:
        write(self.target, 0, self.values)
        if self.resume:
            ipc.restart(core, self.target)
        return ()


@dataclass(frozen=True, slots=True)
class CopyRegisters:
    target: Tcb
    source: Tcb
    flags: int

    def perform(self, core: Core) -> Result:
        if self.flags & COPY_SUSPEND_SOURCE:
            threads.suspend(core, self.source)
        if self.flags & COPY_RESUME_TARGET:
            ipc.restart(core, self.target)
        if self.flags & COPY_FRAME:
            write(self.target, 0, read(self.source, 0, FRAME_REGISTERS))
        if self.flags & COPY_INTEGER:
            integer = abi.REGISTERS - FRAME_REGISTERS
            write(self.target, FRAME_REGISTERS, read(self.source, FRAME_REGISTERS, integer))
        return ()


@dataclass(frozen=True, slots=True)
class SetTlsBase:
    target: Tcb
    base: int

    def perform(self, core: Core) -> Result:
        write(self.target, FS_BASE, (self.base,))
        return ()


@dataclass(frozen=True, slots=True)
class SetFlags:
    target: Tcb
    flags: int

    def perform(self, core: Core) -> Result:
        self.target.flags = self.flags
        return (self.flags,)


def _decode_read(core: Core, call: Call, target: Tcb) -> Invocation:
    if len(call.words) < 2:
        raise truncated_message("ReadRegisters takes flags and a count")
    flags, count = call.words[:2]
    if not 1 <= count <= abi.REGISTERS:
        raise range_error(1, abi.REGISTERS, f"{count} registers: a thread has {abi.REGISTERS}")
    if target == call.thread:
        raise illegal_operation("a thread cannot read its own registers; another one can")
    return ReadRegisters(target, bool(flags & READ_SUSPEND), count)


def _decode_write(core: Core, call: Call, target: Tcb) -> Invocation:
    if len(call.words) < 2:
        raise truncated_message("WriteRegisters takes flags, a count and as many words")
    flags, count = call.words[:2]
    if len(call.words) - 2 < count:
        raise truncated_message(f"the message has {len(call.words) - 2} register words, and the count is {count}")
    if target == call.thread:
        raise illegal_operation("a thread cannot write its own registers; another one can")
    return WriteRegisters(target, bool(flags & WRITE_RESUME), call.words[2 : 2 + min(count, abi.REGISTERS)])


def _decode_copy(core: Core, call: Call, target: Tcb) -> Invocation:
    if not call.words or not call.caps:
        raise truncated_message("CopyRegisters takes flags and the capability of the source TCB")
    slot = call.caps[0]
    if slot.cap_type != CapType.TCB:
        raise invalid_capability(1, "the source of registers is a TCB")
    return CopyRegisters(target, Tcb(core.ram, slot.object), call.words[0])


def _decode_set_tls_base(core: Core, call: Call, target: Tcb) -> Invocation:
    if not call.words:
        raise truncated_message("SetTLSBase takes an address")
    return SetTlsBase(target, call.words[0])


def _decode_set_flags(core: Core, call: Call, target: Tcb) -> Invocation:
    if len(call.words) < 2:
        raise truncated_message("SetFlags takes the flags to clear and the flags to set")
    clear, set_ = call.words[:2]
    return SetFlags(target, target.flags & ~clear | set_ & FLAGS_MASK)


DECODERS: Final[dict[int, Callable[[Core, Call, Tcb], Invocation]]] = {
    Label.TCB_READ_REGISTERS: _decode_read,
    Label.TCB_WRITE_REGISTERS: _decode_write,
    Label.TCB_COPY_REGISTERS: _decode_copy,
    Label.TCB_SET_TLS_BASE: _decode_set_tls_base,
    Label.TCB_SET_FLAGS: _decode_set_flags,
}
