"""Doorbells, latches and low lines by the fast path: what it takes on. The harness carries each out by the slow path as
well."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from hw.devices.block import Block
from hw.devices.bus import IoBus
from hw.devices.virtio_registers import Register, Status
from hw.interrupts import Trigger
from hw.iommu import Iommu
from kerneld import interrupts, layout
from kerneld.outbox import Message, Tell
from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, Syscall
from tests.harness import Machine, TwinKernel, take_fast_after_each_store

PORT, OTHER, NUMBER = 0x1000, 0x1200, 1
BELL = PORT + Register.QUEUE_NOTIFY
LIVE = Status.ACKNOWLEDGE | Status.DRIVER | Status.FEATURES_OK | Status.DRIVER_OK


@pytest.fixture(params=[Trigger.LEVEL, Trigger.EDGE])
def machine(request: pytest.FixtureRequest) -> Machine:
    """With two disks, of which the second one's driver lets it work."""
    made = Machine()
    iommu = Iommu(made.ram)
    devices = [
        Block(made.ram, layout.DEVICE_RECORDS + number * layout.DEVICE_RECORD_BYTES, number, port, 5 + number,
              iommu.port(number), 64, trigger=request.param)
        for number, port in enumerate((OTHER, PORT))
    ]  # fmt: skip
    bus = IoBus(made.ram, devices)
    bus.set_kick(lambda number: made.kernel.outbox.tell(Tell.DEVICE, number))
    made.ports = bus
    made.kernel = made.new_kernel(TwinKernel)
    set_status(made, LIVE)
    return made


def set_status(machine: Machine, status: int) -> None:
    bus = machine.ports
    assert isinstance(bus, IoBus)
    device = bus.devices[NUMBER]
    assert isinstance(device, Block)
    with machine.ram.transaction():
        device.state.status = status


def issue(machine: Machine, first: int, last: int) -> int:
    place = machine.new_slots()
    words = (first, last, place, abi.WORD_BITS)
    machine.root.call(InitialSlot.IO_PORT_CONTROL, Label.IO_PORT_CONTROL_ISSUE, words, [InitialSlot.CNODE])
    return place


def written(
    machine: Machine, cptr: int, words: Sequence[int], label: Label = Label.IO_PORT_OUT32
) -> tuple[Error, int, list[Message]]:
    """The answer, how many system calls of it the fast path has carried out, and what devices were told."""
    before = TwinKernel.fast_takes
    machine.tells.clear()
    error, _ = machine.root.invoke(cptr, label, words)
    told = [message for message in machine.tells if message.kind is Tell.DEVICE]
    return Error(error), TwinKernel.fast_takes - before, told


def test_a_live_devices_doorbell_is_fast(machine: Machine) -> None:
    cptr = issue(machine, PORT, PORT + 0x1FF)
    told = [Message(Tell.DEVICE, NUMBER)]
    assert written(machine, cptr, (BELL, 0)) == (Error.NO_ERROR, 1, told)
    assert written(machine, cptr, (BELL, 1 << 32, 7)) == (Error.NO_ERROR, 1, told)  # 32 bits of it count


def test_what_rings_nothing_is_slow(machine: Machine) -> None:
    cptr = issue(machine, OTHER - 0x200, OTHER + 0x1FF)
    assert written(machine, cptr, (BELL, 1)) == (Error.NO_ERROR, 0, [])  # there is one queue
    assert written(machine, cptr, (OTHER + Register.QUEUE_NOTIFY, 0)) == (Error.NO_ERROR, 0, [])
    assert written(machine, cptr, (PORT + Register.INTERRUPT_STATUS, 0)) == (Error.NO_ERROR, 0, [])
    for label in (Label.IO_PORT_OUT8, Label.IO_PORT_OUT16, Label.IO_PORT_IN32):
        assert written(machine, cptr, (BELL, 0), label) == (Error.NO_ERROR, 0, [])
    for status in (0, LIVE & ~Status.DRIVER_OK, LIVE | Status.NEEDS_RESET):
        set_status(machine, status)
        assert written(machine, cptr, (BELL, 0)) == (Error.NO_ERROR, 0, [])


@pytest.mark.parametrize(("first", "last"), [(BELL + 1, BELL + 8), (BELL - 8, BELL + 2), (0x60, 0x64)])
def test_a_capability_that_does_not_reach_it_is_refused(machine: Machine, first: int, last: int) -> None:
    assert written(machine, issue(machine, first, last), (BELL, 0)) == (Error.ILLEGAL_OPERATION, 0, [])


def test_its_own_four_ports_are_enough(machine: Machine) -> None:
    cptr = issue(machine, BELL, BELL + 3)
    assert written(machine, cptr, (BELL, 0)) == (Error.NO_ERROR, 1, [Message(Tell.DEVICE, NUMBER)])
    assert written(machine, cptr, (BELL,)) == (Error.TRUNCATED_MESSAGE, 0, [])
    assert written(machine, cptr, (BELL + (1 << 32), 0)) == (Error.ILLEGAL_OPERATION, 0, [])


def test_every_store_can_be_interrupted(machine: Machine) -> None:
    cptr = issue(machine, PORT, PORT + 0x1FF)
    machine.tells.clear()
    machine.root.submit(Syscall.CALL, cptr, abi.message_info(Label.IO_PORT_OUT32, 2), (BELL, 0))
    assert take_fast_after_each_store(machine, machine.root.tcb) > 10
    assert Message(Tell.DEVICE, NUMBER) in machine.tells


