"""The network server's errors as the `OSError`s that Python's sockets raise."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from libsel4py.errors import InvalidCapability, ServerDied, TooManyDeferred
from libsel4py.interfaces import network
from libsel4py.interfaces.network import NetworkError

# The last one: the server was given up, and its endpoint is gone; or it has another one since.
FAILURES: Final = (NetworkError, TooManyDeferred, ServerDied, InvalidCapability)
ERRNO: Final[dict[type[NetworkError], int]] = {
    network.NotPermitted: errno.EACCES,
    network.BadAddress: errno.EINVAL,
    network.AddressInUse: errno.EADDRINUSE,
    network.AddressNotHere: errno.EADDRNOTAVAIL,
    network.Refused: errno.ECONNREFUSED,
    network.Reset: errno.ECONNRESET,
    network.Unreachable: errno.ENETUNREACH,
    network.TimedOut: errno.ETIMEDOUT,
    network.NotConnected: errno.ENOTCONN,
    network.IsConnected: errno.EISCONN,
    network.Closed: errno.EPIPE,
    network.TooLong: errno.EMSGSIZE,
    network.TooManySockets: errno.EMFILE,
    network.StaleSocket: errno.EBADF,
    network.NoNetwork: errno.ENETDOWN,
}
NAME_ERRNO: Final[dict[type[NetworkError], int]] = {
    network.NameUnknown: socket.EAI_NONAME,
    network.NameServerFailed: socket.EAI_AGAIN,
}


def os_error(error: NetworkError | TooManyDeferred | InvalidCapability | OSError) -> OSError:
    """The OSError (of the subclass of its errno; `socket.gaierror` for names) that means the same."""
    if isinstance(error, OSError):
        return error
    if isinstance(error, InvalidCapability):
        return OSError(errno.ENETDOWN, f"the network server is gone: {error}")
    if isinstance(error, TooManyDeferred):
        return OSError(errno.ENOBUFS, str(error))
    text = str(error.args[0]) if error.args else type(error).__name__
    if type(error) in NAME_ERRNO:
        return socket.gaierror(NAME_ERRNO[type(error)], text)
    return OSError(ERRNO.get(type(error), errno.EIO), text)


@contextmanager
def as_os_error() -> Iterator[None]:
    """Raise the block's `FAILURES` as OSErrors. (`Timeout` and `ServerDied` are OSErrors already.)"""
    try:
        yield
    except (NetworkError, TooManyDeferred, InvalidCapability) as error:
        raise os_error(error) from error
