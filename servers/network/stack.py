"""The TCP/IP stack: lwIP, as the network server uses it (`servers.network.protocols`). One of them a process.

lwIP (BSD) is compiled from its own source with a shim (`_lwip`), which knows sockets by number and says at which of
them something happened. Nothing here waits; everything runs in one thread. After each call sockets are told.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from libsel4py.interfaces.network import (
    AddressInUse,
    AddressNotHere,
    BadAddress,
    Closed,
    InterfaceState,
    IsConnected,
    NameServerFailed,
    NameUnknown,
    NetworkError,
    NotConnected,
    Refused,
    Reset,
    TimedOut,
    TooLong,
    TooManySockets,
    Unreachable,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

import servers.network._lwip as _lwip  # without lwIP at the build, a folder with nothing to import in it

End = tuple[str, int]
QUIET_SECONDS: Final = 2.0
TIMERS_FIRST: Final = 0xFFFF_FFFF  # lwIP's: no timer
ECHOES: Final = 1 << 16
# lwIP's err_t.
_MEMORY, _TIMEOUT, _ROUTE, _VALUE, _WOULD_BLOCK, _IN_USE, _IS_CONNECTED, _NOT_CONNECTED = (
    -1,
    -3,
    -4,
    -6,
    -7,
    -8,
    -10,
    -11,
)
_INTERFACE, _ABORTED, _RESET, _CLOSED, _ARGUMENT = -12, -13, -14, -15, -16
_ERRORS: Final[dict[int, type[NetworkError]]] = {
    _MEMORY: TooManySockets,
    _TIMEOUT: TimedOut,
    _ROUTE: Unreachable,
    _VALUE: BadAddress,
    _IN_USE: AddressInUse,
    _IS_CONNECTED: IsConnected,
    _NOT_CONNECTED: NotConnected,
    _INTERFACE: Unreachable,
    _ABORTED: TimedOut,
    _RESET: Reset,
    _CLOSED: Closed,
    _ARGUMENT: BadAddress,
}


def is_built() -> bool:
    """Whether this tree was built with lwIP."""
    return hasattr(_lwip, "begin")


def _meaning(error: OSError, what: str) -> NetworkError:
    return _ERRORS.get(error.args[0], Unreachable)(f"{what}: {_words(error.args[0])}")


def _words(code: int) -> str:
    known = {
        _MEMORY: "there is no memory for it",
        _TIMEOUT: "the other side does not answer",
        _ROUTE: "there is no way there",
        _VALUE: "that is no address",
        _IN_USE: "another socket has this address and port",
        _IS_CONNECTED: "it is connected, or listens",
        _NOT_CONNECTED: "it is not connected",
        _ABORTED: "the connection was given up",
        _RESET: "the other side has broken it off",
        _CLOSED: "this direction is closed",
    }
    return known.get(code, f"lwIP says {code}")


class _Socket:
    """What both kinds have."""

    def __init__(self, stack: Stack, number: int) -> None:
        self.on_event: Callable[[Any], None] | None = None
        self._stack = stack
        self._number = number
        stack.sockets[number] = self

    @property
    def readable(self) -> bool:
        return bool(_lwip.state(self._number)[0])

    @property
    def writable(self) -> bool:
        return bool(_lwip.state(self._number)[1])

    @property
    def closed(self) -> bool:
        return bool(_lwip.state(self._number)[2])

    @property
    def error(self) -> NetworkError | None:
        return None

    @property
    def local(self) -> End:
        end: End = _lwip.ends(self._number)[0]
        return end

    @property
    def peer(self) -> End:
        end: End = _lwip.ends(self._number)[1]
        return end

    def close(self) -> None:
        """What was sent is still delivered. The object is of no use any more."""
        self._end(_lwip.close)

    def abort(self) -> None:
        """Break it off."""
        self._end(_lwip.end)

    def _end(self, end: Callable[[int], None]) -> None:
        number, self._number = self._number, -1
        if number >= 0:
            self._stack.sockets.pop(number, None)
            end(number)
            self._stack.happened()

    def _do(self, what: str, function: Callable[..., Any], *arguments: object) -> Any:  # what lwIP's function gives
        try:
            result = function(self._number, *arguments)
        except OSError as error:
            raise _meaning(error, what) from error
        self._stack.happened()
        return result


class TcpSocket(_Socket):
    """A stream, or a listener (`StreamSocket`)."""

    @property
    def error(self) -> NetworkError | None:
        *_, code, was_connected = _lwip.state(self._number)
        if not code:
            return None
        if code == _RESET and not was_connected:
            return Refused("nobody listens there")
        return _ERRORS.get(code, Reset)(_words(code))

    def bind(self, host: str, port: int, /) -> None:
        self._stack.ensure_here(host)
        self._do(f"{host}:{port}", _lwip.stream_bind, host, port)

    def connect(self, host: str, port: int, /) -> None:
        self._do(f"{host}:{port}", _lwip.stream_connect, host, port)

    def listen(self, backlog: int, /) -> None:
        self._do("listen", _lwip.listen, backlog)

    def accept(self) -> TcpSocket | None:
        number = self._do("accept", _lwip.accept)
        return None if number is None else TcpSocket(self._stack, number)

    def send(self, data: bytes, /) -> int:
        count: int = self._do("send", _lwip.send, data)
        return count

    def recv(self, length: int, /) -> bytes | None:
        data: bytes | None = self._do("receive", _lwip.receive, length)
        return data

    def shutdown(self, receive: bool, send: bool, /) -> None:
        self._do("shut down", _lwip.shutdown, receive, send)

    def set_prompt(self, prompt: bool, /) -> None:
        self._do("set", _lwip.set_prompt, prompt)


class UdpSocket(_Socket):
    """Datagrams (`DatagramSocket`)."""

    def bind(self, host: str, port: int, /) -> None:
        self._stack.ensure_here(host)
        self._do(f"{host}:{port}", _lwip.datagrams_bind, host, port)

    def connect(self, host: str, port: int, /) -> None:
        self._do(f"{host}:{port}", _lwip.datagrams_connect, host, port)

    def send(self, data: bytes, /) -> int:
        if not self.peer[0]:
            raise NotConnected("this socket is not connected: say where to send")
        return self._send(data, None, 0)

    def send_to(self, data: bytes, host: str, port: int, /) -> int:
        return self._send(data, host, port)

    def recv_from(self) -> tuple[bytes, str, int] | None:
        found: tuple[bytes, str, int] | None = self._do("receive", _lwip.receive_from)
        return found

    def _send(self, data: bytes, host: str | None, port: int) -> int:
        if len(data) > 65507:
            raise TooLong(f"a datagram of {len(data)} bytes")
        try:
            self._do("send", _lwip.send_to, data, host, port)
        except TooManySockets:
            return 0  # no memory now: the network loses datagrams as well
        return len(data)


class Interface:
    """A network interface (`NetInterface`)."""

    def __init__(self, stack: Stack, number: int, mac: bytes, mtu: int) -> None:
        self._stack = stack
        self._number = number
        self._mac = mac
        self._mtu = mtu

    def set_up(self, up: bool, /) -> None:
        _lwip.set_up(self._number, up)
        self._stack.happened()

    def add_address(self, prefix: str, /) -> None:
        try:
            found = ipaddress.ip_interface(prefix)
            _lwip.add_address(self._number, str(found.ip), found.network.prefixlen)
        except (ValueError, OSError) as error:
            raise BadAddress(f"{prefix} cannot be an address here: {error}") from error

    def set_gateway(self, host: str, /) -> None:
        try:
            _lwip.set_gateway(self._number, str(ipaddress.ip_address(host)))
        except (ValueError, OSError) as error:
            raise BadAddress(f"{host} cannot be a gateway here: {error}") from error

    def start_dhcp(self) -> None:
        """Ask for an IPv4 address, gateway and name servers, and keep them."""
        _lwip.start_dhcp(self._number)

    def state(self, name: str) -> InterfaceState:
        is_up, addresses, gateways = _lwip.interface(self._number)
        mac = ":".join(f"{byte:02x}" for byte in self._mac)
        return InterfaceState(name, mac, self._mtu, bool(is_up), addresses, gateways, _lwip.name_servers())


class Stack:
    """lwIP (`TcpIp`). Raises RuntimeError: this tree was built without lwIP, or the process has a stack.

    Attributes: ``is_quiet``, whether nothing was under way at the last `poll`: no connection, question or lease.
    """

    def __init__(self) -> None:
        if not is_built():
            raise RuntimeError(
                "this tree was built without lwIP, and there is no other network stack: "
                "set LWIP_SOURCE to an unpacked lwIP 2.1.3 and run make build"
            )
        _lwip.begin()
        self.sockets: dict[int, _Socket] = {}
        self._interfaces: list[Interface] = []
        self._names: dict[int, tuple[str, Callable[[list[str] | NetworkError], None]]] = {}
        self._echoes: dict[int, Callable[[], None]] = {}
        self._next_name = self._next_echo = 0
        self.is_quiet = True

    def add_interface(self, mac: bytes, mtu: int, transmit: Callable[[bytes], None], /) -> Interface:
        """An interface that sends by a function, which calls nothing here."""
        made = Interface(self, _lwip.add_interface(mac, mtu, transmit), mac, mtu)
        self._interfaces.append(made)
        return made

    def set_name_servers(self, hosts: list[str], /) -> None:
        try:
            _lwip.set_name_servers(*hosts)
        except OSError as error:
            raise BadAddress(f"{', '.join(hosts)}: not all of them are addresses") from error

    def stream(self, version: int, /) -> TcpSocket:
        return TcpSocket(self, self._new(_lwip.stream, version))

    def datagrams(self, version: int, /) -> UdpSocket:
        return UdpSocket(self, self._new(_lwip.datagrams, version))

    def input(self, frame: Buffer, /) -> None:
        """A frame came at the first interface."""
        _lwip.input(0, frame)
        self.happened()

    def poll(self) -> float | None:
        """Do what is due; the seconds until there is something more.

        While nothing is under way, the timers only let addresses and fragments age: they bear to be late, and an idle
        system is not woken for them so often.
        """
        wait, is_quiet = _lwip.poll()
        self.happened()
        self.is_quiet = is_quiet and not self._names and not self._echoes
        if wait == TIMERS_FIRST:
            return None
        return max(wait / 1000, QUIET_SECONDS) if self.is_quiet else wait / 1000

    def send_again(self) -> None:
        """All that connections have on their way is lost: they send it again now, and do not wait to miss it."""
        _lwip.send_again()
        self.happened()

    def resolve(self, name: str, done: Callable[[list[str] | NetworkError], None], /) -> None:
        """Look a name up; ``done`` is told, perhaps at once."""
        token = self._next_name = self._next_name + 1
        try:
            found = _lwip.resolve(name, token)
        except OSError as error:
            done(
                NameUnknown(f"{name!r} is no name")
                if error.args[0] == _ARGUMENT
                else NameServerFailed(_words(error.args[0]))
            )
            return
        if found is None:
            self._names[token] = (name, done)
        else:
            done([found])

    def ping(self, host: str, size: int, done: Callable[[], None], /) -> Callable[[], None]:
        """Send an echo request; ``done`` is called when the answer came. What is returned forgets it."""
        number = self._next_echo = (self._next_echo + 1) % ECHOES
        try:
            _lwip.ping(host, number, size)
        except OSError as error:
            raise _meaning(error, host) from error
        self._echoes[number] = done
        return lambda: self._echoes.pop(number, None) and None

    def interfaces(self) -> list[InterfaceState]:
        return [each.state(f"en{number}") for number, each in enumerate(self._interfaces)]

    # --- what sockets use ----------------------------------------------------------------------------------

    def happened(self) -> None:
        """Tell those at which something happened."""
        numbers = _lwip.events()
        if numbers is not None:
            for number in numbers:
                sock = self.sockets.get(number)
                if sock is not None and sock.on_event is not None:
                    sock.on_event(sock)
        names, echoes = _lwip.answers()
        for token, host in names or ():
            name, done = self._names.pop(token)
            done([host] if host is not None else NameUnknown(f"nobody knows {name}"))
        for _, number in echoes or ():
            answered = self._echoes.pop(number, None)
            if answered is not None:
                answered()

    def ensure_here(self, host: str) -> None:
        """Raises AddressNotHere, BadAddress."""
        try:
            is_here = _lwip.has_address(host)
        except OSError as error:
            raise BadAddress(f"{host!r} is no address") from error
        if not is_here:
            raise AddressNotHere(f"{host} is none of this system's addresses")

    def _new(self, make: Callable[[int], int], version: int) -> int:
        try:
            return make(version)
        except OSError as error:
            raise TooManySockets("the stack has no memory for another socket") from error
