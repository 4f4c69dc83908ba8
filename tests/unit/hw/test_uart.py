"""The 16550A's registers, queues and interrupts, as its driver sees them."""

from __future__ import annotations

import pytest

from hw.devices import uart as chip
from hw.devices.serial_line import MemoryBackend, SerialLine
from hw.devices.uart import Uart
from hw.interrupts import Trigger
from hw.machine import Machine
from tests.unit.hw.conftest import UART_PORT, MachineMaker, Ports

IRQ = 1 << 4


@pytest.fixture
def uart(machine: Machine) -> Uart:
    device = machine.bus.devices[0]
    assert isinstance(device, Uart)
    return device


@pytest.fixture
def line(machine: Machine, uart: Uart) -> SerialLine:
    return SerialLine(machine.bus, uart, lambda: None)


def enable_fifos(ports: Ports) -> None:
    ports.write(chip.FCR, chip.FCR_ENABLE | chip.FCR_64_BYTES)


def test_power_on_values(uart_ports: Ports) -> None:
    assert uart_ports.read(chip.LSR) == chip.LSR_THR_EMPTY | chip.LSR_TRANSMITTER_EMPTY
    assert uart_ports.read(chip.IIR) == chip.IIR_NONE
    assert uart_ports.read(chip.MSR) == chip.MSR_DCD | chip.MSR_DSR | chip.MSR_CTS


def test_bytes_are_received_in_order_and_the_line_drops_with_the_last(
    machine: Machine, uart_ports: Ports, line: SerialLine
) -> None:
    enable_fifos(uart_ports)
    uart_ports.write(chip.IER, chip.IER_RECEIVED)
    line.receive(b"abc")
    assert machine.bus.lines.high == IRQ
    assert uart_ports.read(chip.IIR) & 0x0F == chip.IIR_RECEIVED
    assert bytes(uart_ports.read(chip.RBR) for _ in range(3)) == b"abc"
    assert machine.bus.lines.high == 0
    assert not uart_ports.read(chip.LSR) & chip.LSR_DATA_READY


def test_below_the_trigger_level_the_source_is_a_time_out(uart_ports: Ports, line: SerialLine) -> None:
    uart_ports.write(chip.FCR, chip.FCR_ENABLE | chip.FCR_64_BYTES | 0x40)
    uart_ports.write(chip.IER, chip.IER_RECEIVED)
    line.receive(b"x" * 15)
    assert uart_ports.read(chip.IIR) & 0x0F == chip.IIR_TIMEOUT
    line.receive(b"x")
    assert uart_ports.read(chip.IIR) & 0x0F == chip.IIR_RECEIVED


@pytest.mark.parametrize(
    ("fcr", "capacity"), [(0, 1), (chip.FCR_ENABLE, 16), (chip.FCR_ENABLE | chip.FCR_64_BYTES, 64)]
)
def test_what_does_not_fit_is_lost_and_told_as_an_overrun(
    uart_ports: Ports, line: SerialLine, fcr: int, capacity: int
) -> None:
    uart_ports.write(chip.FCR, fcr)
    assert line.room() == 0
    uart_ports.write(chip.MCR, chip.MCR_RTS)
    assert line.room() == capacity
    line.receive(bytes(range(capacity + 1)))
    assert line.room() == 0
    assert uart_ports.read(chip.LSR) & chip.LSR_OVERRUN
    assert not uart_ports.read(chip.LSR) & chip.LSR_OVERRUN
    assert bytes(uart_ports.read(chip.RBR) for _ in range(capacity)) == bytes(range(capacity))


def test_sent_bytes_raise_thr_empty_once(machine: Machine, uart_ports: Ports, line: SerialLine) -> None:
    enable_fifos(uart_ports)
    uart_ports.write(chip.IER, chip.IER_THR_EMPTY)
    assert uart_ports.read(chip.IIR) & 0x0F == chip.IIR_THR_EMPTY
    assert machine.bus.lines.high == 0
    for byte in b"hello":
        uart_ports.write(chip.THR, byte)
    assert not uart_ports.read(chip.LSR) & chip.LSR_THR_EMPTY
    assert line.sending() == b"hello"
    line.sent(2)
    assert line.sending() == b"llo"
    assert machine.bus.lines.high == 0
    line.sent(3)
    assert machine.bus.lines.high == IRQ
    assert uart_ports.read(chip.IIR) & 0x0F == chip.IIR_THR_EMPTY
    assert uart_ports.read(chip.IIR) & 0x0F == chip.IIR_NONE


def test_the_host_is_kicked_by_the_first_byte_and_by_the_emptied_receiver(
    machine: Machine, uart_ports: Ports, line: SerialLine
) -> None:
    kicks: list[int] = []
    machine.bus.set_kick(kicks.append)
    uart_ports.write(chip.FCR, chip.FCR_ENABLE)
    uart_ports.write(chip.MCR, chip.MCR_RTS)
    assert kicks == [0, 0]
    kicks.clear()
    uart_ports.write(chip.THR, 1)
    uart_ports.write(chip.THR, 2)
    assert kicks == [0]
    line.receive(b"ab")
    uart_ports.read(chip.RBR)
    assert kicks == [0]
    uart_ports.read(chip.RBR)
    assert kicks == [0, 0]


