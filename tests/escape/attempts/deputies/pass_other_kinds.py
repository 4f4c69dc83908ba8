"""Pass capabilities of the wrong kind to every method that takes one, of every server.

Stopped by: server, sdk
Outside: no, they are not what is wanted
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import Timeout
from libsel4py.interface import find_interface, with_timeout
from libsel4py.signature import Kind
from tests.escape.held import REFUSED, Held

PLAIN = {Kind.WORD: 1, Kind.SIGNED: 1, Kind.BOOL: True}
SKIPPED = ("other", "names")  # of which the first is no server, and the second lists what it is given
KEPT = ("install", "publish_capability", "mount", "covers")  # whatever it is: others make something of it
TOLD = ("watch", "bells", "subscribe")  # whatever it is: a signal waits for nobody
SECONDS = 0.5


def attempt(held: Held) -> object:
    passed = 0
    for name, connection in held.task.environment.connections.items():
        if name in SKIPPED:
            continue
        interface = find_interface(connection.interface)
        for method in interface.interface_methods.values():
            taken = [each for each in method.parameters if each.capability is not None]
            if not taken or method.name in KEPT:
                continue
            for cptr in held.strange()[:8]:
                client = with_timeout(held.to(interface, name), SECONDS)
                arguments = [
                    each.capability(cptr) if each.capability is not None else PLAIN.get(each.kind, "")
                    for each in method.parameters
                ]
                passed += 1
                with contextlib.suppress(*REFUSED, Timeout):
                    answer = getattr(client, method.name)(*arguments)
                    if method.name not in TOLD:
                        return answer or True
                    if method.name == "subscribe":
                        client.unsubscribe("")
    assert passed > 50, passed
    return None
