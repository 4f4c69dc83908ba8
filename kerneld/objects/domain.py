"""Domains: which thread belongs to which, and the schedule in which they take turns.

The schedule is a table of (domain, duration) entries; the last one always stays the end marker (0, 0), which sends the
schedule back to its start. Source: seL4 Reference Manual 6.3, seL4 RFC-20. Durations in microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kerneld import scheduler
from kerneld.core import Call, Core, Invocation, Place, Result
from kerneld.cores import domains
from kerneld.failures import illegal_operation, invalid_argument, range_error, truncated_message
from kerneld.records import CapType, KernelRecord, Tcb
from libsel4py.abi import DOMAIN_SCHEDULE_LENGTH, DOMAINS, WORD_BYTES, Label

DURATION_BITS: Final = 56
END_MARKER: Final = 0


def entry_address(kernel: KernelRecord, index: int) -> int:
    """Physical address of one word of the schedule: domain << 56 | duration."""
    return kernel.address + KernelRecord.DOMAIN_SCHEDULE + index * WORD_BYTES


@dataclass(frozen=True, slots=True)
class Set:
    tcb: Tcb
    domain: int

    def perform(self, core: Core) -> Result:
        self.tcb.domain = self.domain
        scheduler.put_anew(core, self.tcb, Place.FIRST)
        return ()


@dataclass(frozen=True, slots=True)
class ScheduleConfigure:
    index: int
    domain: int
    duration: int

    def perform(self, core: Core) -> Result:
        core.ram.set_word(entry_address(core.kernel, self.index), self.domain << DURATION_BITS | self.duration)
        return ()


@dataclass(frozen=True, slots=True)
class ScheduleSetStart:
    index: int

    def perform(self, core: Core) -> Result:
        domains.restart(core, self.index)
        return ()


def decode(core: Core, call: Call) -> Invocation:
    """A method of the Domain capability.

    Raises:
        SyscallError: as SEL4's `decodeDomainInvocation`, in its order.
    """
    match call.label:
        case Label.DOMAIN_SET:
            return _decode_set(core, call)
        case Label.DOMAIN_SCHEDULE_CONFIGURE:
            return _decode_configure(core, call)
        case Label.DOMAIN_SCHEDULE_SET_START:
            return _decode_set_start(core, call)
        case _:
            raise illegal_operation(f"Domain has no method with label {call.label}")


def _decode_set(core: Core, call: Call) -> Set:
    if not call.words:
        raise truncated_message("Set takes the number of a domain and the capability of a TCB")
    domain = call.words[0]
    if domain >= DOMAINS:
        raise invalid_argument(0, f"domain {domain}: there are {DOMAINS}, from 0 on")
    if not call.caps:
        raise truncated_message("Set takes the capability of a TCB")
    slot = call.caps[0]
    if slot.cap_type != CapType.TCB:
        raise invalid_argument(1, "only a TCB belongs to a domain")
    return Set(Tcb(core.ram, slot.object), domain)


def _decode_configure(core: Core, call: Call) -> ScheduleConfigure:
    if len(call.words) < 3:
        raise truncated_message("ScheduleConfigure takes index, domain and duration")
    index, domain, duration = call.words[:3]
    if index > DOMAIN_SCHEDULE_LENGTH - 2:
        raise range_error(0, DOMAIN_SCHEDULE_LENGTH - 2, f"entry {index}: the last one always stays the end marker")
    if domain >= DOMAINS:
        raise range_error(0, DOMAINS - 1, f"domain {domain}: there are {DOMAINS}, from 0 on")
    if duration >> DURATION_BITS:
        raise invalid_argument(2, f"a duration of {duration} us does not fit {DURATION_BITS} bits")
    if not duration and domain:
        raise invalid_argument(1, "a duration of 0 makes the end marker, whose domain is 0")
    if not duration and index == core.kernel.domain_start:
        raise invalid_argument(2, "the schedule starts at this entry, so it cannot become the end marker")
    return ScheduleConfigure(index, domain, duration)


def _decode_set_start(core: Core, call: Call) -> ScheduleSetStart:
    if not call.words:
        raise truncated_message("ScheduleSetStart takes the index of an entry")
    index = call.words[0]
    if index >= DOMAIN_SCHEDULE_LENGTH:
        raise range_error(0, DOMAIN_SCHEDULE_LENGTH - 1, f"entry {index}: the schedule is shorter")
    if core.ram.word(entry_address(core.kernel, index)) == END_MARKER:
        raise invalid_argument(0, f"entry {index} is the end marker, so the schedule cannot start there")
    return ScheduleSetStart(index)
