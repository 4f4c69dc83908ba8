"""A card's client without a TCP/IP stack: sends frames and looks what comes. Configuration: ``scene``, a method."""

from __future__ import annotations

import struct
import time
from typing import Final

from libsel4py import Component, component, uses
from libsel4py.interfaces.ethernet import Ethernet
from servers.network.link import Link

TYPE: Final = b"\x88\xb5"  # for experiments (IEEE 802)
ARP: Final = b"\x08\x06"
SECONDS: Final = 20.0
BROADCAST: Final = b"\xff" * 6
OWN_HOST, GATEWAY = bytes((10, 0, 2, 15)), bytes((10, 0, 2, 2))


@component
class Main(Component):
    card = uses(Ethernet)

    def run(self) -> None:
        self.link = Link(self.card, self.task)
        state = self.link.open()
        self.mac = state.mac
        self.mtu = state.mtu
        getattr(self, str(self.task.environment.configuration["scene"]))()
        self.link.close()

    def send(self, to: bytes, kind: bytes, body: bytes) -> None:
        self.link.transmit(to + self.mac + kind + body)
        self.link.flush()

    def frames(self, most: int = 1) -> list[bytes]:
        """At least so many frames that came."""
        found: list[bytes] = []
        until = time.monotonic() + SECONDS
        while len(found) < most:
            while self.link.receive(lambda frame: found.append(bytes(frame))):
                pass
            if len(found) < most:
                self.task.notification.wait(max(0.0, until - time.monotonic()))
        return found

    def of_kind(self, kind: bytes) -> bytes:
        """The next frame of a type."""
        while True:
            for frame in self.frames():
                if frame[12:14] == kind:
                    return frame

    def arp(self) -> None:
        """The gateway says where it is."""
        asked = struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + self.mac + OWN_HOST + bytes(6) + GATEWAY
        self.send(BROADCAST, ARP, asked)
        answer = self.of_kind(ARP)
        assert answer[20:22] == b"\0\2", answer
        assert answer[28:32] == GATEWAY, answer

    def echo(self) -> None:
        """Send back what comes, until the other side says that it is enough."""
        self.send(BROADCAST, TYPE, b"here".ljust(60, b"\0"))
        while True:
            for frame in self.frames():
                if frame[12:14] != TYPE or frame[14:18] == b"here":
                    continue
                if frame[14:17] == b"end":
                    return
                self.link.transmit(frame[6:12] + self.mac + frame[12:])
            self.link.flush()

    def ask(self) -> None:
        """Frames of every length, then many at once: each comes back as it was."""
        other = self.of_kind(TYPE)[6:12]
        for length in (46, 47, 60, 64, 1000, self.mtu):
            body = bytes(number * 7 & 0xFF for number in range(length - 1))
            self.send(other, TYPE, b"\0" + body)
            assert self.of_kind(TYPE)[14:] == b"\0" + body, length
        start, count, burst = time.perf_counter(), 0, 32
        for _ in range(100):
            for number in range(burst):
                self.link.transmit(other + self.mac + TYPE + b"\1" + bytes([number]) * (self.mtu - 1))
            self.link.flush()
            came = self.frames(burst)
            assert [frame[15] for frame in came] == list(range(burst))
            count += burst
        taken = time.perf_counter() - start
        self.log.info(
            "%d frames there and back: %.1f us each, %.1f MB/s",
            count,
            taken / count * 1e6,
            count * self.mtu / taken / 1e6,
        )
        self.send(other, TYPE, b"end".ljust(60, b"\0"))
