"""Endpoint, Notification and Reply: how threads meet (manual, chapters 4 and 5).

These are the raw forms, a message of words and capability addresses. Components use interfaces
(`libsel4py.interface`), which are made of these. ``timeout`` is in seconds; None waits for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from libsel4py.capabilities.base import Capability, address
from libsel4py.capabilities.channel import Channel
from libsel4py.errors import IllegalOperation
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message, Received, machine


class Reply(Capability):
    """A reply object: holds one caller that waits for its answer."""

    __slots__ = ()

    def send(self, message: Message) -> None:
        """Answer the caller; nothing happens if there is none."""
        syscalls.send(self.cptr, message)


def connect_and_bind(target: Endpoint | Notification, channel: Channel) -> int:
    """Connect a channel, and let the calling thread go by it; returns the channel's number.

    Raises:
        IllegalOperation, InvalidCapability, RangeError: as `Channel.connect`.
        LookupError: the kernel did not hand its page over. OSError: no memory, or as many are bound as can be.
    """
    number = channel.connect(target)
    try:
        machine.channel_bind(target.cptr, number)
    except (LookupError, OSError):
        with suppress(IllegalOperation):  # severed meanwhile, which may be why
            channel.disconnect()
        raise
    return number


class Endpoint(Capability):
    """Where senders and receivers meet."""

    __slots__ = ()

    def send(self, message: Message, timeout: float | None = None) -> None:
        """Send, and wait for a receiver. Raises Timeout."""
        syscalls.send(self.cptr, message, timeout)

    def nb_send(self, message: Message) -> None:
        """Send if somebody receives now; otherwise the message is dropped."""
        syscalls.nb_send(self.cptr, message)

    def call(self, message: Message, timeout: float | None = None) -> Received:
        """Send and wait for the reply. Raises Timeout."""
        return syscalls.call(self.cptr, message, timeout)

    def recv(self, reply: Reply | None, timeout: float | None = None) -> Received:
        """Wait for a message; its caller, if it was a call, waits in ``reply``. Raises Timeout."""
        return syscalls.recv(self.cptr, address(reply), timeout)

    def nb_recv(self, reply: Reply | None) -> Received | None:
        """Take a waiting message; None if there is none."""
        return syscalls.nb_recv(self.cptr, address(reply))

    def reply_recv(self, message: Message, reply: Reply, timeout: float | None = None) -> Received:
        """Answer the caller in ``reply`` and wait for the next message, in one step. Raises Timeout."""
        return syscalls.reply_recv(self.cptr, message, reply.cptr, timeout)

    def nb_send_recv(
        self, dest: Capability, message: Message, reply: Reply | None, timeout: float | None = None
    ) -> Received:
        """Send to ``dest`` if somebody receives there now, then receive here. Raises Timeout."""
        return syscalls.nb_send_recv(dest.cptr, message, self.cptr, address(reply), timeout)

    def connect(self, channel: Channel) -> int:
        """Let the calling thread's calls and sends here go by the channel from now on; returns the channel's number.

        Interfaces do so by themselves (`libsel4py.channels`). Raises as `connect_and_bind`.
        """
        return connect_and_bind(self, channel)

    def listen(self) -> int:
        """Let the calling thread take the channels of this endpoint. Raises as `syscalls.listen`."""
        return syscalls.listen(self.cptr)


class Notification(Capability):
    """A word of signals: a signal ORs its capability's badge into it, a wait takes and clears it."""

    __slots__ = ()

    def signal(self) -> None:
        """OR this capability's badge in, and wake a waiter.

        Never blocks, also where what a client has given as a notification is an endpoint, and nobody receives there.
        """
        syscalls.nb_send(self.cptr, Message())

    def wait(self, timeout: float | None = None) -> int:
        """The signals since the last wait, as bits; waits until there is one. Raises Timeout."""
        return syscalls.wait(self.cptr, timeout).badge

    def poll(self) -> int:
        """The signals since the last wait, or 0."""
        received = syscalls.nb_wait(self.cptr)
        return 0 if received is None else received.badge

    def connect(self, channel: Channel) -> int:
        """Let the calling thread's signals here go by the channel from now on; returns the channel's number.

        Raises as `connect_and_bind`.
        """
        return connect_and_bind(self, channel)

    def listen(self) -> int:
        """Let the calling thread take the channels of this notification. Raises as `syscalls.listen`."""
        return syscalls.listen(self.cptr)


def signal_many(notifications: Iterable[Notification]) -> None:
    """Signal each, in one step: those that are connected by their channel, the others through the kernel."""
    machine.signal_many([notification.cptr for notification in notifications])
