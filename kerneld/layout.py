"""Where RAM holds the kernel's own records: the part of RAM that no user's untyped memory covers.

    0x0000   machine header     magic, version, size
    0x1000   undo log           128 KiB
    0x21000  kernel record      queues, interrupt and port tables, domain schedule, outbox (records.KernelRecord)
    0x40000  device records     16 pages, one a device (hw/devices)
    0x50000  virtual cores, where there are any (cores/record.py)
    behind   initial task's objects, then untyped memory (boot.py)

Addresses and sizes in bytes.
"""

from typing import Final

MAGIC: Final = 0x3079703465_6C6573  # 'sel' 'e4py0'
VERSION: Final = 5

HEADER: Final = 0x0
HEADER_MAGIC: Final = 0x0
HEADER_VERSION: Final = 0x8
HEADER_SIZE: Final = 0x10
UNDO_LOG: Final = 0x1000
UNDO_LOG_BYTES: Final = 0x20000
KERNEL_RECORD: Final = 0x21000
DEVICE_RECORDS: Final = 0x40000
DEVICE_RECORD_BYTES: Final = 0x1000
DEVICE_RECORD_COUNT: Final = 16
CORES: Final = 0x50000
CORE_BYTES: Final = 0x20000  # of one virtual core
CORES_HIGH: Final = 8  # as many as there can be
USER_BASE: Final = CORES  # where there are none
MINIMUM_RAM: Final = 4 << 20
