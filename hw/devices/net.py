"""A network interface: virtio's network device. Frames go by two queues, and are moved by `hw.devices.net_frames`.

Source: VIRTIO 1.2, section 5.1. Offered: MAC, MTU, STATUS. A frame is a chain: a header of 12 bytes that says nothing
here, then an Ethernet frame without its checksum, however they are cut into descriptors. A frame that comes needs a
buffer that has room for all of it.
"""

from __future__ import annotations

import struct
from typing import Final

from hw.devices.virtio import VirtioDevice
from hw.devices.virtio_registers import VirtioRecord
from hw.devices.virtqueue import Chain, DeviceQueue
from hw.interrupts import Trigger
from hw.iommu import DmaFault, DmaPort, Segment, first_bytes
from hw.ram import Bits, Ram, Record, Word

MTU, MAC, STATUS = 1 << 3, 1 << 5, 1 << 16  # feature bits
LINK_UP: Final = 1
MAC_BYTES: Final = 6
ETHERNET_BYTES: Final = 14
VLAN_BYTES: Final = 4
LOWEST_MTU, HIGHEST_MTU = 1280, 65535  # IPv6 needs the one (RFC 8200), virtio says no more than the other
HEADER: Final = struct.Struct("<BBHHHHH")
# Nothing to do about checksums or segments, and the frame lies in one buffer.
RECEIVED: Final = HEADER.pack(0, 0, 0, 0, 0, 0, 1)
_CONFIGURATION: Final = struct.Struct("<6sHHH")  # mac, status, most queue pairs, mtu
RECEIVE, TRANSMIT = 0, 1  # the queues
DROPPED: Final = -1


class NetRecord(Record):
    """What is this device's own, behind the transport's part of the page. Counts are of a machine's whole life."""

    __slots__ = ()

    resets = Word(0)  # what was begun before the last reset is not finished
    is_down = Bits(8, 0, 1)
    received = Word(16)  # frames, here and in the following
    received_bytes = Word(24)
    sent = Word(32)
    sent_bytes = Word(40)
    dropped = Word(48)  # frames that came, and for which a buffer was too small or not mapped
    refused = Word(56)  # frames that the driver gave, and that were not sent: too short, too long, or not mapped


class Net(VirtioDevice):
    """The device.

    Args:
        mac: its hardware address. mtu: of the link, in bytes of an IP packet.
    """

    DEVICE_ID = 1
    QUEUES = 2
    OFFERED = MTU | MAC | STATUS

    def __init__(
        self,
        ram: Ram,
        address: int,
        number: int,
        first_port: int,
        irq: int,
        dma: DmaPort,
        mac: bytes,
        mtu: int = 1500,
        trigger: Trigger = Trigger.LEVEL,
    ) -> None:
        if len(mac) != MAC_BYTES or mac[0] & 1:
            raise ValueError(f"the hardware address {mac.hex(':')} is none of one interface: 6 bytes, the first even")
        if not LOWEST_MTU <= mtu <= HIGHEST_MTU:
            raise ValueError(f"an MTU of {mtu} bytes: give {LOWEST_MTU} to {HIGHEST_MTU}")
        super().__init__(ram, address, number, first_port, irq, dma, trigger)
        self.mac = mac
        self.mtu = mtu
        self.receive_queue = DeviceQueue(self, RECEIVE)
        self.transmit_queue = DeviceQueue(self, TRANSMIT)
        self.own = NetRecord(ram, address + VirtioRecord.OWN)

    @property
    def longest_frame(self) -> int:
        """Bytes of a frame, with a VLAN tag."""
        return self.mtu + ETHERNET_BYTES + VLAN_BYTES

    def configuration(self) -> bytes:
        return _CONFIGURATION.pack(self.mac, 0 if self.own.is_down else LINK_UP, 1, self.mtu)

    def report(self) -> dict[str, object]:
        own = self.own
        return super().report() | {
            "mac": self.mac.hex(":"),
            "mtu": self.mtu,
            "link": "down" if own.is_down else "up",
            "received": own.received,
            "received_bytes": own.received_bytes,
            "sent": own.sent,
            "sent_bytes": own.sent_bytes,
            "dropped": own.dropped,
            "refused": own.refused,
        }

    def was_reset(self) -> None:
        self.own.resets = self.own.resets + 1

    def link_ended(self) -> None:
        """Nobody is at the other side any more. Inside a transaction."""
        if not self.own.is_down:
            self.own.is_down = 1
            self.configuration_changed()

    def link_began(self) -> None:
        """There is somebody again. Inside a transaction."""
        self.own.is_down = 0
        self.configuration_changed()

    def frame_of(self, chain: Chain) -> memoryview | None:
        """The frame in a chain of the transmit queue, copied. None: it is no such chain.

        An empty view is a frame that cannot be sent, for its size or since it is not mapped, and is counted.
        """
        readable = chain.readable
        size = _bytes_of(readable) - HEADER.size
        if size < 0 or chain.writable:
            return None
        if not ETHERNET_BYTES <= size <= self.longest_frame:
            self.own.refused = self.own.refused + 1
            return memoryview(b"")
        try:
            data = self.dma.read(*readable[0]) if len(readable) == 1 else self.dma.gather(readable)
        except DmaFault:
            self.own.refused = self.own.refused + 1
            return memoryview(b"")
        return memoryview(data)[HEADER.size :]

    def deliver(self, chain: Chain, frame: bytes) -> int | None:
        """Put a frame in a chain of the receive queue; returns the bytes written, 0 if the buffer cannot be reached.

        `DROPPED`: there is no room for the frame, and the chain is as it was. None: it is no such chain. Inside a
        transaction.
        """
        room = _bytes_of(chain.writable) - HEADER.size
        if room < 0 or chain.readable:
            return None
        own = self.own
        if len(frame) > min(room, self.longest_frame):
            own.dropped = own.dropped + 1
            return DROPPED
        try:
            written = self.dma.scatter(first_bytes(chain.writable, HEADER.size + len(frame)), RECEIVED + frame)
        except DmaFault:
            own.dropped = own.dropped + 1
            return 0
        own.received = own.received + 1
        own.received_bytes = own.received_bytes + len(frame)
        return written

    def count_sent(self, size: int) -> None:
        """A frame of so many bytes has gone. Inside a transaction."""
        own = self.own
        own.sent = own.sent + 1
        own.sent_bytes = own.sent_bytes + size


def _bytes_of(segments: tuple[Segment, ...]) -> int:
    return segments[0].size if len(segments) == 1 else sum(segment.size for segment in segments)
