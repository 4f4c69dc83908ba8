"""Two stacks, each in a process of its own, and a link between them that may lose, repeat and reorder frames.

A side is a generator: it yields whenever it waits for something, and its stack then does what is due. What it raises is
the test's failure. The second side may be another peer than our stack: Linux's own in a network namespace (root alone),
or whatever takes the link's end.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass

from servers.network.stack import Stack
from tests.network_namespace import enter_namespace, open_tap, pump

Side = Callable[[Stack], Generator[None, None, None]]
ADDRESSES = ("10.0.0.1", "10.0.0.2")
SIX = ("fd00::1", "fd00::2")
MACS = (bytes((2, 0, 0, 0, 0, 1)), bytes((2, 0, 0, 0, 0, 2)))
SECONDS = 60.0
END_SECONDS = 5.0
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


@dataclass(frozen=True)
class Peer:
    """A side that is no stack of ours: serves the link's end, of frames, and says when it has come to its end.

    It is called with both (and the link's MTU), and goes on until the link ends.
    """

    live: Callable[[socket.socket, Callable[[], None], int], None]


def linux(
    work: Callable[[], None],
    beside: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext,
) -> Peer:
    """Linux's own stack, with the second side's addresses, on which ``work`` uses ordinary sockets.

    ``beside``: what is there meanwhile, and until the other side has come to its end too.
    """

    def live(link: socket.socket, done: Callable[[], None], mtu: int) -> None:
        enter_namespace()
        tap = open_tap(MACS[1].hex(":"), mtu, f"{ADDRESSES[1]}/24", f"{SIX[1]}/64")
        threading.Thread(target=pump, args=(tap, link.fileno()), daemon=True).start()
        into = threading.Thread(target=pump, args=(link.fileno(), tap))
        into.start()
        with beside():
            work()
            done()
            into.join()

    return Peer(live)


def run_pair(
    first: Side, second: Side | Peer, link: Link | None = None, mtu: int = 1500, *, first_asks: bool = False
) -> None:
    """Run both sides to their ends. Raises AssertionError with what a side raised, or when they take too long.

    ``first_asks``: the first side has no address, and asks for one by DHCP.
    """
    ends = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    reports = [os.pipe() for _ in range(2)]
    children = []
    for number, side in enumerate((first, second)):
        child = os.fork()
        if child == 0:
            _side(side, number, ends, reports, mtu, first_asks and number == 0)
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
            _end(child)


def _end(child: int) -> None:
    """A child whose link has ended ends, and what it has started before it; one that does not is killed."""
    descriptor = os.pidfd_open(child)
    try:
        if not select.select([descriptor], [], [], END_SECONDS)[0]:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    finally:
        os.close(descriptor)


def _side(
    side: Side | Peer,
    number: int,
    ends: list[tuple[socket.socket, socket.socket]],
    reports: list[tuple[int, int]],
    mtu: int,
    asks: bool,
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
        if isinstance(side, Peer):
            side.live(link, lambda: _say(report, WELL), mtu)
        else:
            _live(side, number, link, mtu, report, asks)
    except BaseException:
        _say(report, traceback.format_exc())
    finally:
        os._exit(0)


def _say(report: int, text: str) -> None:
    os.write(report, text.encode()[-REPORT_BYTES:])


def _live(side: Side, number: int, link: socket.socket, mtu: int, report: int, asks: bool) -> None:
    """The side's work. One that has done goes on to answer until the link ends: the other may still miss something."""
    link.setblocking(False)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
    stack = Stack()
    out: list[bytes] = []
    interface = stack.add_interface(MACS[number], mtu, out.append)
    interface.set_up(True)
    interface.add_address(f"{SIX[number]}/64")
    if asks:
        interface.start_dhcp()
    else:
        interface.add_address(f"{ADDRESSES[number]}/24")
    work = side(stack)
    until = time.monotonic() + SECONDS
    done = False
    while done or time.monotonic() < until:
        if not done and next(work, work) is work:
            done = True
            _say(report, WELL)
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
