"""A stack alone in a process, and what a link would bring it: frames made by hand, of as many peers as a test wants.

All is done at once: `Wire.give` hands frames over, and gives what the stack has sent since. Neighbours are there,
whoever is asked for.
"""

from __future__ import annotations

import os
import resource
import struct
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import Final

from servers.network.stack import Stack
from tests.unit.servers.stack_pair import ADDRESSES, MACS, SIX, Side

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
TCP, ICMP6 = 6, 58
NOTHING, MSS, WINDOW_SCALE, SACK_PERMITTED = 1, 2, 3, 4
LINUX_OPTIONS: Final = b"\x02\x04\x05\xb4\x04\x02\x01\x01\x01\x03\x03\x07"  # 1,460 bytes; SACK; scaled by 7
SEQUENCE: Final = 1 << 32
FLOOD: Final = 10_000  # SYNs, before anything else is done
FLOOD_A_STEP: Final = 32


def checksum(data: bytes) -> int:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


@dataclass(frozen=True)
class Segment:
    """Of TCP, to the stack or from it. `options`: those that it has, by kind."""

    source: str
    target: str
    source_port: int
    target_port: int
    sequence: int
    acknowledged: int = 0
    flags: int = SYN
    window: int = 0xFFFF
    option_bytes: bytes = b""
    data: bytes = b""

    @property
    def options(self) -> dict[int, bytes]:
        found, left = {}, self.option_bytes
        while left and left[0]:
            size = 1 if left[0] == NOTHING else left[1]
            if left[0] != NOTHING:
                found[left[0]] = left[2:size]
            left = left[size:]
        return found

    def frame(self, sender: bytes = MACS[1], spoil: int = 0) -> bytes:
        """``spoil`` is added to its checksum."""
        header = struct.pack(
            "!HHIIBBHHH",
            self.source_port,
            self.target_port,
            self.sequence % SEQUENCE,
            self.acknowledged % SEQUENCE,
            (20 + len(self.option_bytes)) << 2,
            self.flags,
            self.window,
            0,
            0,
        )
        return packet(self.source, self.target, TCP, header + self.option_bytes + self.data, 16, sender, spoil)


def packet(
    source: str, target: str, protocol: int, body: bytes, sum_at: int, sender: bytes = MACS[1], spoil: int = 0
) -> bytes:
    """A frame with an IP packet, whose sum is made, at this place of its body."""
    ends = ip_address(source).packed + ip_address(target).packed
    total = (checksum(ends + struct.pack("!II", len(body), protocol) + body) + spoil) & 0xFFFF
    body = body[:sum_at] + total.to_bytes(2, "big") + body[sum_at + 2 :]
    if len(ends) == 32:
        return MACS[0] + sender + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(body), protocol, 255) + ends + body
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, protocol, 0) + ends
    header = header[:10] + checksum(header).to_bytes(2, "big") + header[12:]
    return MACS[0] + sender + b"\x08\x00" + header + body


def segment_of(frame: bytes) -> Segment | None:
    """None: it is something else."""
    kind, body = frame[12:14], frame[14:]
    if kind == b"\x08\x00" and body[9] == TCP:
        ends, size, body = body[12:20], 4, body[20 : int.from_bytes(body[2:4], "big")]
    elif kind == b"\x86\xdd" and body[6] == TCP:
        ends, size, body = body[8:40], 16, body[40 : 40 + int.from_bytes(body[4:6], "big")]
    else:
        return None
    assert checksum(ends + struct.pack("!II", len(body), TCP) + body) == 0
    source_port, target_port, sequence, acknowledged, offset, flags, window = struct.unpack("!HHIIBBH", body[:16])
    start = offset >> 4 << 2
    source, target = (str(ip_address(each)) for each in (ends[:size], ends[size:]))
    return Segment(
        source, target, source_port, target_port, sequence, acknowledged, flags, window, body[20:start], body[start:]
    )


