"""The stack's settings in the server's configuration.

addresses = "dhcp"                          # the default; or "10.0.2.15/24, fd00::2/64", or both
gateways = "10.0.2.2"                       # one of each version
name_servers = "10.0.2.3, 1.1.1.1"          # without it those that DHCP tells of
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from libsel4py.environment import Value

if TYPE_CHECKING:
    from servers.network.protocols import NetInterface, TcpIp

DHCP: Final = "dhcp"


@dataclass(frozen=True, slots=True)
class Settings:
    """What was said. ``dhcp``: ask for an address."""

    dhcp: bool
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]
    name_servers: tuple[str, ...]

    def apply(self, stack: TcpIp, interface: NetInterface) -> None:
        """Let the stack have them."""
        for prefix in self.addresses:
            interface.add_address(prefix)
        for gateway in self.gateways:
            interface.set_gateway(gateway)
        if self.name_servers:
            stack.set_name_servers(list(self.name_servers))
        if self.dhcp:
            interface.start_dhcp()


def settings_of_description(configuration: Mapping[str, Value]) -> Settings:
    """Raises ValueError, with the setting and what would have been right."""
    addresses = _words(configuration, "addresses") or [DHCP]
    prefixes = [text for text in addresses if text != DHCP]
    for prefix in prefixes:
        if "/" not in prefix:
            raise ValueError(f'addresses = {prefix!r}: write the length of its prefix as well, "10.0.2.15/24" say')
        _check("addresses", prefix, ipaddress.ip_interface)
    gateways, servers = _words(configuration, "gateways"), _words(configuration, "name_servers")
    for name, texts in (("gateways", gateways), ("name_servers", servers)):
        for text in texts:
            _check(name, text, ipaddress.ip_address)
    return Settings(DHCP in addresses, tuple(prefixes), tuple(gateways), tuple(servers))


def _words(configuration: Mapping[str, Value], name: str) -> list[str]:
    given = configuration.get(name, "")
    texts = given if isinstance(given, list) else str(given).split(",")
    return [str(text).strip() for text in texts if str(text).strip()]


def _check(name: str, text: str, parse: object) -> None:
    try:
        parse(text)  # type: ignore[operator]  # one of the two above
    except ValueError as error:
        raise ValueError(f"{name} = {text!r}: {error}") from error
