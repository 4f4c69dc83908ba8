"""Two stacks, each in a process of its own, and a link between them that may lose, repeat and reorder frames.

A side is a generator: it yields whenever it waits for something, and its stack then does what is due. What it raises is
the test's failure.
"""

from __future__ import annotations

import os
import random
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass

from servers.network.stack import Stack

Side = Callable[[Stack], Generator[None, None, None]]
ADDRESSES = ("10.0.0.1", "10.0.0.2")
SIX = ("fd00::1", "fd00::2")
SECONDS = 60.0
FRAME_BYTES = 70_000
BUFFER_BYTES = 4 << 20
REPORT_BYTES = 4000  # a pipe takes it in one piece

WELL = "it came to its end"


@dataclass(frozen=True)
class Link:
    """How likely a frame is lost, comes twice, or comes behind the next one."""

    loss: float = 0.0
    repeat: float = 0.0
    reorder: float = 0.0
    seed: int = 1


def run_pair(first: Side, second: Side, link: Link | None = None, mtu: int = 1500) -> None:
    """Run both sides to their ends. Raises AssertionError with what a side raised, or when they take too long."""
    ends = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    reports = [os.pipe() for _ in range(2)]
    children = []
    for number, side in enumerate((first, second)):
        child = os.fork()
        if child == 0:
            _side(side, number, ends, reports, mtu)
        children.append(child)
    for _, theirs in ends:
        theirs.close()
    for _, write in reports:
        os.close(write)
    try:
        said = _carry([ours for ours, _ in ends], [read for read, _ in reports], link or Link())
        assert said == [WELL, WELL], "\n".join(said)  # who crashes says nothing
    finally:
        for ours, _ in ends:
            ours.close()
        for read, _ in reports:
            os.close(read)
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _side(
    side: Side, number: int, ends: list[tuple[socket.socket, socket.socket]], reports: list[tuple[int, int]], mtu: int
) -> None:
    """A child's life; never returns."""
    report = reports[number][1]
    try:
        link = ends[number][1]
        for ours, theirs in ends:
            ours.close()
            if theirs is not link:
                theirs.close()
        for _, write in reports:
            if write != report:
                os.close(write)
        _live(side, number, link, mtu, report)
    except BaseException:
        os.write(report, traceback.format_exc().encode()[-REPORT_BYTES:])
    finally:
        os._exit(0)


def _live(side: Side, number: int, link: socket.socket, mtu: int, report: int) -> None:
    """The side's work. One that has done goes on to answer until the link ends: the other may still miss something."""
    link.setblocking(False)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    stack = Stack()
    out: list[bytes] = []
    interface = stack.add_interface(bytes((2, 0, 0, 0, 0, number + 1)), mtu, out.append)
    interface.set_up(True)
    interface.add_address(f"{ADDRESSES[number]}/24")
    interface.add_address(f"{SIX[number]}/64")
    work = side(stack)
    until = time.monotonic() + SECONDS
    done = False
    while done or time.monotonic() < until:
        if not done and next(work, work) is work:
            done = True
            os.write(report, WELL.encode())
        wait = stack.poll()
        while out:
            try:
                link.send(out[0])
            except BlockingIOError:
                break
            out.pop(0)
        came = False
        for _ in range(64):
            try:
                frame = link.recv(FRAME_BYTES)
            except BlockingIOError:
                break
            if not frame:
                return
            stack.input(frame)
            came = True
        if not came:
            select.select([link], [link] if out else [], [], min(wait if wait is not None else 1.0, 0.01))
    raise AssertionError("this side did not end in time")


def _carry(links: list[socket.socket], reports: list[int], link: Link) -> list[str]:
    """Frames from each to the other, until both have said how they came to their ends, or hung up; what they said."""
    randomly = random.Random(link.seed)
    held: list[list[bytes]] = [[], []]
    living = {each.fileno(): number for number, each in enumerate(links)}
    for each in links:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    said: dict[int, str] = {}
    until = time.monotonic() + SECONDS + 5
    while len(said) < len(reports) and time.monotonic() < until:
        waiting = [report for report in reports if report not in said]
        for descriptor in select.select([*living, *waiting], [], [], 1.0)[0]:
            if descriptor in waiting:
                said[descriptor] = os.read(descriptor, REPORT_BYTES).decode()
                continue
            number = living[descriptor]
            try:
                frame = links[number].recv(FRAME_BYTES)
            except ConnectionResetError:  # it has hung up with frames unread
                frame = b""
            if not frame:
                del living[descriptor]
                continue
            if randomly.random() < link.loss:
                continue
            if randomly.random() < link.reorder:
                held[number].append(frame)
                continue
            going = [frame] * (2 if randomly.random() < link.repeat else 1) + held[number]
            held[number] = []
            for each in going:
                try:
                    links[1 - number].send(each)
                except OSError:
                    break
    return [said.get(report, "it said nothing") for report in reports]
