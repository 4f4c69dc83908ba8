"""What the initial task holds, and how it makes objects of it: the authority that everything else is a part of.

Rules: every object is paid from the untyped memory that BootInfo lists; a capability leaves this CSpace only by
`servers/root/objects.py` and `servers/root/builder.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from libsel4py.abi import InitialSlot, ObjectType
from libsel4py.capabilities import (
    TCB,
    CNode,
    Domain,
    IOPortControl,
    IOSpaceControl,
    IRQControl,
    SchedControl,
    Untyped,
)
from libsel4py.lowlevel.bootinfo import BootInfo
from libsel4py.lowlevel.cspace import SlotAllocator
from libsel4py.lowlevel.untyped import UntypedAllocator, UntypedStatistics


@dataclass(frozen=True, slots=True)
class Authority:
    """The initial capabilities, and allocators over them."""

    cnode: CNode
    tcb: TCB
    irq_control: IRQControl
    io_port_control: IOPortControl
    io_space_control: IOSpaceControl
    domain: Domain
    sched_control: SchedControl
    slots: SlotAllocator
    memory: UntypedAllocator
    addresses: dict[int, int]  # physical address of each initial untyped, by slot
    owners: dict[int, str]  # what each allocation is for, by its first slot
    strict: bool = False  # the machine has virtual cores, a SchedControl capability for each
    device_memory: tuple[Untyped, ...] = ()  # of the devices that have some, in their order

    def core(self, number: int) -> SchedControl:
        """The authority over the time of this virtual core; of the host's processors, 0."""
        return SchedControl(self.sched_control.cptr + number)

    @classmethod
    def from_boot_info(cls, info: BootInfo, strict: bool = False) -> Authority:
        """All that the kernel gave to the initial task."""
        cnode = CNode(InitialSlot.CNODE)
        slots = SlotAllocator(info.empty.start, len(info.empty))
        memory = UntypedAllocator(cnode, slots)
        for described in info.untyped:
            if not described.is_device:
                memory.add(described.untyped, described.size_bits)
        return cls(
            cnode,
            TCB(InitialSlot.TCB),
            IRQControl(InitialSlot.IRQ_CONTROL),
            IOPortControl(InitialSlot.IO_PORT_CONTROL),
            IOSpaceControl(InitialSlot.IO_SPACE),
            Domain(InitialSlot.DOMAIN),
            SchedControl(info.sched_control.start),
            slots,
            memory,
            {described.untyped.cptr: described.address for described in info.untyped},
            {},
            strict,
            tuple(described.untyped for described in info.untyped if described.is_device),
        )

    def make(self, owner: str, object_type: ObjectType, size_bits: int = 0) -> int:
        """One new object for ``owner``; returns its slot. Raises NotEnoughMemory, OutOfSlots."""
        slot = self.memory.allocate(object_type, size_bits).start
        self.owners[slot] = f"{owner}: {object_type.name.lower()}"
        return slot

    def free(self, slot: int) -> None:
        """Delete an object that `make` made, and every capability to it. Raises ValueError, KernelError."""
        self.memory.free(slot)
        del self.owners[slot]

    def statistics(self) -> UntypedStatistics:
        return self.memory.statistics()
