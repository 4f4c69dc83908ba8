"""IRQControl and IRQHandler: interrupt lines as capabilities (manual, chapter 8)."""

from __future__ import annotations

from libsel4py.abi import Label
from libsel4py.capabilities.base import CSPACE_DEPTH, Capability
from libsel4py.capabilities.cnode import CNode
from libsel4py.capabilities.endpoint import Notification
from libsel4py.lowlevel.invoke import invoke


class IRQControl(Capability):
    """The authority to make handlers."""

    __slots__ = ()

    def get(self, irq: int, root: CNode, index: int, depth: int = CSPACE_DEPTH) -> None:
        """Make the handler capability of line ``irq`` in a slot. Raises RevokeFirst if it exists already."""
        invoke(self.cptr, Label.IRQ_CONTROL_GET, irq=irq, root=root.cptr, index=index, depth=depth)


class IRQHandler(Capability):
    """One interrupt line."""

    __slots__ = ()

    def ack(self) -> None:
        """Let the line interrupt again; it is masked from delivery until then."""
        invoke(self.cptr, Label.IRQ_HANDLER_ACK)

    def set_notification(self, notification: Notification) -> None:
        """Signal this notification, with this capability's badge, when the line interrupts."""
        invoke(self.cptr, Label.IRQ_HANDLER_SET_NOTIFICATION, notification=notification.cptr)

    def clear(self) -> None:
        """Undo `set_notification`."""
        invoke(self.cptr, Label.IRQ_HANDLER_CLEAR)
