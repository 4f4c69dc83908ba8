"""The look at all of RAM by C (`_survey/`): what `survey` finds, and which invariants hold for sure, in about a tenth
of the time. For a kernel that is started again, while tasks wait for it.

`survey.py` and the predicates in Python say what is right. What is found here is the same, in the same order; a
predicate that is not known to hold (`Survey.held`) is looked at by Python, as all are by `sel4py fsck`.
"""

from __future__ import annotations

from array import array
from functools import cache
from typing import Final

from hw.ram import Ram
from kerneld import _survey, caps, mdb
from kerneld.caps import EXTRA_SHIFT, TYPE_SHIFT, Cap, ZombieOf
from kerneld.interrupts import IRQ_PENDING
from kerneld.notice_invariants import WATCHABLE
from kerneld.records import (
    ADDRESS_MASK,
    IRQ_MASKED,
    TCB_SLOTS,
    CapType,
    Channel,
    DeathNotice,
    IrqState,
    KernelRecord,
    Slot,
    TcbSlot,
)
from kerneld.survey import THREAD_WORDS, Held, Survey, starts
from libsel4py import abi

KINDS: Final = 1 << 64 - TYPE_SHIFT
_BY_SIZE_BITS: Final = (CapType.UNTYPED, CapType.VSPACE, CapType.SCHED_CONTEXT, CapType.IO_SPACE)
_DEVICE: Final[dict[int, int]] = {CapType.UNTYPED: EXTRA_SHIFT + 6, CapType.FRAME: EXTRA_SHIFT + 10}
_INSIDE: Final[dict[int, int]] = {CapType.CHANNEL: Channel.SLOTS, CapType.DEATH_NOTICE: DeathNotice.SLOTS}


def survey(ram: Ram) -> Survey:
    """As `survey.survey`, with `Survey.held`."""
    kernel = KernelRecord.of(ram)
    plan = _plan(kernel.address, kernel.user_base, kernel.ram_bytes)
    slots, owners, objects, stray, damage, held = _survey.look(ram, plan, starts(ram))
    found = Survey(ram, stray=stray, damage=damage, held=frozenset(held))
    found.slots = {row[0]: tuple.__new__(Held, row) for row in slots}  # as Held._make, in a third of the time
    found.owners = dict(zip(found.slots, owners, strict=True))
    for kind, address, word0, word1 in objects:
        found.objects.setdefault(kind, {})[address] = Cap(word0, word1)
    return found


@cache
def _plan(kernel: int, user_base: int, ram_bytes: int) -> bytes:
    references = array("Q")
    for kind, words in THREAD_WORDS.items():
        for each in words:
            references.extend((kind, each.offset, each.mask & ADDRESS_MASK))
    rules = _rules(kernel, user_base, ram_bytes)
    return _survey.plan(rules, [_kind(number) for number in range(KINDS)], references.tobytes())


def _rules(kernel: int, user_base: int, ram_bytes: int) -> dict[str, int]:
    return {
        "slot_bytes": Slot.SIZE,
        "address_mask": ADDRESS_MASK,
        "user_base": user_base,
        "ram_bytes": ram_bytes,
        "tcb_slots": TCB_SLOTS,
        "irq_slots": kernel + KernelRecord.IRQ_SLOTS,
        "irq_states": kernel + KernelRecord.IRQ_STATES,
        "irqs": abi.IRQS,
        "irq_flags": IRQ_MASKED | IRQ_PENDING,
        "irq_signal": IrqState.SIGNAL,
        "irq_inactive": IrqState.INACTIVE,
        "io_port_bitmap": kernel + KernelRecord.IO_PORT_BITMAP,
        "io_ports": abi.IO_PORTS,
        "listen_slot": TcbSlot.LISTEN,
        "channel_client": Channel.client.offset,
        "channel_mask": Channel.client.mask,
        "notice_key": DeathNotice.key.offset,
        "null": CapType.NULL,
        "untyped": CapType.UNTYPED,
        "notification": CapType.NOTIFICATION,
        "cnode": CapType.CNODE,
        "tcb": CapType.TCB,
        "irq_handler": CapType.IRQ_HANDLER,
        "io_port": CapType.IO_PORT,
        "zombie": CapType.ZOMBIE,
        "channel": CapType.CHANNEL,
        "death_notice": CapType.DEATH_NOTICE,
        "last_type": max(CapType),
        "bound": caps.BOUND,
        "watched": mdb.WATCHED,
        "revocable": mdb.REVOCABLE,
        "first_badged": mdb.FIRST_BADGED,
        "endpoint": CapType.ENDPOINT,
        "telling": kernel + KernelRecord.telling.offset,
    }


def _kind(number: int) -> dict[str, int]:
    """What there is to know of a type; of a number that is none, that it has nothing. `region_of` in `_survey/each.c`
    goes by it as `caps.region` does."""
    base, shift = 0, 0
    if number in _BY_SIZE_BITS:
        base, shift = 1, EXTRA_SHIFT
    elif number == CapType.FRAME:
        base, shift = 1, EXTRA_SHIFT + 4
    elif number in (CapType.CNODE, CapType.ZOMBIE):
        base, shift = Slot.SIZE, EXTRA_SHIFT
    return {
        "identity": mdb.IDENTITY.get(number, 0),
        "by_number": number in mdb.BY_NUMBER,
        "fixed": caps.FIXED_BYTES.get(number, 0),
        "base": base,
        "shift": shift,
        "device": _DEVICE.get(number, 0),
        "inside": _INSIDE.get(number, 0),
        "watchable": number in WATCHABLE,
        "bindable": number in caps.ENDPOINT_LIKE,
        "left": caps.ZOMBIE_BYTES.get(number, 0) if number <= max(ZombieOf) else 0,
    }
