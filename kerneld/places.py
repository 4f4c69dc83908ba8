"""Names for places: whose capability space a slot is in, and at which index. For people, from a survey of RAM."""

from __future__ import annotations

from kerneld.caps import OBJECT_MASK
from kerneld.records import CapType, Channel, Slot, Tcb, TcbSlot
from kerneld.survey import Held, Survey


def thread_name(thread: Tcb) -> str:
    """The thread's own name, or its address."""
    return thread.name or f"thread 0x{thread.address:x}"


class Places:
    """Which threads reach which CNodes."""

    def __init__(self, found: Survey) -> None:
        self._found = found
        self._inside: dict[int, list[Held]] = {}
        for held in found.slots.values():
            self._inside.setdefault(found.owners[held.address], []).append(held)
        self._reach: dict[int, list[Tcb]] = {}
        for address in found.of_type(CapType.TCB):
            self._spread(Tcb(found.ram, address))

    def _spread(self, thread: Tcb) -> None:
        """Note the thread at every CNode of its capability space."""
        root = thread.slot(TcbSlot.CSPACE)
        pending = [root.object] if root.cap_type == CapType.CNODE else []
        seen = set(pending)
        while pending:
            cnode = pending.pop()
            self._reach.setdefault(cnode, []).append(thread)
            for held in self._inside.get(cnode, ()):
                inner = held.word0 & OBJECT_MASK
                if held.kind == CapType.CNODE and inner not in seen:
                    seen.add(inner)
                    pending.append(inner)

    def owners(self, held: Held) -> list[Tcb]:
        """The threads that use a slot's capability: those whose CNode, TCB or channel it is in, else who reaches it."""
        owner = self._found.owners[held.address]
        if owner in self._found.of_type(CapType.TCB):
            return [Tcb(self._found.ram, owner)]
        if owner in self._found.of_type(CapType.CHANNEL):
            client = Channel(self._found.ram, owner).client
            return [] if client is None else [client]
        return self._direct(owner) or self._reach.get(owner, [])

    def _direct(self, cnode: int) -> list[Tcb]:
        return [thread for thread in self._reach.get(cnode, []) if thread.slot(TcbSlot.CSPACE).object == cnode]

    def name(self, held: Held) -> str:
        """``slot 7 of ping``, or what comes closest."""
        owner = self._found.owners[held.address]
        if not owner:
            return f"slot 0x{held.address:x}"
        number = (held.address - owner) // Slot.SIZE
        if owner in self._found.of_type(CapType.TCB):
            return f"{TcbSlot(number).name} of {thread_name(Tcb(self._found.ram, owner))}"
        if owner in self._found.of_type(CapType.CHANNEL):
            return f"what channel 0x{owner:x} is connected to"
        if owner in self._found.of_type(CapType.DEATH_NOTICE):
            return f"what death notice 0x{owner:x} signals"
        direct = self._direct(owner)
        if direct:
            return f"slot {number} of {thread_name(direct[0])}"
        return f"slot {number} of CNode 0x{owner:x}"
