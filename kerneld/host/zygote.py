"""The zygote: a warm Python that has the boot images loaded, and forks a task from itself when the kernel asks.

    python -m kerneld.host.zygote --fd N --log-folder DIR --parent PID --preload IMAGE,IMAGE… \
        [--import MODULE,MODULE…] [--rehearse MODULE] [--path FOLDER]… [--without LAYER,LAYER…] \
        [--host-calls IMAGE=CALL,CALL…]… [--control-group FOLDER]… [--no-control-group WHY]

Rules. It is single-threaded, so that a fork copies all there is. It never looks at what a task does: it reaps, and
tells the kernel the wait status. It remembers that until the kernel says that it may forget: a kernel that is started
again asks. It forks when it is asked, or ahead of need, when it has nothing else to do (ahead.py); where descriptors or
processes are lacking, a start fails, and it goes on. It ends when the monitor and the kernel have closed the socket, or
when its tasks' pid namespace is over, outside of which it stays itself; and its tasks end with it. What the child does
between fork and boot image stands in `child.py`. Protocol: docs/architecture.md, section 6.
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
import time
import traceback
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

import msgpack

from hw import code_tree, control_group, namespaces, process_namespace
from hw.cpu import file_rules, hide_memory
from hw.descriptor_passing import send_descriptors
from hw.host_calls import number_of
from hw.layers import Layer
from hw.oom_score import OomScore
from hw.parent_death import die_with_parent
from kerneld.host import child
from kerneld.host.ahead import Ahead, Rehearse, Waiting
from kerneld.host.code_paths import code_paths, code_places
from kerneld.host.forbidden import ForbiddenCalls
from kerneld.host.linux import set_process_name
from kerneld.host.task_logs import TaskLogs, log_name

MESSAGE_BYTES: Final = 1 << 14
DESCRIPTORS_HIGH: Final = 3 + 64
IN_FLIGHT_S: Final = 1.0
"""For as long as this is waited until others have taken descriptors that are on their way to them."""
BEGINNING_S: Final = 0.005
"""From a start to the next fork ahead of need: whoever waits for what begins has both processors until then. Where
starts come one behind the other there is no pause, and no rehearsal: the next one comes before it would be over."""
REASON_CHARACTERS: Final = 500  # that are told of why a start fails: all of it fits in a message to the kernel
NO_DESCRIPTOR: Final = "the zygote has no descriptor left"


class Child(NamedTuple):
    """A process that is not reaped. ``number``: the kernel's."""

    number: int
    pid: int
    log: str


class Ending(NamedTuple):
    """A process's end. ``status``: the wait status, SIGSYS for one that was killed for what it tried of the host."""

    status: int
    tried: str


