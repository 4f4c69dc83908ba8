"""Capabilities that the server makes: its own endpoint with a badge, one for each directory and open file.

Rules: a badge is given once and never again, not by a later life of the server either: the endpoint and what was minted
of it live on, so a life begins at a number that nobody can expect. A capability is on its way until the next request;
it needs one slot, whose content is replaced by the next one.
"""

from __future__ import annotations

import os
from typing import Final

from libsel4py.abi import Rights
from libsel4py.capabilities import Endpoint
from libsel4py.task import Task

FIRST_BADGE: Final = 1 << 40  # those of the description's connections are below
_LIFE_BITS: Final = 61  # of a life's first badge; faults of paged tasks and signals have higher bits
_CALL: Final = Rights.WRITE | Rights.GRANT_REPLY
_CALL_AND_GIVE: Final = Rights.WRITE | Rights.GRANT | Rights.GRANT_REPLY


class Badges:
    """Makes badged capabilities of one endpoint. Raises OutOfSlots."""

    def __init__(self, endpoint: Endpoint, task: Task) -> None:
        self._endpoint = endpoint
        self._task = task
        self._slot = task.slots.allocate()
        self._last = FIRST_BADGE + (int.from_bytes(os.urandom(8), "little") >> (64 - _LIFE_BITS))

    def new(self) -> int:
        """A badge that there never was."""
        self._last += 1
        return self._last

    def directory(self, badge: int) -> Endpoint:
        """The capability to hand out with the next reply. It can bring capabilities: pools, memory, notifications."""
        return self._mint(badge, _CALL_AND_GIVE)

    def file(self, badge: int) -> Endpoint:
        """The same of a file, to which no capability is ever sent."""
        return self._mint(badge, _CALL)

    def _mint(self, badge: int, rights: Rights) -> Endpoint:
        cnode = self._task.cnode
        cnode.delete(self._slot)
        cnode.mint(self._slot, cnode, self._endpoint.cptr, badge, rights)
        return Endpoint(self._slot)
