"""The capabilities inside a TCB: its capability space, address space, trap frame and fault handlers.

A new capability replaces the old one, which is deleted first; if that took away what the new one was to be copied
from, the slot stays empty. Two of the slots have effects outside of the TCB: another address space ends the
thread's process, and another trap frame starts its rings anew. Source: seL4 Reference Manual 6.1; SEL4
`decodeTCBConfigure`, `installTCBCap`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kerneld import caps, deletion, derive, faults, mappings, mdb, scheduler, threads
from kerneld.caps import NULL, Cap
from kerneld.core import PREEMPTED, Call, Core, Invocation, Result
from kerneld.failures import SyscallError, illegal_operation, invalid_capability, truncated_message
from kerneld.outbox import Tell
from kerneld.records import CapType, ProcessState, Slot, Tcb, TcbSlot, VSpace
from kerneld.work import Work
from libsel4py import abi
from libsel4py.abi import Error, Label, Rights

TRAP_FRAME_BYTES: Final = 1 << abi.TRAP_FRAME_BITS
MOST_BITS: Final = 21  # of a frame that is a trap frame: the host's part moves its bytes while everybody waits
LONG_TO_DELETE: Final = (CapType.CNODE, CapType.TCB, CapType.ZOMBIE)


@dataclass(frozen=True, slots=True)
class Install:
    """A capability for one slot of a TCB, derived from the one in ``source``; NULL leaves the slot empty."""

    index: TcbSlot
    cap: Cap
    source: Slot


@dataclass(frozen=True, slots=True)
class Target:
    """The TCB that is changed, the slot of the capability that was invoked, and who invoked it."""

    tcb: Tcb
    slot: Slot
    caller: int

    @classmethod
    def of(cls, call: Call, tcb: Tcb) -> Target:
        return cls(tcb, call.slot, call.thread.address)


@dataclass(frozen=True, slots=True)
class SetCaps:
    """Configure, SetSpace, SetIPCBuffer, SetTimeoutEndpoint."""

    target: Target
    changes: tuple[Install, ...]

    def perform(self, core: Core) -> Result:
        # First what may take long: a thread that changes its own spaces is to find the arguments again meanwhile.
        changes_space = any(change.index is TcbSlot.VSPACE for change in self.changes)
        if changes_space and not _release_mappings(core, self.target):
            return PREEMPTED
        for change in self.changes:
            if not install(core, self.target, change):
                return PREEMPTED
        return ()


def install(core: Core, target: Target, change: Install) -> bool:
    """Replace the capability in one slot. False if work is left: the whole system call is carried out again."""
    match change.index:
        case TcbSlot.VSPACE:
            return _install_vspace(core, target, change)
        case TcbSlot.BUFFER:
            return _install_trap_frame(core, target, change)
        case _:
            return _replace(core, target, change)


def _replace(core: Core, target: Target, change: Install) -> bool:
    tcb = target.tcb
    slot = tcb.slot(change.index)
    if not deletion.delete(core, slot, Work(target.caller)):
        return False
    is_there = not change.cap.is_null and mdb.same_object(change.cap, caps.read(change.source))
    if is_there and mdb.same_object(caps.tcb(tcb.address), caps.read(target.slot)):
        mdb.insert(core, change.cap, change.source, slot)
    return True


def _release_mappings(core: Core, target: Target) -> bool:
    """Where the thread's capability to its address space is the last one: end what is mapped there. False if preempted.

    The process still runs, so it loses each mapping, a part in a transaction.
    """
    slot = target.tcb.slot(TcbSlot.VSPACE)
    if slot.cap_type != CapType.VSPACE or not mdb.is_final(slot):
        return True
    return mappings.empty(core, VSpace(core.ram, slot.object), Work(target.caller), lives=True)


def _install_vspace(core: Core, target: Target, change: Install) -> bool:
    tcb = target.tcb
    slot = tcb.slot(TcbSlot.VSPACE)
    before = slot.object if slot.cap_type == CapType.VSPACE else 0
    if not _release_mappings(core, target):
        return False
    if before:
        threads.unlink(VSpace(core.ram, before), tcb)
    if not _replace(core, target, change):
        return False
    now = slot.object if slot.cap_type == CapType.VSPACE else 0
    if now:
        threads.join_vspace(core, VSpace(core.ram, now), tcb)
    if now != before and tcb.process != ProcessState.NONE:
        threads.lose_process(core, tcb, threads.KILLED)
        core.outbox.tell(Tell.KILL, tcb.address, before)
        scheduler.touch(core, tcb)
    return True


def _install_trap_frame(core: Core, target: Target, change: Install) -> bool:
    tcb = target.tcb
    before = tcb.trap_frame
    if not _replace(core, target, change):
        return False
    if tcb.trap_frame != before:
        tcb.consumed = 0
        tcb.produced = 0
        tcb.told_pending = 0
        core.outbox.tell(Tell.TRAP_FRAME, tcb.address)
        scheduler.touch(core, tcb)
    return True


# --- decode


def decode_handler(index: TcbSlot, slot: Slot, number: int) -> Install:
    """A fault or timeout handler: none, or an endpoint capability that sends and can be replied to.

    Raises:
        SyscallError: INVALID_CAPABILITY with this argument number.
    """
    kind = slot.cap_type
    if kind != CapType.NULL and (kind != CapType.ENDPOINT or not faults.can_handle(slot)):
        raise invalid_capability(number, "a handler is an endpoint capability with Write, and Grant or GrantReply")
    return Install(index, caps.read(slot), slot)


def _derived(slot: Slot, data: int = 0) -> Cap:
    cap = caps.read(slot)
    return derive.derive_cap(slot, derive.update_cap_data(False, data, cap) if data else cap)


def _decode_spaces(
    target: Tcb, cspace_slot: Slot, cspace_data: int, vspace_slot: Slot, vspace_data: int
) -> tuple[Install, Install]:
    for index in (TcbSlot.CSPACE, TcbSlot.VSPACE):
        old = target.slot(index)
        if old.cap_type in LONG_TO_DELETE and mdb.is_final(old):
            raise illegal_operation("the thread holds the last capability of its old CSpace; keep a copy of that first")
    cspace = _derived(cspace_slot, cspace_data)
    if cspace.type is not CapType.CNODE:
        raise illegal_operation("a capability space is a CNode whose guard and bits are at most an address long")
    space = _derived(vspace_slot, vspace_data)
    if space.type is not CapType.VSPACE:
        raise illegal_operation("an address space is a VSpace, and this capability is none")
    return Install(TcbSlot.CSPACE, cspace, cspace_slot), Install(TcbSlot.VSPACE, space, vspace_slot)


def _decode_buffer(call: Call, target: Tcb, slot: Slot, buffer: int) -> Install:
    if not buffer:
        _ensure_not_in_use(call, target, 0)
        return Install(TcbSlot.BUFFER, NULL, slot)
    cap = _derived(slot)
    if cap.type is not CapType.FRAME or cap.frame_is_device:
        raise illegal_operation("a trap frame is a Frame of ordinary memory")
    if buffer % TRAP_FRAME_BYTES:
        raise SyscallError(
            Error.ALIGNMENT_ERROR, (), f"a trap frame at 0x{buffer:x} is not aligned to {TRAP_FRAME_BYTES} bytes"
        )
    if cap.frame_size_bits < abi.TRAP_FRAME_BITS:
        raise illegal_operation(f"a frame of 2**{cap.frame_size_bits} bytes: a trap frame has {TRAP_FRAME_BYTES}")
    if cap.frame_size_bits > MOST_BITS:
        raise illegal_operation(
            f"a frame of 2**{cap.frame_size_bits} bytes: a trap frame is in one of 2**{MOST_BITS} at most"
        )
    if cap.rights & (Rights.READ | Rights.WRITE) != Rights.READ | Rights.WRITE:
        raise illegal_operation("the frame capability lacks Read or Write; a thread and the kernel write a trap frame")
    _ensure_not_in_use(call, target, cap.object)
    return Install(TcbSlot.BUFFER, cap, slot)


def _ensure_not_in_use(call: Call, target: Tcb, frame: int) -> None:
    if target == call.thread and frame != target.trap_frame:
        raise illegal_operation("a thread cannot replace the trap frame that it is calling through; another one can")


def _decode_configure(core: Core, call: Call, target: Tcb) -> Invocation:
    if len(call.words) < 3 or len(call.caps) < 3:
        raise truncated_message("Configure takes three words and the capabilities of CSpace, VSpace and frame")
    cspace_data, vspace_data, buffer = call.words[:3]
    cspace_slot, vspace_slot, buffer_slot = call.caps
    trap_frame = _decode_buffer(call, target, buffer_slot, buffer)
    spaces = _decode_spaces(target, cspace_slot, cspace_data, vspace_slot, vspace_data)
    return SetCaps(Target.of(call, target), (*spaces, trap_frame))


def _decode_set_space(core: Core, call: Call, target: Tcb) -> Invocation:
    if len(call.words) < 2 or len(call.caps) < 3:
        raise truncated_message("SetSpace takes two words and the capabilities of fault endpoint, CSpace and VSpace")
    cspace_data, vspace_data = call.words[:2]
    handler_slot, cspace_slot, vspace_slot = call.caps
    spaces = _decode_spaces(target, cspace_slot, cspace_data, vspace_slot, vspace_data)
    handler = decode_handler(TcbSlot.FAULT_HANDLER, handler_slot, 1)
    return SetCaps(Target.of(call, target), (handler, *spaces))


def _decode_set_ipc_buffer(core: Core, call: Call, target: Tcb) -> Invocation:
    if not call.words or not call.caps:
        raise truncated_message("SetIPCBuffer takes an address and the capability of a frame")
    return SetCaps(Target.of(call, target), (_decode_buffer(call, target, call.caps[0], call.words[0]),))


def _decode_set_timeout_endpoint(core: Core, call: Call, target: Tcb) -> Invocation:
    if not call.caps:
        raise truncated_message("SetTimeoutEndpoint takes the capability of an endpoint")
    return SetCaps(Target.of(call, target), (decode_handler(TcbSlot.TIMEOUT_HANDLER, call.caps[0], 1),))


DECODERS: Final[dict[int, Callable[[Core, Call, Tcb], Invocation]]] = {
    Label.TCB_CONFIGURE: _decode_configure,
    Label.TCB_SET_SPACE: _decode_set_space,
    Label.TCB_SET_IPC_BUFFER: _decode_set_ipc_buffer,
    Label.TCB_SET_TIMEOUT_ENDPOINT: _decode_set_timeout_endpoint,
}
