"""How a connection's segments get to the guest, and what it tells who has all of them."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol

from hw.devices.user_network.connection_memory import Key
from hw.iommu import Buffer

if TYPE_CHECKING:
    from hw.devices.user_network.tcp_connection import Connection


class Way(Protocol):
    """`hw.devices.user_network.tcp.Tcp`."""

    @property
    def is_blocked(self) -> bool:
        """The link takes no more; `Connection.resume` is called when it does."""

    @property
    def is_young(self) -> bool:
        """The guest's stack has just begun: who is to listen there may not do so yet."""

    def transmit(
        self, key: Key, sequence: int, acknowledged: int, flags: int, window: int, data: Buffer, options: bytes
    ) -> None: ...

    def begun(self, connection: Connection, host: socket.socket) -> None:
        """It is to outlive this process: `Connection.kept` is called, maybe at once, when it can."""

    def owes_acknowledgement(self, connection: Connection) -> None:
        """Call `acknowledge` at the end of this turn."""

    def waits_for_link(self, connection: Connection) -> None: ...

    def gone(self, connection: Connection) -> None: ...
