"""Virtio's numbers: the transport's registers, its status and features, and what of them a device keeps in RAM.

Source: VIRTIO 1.2, sections 2.1, 2.2, 4.2.2 and 6.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

from hw.ram import Record, Word

MAGIC: Final = int.from_bytes(b"virt", "little")
VERSION: Final = 2
VENDOR: Final = int.from_bytes(b"SEL4", "little")
MOST_QUEUES: Final = 4
MOST_ENTRIES: Final = 256


class Register(IntEnum):
    """Offsets of registers. Names as in the standard, table 4.1."""

    MAGIC_VALUE = 0x000
    VERSION = 0x004
    DEVICE_ID = 0x008
    VENDOR_ID = 0x00C
    DEVICE_FEATURES = 0x010
    DEVICE_FEATURES_SEL = 0x014
    DRIVER_FEATURES = 0x020
    DRIVER_FEATURES_SEL = 0x024
    QUEUE_SEL = 0x030
    QUEUE_SIZE_MAX = 0x034
    QUEUE_SIZE = 0x038
    QUEUE_READY = 0x044
    QUEUE_NOTIFY = 0x050
    INTERRUPT_STATUS = 0x060
    INTERRUPT_ACK = 0x064
    STATUS = 0x070
    QUEUE_DESC_LOW = 0x080
    QUEUE_DESC_HIGH = 0x084
    QUEUE_DRIVER_LOW = 0x090
    QUEUE_DRIVER_HIGH = 0x094
    QUEUE_DEVICE_LOW = 0x0A0
    QUEUE_DEVICE_HIGH = 0x0A4
    CONFIG_GENERATION = 0x0FC


CONFIG: Final = 0x100


class Status(IntFlag):
    """The device status field, section 2.1."""

    ACKNOWLEDGE = 1
    DRIVER = 2
    DRIVER_OK = 4
    FEATURES_OK = 8
    NEEDS_RESET = 64
    FAILED = 128


class Feature(IntFlag):
    """Feature bits of all devices, section 6."""

    INDIRECT_DESC = 1 << 28
    VERSION_1 = 1 << 32
    ACCESS_PLATFORM = 1 << 33


REQUIRED: Final = Feature.VERSION_1 | Feature.ACCESS_PLATFORM
USED_INTERRUPT, CONFIG_INTERRUPT = 1, 2  # bits of INTERRUPT_STATUS


class Cause(IntEnum):
    """Why a device needs a reset."""

    explanation: str

    def __new__(cls, value: int, explanation: str = "") -> Cause:
        made = int.__new__(cls, value)
        made._value_ = value
        made.explanation = explanation
        return made

    NONE = 0, "nothing"
    BAD_REGISTER = 1, "a queue was set up against the rules (its size or its alignment)"
    BAD_INDEX = 2, "the available index ran ahead of the queue"
    BAD_CHAIN = 3, "a descriptor chain is none: out of its table, too long, in the wrong order, or under way already"
    DMA_FAULT = 4, "a queue, or a part of a request that is the driver's, lies outside of the IOSpace"
    BAD_REQUEST = 5, "a chain that no request of this device looks like"


class QueueRecord(Record):
    """A queue as the driver has set it up, and how far the device is in it."""

    __slots__ = ()

    SIZE = 128

    size = Word(0)
    ready = Word(8)
    descriptors = Word(16)
    driver = Word(24)  # the available ring
    device = Word(32)  # the used ring
    taken = Word(40)  # chains taken, modulo 2**16
    used = Word(48)  # chains given back, modulo 2**16
    in_flight = 64  # offset of a bit for each head that was taken and not given back


class VirtioRecord(Record):
    """The transport's registers. A device's own record begins at `OWN`."""

    __slots__ = ()

    OWN = 64 + MOST_QUEUES * QueueRecord.SIZE

    status = Word(0)
    interrupt = Word(8)
    device_select = Word(16)
    driver_select = Word(24)
    features = Word(32)  # what the driver has accepted
    queue_select = Word(40)
    generation = Word(48)
    cause = Word(56)
