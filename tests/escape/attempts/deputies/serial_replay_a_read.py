"""Ask for bytes that somebody else has read, as a request of its own that it repeats.

Stopped by: server
Outside: no, an answer is remembered for its client
"""

from __future__ import annotations

from libsel4py.errors import ServerDied, Timeout
from libsel4py.interface import with_timeout
from libsel4py.interfaces.serial import Serial
from tests.escape.attempt import Stopped
from tests.escape.held import Held, again
from tests.escape.other import SECRET


def attempt(held: Held) -> object:
    for lane in (held.told().console, held.told().store, (0, 1), (1, 1)):
        try:
            if SECRET[:4] in again(with_timeout(held.to(Serial, "serial"), 0.1), lane).read():
                return True
        except (ServerDied, Timeout):
            continue
    raise Stopped("nothing came")
