# mypy: disable-error-code="empty-body"
"""Who is asked when a space bank has come to its limit (KeyKOS: the limit keeper)."""

from __future__ import annotations

from libsel4py.capabilities import Untyped
from libsel4py.errors import NotEnoughMemory
from libsel4py.interface import Interface, raises


class SpaceKeeper(Interface):
    """Decides whether a bank may sell more than it has. See `libsel4py.banks`."""

    @raises(NotEnoughMemory)
    def more(self, size_bits: int) -> Untyped:
        """Lend 2**size_bits bytes, or more, to the bank that asks.

        Raises:
            NotEnoughMemory: it may not have them. Who wanted to buy gets this.
        """
