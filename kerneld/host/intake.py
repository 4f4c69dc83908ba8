"""A process that starts is handed all that its VSpace's table says.

The first few small mappings that are to be read ride along with the request to start it, so that a program finds them
from its first line on; the rest is told to its keeper, some at a time. What changes meanwhile is told as ever.
"""

from __future__ import annotations

import os
from typing import Final

from kerneld import mapping_table
from kerneld.host.mappings import Mappings
from kerneld.host.process import Phase, Process
from kerneld.mapping_table import Mapping
from kerneld.records import MappingSpace, Slot
from libsel4py.abi import Rights

HANDED_AT_A_TIME: Final = 16
RIDE_ALONG: Final = 8
RIDE_ALONG_BITS: Final = 19


class Intake:
    """One process's."""

    def __init__(self, mappings: Mappings, process: Process, space: MappingSpace) -> None:
        self._mappings = mappings
        self._process = process
        self._space = space
        self._at = 0
        mappings.begins(process)

    def ride(self) -> list[tuple[Mapping, int]]:
        """What is to be mapped when it starts, each with a descriptor that the caller closes.

        Raises:
            OSError: the host has no more descriptors, mappings or memory.
        """
        self._process.map_mail.more_to_come = True
        riding: list[tuple[Mapping, int]] = []
        try:
            while len(riding) < RIDE_ALONG and (mapping := self._next()) is not None and _rides(mapping):
                frame, size = self._frame(mapping), 1 << mapping.size_bits
                riding.append((mapping, self._mappings.ride(self._process, mapping.address, frame, size)))
                self._at = mapping.end
        except BaseException:
            for _, descriptor in riding:
                os.close(descriptor)
            raise
        return riding

    def step(self) -> bool:
        """Hand out the next ones. False after the last one."""
        for _ in range(HANDED_AT_A_TIME):
            if self._process.phase is Phase.ENDING:
                return False  # the table may be gone
            mapping = self._next()
            if mapping is None:
                self._process.map_mail.more_to_come = False
                self._process.map_mail.look()
                return False
            self._at = mapping.end
            frame, size = self._frame(mapping), 1 << mapping.size_bits
            self._mappings.map(self._process, mapping.address, mapping.rights, frame, size)
        return True

    def _next(self) -> Mapping | None:
        """The next one that the host maps."""
        while (mapping := mapping_table.following(self._space, self._at)) is not None and mapping.is_registers:
            self._at = mapping.end
        return mapping

    def _frame(self, mapping: Mapping) -> int:
        return Slot(self._space.ram, mapping.slot).object


def _rides(mapping: Mapping) -> bool:
    return mapping.rights == Rights.READ and mapping.size_bits <= RIDE_ALONG_BITS
