"""Completions and hints, from RAM into the threads' rings; what else a transaction has told goes to others.

Rules. The tells of a transaction are carried out before the next one begins, in their order. Each may be carried out
twice: a kernel that is started again carries out what its predecessor had not emptied.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

from hw import ring
from kerneld.kernel import Kernel
from kerneld.outbox import Message, Tell
from kerneld.records import CapType, KernelRecord, Slot, Tcb, TcbSlot

U32: Final = 0xFFFFFFFF


class Completions:
    """What the last transaction has told.

    Args:
        carry_out: does the tells that are neither completions nor hints.
    Attributes:
        others_told: whether it did any. Whoever has seen to it takes it back.
    """

    def __init__(self, kernel: Kernel, carry_out: Callable[[Message], None]) -> None:
        self._kernel = kernel
        self._ram = kernel.ram
        self._carry_out = carry_out
        self._layout = _layout(kernel)
        self.others_told = False

    def publish(self) -> Sequence[int]:
        """Carry out all tells, and empty the outbox. Returns the TCBs that were given a completion."""
        delivered = ring.publish(self._ram, self._layout)
        return self._carry_out_all() if delivered is None else delivered

    def _carry_out_all(self) -> list[int]:
        outbox, delivered = self._kernel.outbox, []
        for message in outbox:
            if message.kind is Tell.DELIVER:
                if self._deliver(Tcb(self._ram, message.subject)):
                    delivered.append(message.subject)
            elif message.kind is Tell.HINT:
                self._hint(Tcb(self._ram, message.subject))
            else:
                self._carry_out(message)
                self.others_told = True
        outbox.clear()
        return delivered

    def _deliver(self, tcb: Tcb) -> bool:
        """False if the thread has no frame, and so nothing to read."""
        frame = tcb.trap_frame
        if not frame:
            return False
        produced = tcb.produced & U32
        published = ring.produced(self._ram, frame) == produced
        if published or ring.deliver(self._ram, frame, tcb.address + Tcb.TOLD, produced - 1 & U32):
            ring.wake(self._ram, frame)
        return True

    def _hint(self, tcb: Tcb) -> None:
        frame = tcb.trap_frame
        if frame:
            ring.hint(self._ram, frame)


def _layout(kernel: Kernel) -> bytes:
    """Where `ring.publish` finds what it needs (hw/_ram/publish.c, struct layout)."""
    record = kernel.core.kernel
    return struct.pack(
        "<9Q",
        record.address + KernelRecord.outbox_length.offset,
        record.address + KernelRecord.OUTBOX,
        Tell.DELIVER,
        TcbSlot.BUFFER * Slot.SIZE,
        CapType.FRAME,
        Tcb.produced.offset,
        Tcb.TOLD,
        Tcb.told_pending.offset,
        Tcb.told_pending.mask << Tcb.told_pending.shift,
    )