class Zygote:
    """Serves one socket. `first`: process 1 of its tasks' pid namespace, None where they have none. `score`:
    by which they are to end before this process where memory runs out, None where nothing orders that.
    """

    def __init__(
        self,
        channel: socket.socket,
        logs: TaskLogs,
        images: dict[str, ModuleType | str],
        file_rules: int,
        without: Layer,
        host_calls: dict[str, tuple[int, ...]],
        first: process_namespace.First | None,
        score: OomScore | None,
        rehearse: Rehearse,
    ) -> None:
        self._channel = channel
        self._logs = logs
        self._images = images
        self._file_rules = file_rules
        self._without = without
        self._host_calls = host_calls
        self._new_process = os.fork if score is None else score.fork
        self._pid = os.getpid() if first is None else process_namespace.PARENT
        self._first = -1 if first is None else first.pidfd
        self._epoll = select.epoll()
        self._epoll.register(channel.fileno(), select.EPOLLIN)
        if first is not None:
            self._epoll.register(first.pidfd, select.EPOLLIN)
        self._children: dict[int, Child] = {}  # by pidfd
        self._closed: set[int] = set()  # descriptors, since the host was asked last what has happened
        self._ended: dict[int, Ending] = {}  # by the kernel's number; until it says that it knows
        self._forbidden = ForbiddenCalls()
        self._epoll.register(self._forbidden.socket.fileno(), select.EPOLLIN)
        self._tried: dict[int, str] = {}  # what it was killed for, by the kernel's number
        self._started_at = self._fork_at = 0.0  # the last start, and when the next one is forked ahead
        self._in_a_row = False  # the last two starts came one behind the other
        self._image_numbers = {name: number for number, name in enumerate(images)}
        self._ahead = Ahead(
            tuple(images.values()),
            logs.folder,
            self._pid,
            file_rules,
            without,
            self._forbidden.given.fileno(),
            self._new_process,
            rehearse,
            score,
        )

    def run(self) -> None:
        """Serve until the kernel closes the socket, or no process can be made any more."""
        while True:
            ready = self._epoll.poll(max(0.0, self._fork_at - time.monotonic()) if self._ahead.wanted else None)
            waiting = self._ahead.fork(rehearses=not self._in_a_row) if not ready and self._ahead.wanted else None
            if waiting is not None:
                self._epoll.register(waiting.pidfd, select.EPOLLIN)
            self._closed.clear()
            for descriptor, events in ready:
                if descriptor in self._closed:
                    continue  # what it was is gone, and it may be another's by now
                if (unused := self._ahead.ended(descriptor)) is not None:
                    self._reap_unused(unused)
                elif descriptor in self._children:
                    self._reap(descriptor)
                elif descriptor == self._forbidden.socket.fileno():
                    self._listen()
                elif descriptor == self._first:
                    print("process 1 of the tasks' pid namespace has ended, and all tasks with it", flush=True)
                    return
                elif descriptor != self._channel.fileno():
                    self._forbid(descriptor, events)
                elif not self._receive():
                    return

    def close(self) -> None:
        """End all processes, and wait for that: those that nobody would wait for stay in the host's tables, where its
        own process 1, in a container, reaps nothing."""
        pids = {pidfd: each.pid for pidfd, each in self._children.items()}
        if (waiting := self._ahead.waiting) is not None:
            pids[waiting.pidfd] = waiting.pid
        for pidfd in pids:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        for pid in pids.values():
            os.waitpid(pid, 0)
        if self._first >= 0:
            signal.pidfd_send_signal(self._first, signal.SIGKILL)
            os.waitid(os.P_PIDFD, self._first, os.WEXITED)

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
            if flags & socket.MSG_TRUNC:
                raise ValueError("a request arrived cut short")
            match message := msgpack.unpackb(data):
                case {"op": "forget", "id": int(number)}:
                    self._ended.pop(number, None)
                case {"op": "census", "id": int(number)}:
                    self._tell_all(number)
                case {"op": "start", "id": int(number)} if flags & socket.MSG_CTRUNC:
                    self._fail(number, f"{NO_DESCRIPTOR} for what it begins with")
                case _:
                    self._start(child.Request.parse(message, descriptors))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _start(self, request: child.Request) -> None:
        image = self._images.get(request.image, f"no boot image is called {request.image}")
        if isinstance(image, str):
            self._fail(request.number, image)
            return
        log = log_name(request.name)
        loosened = self._host_calls.get(request.image, ())
        if (
            not loosened
            and (waiting := self._ahead.order(request, self._image_numbers[request.image], log)) is not None
        ):
            self._forbidden.rename(waiting.number, request.number)
            pid, pidfd = waiting.pid, waiting.pidfd
        else:
            try:
                pid = self._fork(request, image, loosened)
            except OSError as error:
                self._fail(request.number, f"fork: {error.strerror}")
                return
            opened = child.open_child(pid)
            if opened is None:
                self._forget_listeners(request.number)
                self._fail(request.number, f"{NO_DESCRIPTOR} for its process")
                return
            pidfd = opened
            self._epoll.register(pidfd, select.EPOLLIN)
        try:
            self._tell({"op": "started", "id": request.number, "pid": pid}, pidfd)
        except OSError as error:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            self._wait(pidfd, pid, request.number)
            self._fail(request.number, f"its descriptor is not sent: {error.strerror}")
            return
        now = time.monotonic()
        self._in_a_row = now - self._started_at < 2 * BEGINNING_S
        self._fork_at = now if self._in_a_row else now + BEGINNING_S
        self._started_at = now
        self._children[pidfd] = Child(request.number, pid, log)
        self._logs.started(log)

    def _fork(self, request: child.Request, image: ModuleType, loosened: tuple[int, ...]) -> int:
        task = child.Task(
            request,
            image,
            self._logs.folder,
            self._pid,
            self._file_rules,
            self._without,
            self._forbidden.given.fileno(),
            loosened,
        )
        pid = self._new_process()
        if pid == 0:
            task.run()
        return pid

    def _reap_unused(self, waiting: Waiting) -> None:
        """One that waited has ended before it was any task."""
        self._wait(waiting.pidfd, waiting.pid, waiting.number)

    def _fail(self, number: int, error: str) -> None:
        """A process was not started, or is no more, and the kernel never hears that it was."""
        error = reason(error)
        print(f"start {number}: {error}", flush=True)
        self._tell({"op": "failed", "id": number, "error": error})

    def _reap(self, pidfd: int) -> None:
        ended = self._children.pop(pidfd)
        status = self._wait(pidfd, ended.pid, ended.number)
        tried = self._tried.pop(ended.number, "")
        self._ended[ended.number] = ending = Ending(signal.SIGSYS if tried else status, tried)
        self._tell({"op": "exited", "id": ended.number, "pid": ended.pid, **ending._asdict()})
        self._logs.ended(ended.log)

    def _wait(self, pidfd: int, pid: int, number: int) -> int:
        """The wait status of a process that has ended, or is killed; nothing of it is left."""
        self._epoll.unregister(pidfd)
        os.close(pidfd)
        self._closed.add(pidfd)
        _, status = os.waitpid(pid, 0)
        self._forget_listeners(number)
        return status

    def _forget_listeners(self, number: int) -> None:
        """That process is gone."""
        self._listen()
        for listener in self._forbidden.forget(number):
            self._unregister(listener)
            self._closed.add(listener)

    def _listen(self) -> None:
        for listener in self._forbidden.receive():
            self._epoll.register(listener, select.EPOLLIN)

    def _forbid(self, listener: int, events: int) -> None:
        """A task has tried what it must not: say so, and kill it. All that it could hold up is itself."""
        if listener not in self._forbidden:
            return  # its process was reaped in the same round
        found = self._forbidden.tried(listener) if events & select.EPOLLIN else None
        if found is None:  # it ends, or has ended
            self._unregister(listener)
            if events & select.EPOLLHUP:
                self._forbidden.close(listener)
                self._closed.add(listener)
            return
        number, tried = found
        for pidfd, each in self._children.items():
            if each.number == number and number not in self._tried:
                self._tried[number] = tried
                self._logs.write(
                    each.log, f"the sandbox does not let a task make the host system call {tried}: it is killed"
                )
                self._tell({"op": "tried", "id": number, "tried": tried})
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)

    def _unregister(self, listener: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._epoll.unregister(listener)

    def _tell_all(self, census: int) -> None:
        for pidfd, each in self._children.items():
            self._tell({"op": "running", "census": census, "id": each.number, "pid": each.pid}, pidfd)
        for number, ending in self._ended.items():
            self._tell({"op": "ended", "census": census, "id": number, **ending._asdict()})
        self._tell({"op": "census", "id": census})

    def _tell(self, message: dict[str, object], descriptor: int | None = None) -> None:
        """Raises TimeoutError for a descriptor where more of this user's are on their way than the host lets
        be, for `IN_FLIGHT_S`."""
        descriptors = [] if descriptor is None else [descriptor]
        # A kernel that has ended closes its end: the next receive says so.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            send_descriptors(self._channel, msgpack.packb(message), descriptors, IN_FLIGHT_S)


def _host_calls(text: str) -> tuple[str, tuple[int, ...]]:
    image, _, names = text.partition("=")
    numbers = tuple(map(number_of, names.split(",")))
    if None in numbers:
        raise ValueError(f"{text}: a call that has no number here")
    return image, tuple(number for number in numbers if number is not None)


def reason(text: str) -> str:
    """As much of it as can be told. A boot image's error says what it likes, as long as it likes."""
    told = text if len(text) <= REASON_CHARACTERS else f"{text[:REASON_CHARACTERS]}…"
    return told.encode(errors="backslashreplace").decode()


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


def load_rehearsal(name: str) -> Rehearse:
    """What a process that is made ahead of need does before it waits: function `rehearse` of a module; without a name,
    nothing."""
    if not name:
        return tuple
    rehearse: Rehearse = importlib.import_module(name).rehearse
    return rehearse


def _enter_control_group(folders: list[Path]) -> OomScore | None:
    """Returns who is to end where its memory runs out; None where there is nothing to be entered."""
    if not folders:
        return None
    try:
        control_group.enter(folders)
        return OomScore()
    except OSError as error:
        print(f"this host refuses tasks a control group of their own: {error}", flush=True)
        return None


def main() -> None:
    parser = argparse.ArgumentParser(prog="zygote")
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--log-folder", required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--preload", default="")
    parser.add_argument("--import", dest="modules", default="")
    parser.add_argument("--rehearse", default="")
    parser.add_argument("--path", action="append", default=[])
    parser.add_argument("--without", type=lambda names: Layer.named(names.split(",")), default=Layer(0))
    parser.add_argument("--host-calls", type=_host_calls, action="append", default=[])
    parser.add_argument("--control-group", type=Path, action="append", default=[])
    parser.add_argument("--no-control-group", default="")
    options = parser.parse_args()
    die_with_parent(options.parent)
    if options.no_control_group:
        print(f"this host refuses tasks a control group of their own: {options.no_control_group}", flush=True)
    score = _enter_control_group(options.control_group)  # before a namespace in which it would be another's
    refused = list(namespaces.NAMES)
    if Layer.NAMESPACES not in options.without and (refused := namespaces.enter(options.parent)):
        print(f"this host refuses tasks namespaces of their own: {', '.join(refused)}", flush=True)
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
    gc.disable()  # nearly all that is loaded stays
    images = load_images([name for name in options.preload.split(",") if name])
    import_modules([name for name in options.modules.split(",") if name])
    rehearse = load_rehearsal(options.rehearse)
    sys.stdout.flush()
    # A task finds none of it by name; and nothing secret in its memory (hw/module_path.py). Once, not in each child.
    os.environ.clear()
    # Objects that are never looked at by the collector are pages that parent and child go on sharing.
    gc.freeze()
    gc.enable()
    # Behind the images too: they may be imported by what is in no tree of a task's. Process 1 is to be in it.
    if Layer.TREE not in options.without and (
        "mount" in refused or not code_tree.enter(code_places(options.path), options.log_folder)
    ):
        print("this host refuses tasks a file tree of their own", flush=True)
    first = None
    if Layer.PID not in options.without:
        # Behind the images, which may make threads while they are imported.
        first = process_namespace.enter(show_processes="mount" not in refused)
        if first is None:
            print("this host refuses tasks a pid namespace of their own", flush=True)
        elif not first.shown:
            print("this host refuses tasks a /proc of their own", flush=True)
    rules = -1 if Layer.LANDLOCK in options.without else file_rules(code_paths(options.path))
    zygote = Zygote(
        channel, TaskLogs(folder), images, rules, options.without, dict(options.host_calls), first, score, rehearse
    )
    try:
        zygote.run()
    finally:
        zygote.close()


if __name__ == "__main__":
    main()
