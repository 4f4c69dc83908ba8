"""Sockets as Python programs know them, over the network server: `Net` has a session there, and makes them.

    net = Net(self.uses.network)
    with net.create_connection(("example.org", 80), timeout=5) as sock:
        sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        page = sock.makefile("rb").read()

A `NetSocket` has the methods of Python's `socket.socket` that programs use, with the same meaning, and raises the same
`OSError`s. It has no descriptor: what waits by `select` does not work with it, and asyncio has `libsel4py.net_aio`.

Rules: a call moves at most `Net.window_bytes`, by a window of the session's buffer that is the calling thread's
meanwhile, so that no bytes of two sockets meet. Who waits keeps its window, which saves two calls; but nobody waits
with the last one, so that any number of threads may wait at one time.

When the network server was started again, the call that finds that out opens another session. Its connections are
broken off (`ConnectionResetError`); a socket that listens, and one for datagrams, is made again at the same port, with
the same other side, and the call goes on. Connections that nobody has accepted, and datagrams on their way, are lost,
and so is an answer to whom only the former life has heard, unless a rule permits to send there unasked.
"""

from __future__ import annotations

import errno

from libsel4py.interfaces.network import MOST_BACKLOG, NetworkError
from libsel4py.net_session import MOST_TRIES, NetSession
from libsel4py.net_socket import (
    AF_INET,
    AF_INET6,
    KINDS,
    SOCK_DGRAM,
    SOCK_STREAM,
    VERSIONS,
    NetSocket,
    Place,
)


class Net(NetSession):
    """A session with the network server, and its sockets. Threads share it."""

    def socket(self, family: int = AF_INET, type: int = SOCK_STREAM) -> NetSocket:  # as `socket.socket` names it
        """A new socket. Raises OSError: too many, or the family or type is none of these."""
        if family not in VERSIONS or type not in KINDS:
            raise OSError("a socket is of AF_INET or AF_INET6, and of SOCK_STREAM or SOCK_DGRAM")
        self.leftovers.settle()
        for _ in range(MOST_TRIES):
            life = self.life
            number = self.ask(lambda session: session.socket(KINDS[type], VERSIONS[family]))
            if self.life is life:  # or it may be of either
                break
        return NetSocket(self, life, number, family, type)

    def create_connection(
        self, address: Place, timeout: float | None = None, source_address: Place | None = None
    ) -> NetSocket:
        """A stream to host (a name, or an address) and port; tries each address of the name.

        Raises:
            OSError: of the last address that was tried. TimeoutError: not in ``timeout`` seconds (None: no limit).
            socket.gaierror: the name has no address.
        """
        failed: OSError | None = None
        for host in self.lookup(address[0], timeout):
            made = self.socket(AF_INET6 if ":" in host else AF_INET)
            try:
                made.settimeout(timeout)
                if source_address is not None:
                    made.bind(source_address)
                made.connect((host, address[1]))
                return made
            except OSError as error:
                failed = error
                made.close()
        raise failed or OSError(f"{address[0]} has no address")

    def create_server(self, address: Place, *, family: int = AF_INET, backlog: int = MOST_BACKLOG) -> NetSocket:
        """A socket that listens; host "" is any address of the family, port 0 any free one. Raises OSError."""
        made = self.socket(family)
        try:
            made.bind(address)
            made.listen(backlog)
        except BaseException:
            made.close()
            raise
        return made

    def create_servers(self, address: Place, *, backlog: int = MOST_BACKLOG) -> list[NetSocket]:
        """Sockets that listen at one port, where asyncio's do: host "" is any address, of IPv4 and of IPv6.

        Raises OSError.
        """
        host, port = address
        if host:
            return [self.create_server(address, family=AF_INET6 if ":" in host else AF_INET, backlog=backlog)]
        for left in reversed(range(MOST_TRIES)):
            first = self.create_server(address, backlog=backlog)
            try:
                place = "", port or first.getsockname()[1]
                return [first, self.create_server(place, family=AF_INET6, backlog=backlog)]
            except OSError as error:
                first.close()
                if port or not left or error.errno != errno.EADDRINUSE:  # or another's that the first one is free of
                    raise
        raise AssertionError("the last try has raised")


__all__ = ["AF_INET", "AF_INET6", "SOCK_DGRAM", "SOCK_STREAM", "Net", "NetSocket", "NetworkError"]
