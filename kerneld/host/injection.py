"""Faults that a person orders, to see what the rest does about them: the management socket's operation `inject`.

A fault does to a task or a device what could happen to it by itself, and nothing to the kernel's records. Whoever can
open the management socket can end every task anyway (docs/architecture.md, section 8), so this adds no authority.
Which bit, which frame: the request says so by numbers, so that the same order does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from hw.devices.device import Device
from hw.devices.disk import Disk
from hw.devices.net_frames import NetFrames
from kerneld import mapping_table
from kerneld.fault_kinds import Fault
from kerneld.host.operations import Refused
from kerneld.records import Slot, VSpace
from libsel4py import abi

if TYPE_CHECKING:
    from kerneld.host.process import Process, Thread
    from kerneld.host.system import System

MOST_MS: Final = 60_000
MOST_COUNT: Final = 1_000_000
SLOW_STEP_S: Final = 0.002  # a slowed task runs and stands still in turns of so many seconds
BITS: Final = 64  # of a word

Request = Mapping[str, object]


def inject(system: System, request: Request) -> object:
    """Do one fault: `fault` says which, the other fields depend on it. Returns what was done, as plain values."""
    kind = request.get("fault")
    if not isinstance(kind, str) or kind not in _FAULTS:
        raise Refused(f"inject takes 'fault', one of {', '.join(_FAULTS)}; not {kind!r}")
    return _FAULTS[kind](system, request)


# --- tasks


def _hang(system: System, request: Request) -> object:
    """A task does nothing for `ms`, whatever it is asked; then it goes on, if nobody has ended it."""
    process = _process(system, request)
    seconds = _number(request, "ms", 1, MOST_MS) / 1000
    process.hold_still(True)
    system.loop.call_later(seconds, process.hold_still, False)
    return {"pid": process.pid}


def _slow(system: System, request: Request) -> object:
    """A task gets half of the time for `ms`."""
    process = _process(system, request)
    steps = max(1, round(_number(request, "ms", 1, MOST_MS) / 1000 / SLOW_STEP_S / 2))
    _slow_step(system, process, steps, still=True)
    return {"pid": process.pid}


def _slow_step(system: System, process: Process, steps: int, still: bool) -> None:
    process.hold_still(still)
    if still:
        system.loop.call_later(SLOW_STEP_S, partial(_slow_step, system, process, steps, False))
    elif steps > 1 and not process.is_gone:
        system.loop.call_later(SLOW_STEP_S, partial(_slow_step, system, process, steps - 1, True))


def _corrupt_message(system: System, request: Request) -> object:
    """A bit of a thread's message area changes, `bit` counted from its first word on."""
    thread = _thread(system, request)
    words = abi.MESSAGE_MAX_LENGTH - abi.MESSAGE_REGISTERS
    bit = _number(request, "bit") % (words * BITS)
    address = thread.frame + abi.IPC_MESSAGE + abi.MESSAGE_REGISTERS * abi.WORD_BYTES + bit // 8
    _flip(system, address, bit % 8)
    return {"address": f"0x{address:x}", "bit": bit % 8}


def _bitflip(system: System, request: Request) -> object:
    """A bit of a frame changes that the task has mapped; none of its trap frames. `place` and `bit` choose."""
    process = _process(system, request)
    trap_frames = {thread.frame for thread in process.threads}
    found = [each for each in _frames(system, process) if each[0] not in trap_frames]
    if not found:
        raise Refused(f"{process.name} has no frame mapped")
    frame, size = found[_number(request, "place") % len(found)]
    bit = _number(request, "bit") % (size * 8)
    _flip(system, frame + bit // 8, bit % 8)
    return {"address": f"0x{frame + bit // 8:x}", "bit": bit % 8}


def _frames(system: System, process: Process) -> Iterator[tuple[int, int]]:
    """Physical address and bytes of the memory that the process has mapped, by the address of the mapping."""
    for mapping in mapping_table.walk(VSpace(system.ram, process.vspace)):
        if not mapping.is_registers:
            yield Slot(system.ram, mapping.slot).object, 1 << mapping.size_bits


def _flip(system: System, address: int, bit: int) -> None:
    (byte,) = system.ram.read(address, 1)
    system.ram.poke(address, bytes((byte ^ 1 << bit,)))


# --- devices


def _drop_irq(system: System, request: Request) -> object:
    """The next `count` interrupts of a device do not come."""
    device = _device(system, request)
    count = _number(request, "count", 1, MOST_COUNT)
    _ensure_met(request, system.machine.bus.losing(device.irq))
    system.machine.bus.lose_interrupts(device.irq, count)
    return {"irq": device.irq}


def _disk_error(system: System, request: Request) -> object:
    """The next `count` requests to a disk end with an error of the medium."""
    back_end = system.back_end(_device(system, request).number)
    if not isinstance(back_end, Disk):
        raise Refused(f"{request.get('device')} is no disk")
    count = _number(request, "count", 1, MOST_COUNT)
    _ensure_met(request, back_end.failing)
    back_end.fail_next(count)
    return {}


def _net_loss(system: System, request: Request) -> object:
    """The next `count` frames of a network interface, of both directions together, are lost."""
    back_end = system.back_end(_device(system, request).number)
    if not isinstance(back_end, NetFrames):
        raise Refused(f"{request.get('device')} is no network interface")
    count = _number(request, "count", 1, MOST_COUNT)
    _ensure_met(request, back_end.losing)
    back_end.lose_next(count)
    return {}


_FAULTS: Final[dict[str, Callable[[System, Request], object]]] = {
    Fault.HANG.value: _hang,
    Fault.SLOW.value: _slow,
    Fault.CORRUPT_MESSAGE.value: _corrupt_message,
    Fault.BITFLIP.value: _bitflip,
    Fault.DROP_IRQ.value: _drop_irq,
    Fault.DISK_ERROR.value: _disk_error,
    Fault.NET_LOSS.value: _net_loss,
}


# --- what a request names


def _process(system: System, request: Request) -> Process:
    return _thread(system, request).process


def _thread(system: System, request: Request) -> Thread:
    name = request.get("task")
    running = set()
    for process in system.processes:
        living = [thread for thread in process.threads if not thread.orphan]
        if not process.pid or not living:
            continue
        if process.name == name:
            return living[0]
        running.add(process.name)
    names = ", ".join(sorted(running)) or "none"
    raise Refused(f"no task that runs is called {name!r}; there are {names}")


def _device(system: System, request: Request) -> Device:
    name = request.get("device")
    names = [description.name for description in system.options.machine.devices]
    if name not in names:
        raise Refused(f"no device is called {name!r}; there are {', '.join(names)}")
    return system.machine.bus.devices[names.index(str(name))]


def _ensure_met(request: Request, left: int) -> None:
    """An order is taken when the last one of its kind has taken effect: so what was injected did happen."""
    if left:
        raise Refused(f"{request.get('device')} has yet to meet {left} of the last {request.get('fault')}")


def _number(request: Request, key: str, low: int = 0, high: int = (1 << 63) - 1) -> int:
    value = request.get(key)
    if type(value) is not int or not low <= value <= high:
        raise Refused(f"inject takes {key!r}, a whole number from {low} to {high}; not {value!r}")
    return value
