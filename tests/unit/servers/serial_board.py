"""The serial driver on the machine's real UART, without a kernel: port accesses are transactions on its registers.

`Board.before_access` runs before each access of the driver's: whatever the other end does, it can do there. Interrupts
are delivered as the kernel does it: the line is masked until it is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final, ParamSpec, TypeVar

from hw.devices.serial_line import SerialLine
from hw.devices.uart import Uart
from hw.machine import DeviceDescription, DeviceKind, Machine, MachineDescription, RamLayout
from libsel4py import Endpoint, runtime
from libsel4py.abi import Error, Label
from libsel4py.environment import Device, Environment
from libsel4py.interfaces.serial import Serial
from libsel4py.keeper import Keeper
from libsel4py.testing import Events, TestSystem, connect, in_background, send_signal, system
from libsel4py.testing.fake_objects import FakeCap, FakeEndpoint, FakeObject, FakeObjects, Outcome, Request
from servers.serial.main import Main
from tests.unit.sdk.cut_memory import CutMemory

PORT: Final = 0x3F8
IRQ: Final = 4
RAM_BYTES: Final = 0x10000
LAYOUT: Final = RamLayout(0x1000, 0x2000, 0x4000, 0x1000, 4)
MOST_INTERRUPTS: Final = 2000  # between two things that the test does; more is a storm

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Wire:
    """The UART's other end. It honours RTS, and takes what is sent unless it is told to wait."""

    def __init__(self, line: SerialLine) -> None:
        self.line = line
        self.sent = bytearray()
        self.waits = False
        self._input = bytearray()
        self._ends = False

    def feed(self, data: bytes) -> None:
        self._input += data
        self.move()

    def end(self) -> None:
        """The carrier goes, behind the last byte."""
        self._ends = True
        self.move()

    def take(self, count: int) -> None:
        """Take some of the bytes that wait to be sent."""
        data = self.line.sending()[:count]
        self.sent += data
        self.line.sent(len(data))

    def move(self) -> None:
        while not self.waits and self.line.sending():
            self.take(64)
        while self._input and (room := self.line.room()):
            chunk = bytes(self._input[:room])
            del self._input[:room]
            self.line.receive(chunk)
        if self._ends and not self._input:
            self._ends = False
            self.line.carrier(False)


class PortObjects(FakeObjects):
    """Kernel objects, with port and interrupt capabilities that reach a device."""

    def __init__(self, board: Board, former: FakeObjects) -> None:
        super().__init__()
        self.caps = former.caps
        self._board = board

    def invoke(self, cap: FakeCap | None, request: Request) -> Outcome:
        match request.label:
            case Label.IO_PORT_IN8:
                return Error.NO_ERROR, (self._board.access(request.words[0], None),)
            case Label.IO_PORT_OUT8:
                self._board.access(request.words[0], request.words[1])
                return Error.NO_ERROR, ()
            case Label.IRQ_HANDLER_ACK:
                self._board.masked = False
                return Error.NO_ERROR, ()
        return super().invoke(cap, request)


class Board:
    """A machine with one UART. `uart` is the device, `wire` its other end."""

    def __init__(self, made: TestSystem) -> None:
        self.machine = Machine(
            MachineDescription(RAM_BYTES, (DeviceDescription("uart", DeviceKind.UART, PORT, IRQ),)),
            bytearray(RAM_BYTES),
            LAYOUT,
        )
        self.machine.power_on()
        device = self.machine.bus.devices[0]
        assert isinstance(device, Uart)
        self.uart = device
        self.wire = Wire(SerialLine(self.machine.bus, device, lambda: None))
        self.masked = False
        self.accesses = 0
        self.before_access: Callable[[int], None] = lambda number: None
        self.made = made
        made.kernel.objects = PortObjects(self, made.kernel.objects)
        self._device = Device(
            irq_handler=made.new(FakeObject("IRQHandler")),
            signal=1,
            io_port=made.new(FakeObject("IOPort")),
            first_port=PORT,
            last_port=PORT + 7,
        )
        self._waits = Events[int]()
        self._watch_waits()

    def access(self, port: int, value: int | None) -> int:
        self.before_access(self.accesses)
        self.accesses += 1
        found = 0
        with self.machine.ram.transaction():
            if value is None:
                found = self.machine.bus.read(port, 1)
            else:
                self.machine.bus.write(port, 1, value)
        self.wire.move()
        return found

    def settle(self) -> None:
        """Let the driver serve interrupts until there is none."""
        for _ in range(MOST_INTERRUPTS):
            if self.masked or not self.machine.bus.lines.high & 1 << IRQ:
                return
            self.masked = True
            send_signal("uart")
        raise AssertionError("the line interrupts again and again: nothing is done about its cause")

    def feed(self, data: bytes) -> None:
        self.wire.feed(data)
        self.settle()

    @contextmanager
    def driver(self, memory: CutMemory | None = None) -> Iterator[tuple[Main, Serial]]:
        """A driver that has started, and a client of it. ``memory``: its state, from former lives."""
        task = self.made.task(Environment("serial", devices={"uart": self._device}))
        task.keeper = Keeper() if memory is None else Keeper.open(memory)
        driver = runtime.make(Main, task)
        with connect(driver) as client:
            self._driver = driver
            yield driver, client

    def client(self, of: Serial, badge: int) -> Serial:
        """Another client of the same driver."""
        endpoint = self.made.kernel.objects.caps[of._endpoint.cptr].object
        assert isinstance(endpoint, FakeEndpoint)
        slot = self.made.slots.allocate()
        self.made.kernel.objects.caps[slot] = FakeCap(endpoint, badge)
        if badge not in self._driver.server.connections:
            self._driver.server.add_client(badge, f"#{badge}", Serial)
        return Serial(Endpoint(slot))

    def calling(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Result]:
        """A call in the background, when the driver has taken it and the client waits for the answer."""
        number = len(self._waits.all)
        future = in_background(function, *args, **kwargs)
        self._waits.wait_for(lambda wait: wait == number)
        return future

    def _watch_waits(self) -> None:
        wait = self.made.kernel._wait

        def watched(condition: Callable[[], bool], timeout_ns: int, what: str) -> bool:
            self._waits.add(len(self._waits.all))
            return wait(condition, timeout_ns, what)

        self.made.kernel._wait = watched  # type: ignore[method-assign]  # tells when a client has begun to wait


@contextmanager
def board() -> Iterator[Board]:
    with system() as made:
        yield Board(made)
