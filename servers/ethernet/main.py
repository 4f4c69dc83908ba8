"""The network card's driver: a virtio card by its ports, its interrupt and its IOSpace, offered as two rings of frames.

Must be given: a device named ``card`` with an IOSpace. One client at a time has it open. Frames are the client's from
end to end: the driver maps its memory for the card, and never looks into it.
"""

from __future__ import annotations

from collections.abc import Callable

from libsel4py import component, on_notification
from libsel4py.abi import VMFault
from libsel4py.bell import server_bell
from libsel4py.bulk import Buffer, HostilePeer, Piece
from libsel4py.capabilities import Endpoint, Notification
from libsel4py.dataspace import DataSpace, SharedMemory
from libsel4py.deaths import Watch
from libsel4py.environment import SERVER_SIGNAL
from libsel4py.errors import KernelError
from libsel4py.interfaces.ethernet import (
    MOST_OPENING_BYTES,
    BadOpening,
    CardFailed,
    CardInUse,
    CardState,
    Ethernet,
)
from libsel4py.life import Life
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.vspace import OutOfAddresses
from libsel4py.virtio import DmaMemory, HostileDevice
from servers.ethernet.card import Card
from servers.ethernet.opening import Opening


@component
class Main(Ethernet):
    """One card."""

    def __init__(self) -> None:
        self._card: Card[Buffer, Piece] = Card(self.task, self.task.environment.devices["card"])
        self._opening: Opening | None = None
        self._bell: Notification | None = None
        self._memory: Watch | None = None  # of the opening
        self._sent = self._received = self._dropped = 0  # of openings that are over

    def start(self) -> None:
        """Be rung by clients."""
        self._bell = server_bell(self.task)
        self._life = Life(self.task)
        self.server.on_signal(SERVER_SIGNAL, lambda bits: self._pump())

    def state(self) -> CardState:
        if self._opening is not None and self._opening.owner == self.caller.badge:
            if self._opening.is_alive:
                self.on_card()  # it may have interrupted, and the interrupt been lost
            else:
                self._end()
        card, opening = self._card, self._opening
        is_open = opening is not None and opening.owner == self.caller.badge
        now = (0, 0, 0) if opening is None else (opening.sent, opening.received, opening.dropped)
        sent, received, dropped = self._sent + now[0], self._received + now[1], self._dropped + now[2]
        return CardState(card.mac, card.mtu, card.is_up, is_open, sent, received, dropped)

    def open(self, memory: SharedMemory, sending: int, receiving: int, size: int) -> None:
        opening = self._opening
        if opening is not None and opening.owner != self.caller.badge and opening.is_alive:
            raise CardInUse("another client has the card open")
        self._end()
        space = DataSpace.receive(memory, MOST_OPENING_BYTES, self.task)
        try:
            space.attach()
            mapped = self._card.dma.map(space)
            self._opening = self._opened(space, mapped, (sending, receiving, size))
            self._memory = self.task.deaths.watch(space.frames[0], lambda death: self._client_ended())
        except (KernelError, OutOfSlots, OutOfAddresses, ValueError) as error:
            self._end()
            space.close()
            raise BadOpening(f"the driver cannot use this memory: {error}") from error
        except BadOpening:
            space.close()
            raise

    def _opened(self, space: DataSpace, mapped: DmaMemory, numbers: tuple[int, int, int]) -> Opening:
        try:
            return Opening(self._card, space, mapped, numbers, self.caller.badge)
        except BaseException:
            self._card.dma.unmap(mapped)
            raise

    def bells(self, wake: Notification) -> Notification:
        opening = self._opening
        if opening is None or opening.owner != self.caller.badge or opening.wake is not None:
            self.task.delete(wake)
            raise BadOpening("nothing is open, or it has its bells already: open first")
        opening.wake = wake
        self._pump()
        assert self._bell is not None
        return self._bell

    def close(self) -> None:
        if self._opening is not None and self._opening.owner == self.caller.badge:
            self._end()

    def life(self) -> Endpoint:
        return self._life.capability

    @on_notification("card")
    def on_card(self) -> None:
        """The card has interrupted."""
        self._guarded(self._card.acknowledge)
        self._pump()

    # --- inside --------------------------------------------------------------------------------------------

    def _pump(self) -> None:
        if self._opening is not None:
            self._guarded(self._pump_once)

    def _pump_once(self) -> None:
        if self._opening is not None and self._opening.pump() and self._bell is not None:
            self._bell.signal()

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do it; who breaks the rules loses the opening, and the card is begun anew."""
        end: Callable[[], None]
        try:
            work()
        except (HostilePeer, VMFault) as error:
            self.log.warning("the client's opening is over: %s", error)
            end = self._end
        except (HostileDevice, CardFailed) as error:
            self.log.error("the card is reset, and its client has to open it again: %s", error)
            end = self._end_failed
        else:
            return
        end()  # here, where no traceback holds views of the client's memory any more

    def _client_ended(self) -> None:
        """Its memory is gone: begin the card anew now, and not when its next life asks for that."""
        self._memory = None
        self._end()

    def _end_failed(self) -> None:
        self._end(self._card.failed)

    def _end(self, reset: Callable[[], None] | None = None) -> None:
        """Take the buffers back from the card by a reset, and let go of the client's memory."""
        opening, self._opening = self._opening, None
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.cancel()
        try:
            if opening is not None or reset is not None:
                (reset or self._card.begin)()
        except CardFailed as error:
            self.log.error("%s", error)
        finally:
            if opening is not None:
                self._sent += opening.sent
                self._received += opening.received
                self._dropped += opening.dropped
                opening.close(self.task.delete)
