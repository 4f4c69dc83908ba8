# mypy: disable-error-code="empty-body"
"""The network: what a client may do there is its capability's rules, and it makes its sockets by that capability.

    session = Network(network.session(pool))        # what its sockets cost is counted against the pool
    session.attach(space.share())                   # where bytes to send lie, and bytes that came go to
    number = session.socket(Kind.STREAM, 4)
    session.connect(number, "10.0.2.2", 80, FOREVER)
    session.send(number, length, at, FOREVER)       # registers only: by channel, no system call

A session names its sockets by number. A socket can be handed on as a capability of its own (`hand_on`, `Socket`).
A number is never given twice; a session and all that is in it ends at `close`, and when its pool is taken back.

Rules are texts (`narrow`), each of which permits something: "connect tcp PREFIX[:PORTS]", "connect udp PREFIX[:PORTS]",
"listen tcp PORTS", "listen udp PORTS", "resolve", "ping PREFIX", and "all". PREFIX is an address, a prefix as
10.0.2.0/24 or [fd00::]/8, or *; PORTS is 80, 8000-8099 or *. What no rule permits is `NotPermitted`.

Addresses are texts of numbers (IPv4 or IPv6); `lookup` makes them of names. Time limits are nanoseconds: 0 does not
wait, `FOREVER` has no limit. What is not there in time is `AGAIN`, which is a value and no error.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

import msgspec

from libsel4py.capabilities import Endpoint, Notification, Untyped
from libsel4py.dataspace import SharedMemory
from libsel4py.errors import NotEnoughMemory, ServiceError
from libsel4py.interface import Interface, long_result, raises
from libsel4py.signature import Word

FOREVER: Final = (1 << 63) - 1
AGAIN: Final = (1 << 30) - 1  # as a length or a number: nothing in time
PIECE_BYTES: Final = 800  # of `Socket.send` and `Socket.receive`
MOST_TRANSFER: Final = 1 << 18  # bytes of one `send` or `receive`
MOST_BUFFER_BYTES: Final = 4 << 20
MOST_DATAGRAM: Final = 65507
LEAST_POOL_BITS: Final = 15  # log2 of the smallest pool for a session
SOCKET_BYTES: Final = 1 << 14  # of its pool that each socket of a session stands for, behind the first page
MOST_SOCKETS: Final = 1024  # of one session
MOST_BACKLOG: Final = 64
MOST_HEARD: Final = 64  # by a socket for datagrams: the last from whom one came, who may be answered
MOST_RULES: Final = 64
MOST_RULE_BYTES: Final = 100


class NetworkError(ServiceError):
    """What goes wrong on a network. The first argument says what happened."""


class NotPermitted(NetworkError):
    """No rule of the capability permits this, or it needs a session (EACCES)."""


class BadAddress(NetworkError):
    """The text is no address, port or rule (EINVAL)."""


class AddressInUse(NetworkError):
    """Another socket has this address and port (EADDRINUSE)."""


class AddressNotHere(NetworkError):
    """The address is none of this system's (EADDRNOTAVAIL)."""


class Refused(NetworkError):
    """Nobody listens there (ECONNREFUSED)."""


class Reset(NetworkError):
    """The other side broke the connection off (ECONNRESET)."""


class Unreachable(NetworkError):
    """There is no way there: no route, no link, no neighbour (ENETUNREACH)."""


class TimedOut(NetworkError):
    """The other side did not answer in the time that the protocol gives it (ETIMEDOUT)."""


class NotConnected(NetworkError):
    """The socket has no other side (ENOTCONN)."""


class IsConnected(NetworkError):
    """The socket is connected, listens, or is being connected already (EISCONN)."""


class Closed(NetworkError):
    """This direction was shut down, here or by the other side (EPIPE)."""


class TooLong(NetworkError):
    """The datagram is longer than a datagram can be (EMSGSIZE)."""


class TooManySockets(NetworkError):
    """The session's memory, or the stack's, is used up (EMFILE)."""


