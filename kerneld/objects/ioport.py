"""I/O ports: IOPortControl gives out ranges of ports, each port once; a range's capability reads and writes them.

Which ports are given out is a bitmap in the kernel's record (`x86/object/ioport.c`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kerneld import caps, mdb, slot_arguments
from kerneld.core import Call, Core, Invocation, Result
from kerneld.failures import illegal_operation, invalid_argument, range_error, truncated_message
from kerneld.records import CapType, Slot
from libsel4py.abi import IO_PORTS, WORD_BITS, WORD_MASK, Label

_READ_WIDTH: Final[dict[int, int]] = {Label.IO_PORT_IN8: 1, Label.IO_PORT_IN16: 2, Label.IO_PORT_IN32: 4}
_WRITE_WIDTH: Final[dict[int, int]] = {Label.IO_PORT_OUT8: 1, Label.IO_PORT_OUT16: 2, Label.IO_PORT_OUT32: 4}


@dataclass(frozen=True, slots=True)
class Issue:
    first: int
    last: int
    control: Slot
    destination: Slot

    def perform(self, core: Core) -> Result:
        for address, mask in _bitmap_words(core, self.first, self.last):
            core.ram.set_word(address, core.ram.word(address) | mask)
        mdb.insert(core, caps.io_port(self.first, self.last), self.control, self.destination)
        return ()


@dataclass(frozen=True, slots=True)
class In:
    port: int
    width: int

    def perform(self, core: Core) -> Result:
        return (core.ports.read(self.port, self.width),)


@dataclass(frozen=True, slots=True)
class Out:
    port: int
    width: int
    data: int

    def perform(self, core: Core) -> Result:
        core.ports.write(self.port, self.width, self.data)
        return ()


def decode(core: Core, call: Call) -> Invocation:
    """The checked method of an IOPortControl or IOPort capability.

    Raises:
        SyscallError: Issue: TRUNCATED_MESSAGE, RANGE_ERROR (port above 65535), INVALID_ARGUMENT(1) (last before first),
            REVOKE_FIRST (a port is given out), FAILED_LOOKUP, DELETE_FIRST. In and Out: TRUNCATED_MESSAGE,
            ILLEGAL_OPERATION (outside of the range).
    """
    if call.slot.cap_type == CapType.IO_PORT_CONTROL:
        return decode_control(core, call)
    return decode_port(call)


def decode_control(core: Core, call: Call) -> Invocation:
    slot_arguments.ensure_issuable(
        call,
        Label.IO_PORT_CONTROL_ISSUE,
        4,
        "IOPortControl.Issue",
        "first and last port, index and depth, and the destination's CNode",
    )
    first, last, index, depth = call.words[:4]
    if max(first, last) >= IO_PORTS:
        raise range_error(0, IO_PORTS - 1, f"there is no port 0x{max(first, last):x}")
    if last < first:
        raise invalid_argument(1, f"the last port 0x{last:x} is before the first, 0x{first:x}")
    given_out = any(core.ram.word(address) & mask for address, mask in _bitmap_words(core, first, last))
    slot_arguments.ensure_not_given_out(given_out, f"a port in 0x{first:x}..0x{last:x}", "IOPortControl")
    destination = slot_arguments.lookup_destination(call, index, depth)
    return Issue(first, last, call.slot, destination)


def decode_port(call: Call) -> Invocation:
    label, words = call.label, call.words
    width = _READ_WIDTH.get(label)
    if width is not None:
        if not words:
            raise truncated_message("reading takes the port")
        ensure_in_range(call.slot, words[0], width)
        return In(words[0], width)
    width = _WRITE_WIDTH.get(label)
    if width is None:
        raise illegal_operation(f"a port range has no method with label {label}")
    if len(words) < 2:
        raise truncated_message("writing takes the port and the data")
    ensure_in_range(call.slot, words[0], width)
    return Out(words[0], width, words[1] & (1 << 8 * width) - 1)


def ensure_in_range(slot: Slot, port: int, width: int) -> None:
    """Raise ILLEGAL_OPERATION unless the capability covers all ``width`` ports from ``port`` on."""
    cap = caps.read(slot)
    if port < cap.first_port or port + width - 1 > cap.last_port:
        raise illegal_operation(
            f"{width} bytes at port 0x{port:x} are outside of the capability's range"
            f" 0x{cap.first_port:x}..0x{cap.last_port:x}"
        )


def release(core: Core, first: int, last: int) -> None:
    """The last capability to a range is gone: its ports can be given out again."""
    for address, mask in _bitmap_words(core, first, last):
        core.ram.set_word(address, core.ram.word(address) & ~mask)


def _bitmap_words(core: Core, first: int, last: int) -> Iterator[tuple[int, int]]:
    """(address, mask) of the bitmap words that hold ports ``first`` to ``last``."""
    base = core.kernel.address + core.kernel.IO_PORT_BITMAP
    for number in range(first // WORD_BITS, last // WORD_BITS + 1):
        low = max(first - number * WORD_BITS, 0)
        high = min(last - number * WORD_BITS, WORD_BITS - 1)
        yield base + number * 8, WORD_MASK >> (WORD_BITS - 1 - high + low) << low
