"""Sending descriptors where the host lets a user have only so many on their way: unix(7), ETOOMANYREFS.

Those are counted together for all processes of a user, a task's that does not read what it is sent among them, and the
host tells nobody when some have been taken. So who sends tries again, for as long as whoever waits can bear.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Sequence
from typing import Final

GAP_S: Final = 0.001


def send_descriptors(channel: socket.socket, data: bytes, descriptors: Sequence[int], seconds: float) -> None:
    """`socket.send_fds`, which waits up to ``seconds`` until there is room for them on their way.

    Raises:
        TimeoutError: there is none, ETOOMANYREFS. And what the socket raises, which keeps its own time-out.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            socket.send_fds(channel, [data], descriptors)
            return
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:
                raise
            if time.monotonic() > until:
                raise TimeoutError(error.errno, error.strerror) from error
        time.sleep(GAP_S)