class NameUnknown(NetworkError):
    """No server of names knows it (EAI_NONAME)."""


class NameServerFailed(NetworkError):
    """No server of names answers (EAI_AGAIN)."""


class StaleSocket(NetworkError):
    """The socket, the session or the buffer is no more (EBADF)."""


class NoNetwork(NetworkError):
    """The card or its driver is gone; it may come back (ENETDOWN)."""


class Kind(IntEnum):
    """What a socket carries."""

    STREAM = 1  # TCP
    DATAGRAM = 2  # UDP


class Events(IntFlag):
    """What is waited for, and what is there. ERROR need not be asked for.

    READABLE: bytes, the end, a datagram or a connection to accept. WRITABLE: room, or the connection is made.
    CLOSED: the other side sends no more; it is told beside others, and not waited for.
    """

    NONE = 0
    READABLE = 1
    WRITABLE = 2
    ERROR = 4
    CLOSED = 8


class Shut(IntFlag):
    """Directions of `shutdown`."""

    RECEIVE = 1
    SEND = 2


class Address(msgspec.Struct, frozen=True, array_like=True):
    """One end. A socket that has none says "" and 0."""

    host: str
    port: int


class Accepted(msgspec.Struct, frozen=True, array_like=True):
    """A connection that came: its number in the session (`AGAIN`: none came in time), and who it is."""

    socket: int
    peer: Address


class Datagram(msgspec.Struct, frozen=True, array_like=True):
    """One that came. ``length`` is how many bytes are in the buffer (`AGAIN`: none came in time); ``is_cut``: it
    was longer, and the rest is lost."""

    length: int
    peer: Address
    is_cut: bool = False


class Ready(msgspec.Struct, frozen=True, array_like=True):
    """A socket for which something that was asked for is there."""

    socket: int
    events: int


class InterfaceState(msgspec.Struct, frozen=True, array_like=True):
    """One of the stack's interfaces.

    Attributes:
        name: "en0". addresses: with the prefix's length, as "10.0.2.15/24". gateways, name_servers: addresses.
        received, sent: frames, and with ``_bytes`` their bytes. dropped: frames for which there was no memory.
    """

    name: str
    mac: str
    mtu: int
    is_up: bool
    addresses: list[str]
    gateways: list[str]
    name_servers: list[str]
    received: int = 0
    received_bytes: int = 0
    sent: int = 0
    sent_bytes: int = 0
    dropped: int = 0


Texts = list[str]
InterfaceStates = list[InterfaceState]
AllReady = list[Ready]