IRQ = 6
READ, CLEAR = PORT + Register.INTERRUPT_STATUS, PORT + Register.INTERRUPT_ACK


def raise_interrupt(machine: Machine, bits: int) -> None:
    bus = machine.ports
    assert isinstance(bus, IoBus)
    device = bus.devices[NUMBER]
    assert isinstance(device, Block)

    def change() -> None:
        device.state.interrupt = bits

    bus.change(device, change)


def is_level(machine: Machine) -> bool:
    assert isinstance(machine.ports, IoBus)
    return machine.ports.devices[NUMBER].trigger is Trigger.LEVEL


def handler(machine: Machine) -> int:
    place = machine.new_slots()
    words = (IRQ, place, abi.WORD_BITS)
    machine.root.call(InitialSlot.IRQ_CONTROL, Label.IRQ_CONTROL_GET, words, [InitialSlot.CNODE])
    return place


def test_what_takes_an_interrupt_is_fast(machine: Machine) -> None:
    """Where the line is a level: an edge is kept until somebody samples the device."""
    fast = int(is_level(machine))
    cptr, irq = issue(machine, PORT, PORT + 0x1FF), handler(machine)
    for bits in (1, 2, 3):
        raise_interrupt(machine, bits)
        before = TwinKernel.fast_takes
        assert machine.root.call(cptr, Label.IO_PORT_IN32, (READ,)) == (bits,)
        assert TwinKernel.fast_takes - before == fast
        assert written(machine, irq, (), Label.IRQ_HANDLER_ACK)[1] == 0  # it is high still
        assert written(machine, cptr, (CLEAR, 1 << 32 | 1)) == (Error.NO_ERROR, fast, [])
        assert machine.root.call(cptr, Label.IO_PORT_IN32, (READ,)) == (bits & ~1,)
        assert written(machine, cptr, (CLEAR, 2)) == (Error.NO_ERROR, fast, [])
        assert written(machine, irq, (), Label.IRQ_HANDLER_ACK) == (Error.NO_ERROR, fast, [])


def test_a_latch_that_was_cleared_interrupts_no_more(machine: Machine) -> None:
    bus = machine.ports
    assert isinstance(bus, IoBus)
    cptr = issue(machine, PORT, PORT + 0x1FF)
    raise_interrupt(machine, 1)
    assert list(bus.pending_lines(lambda line: True)) == [IRQ]
    machine.root.call(cptr, Label.IO_PORT_OUT32, (CLEAR, 1))
    assert list(bus.pending_lines(lambda line: True)) == ([] if is_level(machine) else [IRQ])  # that edge was there


def test_a_shared_line_has_no_latch(machine: Machine) -> None:
    iommu = Iommu(machine.ram)
    disks = [
        Block(machine.ram, layout.DEVICE_RECORDS, number, port, IRQ, iommu.port(number), 64)
        for number, port in enumerate((OTHER, PORT))
    ]
    assert IoBus(machine.ram, disks).latches == []
    assert [latch.read for latch in IoBus(machine.ram, disks[:1]).latches] == [OTHER + Register.INTERRUPT_STATUS]


@pytest.mark.parametrize(("first", "last"), [(READ + 1, READ + 8), (READ - 8, READ + 2)])
def test_a_latch_out_of_reach_is_refused(machine: Machine, first: int, last: int) -> None:
    cptr = issue(machine, first, last)
    assert written(machine, cptr, (READ,), Label.IO_PORT_IN32)[:2] == (Error.ILLEGAL_OPERATION, 0)


def test_a_look_at_a_latch_says_where(machine: Machine) -> None:
    cptr = issue(machine, READ, READ + 3)
    assert written(machine, cptr, (), Label.IO_PORT_IN32) == (Error.TRUNCATED_MESSAGE, 0, [])
    assert written(machine, cptr, (READ,), Label.IO_PORT_IN32) == (Error.NO_ERROR, int(is_level(machine)), [])


def test_an_interrupt_that_waits_is_slow(machine: Machine) -> None:
    irq = handler(machine)
    with machine.ram.transaction():
        interrupts.raise_line(machine.kernel.core, IRQ)  # it signals nothing yet, so that it is kept
    assert written(machine, irq, (), Label.IRQ_HANDLER_ACK) == (Error.NO_ERROR, 0, [])


@pytest.mark.parametrize("which", ["read", "clear", "ack"])
def test_every_store_of_a_latch_can_be_interrupted(machine: Machine, which: str) -> None:
    if not is_level(machine):
        return
    cptr, irq = issue(machine, PORT, PORT + 0x1FF), handler(machine)
    if which != "ack":
        raise_interrupt(machine, 3)
    label, words = {
        "read": (Label.IO_PORT_IN32, (READ,)),
        "clear": (Label.IO_PORT_OUT32, (CLEAR, 1)),
        "ack": (Label.IRQ_HANDLER_ACK, ()),
    }[which]
    info = abi.message_info(label, len(words))
    machine.root.submit(Syscall.CALL, irq if which == "ack" else cptr, info, words)
    assert take_fast_after_each_store(machine, machine.root.tcb) > 5
