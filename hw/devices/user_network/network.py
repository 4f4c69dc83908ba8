"""The whole network: takes the guest's frames apart, and hands each packet to who answers it.

Rules. Every byte of a frame is the guest's: what is wrong is dropped. The guest's hardware address is that of its
network device; frames of others are answered to where they came from. The process that runs this needs no right but
to open sockets.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from hw.devices.frame_link import FrameLink
from hw.devices.user_network import dhcp
from hw.devices.user_network.addresses import (
    BROADCAST_MAC,
    DNS,
    DNS6,
    GATEWAY,
    GATEWAY_MAC,
    HostAddress,
    host_address,
)
from hw.devices.user_network.connection_memory import ConnectionMemory
from hw.devices.user_network.kept_sockets import KeptSockets
from hw.devices.user_network.neighbours import (
    arp_answer,
    echo_answer,
    icmp6_answer,
    port_unreachable6,
    unreachable,
)
from hw.devices.user_network.packets import (
    ARP,
    ETHERNET_BYTES,
    ICMP,
    ICMP6,
    IPV4,
    IPV6,
    TCP,
    UDP,
    Packet,
    checksum,
    ethernet_header,
    ip_header,
    ip_packet,
    is_sound,
    pseudo_header,
)
from hw.devices.user_network.tcp import Tcp
from hw.devices.user_network.udp import Udp, datagram
from hw.iommu import Buffer

BROADCAST = b"\xff" * 4


@dataclass(frozen=True, slots=True)
class NetworkOptions:
    """``mtu``: of the link. ``outgoing``: whether the guest reaches more than DHCP and the gateway's echo.

    ``resolver``: who answers the guest's DNS requests; None: nobody.
    """

    mac: bytes
    mtu: int = 1500
    outgoing: bool = True
    resolver: HostAddress | None = None


class UserNetwork:
    """``ended`` is called when the other side of the link is gone.

    ``memory``, ``kept``: what connections outlive this process by; without them they end with it.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        end: socket.socket,
        options: NetworkOptions,
        ended: Callable[[], None] = lambda: None,
        memory: ConnectionMemory | None = None,
        kept: KeptSockets | None = None,
    ) -> None:
        self._options = options
        self._to_guest4 = ethernet_header(options.mac, GATEWAY_MAC, IPV4)
        self._to_guest6 = ethernet_header(options.mac, GATEWAY_MAC, IPV6)
        self._kept = kept or KeptSockets(loop, None)
        self.tcp = Tcp(loop, self._send_ip, self._reach, options.mtu, memory or ConnectionMemory(), self._kept)
        self.udp = Udp(loop, self._send_ip, self._reach, self._unreachable, options.mtu)
        self.link = FrameLink(loop, end, self._receive, self.tcp.turn_ended, self.tcp.drained, ended)
        self.tcp.link = self.udp.link = self.link

    def close(self) -> None:
        self.tcp.close()
        self.udp.close()
        self._kept.close()
        self.link.close()

    def _receive(self, frame: bytes) -> None:
        if len(frame) < ETHERNET_BYTES or (frame[:6] not in (GATEWAY_MAC, BROADCAST_MAC) and not frame[0] & 1):
            return
        kind = int.from_bytes(frame[12:14], "big")
        body = memoryview(frame)[ETHERNET_BYTES:]
        if kind == ARP:
            answer = arp_answer(body)
            if answer is not None:
                self.link.send(ethernet_header(frame[6:12], GATEWAY_MAC, ARP) + answer)
            return
        packet = ip_packet(body, kind)
        if packet is None:
            return
        if packet.protocol == TCP:
            if not frame[0] & 1:
                self.tcp.receive(packet)
        elif packet.protocol == UDP:
            self._datagram(packet)
        elif packet.protocol == ICMP and kind == IPV4:
            reply = echo_answer(packet)
            if reply is not None:
                self._send_ip(packet.target, packet.source, ICMP, reply, b"")
        elif packet.protocol == ICMP6 and kind == IPV6:
            self._icmp6(packet)

    def _datagram(self, packet: Packet) -> None:
        found = datagram(packet)
        if found is None:
            return
        ports, data = found
        if ports == (dhcp.CLIENT_PORT, dhcp.SERVER_PORT) and packet.target in (BROADCAST, GATEWAY):
            self._dhcp(data)
        elif packet.target != BROADCAST:
            self.udp.receive(packet, ports, data)

    def _dhcp(self, data: memoryview) -> None:
        reply = dhcp.answer(data, self._options.mtu)
        if reply is None:
            return
        size = 8 + len(reply)
        header = dhcp.SERVER_PORT.to_bytes(2, "big") + dhcp.CLIENT_PORT.to_bytes(2, "big") + size.to_bytes(2, "big")
        total = checksum(pseudo_header(GATEWAY, BROADCAST, UDP, size), header, reply) or 0xFFFF
        self.link.send(
            ethernet_header(BROADCAST_MAC, GATEWAY_MAC, IPV4),
            ip_header(GATEWAY, BROADCAST, UDP, size),
            header + total.to_bytes(2, "big"),
            reply,
        )
        if dhcp.is_new_lease(data):
            self.tcp.doubt()

    def _icmp6(self, packet: Packet) -> None:
        if not is_sound(packet):
            return
        answer = icmp6_answer(packet, self._options.mtu)
        if answer is not None and any(packet.source):  # who asks without an address looks whether it is free
            self._send_ip(answer[1], packet.source, ICMP6, answer[0], b"")

    def _unreachable(self, packet: Packet) -> None:
        if len(packet.source) == 4:
            self._send_ip(packet.target, packet.source, ICMP, unreachable(packet, 3), b"")
        else:
            self._send_ip(packet.target, packet.source, ICMP6, port_unreachable6(packet), b"")

    def _reach(self, target: bytes, port: int) -> HostAddress | None:
        options = self._options
        if not options.outgoing and target not in (DNS, DNS6):
            return None
        return host_address(target, port, options.resolver if options.outgoing else None)

    def _send_ip(self, source: bytes, target: bytes, protocol: int, header: bytes, data: Buffer) -> None:
        ethernet = self._to_guest4 if len(source) == 4 else self._to_guest6
        head = ethernet + ip_header(source, target, protocol, len(header) + len(data)) + header
        if data:
            self.link.send(head, data)
        else:
            self.link.send(head)
