"""An initial task that does to memory what it is told, by one line of JSON a time, and says when it is done.

A task may open its code to read, and nothing else. So what it is told comes by a fifo, `told`, in the folder that its
description names, which is one of its system's folders of code; and that it is done it says by opening another, `done`,
which lets whoever opens that to write go on.

It does so to the whole RAM of its system: all untyped memory that it was given at boot. Slots are counted from the
first of `SLOTS` of its own. The first ones hold a copy of each of these, the largest first, from which everything is
made: revoking all takes even those away, and `begin` brings them back. What the kernel refuses is left undone; and so
is what an endpoint would take for a call, which nobody answers, and a notification for a signal, which nobody refuses:
where nothing was mapped the agent would fault.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
from pathlib import Path
from typing import Final

from libsel4py import abi
from libsel4py.abi import CapType, InitialSlot, ObjectType, Rights
from libsel4py.capabilities import TCB, CNode, Endpoint, Frame, SchedContext, SchedControl, Untyped, VSpace
from libsel4py.errors import KernelError
from libsel4py.lowlevel import bootinfo
from libsel4py.lowlevel.cspace import SlotAllocator
from libsel4py.lowlevel.identify import identify
from tests.system.images import behaviour

SLOTS: Final = 40
MOST_ROOTS: Final = 16
VSPACE_BITS: Final = 22
SCHED_CONTEXT_BITS: Final = 8
BUDGET_US: Final = 10_000
PLACES: Final = 8
PLACE_BYTES: Final = 1 << 20
INVOKES_ITS_FIRST: Final = ("retype", "map", "unmap", "start")
TAKES_ALL: Final = (CapType.ENDPOINT.name, CapType.NOTIFICATION.name)


class Agent:
    def __init__(self, info: bootinfo.BootInfo) -> None:
        self._cnode = CNode(InitialSlot.CNODE)
        slots = SlotAllocator(info.empty.start, len(info.empty))
        self._first = slots.allocate_range(SLOTS).start
        self._sched_control = SchedControl(info.sched_control.start)
        memory = sorted((each for each in info.untyped if not each.is_device), key=lambda each: -each.size_bits)
        assert len(memory) <= MOST_ROOTS, "there are slots for all of them, and as many more"
        self._roots = [each.untyped for each in memory]

    def do(self, what: str, *arguments: int) -> None:
        if what in INVOKES_ITS_FIRST and identify(self._first + arguments[0]).type in TAKES_ALL:
            return
        with contextlib.suppress(KernelError):
            getattr(self, what)(*arguments)

    def begin(self) -> None:
        """Everything is revoked; one copy of each untyped is there."""
        self.revoke_all()
        for number, root in enumerate(self._roots):
            self._cnode.copy(self._first + number, self._cnode, root.cptr)

    def revoke_all(self) -> None:
        for root in self._roots:
            self._cnode.revoke(root.cptr)

    def retype(self, source: int, kind: int, bits: int, destination: int, count: int) -> None:
        Untyped(self._first + source).retype(ObjectType(kind), bits, self._cnode, self._first + destination, count)

    def copy(self, source: int, destination: int) -> None:
        self._cnode.copy(self._first + destination, self._cnode, self._first + source)

    def mint(self, source: int, destination: int, badge: int) -> None:
        self._cnode.mint(self._first + destination, self._cnode, self._first + source, badge)

    def move(self, source: int, destination: int) -> None:
        self._cnode.move(self._first + destination, self._cnode, self._first + source)

    def delete(self, slot: int) -> None:
        self._cnode.delete(self._first + slot)

    def revoke(self, slot: int) -> None:
        self._cnode.revoke(self._first + slot)

    def map(self, slot: int, space: int, place: int, can_write: int) -> None:
        """Into this task's own address space, or the one in a slot; if it is this one's, the memory is read."""
        vspace = VSpace(self._first + space) if space else VSpace(InitialSlot.VSPACE)
        rights = Rights.READ | Rights.WRITE if can_write else Rights.READ
        address = abi.MAPPING_BASE + place * PLACE_BYTES
        Frame(self._first + slot).map(address, rights, vspace=vspace)
        if not space:
            assert ctypes.c_ubyte.from_address(address).value in (0, 7)
            if can_write:
                ctypes.c_ubyte.from_address(address).value = 7

    def unmap(self, slot: int) -> None:
        Frame(self._first + slot).unmap()

    def start(self, source: int, destination: int, lives: int) -> None:
        """A process of its own, from the untyped in a slot: four objects, in slots that follow each other."""
        untyped, first = Untyped(self._first + source), self._first + destination
        kinds = (
            (ObjectType.VSPACE, VSPACE_BITS),
            (ObjectType.TCB, 0),
            (ObjectType.FRAME, abi.TRAP_FRAME_BITS),
            (ObjectType.SCHED_CONTEXT, SCHED_CONTEXT_BITS),
        )
        for number, (kind, bits) in enumerate(kinds):
            untyped.retype(kind, bits, self._cnode, first + number)
        tcb, context = TCB(first + 1), SchedContext(first + 3)
        self._sched_control.configure_flags(context, BUDGET_US, BUDGET_US)
        tcb.configure(self._cnode, 0, VSpace(first), 0, 0x20_0000_0000, Frame(first + 2))
        tcb.set_sched_params(TCB(InitialSlot.TCB), 100, 100, context, Endpoint(0))
        registers = [0] * abi.REGISTERS
        registers[abi.REG_RIP] = 1
        registers[abi.ARGUMENT_REGISTERS[0]] = behaviour.WAIT if lives else behaviour.RETURN
        tcb.write_registers(1, registers)


def main(boot_info_address: int, *_: int) -> None:
    info = bootinfo.parse(ctypes.string_at(boot_info_address, 1 << abi.BOOT_INFO_FRAME_BITS))
    folder = Path(info.system_description.decode())
    agent = Agent(info)
    while True:
        what, *arguments = json.loads((folder / "told").read_text())
        agent.do(what, *arguments)
        (folder / "done").open().close()
