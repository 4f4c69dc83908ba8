"""Numbers by which a client knows that nobody else has changed its part of the disk since it saw the same number.

Rules. A number is drawn when a client asks, and holds for this client and this life of the driver. Before another one's
write to a part that overlaps begins, and once more before it is answered, it is forgotten: who asks in between sees a
number that holds for what was there then and no longer. A client's own writes, and those of a former life of it (which
had the same badge), leave its number as it is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from servers.block.requests import Extent

LIFE_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class _Life:
    extent: Extent
    number: int


class Lives:
    """The numbers of a driver's clients, by badge."""

    def __init__(self) -> None:
        self._lives: dict[int, _Life] = {}

    def of(self, badge: int, extent: Extent) -> int:
        """A client's number, below 2**64."""
        found = self._lives.get(badge)
        if found is None:
            number = int.from_bytes(os.urandom(LIFE_BYTES), "little")
            found = self._lives[badge] = _Life(extent, number)
        return found.number

    def writes(self, badge: int, extent: Extent) -> None:
        """A client is about to write to its part, or has."""
        for other, life in list(self._lives.items()):
            if other != badge and life.extent.overlaps(extent):
                del self._lives[other]
