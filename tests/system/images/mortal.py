"""A server that ends, or stops to answer, in each way that there is, on order."""

# mypy: disable-error-code="empty-body"

from __future__ import annotations

import ctypes
import os

from libsel4py import component
from libsel4py.capabilities import Endpoint
from libsel4py.environment import Slot
from libsel4py.errors import ServiceError
from libsel4py.interface import Interface, raises
from libsel4py.interfaces.parent import Parent
from libsel4py.lowlevel.syscalls import Message, send
from libsel4py.signature import Word

NOBODY = 1 << 40  # no CNode has so many slots


class NotNow(ServiceError):
    """Never raised; a server that must be told from one that raises."""


class Mortal(Interface):
    """Its lives, and how they end."""

    def life(self) -> Word:
        """A number that no other life has: its process's."""

    @raises(NotNow)
    def leave(self, status: int) -> None:
        """End the process, with this exit status."""

    def touch_nothing(self) -> None:
        """Read where no memory is."""

    def call_nobody(self) -> None:
        """Call by an address at which there is no capability."""

    def turn(self) -> None:
        """Do something for ever."""

    def empty(self) -> None:
        """Delete what it was given, but what it must have to serve on, and its pool, which nobody could give again."""


@component
class Main(Mortal):
    """The server. With the setting ``stillborn`` it ends before it serves; with ``usurped``, a process that stands by
    for it says that it is done, and then uses what is the task's."""

    def prepare(self) -> None:
        environment = self.task.environment
        if environment.configuration.get("usurped") and environment.stands_by:
            Parent(Endpoint(Slot.PARENT)).exit(0)
            send(next(iter(environment.provides.values())).cptr, Message())

    def start(self) -> None:
        if self.task.environment.configuration.get("stillborn"):
            raise RuntimeError("it was to be so")

    def life(self) -> Word:
        return Word(os.getpid())

    def leave(self, status: int) -> None:
        os._exit(status)

    def touch_nothing(self) -> None:
        ctypes.string_at(8)

    def call_nobody(self) -> None:
        send(NOBODY, Message())

    def turn(self) -> None:
        while True:
            pass

    def empty(self) -> None:
        served = {provided.cptr for provided in self.task.environment.provides.values()}
        kept = {Slot.CNODE, Slot.PARENT, Slot.REPLY, Slot.POOL, *served}
        for slot in range(1, self.task.environment.first_free_slot):
            if slot not in kept:
                self.task.cnode.delete(slot)