def neighbour(frame: bytes) -> bytes | None:
    """The answer of whom it asks for, by ARP or neighbour discovery; None: it does not ask."""
    body = frame[14:]
    if frame[12:14] == b"\x08\x06" and body[6:8] == b"\x00\x01" and body[14:18] != body[24:28]:
        return MACS[0] + MACS[1] + b"\x08\x06" + body[:7] + b"\x02" + MACS[1] + body[24:28] + body[8:18]
    if frame[12:14] == b"\x86\xdd" and body[6] == ICMP6 and body[40] == 135 and any(body[8:24]):
        asker, asked = (str(ip_address(each)) for each in (body[8:24], body[48:64]))
        told = b"\x88\0\0\0\x60\0\0\0" + body[48:64] + b"\x02\x01" + MACS[1]
        return packet(asked, asker, ICMP6, told, 2)
    return None


class Wire:
    """Attributes: ``stack``, and its ``interface``; ``asked``: how many times it has asked for a neighbour; ``others``:
    frames that it has sent which are neither such questions nor segments."""

    def __init__(self, mtu: int = 1500) -> None:
        self.stack = Stack()
        self.asked = 0
        self.others: list[bytes] = []
        self._out: list[bytes] = []
        self.interface = interface = self.stack.add_interface(MACS[0], mtu, self._out.append)
        interface.set_up(True)
        interface.add_address(f"{ADDRESSES[0]}/24")
        interface.add_address(f"{SIX[0]}/64")
        interface.set_gateway(ADDRESSES[1])
        interface.set_gateway(SIX[1])

    def give(self, *given: Segment | bytes) -> list[Segment]:
        """Hand over segments, or frames, and let the stack do what is due; the segments that it has sent."""
        for each in given:
            self.stack.input(each.frame() if isinstance(each, Segment) else each)
        self.stack.poll()
        sent = []
        while self._out:
            frame = self._out.pop(0)
            segment, answer = segment_of(frame), neighbour(frame)
            if segment is not None:
                sent.append(segment)
            if answer is not None:
                self.asked += 1
                self.stack.input(answer)
            elif segment is None:
                self.others.append(frame)
        return sent

    def ask(self, segment: Segment, sender: bytes = MACS[1]) -> list[Segment]:
        """Likewise, of one segment, and what was sent to its source: on a busy host it may be others' time as well."""
        source = (segment.source, segment.source_port)
        return [each for each in self.give(segment.frame(sender)) if (each.target, each.target_port) == source]


def answer_to(came: Segment, data: bytes = b"", flags: int = ACK) -> Segment:
    """What a peer sends who has had this one, and has nothing under way."""
    length = len(came.data) + bool(came.flags & SYN) + bool(came.flags & FIN)
    return Segment(
        came.target,
        came.source,
        came.target_port,
        came.source_port,
        came.acknowledged,
        came.sequence + length,
        flags,
        data=data,
    )


def forged(number: int, target: str, port: int, near: bool = False) -> Segment:
    """A SYN of somebody who is not there, another one each time; ``near``: of somebody on the same link."""
    if ":" in target:
        source = f"fd00::1:{1 + number:x}" if near else f"2001:db8::{1 + number:x}"
    else:
        source = f"10.0.0.{3 + number % 250}" if near else f"192.0.2.{1 + number % 250}"
    return Segment(source, target, 1024 + number % 60_000, port, number * 7919, option_bytes=LINUX_OPTIONS)


def beside_a_flood(side: Side, target: str, port: int) -> Side:
    """A side that listens in its first step, and what it does from then on while others send SYNs and no more."""

    def flooded(stack: Stack) -> Generator[None, None, None]:
        work = side(stack)
        numbers = count()
        next(work)
        for number in range(FLOOD):
            stack.input(forged(next(numbers), target, port).frame())
            if number % FLOOD_A_STEP == FLOOD_A_STEP - 1:
                yield  # the link goes on meanwhile: others ask for the neighbour that this is
        for _ in work:
            for _ in range(FLOOD_A_STEP):
                stack.input(forged(next(numbers), target, port).frame())
            yield

    return flooded


def _limit_memory(more: int) -> None:
    """As a task's is limited."""
    held = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (held + more, held + more))


def run_alone(work: Callable[[Wire], None], mtu: int = 1500, memory: int | None = None) -> None:
    """Do this in a process of its own, which may have so much more memory.

    Raises AssertionError with what it raised.
    """
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if memory is not None:
                _limit_memory(memory)
            work(Wire(mtu))
        except BaseException:
            os.write(write, traceback.format_exc().encode()[-4000:])
        else:
            os.write(write, b"well")
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as report:
        said = report.read().decode()
    os.waitpid(child, 0)
    assert said == "well", said or "it crashed"
