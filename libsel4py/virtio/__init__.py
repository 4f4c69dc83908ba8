"""For who writes a driver of a virtio device: the transport's registers, split queues, and memory for DMA."""

from libsel4py.virtio.dma import DmaMemory, DmaSpace
from libsel4py.virtio.queue import DriverQueue, HostileDevice, QueueFull, Segment
from libsel4py.virtio.transport import BLOCK, NETWORK, DeviceRefused, VirtioPorts

__all__ = [
    "BLOCK",
    "NETWORK",
    "DeviceRefused",
    "DmaMemory",
    "DmaSpace",
    "DriverQueue",
    "HostileDevice",
    "QueueFull",
    "Segment",
    "VirtioPorts",
]
