"""Forwarded ports: what the host's side listens on, and where in the guest it leads."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import Final

_FORM: Final = re.compile(r"(tcp|udp):([0-9.]*):([0-9]{1,5})-([0-9]{1,5})")
FORM: Final = "write 'tcp:127.0.0.1:8080-80': protocol, the host's address and port (0: any free one), the guest's port"


@dataclass(frozen=True, slots=True)
class Forward:
    """``protocol`` tcp or udp; ``host_port`` 0 is any free one."""

    protocol: str
    host: str
    host_port: int
    guest_port: int

    @classmethod
    def parse(cls, text: str) -> Forward:
        """Raises ValueError, with what would work."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise ValueError(FORM)
        protocol, host, host_port, guest_port = found.groups()
        ports = int(host_port), int(guest_port)
        if ports[0] > 65535 or not 0 < ports[1] <= 65535:
            raise ValueError("a port is at most 65535, and a guest's at least 1")
        try:
            address = ipaddress.IPv4Address(host or "127.0.0.1")
        except ValueError as error:
            raise ValueError(FORM) from error
        return cls(protocol, str(address), *ports)

    def __str__(self) -> str:
        return f"{self.protocol}:{self.host}:{self.host_port}-{self.guest_port}"

    def listen(self) -> socket.socket:
        """The host's socket. Raises OSError: the port is in use, or not for us."""
        kind = socket.SOCK_STREAM if self.protocol == "tcp" else socket.SOCK_DGRAM
        made = socket.socket(socket.AF_INET, kind)
        try:
            if self.protocol == "tcp":
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((self.host, self.host_port))
            if self.protocol == "tcp":
                made.listen(128)
        except OSError:
            made.close()
            raise
        return made
