"""Tell the reincarnation server of another task's fault and of its end, and let it go on.

Stopped by: server
Outside: no, it goes by the badge
"""

from __future__ import annotations

import contextlib

from libsel4py import abi
from libsel4py.errors import Timeout
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.supervision import Supervision
from libsel4py.lowlevel.syscalls import Message
from tests.escape.held import Held


def attempt(held: Held) -> object:
    supervision = held.to(Supervision, "supervision")
    before = supervision.supervised()
    assert any(each.name == "attacker" for each in before), before
    for label in abi.FaultLabel:
        for words in ((0, 0, 0, abi.ExceptionNumber.DEATH, 9), (1, 2, 3, 4), ()):
            with contextlib.suppress(Timeout):
                endpoint_of(supervision).call(Message(label, words), 0.2)
            endpoint_of(supervision).nb_send(Message(label, words))
    after = supervision.supervised()
    return [(each.standing, each.failures) for each in after] != [(each.standing, each.failures) for each in before]
