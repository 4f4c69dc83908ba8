# mypy: disable-error-code="empty-body"
"""The example of a component that works on private data, and who sells it (`deploy/systems/confined.toml`)."""

from __future__ import annotations

import builtins

from libsel4py.capabilities import Endpoint
from libsel4py.interface import Interface


class Adviser(Interface):
    """What works on somebody's figures. Nobody has read it."""

    def advise(self, figures: list[int]) -> int:
        """The figure to watch."""


class Mail(Interface):
    """How the vendor hears of things."""

    def tell(self, text: str) -> None:
        """Tell the vendor."""


class Shop(Interface):
    """What the vendor sells."""

    def product(self, name: str) -> Endpoint:
        """The requestor's key (`libsel4py.interfaces.constructor`) of ``"plain"`` or of ``"chatty"``."""

    def told(self) -> builtins.list[str]:
        """What the vendor has been told so far."""
