"""Who has a frame mapped, and what it takes to know whether somebody has more of it than it still may.

A process that was handed a frame's memfd can keep it, whatever it is told: what counts is the most that it was given
since the frame's memory is in this memfd. It has *lost* something when that is more than its mappings say now.

A task can map one frame a great many times, so nothing here looks at all mappings, one by one: a step of an exchange
must not take as long as a task likes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kerneld.host.process import Phase, Process
from libsel4py.abi import Rights

if TYPE_CHECKING:
    from kerneld.host.frame_refill import Refill

# Plain numbers: arithmetic on an IntFlag takes ten times as long, and this is done for each page that faults.
READ: Final = int(Rights.READ)
WRITE: Final = int(Rights.WRITE)
READ_AND_WRITE: Final = READ | WRITE


@dataclass(slots=True, eq=False)
class Holding:
    """One mapping."""

    process: Process
    address: int
    rights: int


@dataclass(slots=True, eq=False)
class FrameUse:
    """One frame's.

    Attributes:
        holdings: by process and address of the mapping. unhanded: those that can be reached and were not handed.
        writers: by process, those that can be written by and were handed: sent to the keeper, or waiting to be.
        leaving: by process and address, those that could be written by and are no more, as long as the keeper has not
            said so: what is stored by them meanwhile is the frame's as well.
        given: the most that each process has been handed of the memfd.
        noted: whether it is kept that something is under way, and whether somebody is to lose it.
        payer: whom its memory is charged to (frame_shares.py): one of those who can reach it.
    """

    address: int
    size: int
    holdings: dict[tuple[Process, int], Holding] = field(default_factory=dict)
    unhanded: dict[Holding, None] = field(default_factory=dict)
    writers: dict[Process, dict[Holding, None]] = field(default_factory=dict)
    leaving: dict[tuple[Process, int], Holding] = field(default_factory=dict)
    given: dict[Process, int] = field(default_factory=dict)
    refill: Refill | None = None
    noted: tuple[bool, bool] = (False, False)
    payer: Process | None = None
    _handed: dict[Holding, None] = field(default_factory=dict)
    _counts: dict[tuple[Process, int], int] = field(default_factory=dict)  # mappings, by what they give
    _reached: int = 0

    def add(self, process: Process, address: int, rights: int) -> Holding:
        """A mapping, which is in the place of what the process had at this address."""
        self.remove(process, address)
        holding = self.holdings[process, address] = Holding(process, address, rights)
        if rights:
            self.unhanded[holding] = None
            key = process, access(rights)
            self._counts[key] = self._counts.get(key, 0) + 1
            self._reached += 1
        return holding

    def add_first(self, process: Process, address: int, rights: int) -> Holding:
        """As `add` and `hand`, of a frame that nobody has had before, for who may write."""
        holding = self.holdings[process, address] = Holding(process, address, rights)
        self._handed[holding] = None
        self.writers[process] = {holding: None}
        self.given[process] = given = access(rights)
        self._counts[process, given] = 1
        self._reached = 1
        self.payer = process
        return holding

    def remove(self, process: Process, address: int) -> Holding | None:
        """The mapping that is no more; None if there was none."""
        holding = self.holdings.pop((process, address), None)
        if holding is not None and holding.rights:
            self.unhanded.pop(holding, None)
            self._handed.pop(holding, None)
            writers = self.writers.get(process)
            if writers is not None:
                writers.pop(holding, None)
                if not writers:
                    del self.writers[process]
            key = process, access(holding.rights)
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
            self._reached -= 1
        return holding

    def hand(self, holding: Holding) -> None:
        """It is sent to the keeper."""
        self.unhanded.pop(holding, None)
        self._handed[holding] = None
        if holding.rights & WRITE:
            self.writers.setdefault(holding.process, {})[holding] = None

    def replaced(self) -> None:
        """The frame's memory is to be somewhere else: nobody has been handed it there."""
        self.given.clear()
        self.writers.clear()
        self.leaving.clear()
        fewer, more = sorted((self.unhanded, self._handed), key=len)
        more.update(fewer)
        self.unhanded, self._handed = more, {}

    @property
    def under_way(self) -> tuple[bool, bool]:
        """Whether it is exchanged or somebody is to be handed it; and whether somebody is to lose it."""
        return bool(self.unhanded or self.refill), self.refill is not None

    @property
    def is_wanted(self) -> bool:
        """Whether somebody can reach it."""
        return self._reached > 0

    @property
    def is_unused(self) -> bool:
        return not (self.holdings or self.given or self.refill)

    def reaches(self, process: Process) -> bool:
        """Whether the process can reach it."""
        return (process, READ_AND_WRITE) in self._counts or (process, READ) in self._counts

    def someone(self) -> Process | None:
        """One of those who can reach it."""
        return next(iter(self._counts), (None, 0))[0]

    def has_lost(self, process: Process) -> bool:
        """Whether a process has more than it may. One that was killed goes with all that it has."""
        if process.phase is Phase.ENDING:
            return False
        may = 0
        if self._counts.get((process, READ_AND_WRITE)):
            may = READ_AND_WRITE
        elif self._counts.get((process, READ)):
            may = READ
        return bool(self.given.get(process, 0) & ~may)


def access(rights: int) -> int:
    """What a descriptor gives that is opened for these rights: nobody can write a file and not read it."""
    return READ_AND_WRITE if rights & WRITE else rights & READ


def kept_name(address: int) -> str:
    """What the monitor keeps of the frame while something is under way: see former_mappings.py."""
    return f"use:{address:x}"
