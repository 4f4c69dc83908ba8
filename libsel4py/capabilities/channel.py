"""Channel: a page of memory by which one thread calls one endpoint, or signals one notification, without the kernel.

The kernel looks at the capability once, when it connects; it takes the page away again when that capability, the
channel or the thread goes. What a call means stays the same: `Endpoint.connect` connects, and binds the page to calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from libsel4py.abi import Label
from libsel4py.capabilities.base import Capability
from libsel4py.lowlevel.invoke import invoke

if TYPE_CHECKING:
    from libsel4py.capabilities.endpoint import Endpoint, Notification


class Channel(Capability):
    """The way between one client thread and those that listen at one endpoint or notification."""

    __slots__ = ()

    def connect(self, target: Endpoint | Notification) -> int:
        """Connect the calling thread with those that listen there; returns the channel's number.

        `Endpoint.connect` and `Notification.connect` do this, and make use of it.

        Raises:
            IllegalOperation: the channel is connected already, or nobody listens there.
            InvalidCapability: no endpoint with Write and a grant right, and no notification with Write.
            RangeError: the target, or the thread, has as many channels as it may have.
        """
        return invoke(self.cptr, Label.CHANNEL_CONNECT, target=target.cptr)[0]

    def disconnect(self) -> None:
        """Take the page away from both sides; it can be connected again. Raises IllegalOperation if it is not."""
        invoke(self.cptr, Label.CHANNEL_DISCONNECT)
