"""Ask for the line that was typed for somebody else, as a request of its own that it repeats.

Stopped by: server
Outside: no, an answer is remembered for its client
"""

from __future__ import annotations

from libsel4py.errors import ServerDied, Timeout
from libsel4py.interfaces.console import Console
from tests.escape.attempt import Stopped
from tests.escape.held import Held, again
from tests.escape.other import SECRET


def attempt(held: Held) -> object:
    console = again(held.to(Console, "console"), held.told().console)
    try:
        return console.read_line("other> ") == SECRET.decode()
    except (ServerDied, Timeout) as refused:
        raise Stopped(f"{refused}") from None
