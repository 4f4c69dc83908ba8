"""From fork to boot image: what a new task's process does before the first line of its image, in this order.

It dies with the zygote; leaves its session and process group; closes every descriptor but its own three and the maps;
points stdin at /dev/null and stdout and stderr at its log; attaches to its trap frame;
enters the sandbox; and calls the image. Whatever goes wrong before the image is written to the log, and the process
ends with status 125.
"""

from __future__ import annotations

import fcntl
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Final, NoReturn

import hw.cpu
from kerneld.host.linux import die_with_parent, map_at, set_process_name

NOT_STARTED: Final = 125
LOG_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
LOG_BYTES: Final = 64 << 20  # a task that writes on and on fills its own log, not the host's disk
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")


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


def log_name(name: str) -> str:
    """The file name of a task's log. A task's name is bytes that another task chose: nothing in it may be a path."""
    return (_UNSAFE.sub("_", name).lstrip(".") or "unnamed") + ".log"


def run(request: Request, image: ModuleType, log_folder: int, parent: int) -> NoReturn:
    """Become the task. Never returns: the zygote's own clean-up is not this process's to run."""
    status = NOT_STARTED
    try:
        main = _prepare(request, image, log_folder, parent)
        status = 1
        status = _status(main(*request.arguments))
    except SystemExit as end:
        status = _status(end.code)
    except BaseException:
        traceback.print_exc()
    finally:
        _flush()
        os._exit(status & 0xFF)


def _prepare(request: Request, image: ModuleType, log_folder: int, parent: int) -> Callable[..., object]:
    die_with_parent(parent)
    os.setsid()
    set_process_name(request.name or request.image)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    log = os.open(log_name(request.name), LOG_FLAGS, 0o600, dir_fd=log_folder)
    null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    frame, doorbell, control, *maps = _close_others(request.descriptors)
    for (address, size, rights), descriptor in zip(request.maps, maps, strict=True):
        map_at(address, size, rights, descriptor)
        os.close(descriptor)
    sandboxed = threading.Event()
    hw.cpu.set_thread_entry(_thread_entry(image, request.image_number, sandboxed))
    hw.cpu.attach(frame, doorbell, control)
    hw.cpu.enter_sandbox(request.memory, file_bytes=LOG_BYTES)
    sandboxed.set()
    main: Callable[..., object] = image.main
    return main


def _close_others(kept: tuple[int, ...]) -> list[int]:
    """Close every descriptor but standard ones and `kept`, which are numbered from 3 on."""
    # Above all that are open, so that none is overwritten before it has moved.
    base = max(kept) + 1
    moved = [_move(descriptor, base) for descriptor in kept]
    for at, descriptor in enumerate(moved):
        os.dup2(descriptor, 3 + at, inheritable=False)
    os.closerange(3 + len(kept), os.sysconf("SC_OPEN_MAX"))
    return list(range(3, 3 + len(kept)))


def _move(descriptor: int, base: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, max(base, 16))


def _thread_entry(image: ModuleType, image_number: int, sandboxed: threading.Event) -> hw.cpu.ThreadEntry:
    """What a further thread of the process runs: the same image's `thread`, where it has one, else its `main`.

    It may be started as soon as the keeper runs, and waits until the process is in its sandbox.
    """

    def entry(thread: int, number: int, *arguments: int) -> int | None:
        sandboxed.wait()
        threading.current_thread().name = f"thread-{thread}"
        if number != image_number:
            print(f"thread {thread} was to run boot image {number}; a process's threads run its own", file=sys.stderr)
            return NOT_STARTED
        function: Callable[..., object] = getattr(image, "thread", image.main)
        result = function(*arguments)
        return result if isinstance(result, int) else 0

    return entry


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
