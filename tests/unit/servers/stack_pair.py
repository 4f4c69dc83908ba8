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
LINGER_SECONDS = 0.3  # a side that has done answers for so long: the other one may miss an acknowledgement


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
        _carry([ours for ours, _ in ends], link or Link())
        said = [_read(read) for read, _ in reports]
        assert said == [WELL, WELL], "\n".join(said)  # who crashes says nothing
    finally:
        for ours, _ in ends:
            ours.close()
        for read, _ in reports:
            os.close(read)
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _side(side: Side, number: int, ends: list[tuple[socket.socket, socket.socket]], reports: object, mtu: int) -> None:
    """A child's life; never returns."""
    report = reports[number][1]  # type: ignore[index]
    try:
        link = ends[number][1]
        for ours, theirs in ends:
            ours.close()
            if theirs is not link:
                theirs.close()
        _live(side, number, link, mtu)
        os.write(report, WELL.encode())
    except BaseException:
        os.write(report, traceback.format_exc().encode()[-4000:])
    finally:
        os._exit(0)


def _live(side: Side, number: int, link: socket.socket, mtu: int) -> None:
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
    last = None
    while time.monotonic() < (last or until):
        if last is None and next(work, work) is work:
            last = time.monotonic() + LINGER_SECONDS
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
    assert last is not None, "this side did not end in time"


def _carry(links: list[socket.socket], link: Link) -> None:
    """Frames from each to the other, until both have hung up."""
    randomly = random.Random(link.seed)
    held: list[list[bytes]] = [[], []]
    living = {each.fileno(): number for number, each in enumerate(links)}
    for each in links:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    until = time.monotonic() + SECONDS + 5
    while living and time.monotonic() < until:
        for descriptor in select.select(list(living), [], [], 0.05)[0]:
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


def _read(descriptor: int) -> str:
    said = b""
    while part := os.read(descriptor, 4096):
        said += part
    return said.decode()
