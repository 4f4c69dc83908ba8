"""RAM of a system that was suspended, made ready for a kernel to go on with: no process that it knows exists any more.

Each thread that had a process has lost it, as by a death of which nobody is told: what it waited for is given up, its
channels are severed. The initial task begins anew, and is told in BootInfo which threads ran; it starts them again.
Capabilities, their derivation and all other objects stay as they were.

Rules: nothing in RAM is trusted; `prepare` checks the invariants before and after. Run it before a kernel does.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from hw.ram import Ram
from kerneld import (
    budgets,
    channels,
    invariants,
    ipc,
    layout,
    listening,
    refills,
    scheduler,
    settling,
    threads,
)
from kerneld.core import Core, NoPorts
from kerneld.cores import virtual_time
from kerneld.outbox import Outbox
from kerneld.records import CapType, Channel, KernelRecord, ProcessState, SchedContext, Slot, Tcb, TcbSlot, ThreadState
from kerneld.survey import survey
from kerneld.work import Work
from libsel4py import abi

WORD: Final = struct.Struct("<Q")
FRAME_BYTES: Final = 1 << abi.BOOT_INFO_FRAME_BITS


class Unsound(ValueError):
    """RAM does not hold a system that could go on; the text says why."""


def prepare(ram: Ram, now: Callable[[], int], ram_bytes: int | None = None) -> None:
    """Make RAM ready.

    Args:
        now: the host's clock, for a machine whose time is not virtual.
        ram_bytes: RAM's size, where devices' memory follows it.
    Raises:
        Unsound: RAM is of no use then.
    """
    expected = ram.size if ram_bytes is None else ram_bytes
    if ram.word(layout.HEADER_MAGIC) != layout.MAGIC or ram.word(layout.HEADER_VERSION) != layout.VERSION:
        raise Unsound(f"it holds no machine of layout version {layout.VERSION}")
    if ram.word(layout.HEADER_SIZE) != expected:
        raise Unsound(f"it is of a machine of {ram.word(layout.HEADER_SIZE)} bytes, and has {expected}")
    ram.recover()
    _ensure_sound(ram)
    core = _core(ram, now)
    initial = core.kernel.initial_tcb
    if initial is None:
        raise Unsound("its initial task is gone")
    core.outbox.set_done(0)
    core.outbox.clear()
    found = survey(ram)
    ran = [tcb for tcb in (Tcb(ram, at) for at in found.of_type(CapType.TCB)) if tcb.process != ProcessState.NONE]
    # One that has ended, of which nobody has heard, or whose end is being looked after, is told of as one that ran.
    ended = (Tcb(ram, at) for at in found.of_type(CapType.TCB))
    unheard = {tcb.address for tcb in ended if tcb.state in (ThreadState.BLOCKED_ON_SEND, ThreadState.BLOCKED_ON_REPLY)}
    slots = _slots_of(ram, initial, ({tcb.address for tcb in ran} | unheard) - {initial.address})
    for address in found.of_type(CapType.SCHED_CONTEXT):
        context = SchedContext(ram, address)
        if context.refill_max:
            with ram.transaction():
                budgets.begin_anew(core, context)
    for tcb in ran:
        _lose(core, tcb)
    for address in found.of_type(CapType.CHANNEL):
        with ram.transaction():
            channels.sever(core, Channel(ram, address))
        core.outbox.clear()
    _tell(ram, initial, slots)
    _begin(core, initial)
    _ensure_sound(ram)


def clock(ram: Ram, host: Callable[[], int]) -> Callable[[], int]:
    """The time that the machine goes by: its own where that is virtual, which stood meanwhile, or the host's."""
    kernel = KernelRecord.of(ram)
    return virtual_time.clocks(kernel)[1] if virtual_time.is_virtual(kernel) else host


def _core(ram: Ram, host: Callable[[], int]) -> Core:
    """By another host's time the present domain's turn begins anew."""
    kernel = KernelRecord.of(ram)
    if virtual_time.is_virtual(kernel):
        return Core(ram, kernel, Outbox(ram), NoPorts(), *virtual_time.clocks(kernel))
    with ram.transaction():
        kernel.domain_until = 0
    return Core(ram, kernel, Outbox(ram), NoPorts(), lambda address: 0, host)


