"""How much a transaction may do before others have a turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WORK_UNITS: Final = 64


@dataclass(slots=True)
class Work:
    """What a transaction may still do, and for whom: `thread` is a TCB's address, 0 for the kernel itself.

    A unit is about what deleting one capability costs.
    """

    thread: int = 0
    revoked: bool = False
    left: int = WORK_UNITS

    def spend(self, units: int = 1) -> bool:
        """Count work that was done; False when the transaction is to end now."""
        self.left -= units
        return self.left > 0
