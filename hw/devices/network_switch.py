"""An Ethernet switch between systems of one user on one host, which they find by a path.

    python -m hw.devices.network_switch --parent PID --frames N --path FILE

Each system has such a process, with the system's frames on an inherited SOCK_SEQPACKET socket. One of them, who has the
lock on ``FILE.lock``, is the switch and listens at FILE; the others are cables to it. When the switch ends, one of the
others gets the lock and is it from then on: frames of that moment are lost, and addresses are learned anew.

Rules. A frame goes where its target was seen last, and everywhere if it was not. Whoever does not read loses frames,
and keeps nobody else waiting. Addresses that are remembered are bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

import uvloop

from hw.devices.frame_link import FrameLink
from hw.helpers import begin_helper

RETRY_SECONDS: Final = 0.05
MOST_QUEUED: Final = 512  # frames that wait for one who does not read
MOST_ADDRESSES: Final = 1024
MOST_PORTS: Final = 64
Send = Callable[[bytes], None]


class Switch:
    """Learns who is where, and hands frames on. Ports are numbers."""

    def __init__(self) -> None:
        self._ports: dict[int, Send] = {}
        self._seen: dict[bytes, int] = {}
        self._next = 0

    def plug(self, send: Send) -> int:
        """A new port, whose frames go out by ``send``."""
        self._next += 1
        self._ports[self._next] = send
        return self._next

    def unplug(self, port: int) -> None:
        self._ports.pop(port, None)
        self._seen = {address: at for address, at in self._seen.items() if at != port}

    def receive(self, port: int, frame: bytes) -> None:
        """A frame has come in at a port."""
        if len(frame) < 14:
            return
        target, source = frame[:6], frame[6:12]
        if not source[0] & 1:
            self._seen.pop(source, None)
            self._seen[source] = port
            if len(self._seen) > MOST_ADDRESSES:
                del self._seen[next(iter(self._seen))]
        where = self._seen.get(target)
        if where is None:
            for number, send in list(self._ports.items()):
                if number != port:
                    send(frame)
        elif where != port:
            self._ports[where](frame)


class Member:
    """One system's part of a switch: the switch itself, or the cable to it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, end: socket.socket, path: Path, ended: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._path = path
        self._lock_path = Path(f"{path}.lock")
        self._handle: Send = lambda frame: None
        self._listener: socket.socket | None = None
        self._lock = -1
        self._links: dict[FrameLink, socket.socket] = {}
        self._again: asyncio.TimerHandle | None = None
        self._local = FrameLink(loop, end, lambda frame: self._handle(frame), _nothing, _nothing, ended, MOST_QUEUED)
        self._join()

    @property
    def is_switch(self) -> bool:
        return self._listener is not None

    @property
    def is_joined(self) -> bool:
        """Whether frames go anywhere."""
        return self.is_switch or bool(self._links)

    def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        self._local.close()
        for link, end in list(self._links.items()):
            link.close()
            end.close()
        self._links.clear()
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._path.unlink(missing_ok=True)  # nobody else has the lock yet
            self._listener.close()
            self._listener = None
        if self._lock >= 0:
            self._lock_path.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    # --- inside --------------------------------------------------------------------------------------------

    def _join(self) -> None:
        self._again = None
        if self._take_lock():
            self._serve()
        elif not self._connect():
            self._again = self._loop.call_later(RETRY_SECONDS, self._join)

    def _take_lock(self) -> bool:
        lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # A switch that ends removes its lock while it holds it: what was locked may be nobody's lock any more.
            if os.path.samestat(os.fstat(lock), os.stat(self._lock_path)):
                self._lock = lock
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(lock)
        return False

    def _serve(self) -> None:
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(self._path))
        listener.listen(MOST_PORTS)
        listener.setblocking(False)
        self._listener = listener
        switch = Switch()
        own = switch.plug(self._local.send)
        self._handle = lambda frame: switch.receive(own, frame)
        self._loop.add_reader(listener, self._accept, listener, switch)

    def _accept(self, listener: socket.socket, switch: Switch) -> None:
        try:
            end, _ = listener.accept()
        except OSError:
            return
        if len(self._links) >= MOST_PORTS:
            end.close()
            return
        port = 0

        def received(frame: bytes) -> None:
            switch.receive(port, frame)

        def ended() -> None:
            switch.unplug(port)
            self._drop(link)

        link = FrameLink(self._loop, end, received, _nothing, _nothing, ended, MOST_QUEUED)
        port = switch.plug(link.send)
        self._links[link] = end

    def _connect(self) -> bool:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        end.setblocking(False)
        if end.connect_ex(str(self._path)):
            end.close()
            return False

        def ended() -> None:
            self._handle = lambda frame: None
            self._drop(link)
            self._join()

        link = FrameLink(self._loop, end, self._local.send, _nothing, _nothing, ended, MOST_QUEUED)
        self._links[link] = end
        self._handle = link.send
        return True

    def _drop(self, link: FrameLink) -> None:
        self._links.pop(link).close()


def _nothing() -> None:
    """There is nothing to do."""


async def _run(frames: int, path: Path) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    member = Member(loop, socket.socket(fileno=frames), path, over.set)
    await over.wait()
    member.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--path", type=Path, required=True)
    arguments = parser.parse_args()
    begin_helper(arguments.parent)
    uvloop.run(_run(arguments.frames, arguments.path))


if __name__ == "__main__":
    main()
