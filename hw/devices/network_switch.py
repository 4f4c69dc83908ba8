"""An Ethernet switch between systems of one user on one host, which they find by a path.

    python -m hw.devices.network_switch --parent PID --frames N --path FILE

Each system has such a process, with the system's frames on an inherited SOCK_SEQPACKET socket. One of them, who has the
lock on ``FILE.lock``, is the switch and listens at FILE; the others are plugged in: each connects, and hands its
system's socket over by SCM_RIGHTS, so that frames go through the switch alone. It keeps the socket, too, and has
nothing to do until the connection ends: then the switch has ended, one of the others gets the lock and is it from then
on. Frames of that moment are lost, and addresses are learned anew.

Who can connect at FILE is a process of this user. What it hands over is used only if it is a socket as described.

Rules. A frame goes where its target was seen last, and everywhere if it was not. Whoever does not read loses frames,
and keeps nobody else waiting. Addresses that are remembered are bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import os
import select
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
HANDS_OVER: Final = b"frames"
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
    """One system's part of a switch: the switch itself, or plugged into it."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, end: socket.socket, path: Path, ended: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._end = end
        self._ended = ended
        self._path = path
        self._lock_path = Path(f"{path}.lock")
        self._listener: socket.socket | None = None
        self._lock = -1
        self._control: socket.socket | None = None  # of one that is plugged in
        self._plugged: dict[socket.socket, tuple[FrameLink, socket.socket] | None] = {}  # None: nothing handed over yet
        self._local: FrameLink | None = None
        self._again: asyncio.TimerHandle | None = None
        self._join()

    @property
    def is_switch(self) -> bool:
        return self._listener is not None

    @property
    def is_joined(self) -> bool:
        """Whether frames go anywhere."""
        return self.is_switch or self._control is not None

    def close(self) -> None:
        if self._again is not None:
            self._again.cancel()
        if self._local is not None:
            self._local.close()
        for control in list(self._plugged):
            self._unplug(control)
        if self._control is not None:
            self._loop.remove_reader(self._control)
            self._control.close()
            self._control = None
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
        """Raises OSError; nothing is open then that was not before."""
        if self._take_lock():
            try:
                self._serve()
            except OSError:
                os.close(self._lock)
                self._lock = -1
                raise
        elif not self._connect():
            self._join_later()

    def _join_later(self) -> None:
        self._again = self._loop.call_later(RETRY_SECONDS, self._join_again)

    def _join_again(self) -> None:
        """What cannot be now (the path's folder is missing, no descriptor is left) may be later."""
        self._again = None
        try:
            self._join()
        except OSError:
            self._join_later()

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
        finally:
            if self._lock != lock:
                os.close(lock)
        return False

    def _serve(self) -> None:
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            listener.bind(str(self._path))
            listener.listen(MOST_PORTS)
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        self._listener = listener
        switch = Switch()
        own = 0
        self._local = FrameLink(
            self._loop,
            self._end,
            lambda frame: switch.receive(own, frame),
            _nothing,
            _nothing,
            self._ended,
            MOST_QUEUED,
        )
        own = switch.plug(self._local.send)
        self._loop.add_reader(listener, self._accept, listener, switch)

    def _accept(self, listener: socket.socket, switch: Switch) -> None:
        try:
            control, _ = listener.accept()
        except OSError:
            return
        if len(self._plugged) >= MOST_PORTS:
            control.close()
            return
        control.setblocking(False)
        self._plugged[control] = None
        self._loop.add_reader(control, self._hears, control, switch)

    def _hears(self, control: socket.socket, switch: Switch) -> None:
        """One that is plugged in hands its socket over, first of all; it has ended when it says anything else."""
        end = _handed_over(control) if self._plugged[control] is None else None
        if end is None:
            self._unplug(control)
            return
        port = 0

        def ended() -> None:
            switch.unplug(port)
            self._unplug(control)

        link = FrameLink(
            self._loop, end, lambda frame: switch.receive(port, frame), _nothing, _nothing, ended, MOST_QUEUED
        )
        port = switch.plug(link.send)
        self._plugged[control] = link, end
        self._loop.remove_reader(control)
        self._loop.add_reader(control, ended)

    def _unplug(self, control: socket.socket) -> None:
        self._loop.remove_reader(control)
        plugged = self._plugged.pop(control, None)
        if plugged is not None:
            link, end = plugged
            link.close()
            end.close()
        control.close()

    def _connect(self) -> bool:
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.setblocking(False)
        try:
            control.connect(str(self._path))
            socket.send_fds(control, [HANDS_OVER], [self._end.fileno()])
        except OSError:
            control.close()
            return False
        self._control = control
        self._loop.add_reader(control, self._parted)
        return True

    def _parted(self) -> None:
        """The switch has ended, or the system has, which the next reader of its socket sees."""
        control, self._control = self._control, None
        if control is not None:
            self._loop.remove_reader(control)
            control.close()
        if self._is_over():
            self._ended()
        else:
            self._join_again()

    def _is_over(self) -> bool:
        """Whether nobody is at the other side of the system's socket any more."""
        poll = select.poll()
        poll.register(self._end, 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))


def _handed_over(control: socket.socket) -> socket.socket | None:
    """The socket of frames that came; None if anything else did."""
    try:
        _, descriptors, _, _ = socket.recv_fds(control, len(HANDS_OVER), 1)
    except OSError:
        return None
    if not descriptors:
        return None
    try:
        end = socket.socket(fileno=descriptors[0])
    except OSError:  # it is no socket
        os.close(descriptors[0])
        return None
    if (end.family, end.type) != (socket.AF_UNIX, socket.SOCK_SEQPACKET):
        end.close()
        return None
    return end


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
