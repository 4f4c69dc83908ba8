"""What tasks and their capability spaces are called, for people; from a survey of RAM."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from kerneld.records import CapType, Slot, Tcb, TcbSlot
from kerneld.survey import Held, Survey


@dataclass(frozen=True, slots=True)
class Names:
    """What tasks and their capability spaces are called."""

    tasks: dict[int, str]  # by TCB address
    spaces: dict[int, str]  # by CNode address: the tasks whose root it is
    channels: frozenset[int]  # addresses
    known: frozenset[str]  # the names

    @classmethod
    def of(cls, found: Survey) -> Names:
        tasks = {address: task_name(Tcb(found.ram, address)) for address in found.of_type(CapType.TCB)}
        users: dict[int, set[str]] = defaultdict(set)
        for address, name in tasks.items():
            root = Tcb(found.ram, address).slot(TcbSlot.CSPACE)
            if root.cap_type == CapType.CNODE:
                users[root.object].add(name)
        spaces = {cnode: ", ".join(sorted(_whole_tasks(names))) for cnode, names in users.items()}
        return cls(tasks, spaces, frozenset(found.of_type(CapType.CHANNEL)), frozenset(tasks.values()))

    def task(self, address: int) -> str:
        """The task of a thread: further threads of one are called by its name and a number, `console.1`."""
        name = self.tasks[address]
        whole = name.rpartition(".")[0]
        return whole if whole in self.known else name

    def place(self, held: Held, owner: int) -> str:
        """Where a slot is, as `task:slot`."""
        if owner in self.channels:
            return f"channel 0x{owner:x}"
        if owner in self.spaces or owner not in self.tasks:
            index = (held.address - owner) // Slot.SIZE
            return f"{self.spaces.get(owner, f'CNode 0x{owner:x}')}:{index}" if owner else "kernel"
        return f"{self.tasks[owner]} (TCB {TcbSlot((held.address - owner) // Slot.SIZE).name.lower()})"


def _whole_tasks(names: set[str]) -> set[str]:
    """Without the further threads of a task, which are called by its name and a number: `console.1`."""
    return {name for name in names if name.rpartition(".")[0] not in names}


def task_name(tcb: Tcb) -> str:
    """The TCB's name, or its address where it has none."""
    return tcb.name or f"TCB 0x{tcb.address:x}"
