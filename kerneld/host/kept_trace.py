"""The trace of virtual cores in memory that the monitor keeps: a kernel that is started again goes on with it.

Only the kernel writes to it; the monitor has its descriptor, and no task does.
"""

from __future__ import annotations

import mmap
import os
from typing import Final

from hw.ram import Ram
from kerneld.cores.trace import TRACE_BYTES, Trace
from kerneld.host.fd_store import FdStore, Inheritance
from kerneld.records import KernelRecord

KEY: Final = "trace"


def kept_trace(ram: Ram, store: FdStore, inherited: Inheritance) -> Trace:
    """What the kernel before this one has written, or an empty one: of a system that has just begun, or is resumed."""
    kernel, kept = KernelRecord.of(ram), inherited.take(KEY)
    if kept is not None and kept.descriptor >= 0:
        descriptor = kept.descriptor
    else:
        descriptor = os.memfd_create("sel4py-trace", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, TRACE_BYTES)
        store.keep(KEY, descriptor)
        with ram.transaction():
            kernel.events = 0
    try:
        return Trace(kernel, mmap.mmap(descriptor, TRACE_BYTES))
    finally:
        os.close(descriptor)
