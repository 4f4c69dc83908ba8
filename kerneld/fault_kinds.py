"""What can be done to a system on order: the names that the management socket, `sel4py chaos` and its reports share."""

from __future__ import annotations

from enum import Enum


class Fault(Enum):
    """What can be done to a system."""

    KILL = "kill"  # a task's process is killed
    HANG = "hang"  # a task does nothing any more
    SLOW = "slow"  # a task gets half of the time
    CORRUPT_MESSAGE = "corrupt-message"  # a bit of a task's message area changes
    BITFLIP = "bitflip"  # a bit of a task's mapped frames changes
    DROP_IRQ = "drop-irq"  # a device's interrupt does not come
    DISK_ERROR = "disk-error"  # a disk's requests fail
    NET_LOSS = "net-loss"  # an interface's frames are lost
    KILL_KERNEL = "kill-kernel"  # the kernel's process is killed
