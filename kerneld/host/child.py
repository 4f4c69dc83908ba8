"""From fork to boot image: what a new task's process does before the first line of its image, in this order.

It begins (`hw.cpu.begin`: dies with the zygote, is alone in its session, has its log and its own descriptors only, and
can open nothing but code); attaches to its trap frame; enters the sandbox; and calls the image. Whatever goes wrong
before the image is written to the log, and the process ends with status 125.

Rule. Each page that the new process writes is copied first, some microseconds each, and Python writes wherever it
looks. So what can be made before the fork is made there (`Task`), and the new process makes few calls.
"""

from __future__ import annotations

import _thread
import errno
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Final, NoReturn, TypeAlias

import hw.cpu
from hw.layers import NO_LAYER, Layer
from kerneld.host.task_logs import log_name

NOT_STARTED: Final = 125
FRAME, DOORBELL, CONTROL = 3, 4, 5  # descriptors of a process that has begun
LOG_BYTES: Final = 64 << 20  # a task that writes on and on fills its own log, not the host's disk

Running: TypeAlias = tuple[Callable[..., object], Sequence[int]]
"""A boot image's function, and its arguments."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request to start a process, checked. Its descriptors are the caller's to close, in the parent."""

    number: int
    image: str
    image_number: int
    name: str
    arguments: tuple[int, ...]
    memory: int
    maps: tuple[tuple[int, int, int], ...]
    descriptors: tuple[int, ...]

    @classmethod
    def parse(cls, message: object, descriptors: list[int]) -> Request:
        """Raises ValueError if it is no request, or has not its descriptors."""
        match message:
            case {
                "op": "start",
                "id": int(number),
                "image": str(image),
                "image_number": int(image_number),
                "name": str(name),
                "arguments": list(arguments),
                "memory": int(memory),
                "maps": list(maps),
            } if len(descriptors) == 3 + len(maps):
                checked = tuple((int(address), int(size), int(rights)) for address, size, rights in maps)
                words = tuple(int(word) for word in arguments)
                return cls(number, image, image_number, name, words, memory, checked, tuple(descriptors))
        raise ValueError(f"{message!r} with {len(descriptors)} descriptors is no request to start a process")


class Task:
    """A process to be: what it needs, made by the process that forks it. `log` is its log's file name.

    Args:
        file_rules: which files it may read (`hw.cpu.file_rules`); the caller's to close. parent: what getppid(2) says
        in the child. without: layers of the sandbox that a test leaves out. report: where it hands over its filter's
        listener. loosened: numbers of host system calls that pass for its image.
    """

    def __init__(
        self,
        request: Request,
        image: ModuleType,
        log_folder: int,
        parent: int,
        file_rules: int,
        without: Layer = NO_LAYER,
        report: int = -1,
        loosened: tuple[int, ...] = (),
    ) -> None:
        self._request = request
        self._without = without
        self._loosened = loosened
        self._main: Callable[..., object] = image.main
        self._entry = Entry(image, request.image_number)
        self.log = log_name(request.name)
        self._beginning = hw.cpu.Beginning.pack(
            parent,
            request.name or request.image,
            log_folder,
            self.log,
            request.descriptors,
            request.maps,
            file_rules,
            report,
            Layer.CAPABILITIES not in without,
        )

    def run(self) -> NoReturn:
        """Become the task. Never returns: the zygote's own clean-up is not this process's to run."""
        run_image(self._enter)

    def _enter(self) -> Running:
        report = hw.cpu.begin(self._beginning)
        hw.cpu.set_thread_entry(self._entry)
        hw.cpu.attach(FRAME, DOORBELL, CONTROL)
        hw.cpu.enter_sandbox(
            self._request.memory,
            file_bytes=LOG_BYTES,
            without=self._without,
            report=None if report < 0 else hw.cpu.Report(report, self._request.number),
            loosened=self._loosened,
        )
        self._entry.release()
        return self._main, self._request.arguments


def run_image(enter: Callable[[], Running]) -> NoReturn:
    """Run what is returned, once it is; end with its status."""
    status = NOT_STARTED
    try:
        function, arguments = enter()
        status = 1
        status = _status(function(*arguments))
    except SystemExit as end:
        status = _status(end.code)
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        os._exit(status & 0xFF)


class Entry:
    """What a further thread of the process runs: the same image's `thread`, where it has one, else its `main`.

    It may be started as soon as the keeper runs, and waits until it is released: the process is in its sandbox.
    """

    def __init__(self, image: ModuleType | None = None, number: int = 0) -> None:
        self.image, self.number = image, number
        self._sandboxed = _thread.allocate_lock()
        self._sandboxed.acquire()

    def release(self) -> None:
        """The process is what it is to be."""
        self._sandboxed.release()

    def __call__(self, thread: int, number: int, *arguments: int) -> int | None:
        with self._sandboxed:
            threading.current_thread().name = f"thread-{thread}"
        if number != self.number:
            print(f"thread {thread} was to run boot image {number}; a process's threads run its own", file=sys.stderr)
            return NOT_STARTED
        assert self.image is not None  # released
        function: Callable[..., object] = getattr(self.image, "thread", self.image.main)
        result = function(*arguments)
        return result if isinstance(result, int) else 0


def open_child(pid: int) -> int | None:
    """A pidfd of a process that the caller has just forked. None if it has no descriptor left: then there is no such
    process any more.
    """
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _status(result: object) -> int:
    """As the interpreter does for sys.exit(): None is 0, a number is itself, text is printed and is 1."""
    if result is None:
        return 0
    if isinstance(result, int):
        return result
    print(result, file=sys.stderr)
    return 1


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            continue  # the log's file system is full, or the image closed the stream: there is nobody left to tell
