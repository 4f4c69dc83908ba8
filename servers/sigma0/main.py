"""sigma0: hands out the pages of its pool, each once (L4 X.2, section 7.1).

Rules: a page belongs to the client that asked for it first, for as long as sigma0 runs; asked again by that client for
the same page it gives it again, and everybody else nothing. What it hands out are copies of its own capabilities.
"""

from __future__ import annotations

from libsel4py import component
from libsel4py.abi import FRAME_MAX_BITS, FRAME_MIN_BITS
from libsel4py.capabilities import Frame, Untyped
from libsel4py.environment import Slot
from libsel4py.errors import NotEnoughMemory
from libsel4py.interfaces.sigma0 import ANY_BASE, NOTHING, Sigma0
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.pagers.flexpages import READ, WRITE, Flexpage
from servers.sigma0.blocks import Blocks


@component
class Main(Sigma0):
    """The owner of this task's pool."""

    def start(self) -> None:
        task = self.task
        self._blocks = Blocks(task.cnode, task.slots, Untyped(Slot.POOL), task.environment.pool_bits)
        self._granted: dict[tuple[int, int], tuple[int, Frame]] = {}  # by address and size: whose, and the frame

    def request(self, page: int, attributes: int) -> tuple[int, Frame | None]:
        base, bits = page >> 10, page >> 4 & 63
        if not FRAME_MIN_BITS <= bits <= FRAME_MAX_BITS:
            return NOTHING, None
        try:
            if base == ANY_BASE:
                found = self._blocks.take_any(bits)
                return (NOTHING, None) if found is None else self._grant(*found, bits)
            address = base << 10
            if address % (1 << bits):
                return NOTHING, None
            owner, frame = self._granted.get((address, bits), (0, None))
            if frame is not None:
                return self._answer(address, bits, frame) if owner == self.caller.badge else (NOTHING, None)
            taken = self._blocks.take(address, bits)
            return (NOTHING, None) if taken is None else self._grant(address, taken, bits)
        except (NotEnoughMemory, OutOfSlots) as error:
            self.log.warning("no page for %s: %s", self.caller.name, error)
            return NOTHING, None

    def _grant(self, address: int, frame: Frame, bits: int) -> tuple[int, Frame]:
        self._granted[address, bits] = (self.caller.badge, frame)
        return self._answer(address, bits, frame)

    def _answer(self, address: int, bits: int, frame: Frame) -> tuple[int, Frame]:
        return Flexpage(address, bits, READ | WRITE).word(), frame
