"""The disk's driver on the machine's virtio block device, without a kernel: registers are real, and DMA goes by a fake
IOSpace to the frames of the fake kernel.

The device works inside the driver's notify, or when the test says so (`Board.holds`). `Board.garbage` runs when it has
taken requests: there a device does what it likes, and says whether that was all. Interrupts are delivered as the kernel
does it: the line is masked until it is acknowledged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final, ParamSpec, TypeVar

from hw.devices.block import ENDED, STEP, Kind, Outcome, Request
from hw.devices.block import Block as Device
from hw.devices.bus import IoBus
from hw.devices.virtqueue import Chain
from hw.iommu import Buffer, DmaFault, DmaPort, FaultKind, Iommu, Segment
from hw.ram import Ram
from libsel4py import Endpoint, runtime
from libsel4py.abi import Error, Label, VMFault
from libsel4py.environment import Device as Given
from libsel4py.environment import Environment, Value
from libsel4py.interfaces.block import Block
from libsel4py.testing import Events, TestSystem, connect, in_background, send_signal, system
from libsel4py.testing.fake_memory import FakeIoSpace
from libsel4py.testing.fake_objects import FakeCap, FakeEndpoint, FakeObject, FakeObjects
from libsel4py.testing.fake_objects import Outcome as Answer
from libsel4py.testing.fake_objects import Request as Message
from servers.block.main import Main

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

PORT, IRQ = 0x1000, 5
LOG, LOG_BYTES, RECORD, RAM_BYTES = 0x1000, 0x4000, 0x6000, 0x8000
SECTORS: Final = 1000
MOST_INTERRUPTS: Final = 1000  # between two things that the test does; more is a storm
_WIDTHS: Final = {
    Label.IO_PORT_IN8: 1,
    Label.IO_PORT_IN32: 4,
    Label.IO_PORT_OUT8: 1,
    Label.IO_PORT_OUT32: 4,
}


class FrameDma(DmaPort):
    """DMA to the fake kernel's frames, by the IOSpace in the driver's slot."""

    def __init__(self, former: DmaPort, space: FakeIoSpace) -> None:
        super().__init__(former._iommu, 0, former.counts)
        self._space = space

    def gather(self, segments: Iterable[Segment]) -> bytes:
        with _faults():
            return b"".join([self._space.read(*segment) for segment in segments])

    def scatter(self, segments: Iterable[Segment], data: Buffer) -> int:
        segments = list(segments)
        view = memoryview(data).cast("B")
        at = 0
        with _faults():
            for address, size in segments:
                self._space.write(address, self._space.read(address, size))  # all are checked
            for address, size in segments:
                self._space.write(address, view[at : at + size])
                at += min(size, len(view) - at)
        return at

    def ensure(self, address: int, size: int, *, write: bool) -> None:
        with _faults():
            found = self._space.read(address, size)
            if write:
                self._space.write(address, found)

    def _load(self, address: int, size: int) -> int:
        return int.from_bytes(self.read(address, size), "little")

    def _store(self, address: int, size: int, value: int) -> None:
        self.write(address, value.to_bytes(size, "little"))


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except VMFault as error:
        raise DmaFault(0, 0, FaultKind.NOT_MAPPED) from error


class PortObjects(FakeObjects):
    """Kernel objects, with port and interrupt capabilities that reach the device."""

    def __init__(self, board: Board, former: FakeObjects) -> None:
        super().__init__()
        self.caps, self.space = former.caps, former.space
        self._board = board

    def invoke(self, cap: FakeCap | None, request: Message) -> Answer:
        match request.label:
            case Label.IO_PORT_IN8 | Label.IO_PORT_IN32:
                return Error.NO_ERROR, (self._board.access(request.words[0], _WIDTHS[Label(request.label)], None),)
            case Label.IO_PORT_OUT8 | Label.IO_PORT_OUT32:
                self._board.access(request.words[0], _WIDTHS[Label(request.label)], request.words[1])
                return Error.NO_ERROR, ()
            case Label.IRQ_HANDLER_ACK:
                self._board.masked = False
                return Error.NO_ERROR, ()
        return super().invoke(cap, request)


class Board:
    """A machine with one disk.

    Attributes:
        contents: what the disk holds. done: what the device has done, (kind, sector, bytes) each.
        holds: the device takes requests and keeps them until `work`. fails: each ends with an error. failing: of each
            entry the next request of that kind at that sector ends so, and does nothing; so does a step of a commit.
        skipping: so many of those steps end well before. claims: how many steps it says have ended, whatever has.
        main: the driver that was started last.
    """

    main: Main

    def __init__(self, made: TestSystem, read_only: bool = False) -> None:
        self.made = made
        self.contents = bytearray(SECTORS * 512)
        self.done: list[tuple[Kind, int, int]] = []
        self.holds = False
        self.fails = False
        self.failing: list[tuple[Kind, int]] = []
        self.skipping = 0
        self.claims: int | None = None
        self.garbage: Callable[[], bool] = lambda: False
        self.masked = False
        self._held: list[Request] = []
        self._waits = Events[int]()
        self._watch_waits()
        self._kicked = False
        self.space = FakeIoSpace()
        ram = Ram(bytearray(RAM_BYTES), LOG, LOG_BYTES)
        dma = FrameDma(Iommu(ram).port(0), self.space)
        self.device = Device(ram, RECORD, 0, PORT, IRQ, dma, SECTORS, read_only)
        self.bus = IoBus(ram, [self.device])
        self.bus.set_kick(self._kick)
        made.kernel.objects = PortObjects(self, made.kernel.objects)
        self._given = Given(
            irq_handler=made.new(FakeObject("IRQHandler")),
            signal=1,
            io_port=made.new(FakeObject("IOPort")),
            first_port=PORT,
            last_port=PORT + 0x1FF,
            io_space=made.new(self.space),
        )

    def access(self, port: int, width: int, value: int | None) -> int:
        found = 0
        with self.bus.ram.transaction():
            if value is None:
                found = self.bus.read(port, width)
            else:
                self.bus.write(port, width, value)
        if self._kicked:
            self._kicked = False
            self._take()
        return found

    def change(self, change: Callable[[], None]) -> None:
        self.bus.change(self.device, change)

    def work(self, count: int = 1000) -> None:
        """The device does the oldest requests that it has, and the driver serves its interrupts."""
        self.finish(count)
        self.settle()

    def finish(self, count: int = 1000) -> None:
        self._held = [each for each in self._held if each.resets == self.device.own.resets]
        now, self._held = self._held[:count], self._held[count:]
        self.change(lambda: self.device.requests.give_back([self._carry_out(each) for each in now]))
        if now:
            self.device.requests.publish(self.bus)

    def settle(self) -> None:
        """Let the driver serve interrupts until there is none."""
        for _ in range(MOST_INTERRUPTS):
            if self.masked or not self.bus.lines.high & 1 << IRQ:
                return
            self.masked = True
            send_signal("disk")
        raise AssertionError("the line interrupts again and again: nothing is done about its cause")

    def calling(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Future[Result]:
        """A call in the background, when the driver has taken it and the client waits for the answer."""
        number = len(self._waits.all)
        future = in_background(function, *args, **kwargs)
        self._waits.wait_for(lambda wait: wait == number)
        return future

    @property
    def held(self) -> list[tuple[Kind | None, int, int]]:
        """What the device has taken and not done."""
        return [(each.kind, each.sector, each.size) for each in self._held]

    @contextmanager
    def driver(self, configuration: dict[str, Value] | None = None) -> Iterator[Block]:
        """A driver that has started; a client of it."""
        environment = Environment("block", devices={"disk": self._given}, configuration=configuration or {})
        made = runtime.make(Main, self.made.task(environment))
        with connect(made) as client:
            self.main = made
            yield client

    def client(self, of: Block, badge: int) -> Block:
        """Another client of the same driver."""
        endpoint = self.made.kernel.objects.caps[of._endpoint.cptr].object
        assert isinstance(endpoint, FakeEndpoint)
        slot = self.made.slots.allocate()
        self.made.kernel.objects.caps[slot] = FakeCap(endpoint, badge)
        return Block(Endpoint(slot))

    # --- inside --------------------------------------------------------------------------------------------

    def _watch_waits(self) -> None:
        wait = self.made.kernel._wait

        def watched(condition: Callable[[], bool], timeout_ns: int, what: str) -> bool:
            if not condition():
                self._waits.add(len(self._waits.all))
            return wait(condition, timeout_ns, what)

        self.made.kernel._wait = watched  # type: ignore[method-assign]  # tells when a client has begun to wait

    def _kick(self, number: int) -> None:
        self._kicked = True

    def _take(self) -> None:
        chains: list[Chain] = []
        self.change(lambda: chains.extend(self.device.requests.take(1000)))
        requests = [self.device.read_request(chain) for chain in chains]
        self._held += [request for request in requests if request is not None]
        if not self.garbage() and not self.holds:
            self.finish()

    def _carry_out(self, request: Request) -> tuple[int, int]:
        """What a disk does; returns head and bytes written."""
        dma, outcome, written = self.device.dma, Outcome.IOERR if self.fails else request.outcome, 0
        place = request.sector * 512
        if request.kind is Kind.COMMIT:
            return self._commit(request)
        if request.kind is not None and (request.kind, request.sector) in self.failing:
            self.failing.remove((request.kind, request.sector))
            dma.write(request.status.address, bytes([Outcome.IOERR]))
            return request.chain.head, 1
        if request.kind is not None:
            self.done.append((request.kind, request.sector, request.size))
        try:
            if request.kind is Kind.OUT:
                self.contents[place : place + request.size] = request.data
            elif request.kind is Kind.IN:
                written = dma.scatter(request.into, memoryview(self.contents)[place : place + request.size])
        except DmaFault:
            outcome = Outcome.IOERR
        dma.write(request.status.address, bytes([outcome]))
        return request.chain.head, written + 1

    def _commit(self, request: Request) -> tuple[int, int]:
        """As above, step by step."""
        at = ended = 0
        outcome = Outcome.OK
        for sector, sectors in STEP.iter_unpack(request.steps):
            step = (Kind.OUT if sectors else Kind.FLUSH, sector)
            end = at + sectors * 512
            if step in self.failing and self.skipping:
                self.skipping -= 1
            elif self.fails or step in self.failing:
                outcome = Outcome.IOERR
                if not self.fails:
                    self.failing.remove(step)
                break
            self.done.append((*step, end - at))
            self.contents[sector * 512 : sector * 512 + end - at] = memoryview(request.data)[at:end]
            at, ended = end, ended + 1
        written = self.device.dma.scatter(request.into, ENDED.pack(ended if self.claims is None else self.claims))
        self.device.dma.write(request.status.address, bytes([outcome]))
        return request.chain.head, written + 1


@contextmanager
def board(read_only: bool = False) -> Iterator[Board]:
    with system() as made:
        yield Board(made, read_only)
