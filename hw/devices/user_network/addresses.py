"""Who is who on the guest's network, as in QEMU's user network; for IPv6 a prefix of its own."""

from __future__ import annotations

import ipaddress
from typing import Final

GATEWAY_MAC: Final = bytes.fromhex("525400123502")
BROADCAST_MAC: Final = b"\xff" * 6

GATEWAY: Final = ipaddress.IPv4Address("10.0.2.2").packed
DNS: Final = ipaddress.IPv4Address("10.0.2.3").packed
GUEST: Final = ipaddress.IPv4Address("10.0.2.15").packed
NETMASK: Final = ipaddress.IPv4Address("255.255.255.0").packed
NETWORK: Final = ipaddress.IPv4Network("10.0.2.0/24")

PREFIX: Final = ipaddress.IPv6Address("fd00::").packed
GATEWAY6: Final = ipaddress.IPv6Address("fd00::2").packed
DNS6: Final = ipaddress.IPv6Address("fd00::3").packed
LINK_LOCAL6: Final = ipaddress.IPv6Address("fe80::2").packed
NETWORK6: Final = ipaddress.IPv6Network("fd00::/64")

OURS: Final = frozenset((GATEWAY, DNS, GATEWAY6, DNS6, LINK_LOCAL6))

HostAddress = tuple[str, int]


def host_address(target: bytes, port: int, resolver: HostAddress | None) -> HostAddress | None:
    """Where a guest's packet to ``target`` goes on the host; None: nowhere.

    The gateway is the host's own loopback, the DNS address the host's resolver (port 53 alone).
    """
    if target in (GATEWAY, LINK_LOCAL6, GATEWAY6):
        return ("127.0.0.1" if target == GATEWAY else "::1", port)
    if target in (DNS, DNS6):
        return resolver if port == 53 else None
    address = ipaddress.ip_address(target)
    if address.is_multicast or address.is_loopback or address.is_unspecified or address.is_link_local:
        return None
    if address in NETWORK or address in NETWORK6 or target == b"\xff" * 4:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return None  # the IPv4 address that it means would go past these checks
    return (str(address), port)


def resolver_of(text: str) -> HostAddress | None:
    """The first name server of a resolv.conf(5); None: it has none."""
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                return (str(ipaddress.ip_address(words[1].partition("%")[0])), 53)
            except ValueError:
                continue
    return None