def test_the_end_of_input_drops_the_carrier(machine: Machine, uart_ports: Ports, line: SerialLine) -> None:
    uart_ports.write(chip.IER, chip.IER_MODEM)
    line.carrier(False)
    assert machine.bus.lines.high == IRQ
    assert uart_ports.read(chip.IIR) == chip.IIR_MODEM
    status = uart_ports.read(chip.MSR)
    assert status & chip.MSR_DELTA_DCD
    assert not status & chip.MSR_DCD
    assert machine.bus.lines.high == 0


def test_divisor_latch_and_scratch(uart_ports: Ports) -> None:
    uart_ports.write(chip.LCR, chip.LCR_DLAB | 3)
    uart_ports.write(0, 0x34)
    uart_ports.write(1, 0x12)
    assert (uart_ports.read(0), uart_ports.read(1)) == (0x34, 0x12)
    uart_ports.write(chip.LCR, 3)
    assert uart_ports.read(chip.IER) == 0
    uart_ports.write(chip.SCR, 0xA5)
    assert uart_ports.read(chip.SCR) == 0xA5


def test_loop_back_joins_outputs_to_inputs(uart_ports: Ports, line: SerialLine) -> None:
    enable_fifos(uart_ports)
    uart_ports.write(chip.MCR, chip.MCR_LOOP | chip.MCR_RTS | chip.MCR_OUT2)
    assert uart_ports.read(chip.MSR) & 0xF0 == chip.MSR_CTS | chip.MSR_DCD
    uart_ports.write(chip.THR, 0x55)
    assert uart_ports.read(chip.RBR) == 0x55
    assert line.sending() == b""
    assert line.room() == 0


def test_a_wide_access_is_made_byte_by_byte(uart_ports: Ports) -> None:
    uart_ports.write(chip.SCR, 0x77)
    assert uart_ports.read(chip.MSR, 2) >> 8 == 0x77
    assert uart_ports.read(chip.SCR, 4) == 0xFFFFFF77


def test_a_rolled_back_access_leaves_no_trace(machine: Machine, uart: Uart, line: SerialLine) -> None:
    line.receive(b"a")
    before = machine.ram.read(uart.address, 4096)
    machine.ram.begin()
    assert machine.bus.read(UART_PORT, 1) == ord("a")
    assert machine.ram.recover() > 0
    assert machine.ram.read(uart.address, 4096) == before


def test_the_state_is_in_ram_alone(make_machine: MachineMaker) -> None:
    window = bytearray(make_machine().ram.read(0, 0x10000))
    first = make_machine(window=window)
    device = first.bus.devices[0]
    assert isinstance(device, Uart)
    Ports(first, UART_PORT).write(chip.IER, chip.IER_RECEIVED)
    SerialLine(first.bus, device, lambda: None).receive(b"q")
    second = make_machine(window=window)
    assert second.bus.lines.high == IRQ
    assert Ports(second, UART_PORT).read(chip.RBR) == ord("q")


def test_an_edge_is_kept_until_it_is_taken(make_machine: MachineMaker) -> None:
    machine = make_machine(trigger=Trigger.EDGE)
    ports = Ports(machine, UART_PORT)
    device = machine.bus.devices[0]
    assert isinstance(device, Uart)
    line = SerialLine(machine.bus, device, lambda: None)
    ports.write(chip.IER, chip.IER_RECEIVED)
    line.receive(b"x")
    ports.read(chip.RBR)
    assert machine.bus.lines.high == IRQ
    machine.bus.taken(4)
    assert machine.bus.lines.high == 0
    line.receive(b"y")
    assert machine.bus.lines.high == IRQ


def test_lines_are_delivered_where_they_may_interrupt(machine: Machine, uart_ports: Ports, line: SerialLine) -> None:
    uart_ports.write(chip.IER, chip.IER_RECEIVED)
    line.receive(b"x")
    assert list(machine.bus.pending_lines(lambda irq: False)) == []
    assert list(machine.bus.pending_lines(lambda irq: True)) == [4]


def test_the_memory_back_end_feeds_no_more_than_fits(uart_ports: Ports, line: SerialLine) -> None:
    uart_ports.write(chip.MCR, chip.MCR_RTS)
    backend = MemoryBackend(line)
    text = bytes(range(200))
    backend.feed(text)
    received = bytearray()
    while uart_ports.read(chip.LSR) & chip.LSR_DATA_READY:
        received.append(uart_ports.read(chip.RBR))
        backend.kicked()
    assert received == text
    for byte in b"out":
        uart_ports.write(chip.THR, byte)
        backend.kicked()
    assert backend.output == b"out"
