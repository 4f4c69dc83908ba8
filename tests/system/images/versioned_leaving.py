"""A version that says that its work is done before it serves."""

from __future__ import annotations

import threading

from libsel4py import component
from libsel4py.capabilities import Endpoint
from libsel4py.environment import Slot
from libsel4py.interfaces.parent import Parent
from tests.system.images.versioned import Base


@component
class Main(Base):
    """The server."""

    def start(self) -> None:
        Parent(Endpoint(Slot.PARENT)).exit(0)
        threading.Event().wait()  # nobody answers that: it is ended