class Network(Interface):
    """What one may do on the network. All methods raise `NetworkError`s, of the kinds above."""

    @raises(NotEnoughMemory)
    def session(self, pool: Untyped) -> Endpoint:
        """The same rules, as a capability with a session of its own.

        It ends at `close`, and when the memory is taken back: its connections are broken off then.

        Raises:
            NotEnoughMemory: fewer than 2**`LEAST_POOL_BITS` bytes. TooManySockets: the client has too many sessions.
        """

    def attach(self, memory: SharedMemory) -> None:
        """The data space that the session's sockets send from and receive to, in the place of a former one.

        Raises:
            NotADataSpace: it is none, larger than `MOST_BUFFER_BYTES`, or of more than 8 frames.
        """

    def close(self) -> None:
        """End the session. Raises NotPermitted: this capability has none."""

    def life(self) -> Endpoint:
        """What ends with this life of the server, for a `DeathNotice`: a capability without rights."""

    def narrow(self, rules: Texts) -> Endpoint:
        """A capability to hand on, that may do what both these rules and this one's permit.

        Of a session it ends with it; else it stays, and asking twice gives the same. Raises BadAddress: no such rule.
        """

    @long_result
    def rules(self) -> Texts:
        """What this capability permits: each line is one rule, after "also " one that limits those before."""

    @long_result
    def interfaces(self) -> InterfaceStates:
        """The stack's interfaces, with addresses and counts."""

    def lookup(self, name: str, time_limit: int) -> Texts:
        """Addresses of a name, best first; of an address itself. Needs the rule "resolve".

        Raises:
            BadAddress (no name: empty, too long, or one between two dots is), NameUnknown, NameServerFailed (also when
                the time is over).
        """

    def ping(self, host: str, size: int, time_limit: int) -> int:
        """Send an ICMP echo request of ``size`` bytes; the nanoseconds until its answer came, or -1: none in time.

        Nobody waits longer than a minute.
        """

    # --- sockets, by number

    def socket(self, kind: Word, version: Word) -> Word:
        """A new socket of a `Kind`, for IPv4 (``version`` 4) or IPv6 (6)."""

    def bind(self, socket: int, host: str, port: int) -> int:
        """Give it an address of its own; ``host`` "" is any, port 0 any free one. Returns the port. Needs "listen"."""

    def listen(self, socket: Word, backlog: Word) -> None:
        """Take connections. Raises AddressInUse, NotPermitted."""

    def accept(self, socket: int, time_limit: int) -> Accepted:
        """The next connection that came, as a socket of the session."""

    def connect(self, socket: int, host: str, port: int, time_limit: int) -> bool:
        """Make a connection; of a datagram socket, its other side. False: not in time, it goes on (`wait` WRITABLE)."""

    def send(self, socket: Word, length: Word, at: Word, time_limit: Word) -> Word:
        """Send bytes of the buffer from ``at`` on; returns how many were taken, at least one, or `AGAIN`.

        Within the time limit all are, unless the stream breaks. Of a datagram socket all or none. They are copied when
        this returns: the buffer may be used again.
        """

    def receive(self, socket: Word, length: Word, at: Word, time_limit: Word) -> Word:
        """Bytes that came, to ``at`` in the buffer; how many, or `AGAIN`. 0: the other side sends no more."""

    def send_to(self, socket: int, length: int, at: int, to: Address) -> bool:
        """Send a datagram. False: there is no room now."""

    def receive_from(self, socket: int, length: int, at: int, time_limit: int) -> Datagram:
        """The next datagram, with who sent it."""

    def wait(self, socket: Word, events: Word, time_limit: Word) -> Word:
        """Wait for `Events`; returns which are there, 0 if none is in time."""

    def ends(self, socket: Word) -> tuple[Address, Address]:
        """The socket's own address and its peer's."""

    def shutdown(self, socket: Word, how: Word) -> None:
        """End one direction, or both (`Shut`). The other side sees the end of what was sent."""

    def set_prompt(self, socket: Word, prompt: bool) -> None:
        """Send small pieces at once (TCP_NODELAY), or gather them."""

    def close_socket(self, socket: Word) -> None:
        """Close it. What was sent is still delivered. Raises StaleSocket: there is none of this number."""

    def hand_on(self, socket: Word) -> Endpoint:
        """A `Socket` capability of it, for another task. It ends with the socket."""

    # --- many sockets at once

    def watch(self, wake: Notification) -> None:
        """Signal this when `ready` has something to say, and had nothing before."""

    def arm(self, socket: Word, events: Word) -> None:
        """Tell of these `Events` once, by `ready`; of what is there already as well. 0: tell of none any more."""

    @long_result
    def ready(self) -> AllReady:
        """The sockets of which something was to be told, since the last call."""


class Socket(Interface):
    """One socket, for who was handed it. Bytes travel in the message."""

    def send(self, data: bytes, time_limit: Word) -> Word:
        """Send at most `PIECE_BYTES`; as `Network.send`."""

    def receive(self, length: Word, time_limit: Word) -> bytes | None:
        """At most `PIECE_BYTES` that came; b"" at the end, None if none came in time."""

    def wait(self, events: Word, time_limit: Word) -> Word:
        """As `Network.wait`."""

    def ends(self) -> tuple[Address, Address]:
        """As `Network.ends`."""

    def shutdown(self, how: Word) -> None:
        """As `Network.shutdown`."""

    def close(self) -> None:
        """As `Network.close_socket`."""
