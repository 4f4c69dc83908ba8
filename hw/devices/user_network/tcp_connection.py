"""A TCP connection that is the guest's on one side, and a socket of the host on the other.

Rules. Nothing blocks. Bytes are read from either side only as far as the other has room, so memory is bounded: what
the host's socket does not take closes the guest's window, and a full window or link stops the reading of the socket.
Each direction ends by itself (a FIN and SHUT_WR stand for each other), a reset ends both, on both sides.
A guest whose stack was started again says nothing of its connections by itself: it is asked, at once where it is known
to have begun anew, else when it has been silent for `KEEP_SECONDS`, and answers with a reset. Its servers are back a
little later than its stack: what it refuses meanwhile is asked for again.
A connection that the guest knows outlives this process: `Connection.resumed` goes on from its slot and its socket,
which are both kept elsewhere. What a former life may have heard of the socket's end and told nobody ends it by a reset.
Source: RFC 9293, 5961 (challenge acknowledgements), 7323 (window scaling), 1122 (keep-alive, 4.2.3.6).
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from enum import IntEnum
from typing import Final

from hw.devices.user_network.connection_memory import (
    HOST_ENDED,
    OUR_FIRST,
    STATE,
    TOUCHES,
    WRITTEN_BEFORE,
    Key,
    Slot,
)
from hw.devices.user_network.host_counts import HostCounts, host_counts
from hw.devices.user_network.tcp_receiving import WINDOW, Receiving
from hw.devices.user_network.tcp_segment import ACK, FIN, RST, SYN, Segment, ahead, behind, syn_options
from hw.devices.user_network.tcp_sending import Sending
from hw.devices.user_network.tcp_way import Way
from hw.iommu import Buffer

SCALE: Final = 5
READS_A_TURN: Final = 16
KEEP_SECONDS: Final = 30.0  # without a word of the guest: it is asked whether it still knows the connection
DOUBTS: Final = 4  # questions to a guest that has begun anew: a stack drops some while it looks for its gateway
REFUSED_SECONDS: Final = 0.005  # until a guest that has just begun is asked again what it has refused, then twice that
MOST_ASKED: Final = 8  # without an answer: the guest has vanished
_RESET: Final = struct.pack("ii", 1, 0)  # linger: the last close sends a reset, whoever it is by
_NO_RESET: Final = struct.pack("ii", 0, 0)


class State(IntEnum):
    CONNECTING = 1  # the host has not answered, or its socket is not kept yet
    SYN_SENT = 2  # the host has asked, the guest has not answered
    SYN_RECEIVED = 3
    OPEN = 4
    GONE = 0


class Connection:
    """Made by `asked_by_guest`, `asked_by_host` or `resumed`. The socket is this connection's, and so is the slot until
    it is gone. ``first``: the number of our SYN.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        way: Way,
        key: Key,
        host: socket.socket,
        slot: Slot,
        most: int,
        first: int,
    ) -> None:
        self.key = key
        self.slot = slot
        self.state = State.CONNECTING
        self.sending = Sending(first, self._send, slot)
        self.receiving = Receiving(slot, host)
        self._loop = loop
        self._way = way
        self._host = host
        self._most = most  # bytes of data in a segment
        self._offered_mss = most
        self._scale: int | None = SCALE  # of the windows that we tell
        self._guest_scale = 0
        self._told_window = 0
        self._is_guest_asked = False  # by the host
        self._reads = self._writes = False
        self._host_ended = False
        self._fin: int | None = None  # the sequence number behind our FIN
        self._is_heard = True  # the guest, since the last look at the clock
        self._heard = 0.0
        self._asked = self._doubts = self._refused = 0
        self._asks_again: asyncio.TimerHandle | None = None

    @classmethod
    def asked_by_guest(
        cls,
        loop: asyncio.AbstractEventLoop,
        way: Way,
        key: Key,
        host: socket.socket,
        slot: Slot,
        most: int,
        syn: Segment,
    ) -> Connection:
        """The guest connects; ``host`` is a socket that does, which tells by being writable."""
        made = cls(loop, way, key, host, slot, most, _any_number())
        made._take_syn(syn)
        loop.add_writer(host, made._connected)
        made._writes = True
        return made

    @classmethod
    def asked_by_host(
        cls, loop: asyncio.AbstractEventLoop, way: Way, key: Key, host: socket.socket, slot: Slot, most: int
    ) -> Connection:
        """Somebody has connected to a forwarded port."""
        made = cls(loop, way, key, host, slot, most, _any_number())
        made._is_guest_asked = True
        made._begin()
        return made

    @classmethod
    def resumed(
        cls, loop: asyncio.AbstractEventLoop, way: Way, host: socket.socket, slot: Slot, offered_mss: int
    ) -> Connection:
        """What a former life of this process has left. `go_on` is called next, once it can be found by its key."""
        made = cls(loop, way, slot.key, host, slot, offered_mss, ahead(slot.words[OUR_FIRST], -1))
        made.state = State(slot.words[STATE])
        made._most, made._scale, made._guest_scale = slot.terms()
        return made

    def kept(self) -> None:
        """It outlives this process from now on: the guest may know of it."""
        if self.state is not State.CONNECTING:
            return
        self._enter(State.SYN_SENT if self._is_guest_asked else State.SYN_RECEIVED)
        self.sending.send_mark(SYN if self._is_guest_asked else SYN | ACK, self._loop.time())

    def go_on(self) -> None:
        """The guest is told what we have and sent what it has not, at once."""
        now = self._loop.time()
        self._heard = now
        if self.state is State.SYN_SENT:
            self.sending.send_mark(SYN, now)
            return
        try:
            if self.state is State.SYN_RECEIVED:
                self.receiving.resume(0)
                self.sending.send_mark(SYN | ACK, now)
            else:
                self._resume(host_counts(self._host), now)
        except (OSError, ValueError):
            self.abort()

    # --- from the guest ------------------------------------------------------------------------------------

    def receive(self, segment: Segment) -> None:
        self._is_heard = True
        match self.state:
            case State.CONNECTING:
                if segment.flags & RST:
                    self.abort(tell_guest=False)
            case State.SYN_SENT:
                self._answered(segment)
            case State.SYN_RECEIVED | State.OPEN:
                self._receive(segment)

    def acknowledge(self) -> None:
        """Tell the guest what we have, and what we take."""
        if self.state in (State.SYN_RECEIVED, State.OPEN):
            self._way.transmit(self.key, self.sending.next, self.receiving.expected, ACK, self._window(), b"", b"")

    def expire(self, now: float) -> None:
        """Look at the clock: send again what nobody has answered, and ask a guest that is silent."""
        if self._is_heard:
            self._is_heard, self._heard, self._asked, self._doubts = False, now, 0, 0
        deadline = self.sending.deadline
        if deadline is None:
            if self.state is State.OPEN and not self.sending.window and not self._host_ended:
                self._probe(now)
            elif self.state is State.OPEN and (self._doubts or now - self._heard >= KEEP_SECONDS):
                self._ask(now)
        elif deadline <= now and not self.sending.expired(now):
            self.abort()

    def resume(self) -> None:
        """The link takes frames again."""
        if self.state is State.OPEN:
            self._read()

    def doubt(self, asks: bool) -> None:
        """The guest may have forgotten it: it is asked, now if it ``asks``, and at the clock until it answers."""
        self._is_heard, self._doubts = False, DOUBTS
        if not asks:
            return
        if self.sending.in_flight:
            self.sending.repeat()
        elif self.state is State.OPEN:
            self._ask(self._loop.time())

    def abort(self, tell_guest: bool = True) -> None:
        """End it with a reset on both sides."""
        if self.state is State.GONE:
            return
        if tell_guest:
            flags = RST | ACK
            self._way.transmit(self.key, self.sending.next, self.receiving.expected, flags, 0, b"", b"")
        self._host.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    # --- inside: segments ----------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Note all that a next life must know, and have the socket kept, before the guest can know of it."""
        self._host.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.slot.key = self.key
        self.slot.note_terms(self._most, self._scale, self._guest_scale)
        self.slot.words[WRITTEN_BEFORE] = host_counts(self._host).written
        self.sending.begin()
        self._way.begun(self, self._host)

    def _enter(self, state: State) -> None:
        self.state = state
        self.slot.words[STATE] = state

    def _resume(self, counts: HostCounts, now: float) -> None:
        """In OPEN. Raises OSError, ValueError: it cannot go on."""
        words = self.slot.words
        has_ended = bool(words[HOST_ENDED])
        if counts.is_closed:
            error = self._host.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error or (words[TOUCHES] and not has_ended):
                raise OSError(error, "reset")
        words[TOUCHES] = 0
        self.receiving.resume(counts.written - words[WRITTEN_BEFORE])
        self.sending = Sending.resumed(self._send, self.slot, counts.read, self._most, has_ended, now)
        if has_ended:
            self._host_ended = True
            self._fin = ahead(words[OUR_FIRST], counts.read + 1)
        self.acknowledge()
        self.sending.repeat()
        if self.receiving.pending:
            self._wait_to_write()
        self._settle()

    def _take_syn(self, syn: Segment) -> None:
        self.receiving.begin(ahead(syn.sequence, 1))
        self._most = min(self._most, syn.mss)
        if syn.scale is None:
            self._scale = None
        else:
            self._guest_scale = syn.scale
        self.sending.window = syn.window

    def _answered(self, segment: Segment) -> None:
        """In SYN_SENT."""
        if not segment.flags & ACK or segment.acknowledged != self.sending.next:
            if segment.flags & ACK and not segment.flags & RST:
                self._way.transmit(self.key, segment.acknowledged, 0, RST, 0, b"", b"")
            return
        if segment.flags & RST:
            if not self._way.is_young:
                self.abort(tell_guest=False)
            elif self._asks_again is None:
                self._asks_again = self._loop.call_later(REFUSED_SECONDS * (1 << self._refused), self._ask_again)
                self._refused += 1
        elif segment.flags & SYN:
            self._take_syn(segment)
            self.slot.note_terms(self._most, self._scale, self._guest_scale)
            self.sending.acknowledge(segment.acknowledged, self._loop.time())
            self._way.owes_acknowledgement(self)
            self._opened()

    def _ask_again(self) -> None:
        self._asks_again = None
        if self.state is State.SYN_SENT:
            self.sending.repeat()

    def _receive(self, segment: Segment) -> None:
        flags = segment.flags
        distance = behind(self.receiving.expected, segment.sequence)
        if flags & RST:
            if distance == 0:
                self.abort(tell_guest=False)
            elif -WINDOW <= distance < 0:
                self.acknowledge()
            return
        if flags & SYN:
            if self.state is State.SYN_RECEIVED and distance == 1:
                return  # our answer is sent again when it is due
            self.acknowledge()
            return
        if not flags & ACK or not self._take_acknowledgement(segment):
            return
        if segment.data or flags & FIN:
            self._take_data(segment, distance)
        self._settle()

    def _take_acknowledgement(self, segment: Segment) -> bool:
        sending = self.sending
        number, window = segment.acknowledged, segment.window << self._guest_scale
        if not sending.acknowledge(number, self._loop.time()):
            self.acknowledge()
            return False
        if self.state is State.SYN_RECEIVED:
            if number != sending.next:
                return False
            sending.window = window
            self._opened()
        elif behind(number, sending.first) == 0:
            if window == sending.window and not segment.data and not segment.flags & FIN:
                sending.duplicate()
            sending.window = window
        return True

    def _take_data(self, segment: Segment, distance: int) -> None:
        self._way.owes_acknowledgement(self)
        if distance < 0:
            self.acknowledge()  # at once: three of the same make the guest send the missing one again
        try:
            self.receiving.take(segment, distance)
        except OSError:
            self.abort()
            return
        if self.receiving.pending:
            self._wait_to_write()

    def _settle(self) -> None:
        """After a segment: read on, or find that all is over."""
        if self.state is not State.OPEN:
            return
        if self._fin is not None and behind(self.sending.first, self._fin) >= 0:
            if self.receiving.has_ended and not self.receiving.pending:
                self.acknowledge()
                self._host.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_RESET)
                self._close()
        elif not self._reads and not self._host_ended:
            self._read()

    def _send(self, sequence: int, flags: int, data: Buffer) -> None:
        options = syn_options(self._offered_mss, self._scale) if flags & SYN else b""
        self._way.transmit(self.key, sequence, self.receiving.expected, flags, self._window(flags), data, options)

    def _window(self, flags: int = 0) -> int:
        shift = 0 if flags & SYN or self._scale is None else self._scale
        self._told_window = min(self.receiving.room, 0xFFFF << shift)
        return self._told_window >> shift

    def _probe(self, now: float) -> None:
        """The guest's window is closed: a byte that it may refuse makes it tell its window again."""
        try:
            size = self._read_some(1)
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        if size:
            self.sending.send_bytes(size, now)
        else:
            self._host_finished()

    def _ask(self, now: float) -> None:
        """A segment that the guest has had already, which it has to answer."""
        if self._doubts:
            self._doubts -= 1
        elif self._asked == MOST_ASKED:
            self.abort()
            return
        else:
            self._heard, self._asked = now, self._asked + 1
        self._way.transmit(
            self.key, ahead(self.sending.next, -1), self.receiving.expected, ACK, self._window(), b"", b""
        )

    # --- inside: the host's socket -------------------------------------------------------------------------

    def _connected(self) -> None:
        self._stop_writing()
        if self._host.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.abort()
            return
        self._begin()

    def _opened(self) -> None:
        self._enter(State.OPEN)
        self._read()

    def _read(self) -> None:
        """Move what the host has sent to the guest, as far as there is room."""
        if self.state is not State.OPEN or self._host_ended:
            return
        for _ in range(READS_A_TURN):
            room = self.sending.room
            if room < self._most and (room == 0 or self.sending.in_flight):
                self._stop_reading()  # an acknowledgement lets it go on
                return
            if self._way.is_blocked:
                self._stop_reading()
                self._way.waits_for_link(self)
                return
            try:
                size = self._read_some(min(room, self._most))
            except BlockingIOError:
                break
            except OSError:
                self.abort()
                return
            if not size:
                self._host_finished()
                return
            self.sending.send_bytes(size, self._loop.time())
        if not self._reads:
            self._reads = True
            self._loop.add_reader(self._host, self._read)

    def _read_some(self, most: int) -> int:
        """Bytes to `Sending.space`; 0: the host has ended. Raises OSError."""
        words = self.slot.words
        words[TOUCHES] = 1
        try:
            size = self._host.recv_into(self.sending.space(most))
        except BlockingIOError:
            words[TOUCHES] = 0
            raise
        words[TOUCHES] = 0
        return size

    def _host_finished(self) -> None:
        self._host_ended = True
        self.slot.words[HOST_ENDED] = 1
        self._stop_reading()
        self.sending.send_mark(FIN | ACK, self._loop.time())
        self._fin = self.sending.next

    def _wait_to_write(self) -> None:
        if not self._writes:
            self._writes = True
            self._loop.add_writer(self._host, self._write)

    def _write(self) -> None:
        try:
            is_all = self.receiving.write()
        except OSError:
            self.abort()
            return
        if self._told_window < WINDOW // 2 <= self.receiving.room:
            self.acknowledge()
        if not is_all:
            return
        self._stop_writing()
        if self.receiving.has_ended:
            self.receiving.end_writing()
            self._settle()

    def _stop_reading(self) -> None:
        if self._reads:
            self._loop.remove_reader(self._host)
            self._reads = False

    def _stop_writing(self) -> None:
        if self._writes:
            self._loop.remove_writer(self._host)
            self._writes = False

    def _close(self) -> None:
        self._enter(State.GONE)
        if self._asks_again is not None:
            self._asks_again.cancel()
        self._stop_reading()
        self._stop_writing()
        self.receiving.forget()
        self._host.close()
        self._way.gone(self)


def _any_number() -> int:
    return int.from_bytes(os.urandom(4), "big")
