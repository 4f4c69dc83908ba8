"""The frames that processes have mapped, as a kernel that is started again finds them.

The monitor keeps `use:ADDRESS` of a frame with which something is under way: its bytes, and whether somebody is to lose
it. All else is known: a process has what its VSpace's table says, unless it is owed messages (map_mail.py), or a tell
is not carried out yet.

What the kernel before this one has told a process to unmap, it may not have unmapped yet, and may store to: where a
frame is to be lost, all processes are asked whether they have done all that they were told then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, cast

from kerneld import mapping_table
from kerneld.host.fd_store import FdStore, Inheritance
from kerneld.host.frame_memory import FrameMemory
from kerneld.host.frame_shares import FrameShares
from kerneld.host.frame_stock import SIZE
from kerneld.host.frame_use import READ_AND_WRITE, FrameUse, Holding, access, kept_name
from kerneld.host.process import Process
from kerneld.records import Slot, VSpace
from libsel4py import abi

UNKNOWN: Final = (False, True)  # of FrameUse.noted: nothing is under way, and somebody is to lose it


class FormerMappings:
    """What is left to do of the kernel before this one.

    Args:
        uses, held: of `Mappings`, which this fills.
        has_left: told a frame and a mapping by which nothing is stored any more.
    """

    def __init__(
        self,
        memory: FrameMemory,
        store: FdStore,
        uses: dict[int, FrameUse],
        held: dict[Process, dict[int, FrameUse]],
        shares: FrameShares,
        has_left: Callable[[FrameUse, Holding], None],
    ) -> None:
        self._memory = memory
        self._store = store
        self._uses = uses
        self._held = held
        self._shares = shares
        self._has_left = has_left
        self._under_way: dict[int, tuple[int, bool]] = {}  # bytes, and whether to be lost
        # Stands for all that it had, until it has done what it was told.
        self._all_of: dict[Process, Holding] = {}
        self._free: dict[Process, int] = {}  # where those have nothing mapped that do not begin anew
        self._losing: list[FrameUse] = []  # frames that were to be lost, as long as some are waited for

    def take(self, inherited: Inheritance) -> None:
        """What the monitor has kept."""
        for name, kept in inherited.take_all("use"):
            self._under_way[int(name, 16)] = cast(tuple[int, bool], kept.note)

    def lost(self, frame: int, size: int) -> None:
        """Somebody is to lose it, and was not told."""
        self._under_way[frame] = (size, True)

    def restore(self, process: Process, owed: bool) -> None:
        """See `Mappings.restore`."""
        ram = self._memory.ram
        space = VSpace(ram, process.vspace)
        held = self._held.setdefault(process, {})
        self._shares.begins(process)
        if owed:
            self._all_of[process] = Holding(process, 0, READ_AND_WRITE)
            process.map_mail.start_over(partial(self._has_left_all, process))
        at, free = 0, abi.MAPPING_BASE
        while (mapping := mapping_table.following(space, at)) is not None:
            frame, size, at = Slot(ram, mapping.slot).object, 1 << mapping.size_bits, mapping.end
            free = at if mapping.address == free else free
            if mapping.is_registers:
                continue
            use = held[mapping.address] = self._uses.setdefault(frame, FrameUse(frame, size))
            holding = use.add(process, mapping.address, mapping.rights)
            self._shares.settle(use)
            if mapping.rights and frame in self._memory:
                # Who is to begin anew has what it was handed before, and keeps it if it likes.
                use.given[process] = use.given.get(process, 0) | access(mapping.rights)
                if not owed:
                    use.hand(holding)
                    process.map_mail.begins_with(mapping.address, size)
        if not owed:
            self._free[process] = free

    def settle(self) -> list[FrameUse]:
        """All processes are restored. Returns the frames that somebody is to lose, which are to be exchanged."""
        if any(losing for _, losing in self._under_way.values()):
            self._ask_all()
        self._free.clear()
        exchanged: list[FrameUse] = []
        for address, (size, losing) in self._under_way.items():
            use = self._uses.get(address)
            if losing and address in self._memory:
                use = self._uses.setdefault(address, FrameUse(address, size))
                use.leaving.update({(process, 0): all_of for process, all_of in self._all_of.items()})
                exchanged.append(use)
            elif use is not None:
                use.replaced()
            if use is None:
                self._store.drop(kept_name(address))
            else:
                use.noted = UNKNOWN  # it is kept or not, and perhaps otherwise
        self._under_way.clear()
        if self._all_of:
            self._losing += exchanged
        return exchanged

    def _ask_all(self) -> None:
        for process, free in self._free.items():
            self._all_of[process] = Holding(process, 0, READ_AND_WRITE)
            process.map_mail.ask_whether_done(free, SIZE, partial(self._has_left_all, process))

    def _has_left_all(self, process: Process) -> None:
        all_of = self._all_of.pop(process)
        for use in self._losing:
            self._has_left(use, all_of)
        if not self._all_of:
            self._losing.clear()
