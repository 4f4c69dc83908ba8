# mypy: disable-error-code="empty-body"
"""A network card: frames in and out by two rings in the client's memory.

    card = Ethernet(endpoint)
    card.open(space.share(), 256, 256, buffer_bytes(mtu))
    there = card.bells(bell.peer)       # the notification by which the driver is rung

The data space holds two rings (`libsel4py.bulk`): that of frames to send at offset 0, whose producer is the client, and
that of frames that came at `receive_offset(…)`, whose consumer is the client. Their buffers are of one size. The driver
maps the data space where the card does DMA, so frames go between card and client without a copy: a buffer that
is submitted is sent from where it lies, and a free one is where a frame will come to.

In each buffer the frame lies behind `HEADROOM` bytes, which are the driver's: submit `length` bytes from `HEADROOM` on.

A client has one opening. Another `open` ends the former one; so does the end of the driver, whose restarted successor
knows nothing of it: then calls raise `ServerDied`, the bell is not rung, and the client opens anew with new memory. Who
watches `Ethernet.life` is told at once.
"""

from __future__ import annotations

from typing import Final

import msgspec

from libsel4py.bulk import LINE_BYTES, PAGE_BYTES, Layout
from libsel4py.capabilities import Endpoint, Notification
from libsel4py.dataspace import SharedMemory
from libsel4py.errors import ServiceError
from libsel4py.interface import Interface
from libsel4py.signature import Word

HEADROOM: Final = 64  # one cache line: a network device's header is in its last bytes
MOST_MTU: Final = 65535
MOST_OPENING_BYTES: Final = 64 << 20
MOST_BUFFERS: Final = 256  # of one direction: a device's queue has no more
HEADER_BYTES: Final = 14  # of an Ethernet frame: two addresses and a type


class EthernetError(ServiceError):
    """What goes wrong with a card. The first argument says what happened."""


class CardFailed(EthernetError):
    """The device does not keep to its protocol, or has failed; it was reset, and `open` begins anew."""


class BadOpening(EthernetError):
    """The memory is too small, cannot be written, or the numbers of buffers are out of bounds."""


class CardInUse(EthernetError):
    """Another client has the card open."""


class CardState(msgspec.Struct, frozen=True, array_like=True):
    """What is known of a card.

    Attributes:
        mac: its 6 bytes. mtu: bytes of the largest packet in a frame. is_up: there is a link.
        is_open: the client that asks has an opening. sent, received: frames since the driver began.
        dropped: frames that came while no buffer was free, or that were too long or too short.
    """

    mac: bytes
    mtu: int
    is_up: bool
    is_open: bool
    sent: int
    received: int
    dropped: int


class Ethernet(Interface):
    """One card."""

    def state(self) -> CardState:
        """Address, link and counts. It can be asked without an opening; who has it lets the driver look at the card,
        as if that had interrupted: so who waits for frames, and asks now and then, does not wait for a lost interrupt.
        """

    def open(self, memory: SharedMemory, sending: Word, receiving: Word, size: Word) -> None:
        """Begin: ``sending`` and ``receiving`` buffers of ``size`` bytes, in zeroed memory of `opening_bytes` or more.

        Nothing is received before `bells`.

        Raises:
            BadOpening, CardInUse, CardFailed. NotADataSpace: what came is none.
        """

    def bells(self, wake: Notification) -> Notification:
        """Say what is to be signalled when frames came, or buffers are free again; returns what rings the driver.

        Raises BadOpening: nothing is open.
        """

    def close(self) -> None:
        """End the opening; the card does no more DMA to its memory when this returns. Raises CardFailed."""

    def life(self) -> Endpoint:
        """What ends with this life of the driver, for a `DeathNotice`: a capability without rights."""


def buffer_bytes(mtu: int) -> int:
    """Of a buffer that holds a frame with so large a packet: a multiple of 64."""
    return -(-(HEADROOM + HEADER_BYTES + mtu) // LINE_BYTES) * LINE_BYTES


def ring_layout(buffers: int, size: int) -> Layout:
    """Of the ring of one direction. Raises ValueError: numbers that no card takes."""
    if not 1 <= buffers <= MOST_BUFFERS or not HEADROOM + HEADER_BYTES < size <= buffer_bytes(MOST_MTU):
        raise ValueError(
            f"a card's ring has 1 to {MOST_BUFFERS} buffers of up to {buffer_bytes(MOST_MTU)} bytes, and not "
            f"{buffers} of {size}"
        )
    return Layout(buffers, size)


def receive_offset(sending: int, size: int) -> int:
    """Where the ring of frames that came begins: behind that of ``sending`` buffers, at a page."""
    return -(-ring_layout(sending, size).size // PAGE_BYTES) * PAGE_BYTES


def opening_bytes(sending: int, receiving: int, size: int) -> int:
    """Bytes of memory that an opening needs. Raises ValueError as `ring_layout`."""
    return receive_offset(sending, size) + ring_layout(receiving, size).size
