"""The zygote: a warm Python that has the boot images loaded, and forks a task from itself when the kernel asks.

    python -m kerneld.host.zygote --fd N --log-folder DIR --parent PID --preload IMAGE,IMAGE… \
        [--import MODULE,MODULE…] [--path FOLDER]…

Rules. It is single-threaded, so that a fork copies all there is. It never looks at what a task does: it reaps, and
tells the kernel the wait status. It remembers that until the kernel says that it may forget: a kernel that is started
again asks. It ends when the monitor and the kernel have closed the socket, and its tasks end with it. What the child
does between fork and boot image stands in `child.py`. Protocol: docs/architecture.md, section 6.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
import traceback
from types import ModuleType
from typing import Final, NamedTuple

import msgpack

from hw.cpu import hide_memory
from hw.parent_death import die_with_parent
from kerneld.host import child
from kerneld.host.linux import set_process_name
from kerneld.host.task_logs import TaskLogs

MESSAGE_BYTES: Final = 1 << 14
DESCRIPTORS_HIGH: Final = 3 + 64


class Child(NamedTuple):
    """A process that is not reaped. ``number``: the kernel's."""

    number: int
    pid: int
    log: str


class Zygote:
    """Serves one socket."""

    def __init__(self, channel: socket.socket, logs: TaskLogs, images: dict[str, ModuleType | str]) -> None:
        self._channel = channel
        self._logs = logs
        self._images = images
        self._pid = os.getpid()
        self._epoll = select.epoll()
        self._epoll.register(channel.fileno(), select.EPOLLIN)
        self._children: dict[int, Child] = {}  # by pidfd
        self._ended: dict[int, int] = {}  # wait status, by the kernel's number; until it says that it knows

    def run(self) -> None:
        """Serve until the kernel closes the socket."""
        while True:
            for descriptor, _ in self._epoll.poll():
                if descriptor in self._children:
                    self._reap(descriptor)
                elif not self._receive():
                    return

    def _receive(self) -> bool:
        try:
            data, descriptors, flags, _ = socket.recv_fds(
                self._channel, MESSAGE_BYTES, DESCRIPTORS_HIGH, socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionResetError:
            return False
        if not data:
            return False
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise ValueError("a request arrived cut short: this process has too few descriptors left")
            match message := msgpack.unpackb(data):
                case {"op": "forget", "id": int(number)}:
                    self._ended.pop(number, None)
                case {"op": "census", "id": int(number)}:
                    self._tell_all(number)
                case _:
                    self._start(child.Request.parse(message, descriptors))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _start(self, request: child.Request) -> None:
        image = self._images.get(request.image, f"no boot image is called {request.image}")
        if isinstance(image, str):
            self._tell({"op": "failed", "id": request.number, "error": image})
            return
        task = child.Task(request, image, self._logs.folder, self._pid)
        try:
            pid = os.fork()
        except OSError as error:
            self._tell({"op": "failed", "id": request.number, "error": f"fork: {error.strerror}"})
            return
        if pid == 0:
            task.run()
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = Child(request.number, pid, task.log)
        self._logs.started(task.log)
        self._epoll.register(pidfd, select.EPOLLIN)
        self._tell({"op": "started", "id": request.number, "pid": pid}, pidfd)

    def _reap(self, pidfd: int) -> None:
        ended = self._children.pop(pidfd)
        self._epoll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(ended.pid, 0)
        self._ended[ended.number] = status
        self._tell({"op": "exited", "id": ended.number, "pid": ended.pid, "status": status})
        self._logs.ended(ended.log)

    def _tell_all(self, census: int) -> None:
        for pidfd, each in self._children.items():
            self._tell({"op": "running", "census": census, "id": each.number, "pid": each.pid}, pidfd)
        for number, status in self._ended.items():
            self._tell({"op": "ended", "census": census, "id": number, "status": status})
        self._tell({"op": "census", "id": census})

    def _tell(self, message: dict[str, object], descriptor: int | None = None) -> None:
        # A kernel that has ended closes its end: the next receive says so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._channel, [msgpack.packb(message)], [] if descriptor is None else [descriptor])


def load_images(names: list[str]) -> dict[str, ModuleType | str]:
    """Import the boot images. Starting one that does not load fails with the reason as its text."""
    images: dict[str, ModuleType | str] = {}
    for name in names:
        try:
            module = importlib.import_module(name)
            images[name] = module if callable(getattr(module, "main", None)) else f"{name} has no function main()"
        except Exception:
            traceback.print_exc()
            images[name] = f"{name} did not load: {traceback.format_exc(limit=0).strip()}"
    return images


def import_modules(names: list[str]) -> None:
    """Import what tasks will want. One that does not load is no matter of ours: the task that wants it will say so."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:
            traceback.print_exc()


def main() -> None:
    parser = argparse.ArgumentParser(prog="zygote")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--log-folder", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--preload", default="")
    parser.add_argument("--import", dest="modules", default="")
    parser.add_argument("--path", action="append", default=[])
    options = parser.parse_args()
    die_with_parent(options.parent)
    set_process_name("sel4py-zygote")
    hide_memory()
    # Behind our own: no module of a user's replaces one of ours.
    sys.path.extend(options.path)
    # The terminal's signals are the monitor's: it ends the system in order.
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    channel = socket.socket(fileno=options.fd)
    channel.set_inheritable(False)
    # Tasks find it as their stdin.
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.close(null)
    folder = os.open(options.log_folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    images = load_images([name for name in options.preload.split(",") if name])
    import_modules([name for name in options.modules.split(",") if name])
    sys.stdout.flush()
    # No task is to see it; cleared here once, and not in each child.
    os.environ.clear()
    # Objects that are never looked at by the collector are pages that parent and child go on sharing.
    gc.collect()
    gc.freeze()
    Zygote(channel, TaskLogs(folder), images).run()


if __name__ == "__main__":
    main()
