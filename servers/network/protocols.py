"""What the server needs of a TCP/IP stack (`servers.network.stack` is one). One thread calls it, and nothing waits.

Rules: `on_event` of a socket may be called at any time within a call of the stack, and only says that `readable`,
`writable`, `error` or `closed` may have changed; nobody calls the stack from there. Errors are `NetworkError`s.
Hosts are texts of numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from libsel4py.interfaces.network import InterfaceState, NetworkError

if TYPE_CHECKING:
    from typing_extensions import Buffer

End = tuple[str, int]


class StackSocket(Protocol):
    """What streams and datagram sockets have.

    Attributes:
        readable: `recv` or `accept` gives something, or the end. writable: `send` takes something; of a stream that is
            being connected: it is. error: why it is of no use any more. closed: the other side sends no more.
    """

    on_event: Callable[[Any], None] | None

    @property
    def readable(self) -> bool: ...
    @property
    def writable(self) -> bool: ...
    @property
    def error(self) -> NetworkError | None: ...
    @property
    def closed(self) -> bool: ...
    @property
    def local(self) -> End: ...
    @property
    def peer(self) -> End: ...

    def bind(self, host: str, port: int, /) -> None:
        """Raises AddressInUse, AddressNotHere, BadAddress."""

    def connect(self, host: str, port: int, /) -> None:
        """Begin; it is made when `writable`. Raises Unreachable, IsConnected."""

    def send(self, data: bytes, /) -> int:
        """How many bytes were taken: 0 if there is no room; of datagrams all or none. Raises what `error` says."""

    def close(self) -> None:
        """What was sent is still delivered."""

    def abort(self) -> None:
        """Break it off."""


class StreamSocket(StackSocket, Protocol):
    """TCP."""

    def listen(self, backlog: int, /) -> None: ...
    def accept(self) -> StreamSocket | None:
        """A connection that came, or None."""

    def recv(self, length: int, /) -> bytes | None:
        """Up to so many bytes, b"" at the end, None if there is nothing now. Raises what `error` says."""

    def shutdown(self, receive: bool, send: bool, /) -> None: ...
    def set_prompt(self, prompt: bool, /) -> None: ...


class DatagramSocket(StackSocket, Protocol):
    """UDP."""

    def send_to(self, data: bytes, host: str, port: int, /) -> int: ...
    def recv_from(self) -> tuple[bytes, str, int] | None:
        """The next datagram, whole, or None."""


class SocketStack(Protocol):
    """What makes sockets."""

    def stream(self, version: int, /) -> StreamSocket: ...
    def datagrams(self, version: int, /) -> DatagramSocket: ...

    def input(self, frame: Buffer, /) -> None:
        """A frame came."""

    def poll(self) -> float | None:
        """Do what is due; the seconds until there is something more, None if nothing is to come by itself."""

    def resolve(self, name: str, done: Callable[[list[str] | NetworkError], None], /) -> None:
        """Look a name up; ``done`` is told, perhaps at once."""

    def ping(self, host: str, size: int, done: Callable[[], None], /) -> Callable[[], None]:
        """Send an echo request; ``done`` is called when the answer came. What is returned forgets it. Raises
        Unreachable."""

    def interfaces(self) -> list[InterfaceState]: ...


class NetInterface(Protocol):
    """One of the stack's interfaces. Prefixes are written as "10.0.2.15/24", "fd00::2/64"."""

    def set_up(self, up: bool, /) -> None:
        """There is a link, or none."""

    def add_address(self, prefix: str, /) -> None:
        """Raises BadAddress."""

    def set_gateway(self, host: str, /) -> None:
        """Raises BadAddress."""

    def start_dhcp(self) -> None:
        """Ask for an IPv4 address, gateway and name servers, and keep them."""


class TcpIp(SocketStack, Protocol):
    """A stack with interfaces."""

    def add_interface(self, mac: bytes, mtu: int, transmit: Callable[[bytes], None], /) -> NetInterface:
        """An interface that sends by a function. Of IPv6 it has its link-local address, and what routers say."""

    def set_name_servers(self, hosts: list[str], /) -> None:
        """Ask these for names. Raises BadAddress."""