def _ensure_sound(ram: Ram) -> None:
    violations = invariants.check(ram)
    if violations:
        first = violations[0]
        raise Unsound(f"{len(violations)} invariants do not hold in it; the first: {first.name}: {first.detail}")


def _lose(core: Core, tcb: Tcb) -> None:
    with core.ram.transaction():
        ipc.cancel(core, tcb)
        scheduler.set_state(core, tcb, ThreadState.INACTIVE)
        threads.lose_process(core, tcb, threads.KILLED)
        listening.part(core, tcb, Work(left=abi.CHANNELS_PER_THREAD + 1))
        listening.forget_process(tcb)
        tcb.in_trap = tcb.told_pending = 0
        settling.settle(core)
    core.outbox.clear()


def _slots_of(ram: Ram, initial: Tcb, wanted: set[int]) -> list[int]:
    """The slots of the initial task's CNode that name one of these threads."""
    cspace = initial.slot(TcbSlot.CSPACE)
    if cspace.cap_type != CapType.CNODE:
        raise Unsound("its initial task has no CNode")
    found = []
    for number in range(1 << abi.INITIAL_CNODE_BITS):
        slot = Slot(ram, cspace.object + number * Slot.SIZE)
        if slot.cap_type == CapType.TCB and slot.object in wanted:
            found.append(number)
    return found


def _tell(ram: Ram, initial: Tcb, slots: list[int]) -> None:
    """BootInfo's chunk of who ran, in the place of a former one."""
    cspace = initial.slot(TcbSlot.CSPACE)
    slot = Slot(ram, cspace.object + abi.InitialSlot.BOOT_INFO_FRAME * Slot.SIZE)
    if slot.cap_type != CapType.FRAME:
        raise Unsound("its initial task has no BootInfo")
    frame, head = slot.object, abi.BOOT_INFO_EXTRA * abi.WORD_BYTES
    length_at = frame + abi.BOOT_INFO_EXTRA_BYTES * abi.WORD_BYTES
    length, at = ram.word(length_at), 0
    while at + 2 * abi.WORD_BYTES <= min(length, FRAME_BYTES - head):
        kind, size = struct.unpack("<2Q", ram.read(frame + head + at, 16))
        if kind == abi.BOOT_INFO_EXTRA_RESUMED or size < 2 * abi.WORD_BYTES:
            break
        at += size + -size % abi.WORD_BYTES
    chunk = struct.pack(f"<{2 + len(slots)}Q", abi.BOOT_INFO_EXTRA_RESUMED, (2 + len(slots)) * abi.WORD_BYTES, *slots)
    if head + at + len(chunk) > FRAME_BYTES:
        raise Unsound(f"BootInfo has no room to name {len(slots)} threads that ran")
    ram.poke(frame + head + at, chunk)
    ram.poke(length_at, WORD.pack(at + len(chunk)))


def _begin(core: Core, initial: Tcb) -> None:
    """The initial task starts at its image's beginning, with the whole of its processor time."""
    ram, context = core.ram, initial.sched_context
    if context is None or initial.slot(TcbSlot.VSPACE).cap_type != CapType.VSPACE or not initial.trap_frame:
        raise Unsound("its initial task cannot run: it has no address space, trap frame or processor time")
    ram.poke(initial.trap_frame, bytes(1 << abi.TRAP_FRAME_BITS))
    with ram.transaction():
        refills.lay_out(core, context, refills.MIN_REFILLS, abi.INITIAL_BUDGET_US, 0)
        for register in range(abi.REGISTERS):
            ram.set_word(initial.address + Tcb.REGISTERS + register * abi.WORD_BYTES, 0)
        first = abi.ARGUMENT_REGISTERS[0]
        ram.set_word(initial.address + Tcb.REGISTERS + first * abi.WORD_BYTES, abi.BOOT_INFO_ADDRESS)
        scheduler.set_state(core, initial, ThreadState.RUNNING)
        settling.settle(core)
