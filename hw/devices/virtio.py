"""What every virtio device is: the transport's registers, and which queues the driver has set up.

Source: Virtual I/O Device (VIRTIO) 1.2, sections 2.1-2.5 and 4.2.2 (the registers of virtio over MMIO, version 2), here
on I/O ports: the register at offset N is at port ``first_port + N``. Registers have 4 bytes and answer accesses of that
width alone; the configuration space, from `CONFIG` on, answers all.

Rules. Addresses are the device's IOSpace's: VIRTIO_F_ACCESS_PLATFORM is offered, and a driver that does not accept it
(or VIRTIO_F_VERSION_1) does not get FEATURES_OK. All state lies in the device's page of RAM, and changes inside a
transaction. What a driver does wrong, in a register or in a queue, ends with `fail`: DEVICE_NEEDS_RESET, an interrupt,
and a `Cause` in the record; nothing is done until the driver resets the device. No driver can end the kernel.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from hw.devices.device import Device, Doorbell, Latch
from hw.devices.virtio_registers import (
    CONFIG,
    CONFIG_INTERRUPT,
    MAGIC,
    MOST_ENTRIES,
    REQUIRED,
    USED_INTERRUPT,
    VENDOR,
    VERSION,
    Cause,
    Feature,
    QueueRecord,
    Register,
    Status,
    VirtioRecord,
)
from hw.interrupts import Trigger
from hw.iommu import DmaPort
from hw.ram import Ram

_LOW: Final = (1 << 32) - 1
# The same as plain numbers, for what is asked at each request.
_DRIVER_OK, _FEATURES_OK = int(Status.DRIVER_OK), int(Status.FEATURES_OK)
_LIVE: Final = int(Status.DRIVER_OK | Status.NEEDS_RESET)


class VirtioDevice(Device):
    """A device on the transport. Subclasses say what they are and do their work in a back end, after the commit.

    Attributes:
        DEVICE_ID: section 5. QUEUES: how many it has. OFFERED: feature bits beside those that all devices offer.
        queues: their records. dma: the way to RAM. failed: called with the cause, inside the transaction, when the
        device has come to need a reset.
    """

    PORTS = 0x200
    DEVICE_ID: int
    QUEUES: int
    OFFERED: int = 0

    def __init__(
        self,
        ram: Ram,
        address: int,
        number: int,
        first_port: int,
        irq: int,
        dma: DmaPort,
        trigger: Trigger = Trigger.LEVEL,
    ) -> None:
        super().__init__(ram, address, number, first_port, irq, trigger)
        self.state = VirtioRecord(ram, address)
        self.dma = dma
        self.failed: Callable[[Cause], None] = lambda cause: None
        self.queues = [QueueRecord(ram, address + 64 + index * QueueRecord.SIZE) for index in range(self.QUEUES)]

    # --- what a subclass says ------------------------------------------------------------------------------

    @abstractmethod
    def configuration(self) -> bytes:
        """The configuration space as it is now."""

    def write_configuration(self, offset: int, data: bytes) -> None:
        """The driver writes to the configuration space. Nothing, unless a device has fields for that."""

    def was_reset(self) -> None:
        """The driver has reset the device, inside the transaction: forget what was under way."""

    # --- what a back end asks ------------------------------------------------------------------------------

    @property
    def features(self) -> int:
        """What was negotiated: 0 before FEATURES_OK."""
        return self.state.features if self.state.status & _FEATURES_OK else 0

    @property
    def is_live(self) -> bool:
        """Whether the driver lets it work."""
        return self.state.status & _LIVE == _DRIVER_OK

    @property
    def has_used_interrupt(self) -> bool:
        """Whether the driver was interrupted for used buffers, and has not acknowledged it."""
        return bool(self.state.interrupt & USED_INTERRUPT)

    def fail(self, cause: Cause) -> None:
        """Stop: the driver has done something that makes no sense. Inside a transaction."""
        state = self.state
        if not state.status & Status.NEEDS_RESET:
            state.cause = int(cause)
            self.failed(cause)
            state.status = state.status | Status.NEEDS_RESET
            if state.status & Status.DRIVER_OK:
                state.interrupt = state.interrupt | CONFIG_INTERRUPT

    def interrupt_used(self) -> None:
        """Buffers were used. Inside a transaction."""
        self.state.interrupt = self.state.interrupt | USED_INTERRUPT

    def configuration_changed(self) -> None:
        """The configuration is another one from now on. Inside a transaction."""
        state = self.state
        state.generation = (state.generation + 1) & _LOW
        state.interrupt = state.interrupt | CONFIG_INTERRUPT

    # --- a Device ------------------------------------------------------------------------------------------

    def reset(self) -> None:
        return None

    def report(self) -> dict[str, object]:
        cause = Cause(self.state.cause)
        found: dict[str, object] = {"status": Status(self.state.status).name or "RESET"}
        return found | ({"needs_reset": cause.explanation} if cause is not Cause.NONE else {})

    def doorbell(self) -> Doorbell:
        port, status = self.first_port + Register.QUEUE_NOTIFY, self.state.address + VirtioRecord.status.offset
        return Doorbell(port, self.QUEUES, self.number, status, _LIVE, _DRIVER_OK)

    def latch(self) -> Latch:
        status, acknowledge = Register.INTERRUPT_STATUS, Register.INTERRUPT_ACK
        word = self.state.address + VirtioRecord.interrupt.offset
        return Latch(self.first_port + status, self.first_port + acknowledge, word, self.irq)

    def output(self) -> bool:
        return bool(self.state.interrupt)

    def read(self, offset: int, width: int) -> int:
        if offset >= CONFIG:
            part = self.configuration()[offset - CONFIG : offset - CONFIG + width]
            return int.from_bytes(part, "little")
        if width != 4:
            return 0
        state, queue = self.state, self._queue
        match offset:
            case Register.MAGIC_VALUE:
                return MAGIC
            case Register.VERSION:
                return VERSION
            case Register.DEVICE_ID:
                return self.DEVICE_ID
            case Register.VENDOR_ID:
                return VENDOR
            case Register.DEVICE_FEATURES:
                return self._offered >> 32 * state.device_select & _LOW if state.device_select < 2 else 0
            case Register.QUEUE_SIZE_MAX:
                return MOST_ENTRIES if queue else 0
            case Register.QUEUE_READY:
                return queue.ready if queue else 0
            case Register.INTERRUPT_STATUS:
                return state.interrupt
            case Register.STATUS:
                return state.status
            case Register.CONFIG_GENERATION:
                return state.generation
            case _:
                return 0

    def write(self, offset: int, width: int, value: int) -> None:
        if offset >= CONFIG:
            self.write_configuration(offset - CONFIG, value.to_bytes(width, "little"))
            return
        if width != 4:
            return
        state = self.state
        match offset:
            case Register.QUEUE_NOTIFY:
                if self.is_live and value < self.QUEUES:
                    self.kick(self.number)
            case Register.INTERRUPT_ACK:
                state.interrupt = state.interrupt & ~value
            case Register.STATUS:
                self._set_status(value)
            case Register.DEVICE_FEATURES_SEL:
                state.device_select = value
            case Register.DRIVER_FEATURES_SEL:
                state.driver_select = value
            case Register.DRIVER_FEATURES:
                self._accept(value)
            case Register.QUEUE_SEL:
                state.queue_select = value
            case _:
                self._set_up_queue(offset, value)

    # --- inside --------------------------------------------------------------------------------------------

    @property
    def _offered(self) -> int:
        return self.OFFERED | int(REQUIRED | Feature.INDIRECT_DESC)

    @property
    def _queue(self) -> QueueRecord | None:
        index = self.state.queue_select
        return self.queues[index] if index < self.QUEUES else None

    def _set_status(self, value: int) -> None:
        state = self.state
        if value == 0:
            self._reset()
            return
        value &= int(Status.ACKNOWLEDGE | Status.DRIVER | Status.DRIVER_OK | Status.FEATURES_OK | Status.FAILED)
        if value & Status.FEATURES_OK and not state.status & Status.FEATURES_OK:
            accepted = state.features
            if accepted & ~self._offered or accepted & REQUIRED != REQUIRED:
                value &= ~Status.FEATURES_OK
        if value & Status.DRIVER_OK and not (value | state.status) & Status.FEATURES_OK:
            value &= ~Status.DRIVER_OK
        state.status = state.status | value  # bits are set by the driver, and cleared by a reset alone
        if self.is_live:
            self.kick(self.number)

    def _reset(self) -> None:
        state = self.state
        self.ram.write(state.address, bytes(VirtioRecord.OWN))
        self.was_reset()

    def _accept(self, value: int) -> None:
        state = self.state
        if state.status & Status.FEATURES_OK or state.driver_select > 1:
            return
        shift = 32 * state.driver_select
        state.features = state.features & ~(_LOW << shift) | value << shift

    def _set_up_queue(self, offset: int, value: int) -> None:
        queue = self._queue
        if queue is None:
            return
        if offset == Register.QUEUE_READY:
            self._set_ready(queue, value)
            return
        if queue.ready:
            return
        match offset:
            case Register.QUEUE_SIZE:
                queue.size = value
            case Register.QUEUE_DESC_LOW:
                queue.descriptors = queue.descriptors & ~_LOW | value
            case Register.QUEUE_DESC_HIGH:
                queue.descriptors = queue.descriptors & _LOW | value << 32
            case Register.QUEUE_DRIVER_LOW:
                queue.driver = queue.driver & ~_LOW | value
            case Register.QUEUE_DRIVER_HIGH:
                queue.driver = queue.driver & _LOW | value << 32
            case Register.QUEUE_DEVICE_LOW:
                queue.device = queue.device & ~_LOW | value
            case Register.QUEUE_DEVICE_HIGH:
                queue.device = queue.device & _LOW | value << 32

    def _set_ready(self, queue: QueueRecord, value: int) -> None:
        if not value & 1 or queue.ready:
            queue.ready = value & 1  # one that was stopped goes on at its next chain, whatever was under way
            return
        size = queue.size
        is_size = 0 < size <= MOST_ENTRIES and size & (size - 1) == 0
        if is_size and not (queue.descriptors % 16 or queue.driver % 2 or queue.device % 4):
            queue.ready = 1
        else:
            self.fail(Cause.BAD_REGISTER)
