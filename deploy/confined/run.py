"""One confined run, from its files to its exit status.

Rules. The system is a process of its own, in a session of its own, and ends with this one. Nothing of the host is
changed but the files that were given to be written, and those only after a program that ended by itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NoReturn

from deploy.confined import disk
from deploy.confined.relay import Relay, TimeIsUp
from deploy.confined.system import LINE, PROGRAM, Program, describe
from deploy.description import Description, load
from deploy.host_network import NetworkLink
from deploy.launch import LaunchOptions, end_process, launch
from deploy.runtime import ensure_private, system_folder
from hw.parent_death import die_with_parent
from hw.waiting import wait_readable
from libsel4py.streams import Stream

END_SECONDS: Final = 10.0  # that a system may take to end when it is told to
TIMED_OUT: Final = 124  # as timeout(1)'s
INTERRUPTED: Final = 128 + signal.SIGINT
LOG_BYTES: Final = 4096


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        status: the command's exit status. by_itself: the program came to its end, by whatever status.
        written: names of the files that were written back. reason: why it did not end by itself.
    """

    status: int
    by_itself: bool
    seconds: float
    written: list[str]
    reason: str = ""


def run(
    script: Path,
    program: Program,
    room: int,
    timeout: float | None,
    write: Callable[[Stream, bytes], None],
    source: int,
) -> Outcome:
    """Run it. Raises BadRequest, DiskRefused, BadDescription, NotWritten, RuntimeRefused, OSError."""
    name = f"run-{os.getpid()}"
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: nothing of the run is left behind
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _interrupted)
    with tempfile.TemporaryDirectory(prefix="sel4py-run-") as made:
        folder = Path(made)
        disk.fill(folder / "files.img", script, program.name, program.gifts, room)
        file = folder / "system.toml"
        file.write_text(describe(name, program))
        description = load(file)
        began = time.monotonic()
        with _system(description) as system:
            ended, status, reason = system.serve(write, None if timeout is None else began + timeout, source)
        seconds = time.monotonic() - began
        written = disk.bring_back(folder / "files.img", program.gifts) if ended else []
    return Outcome(status, ended, round(seconds, 3), written, reason)


def _interrupted(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


class _System:
    """A running system: this process's child, and the other end of its program's line."""

    def __init__(self, pid: int, line: socket.socket, logs: Path) -> None:
        self.pidfd = os.pidfd_open(pid)
        self._pid = pid
        self._line = line
        self._logs = logs
        self._status: int | None = None

    def serve(
        self, write: Callable[[Stream, bytes], None], deadline: float | None, source: int
    ) -> tuple[bool, int, str]:
        """Whether the program ended by itself, the exit status, and what was the matter if it did not."""
        relay = Relay(self._line, write, source)
        try:
            relay.run(deadline)
        except TimeIsUp:
            return False, TIMED_OUT, "its time was up"
        except KeyboardInterrupt:
            return False, INTERRUPTED, "interrupted"
        except BrokenPipeError:
            return False, 128 + signal.SIGPIPE, "nobody reads what it writes"
        status = self.wait()
        if relay.ended and relay.whole:
            return True, status, ""
        if relay.ended:
            return False, status or 1, "its files have not all that it wrote"
        return False, status or 1, self._why(status)

    def wait(self) -> int:
        """Its exit status, when it has ended."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1]) & 0xFF
        return self._status

    def end(self) -> None:
        """Have it ended, and let go of all."""
        if self._status is None:
            signal.pidfd_send_signal(self.pidfd, signal.SIGTERM)
            if not wait_readable(self.pidfd, END_SECONDS):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            self.wait()
        self._line.close()
        os.close(self.pidfd)

    def _why(self, status: int) -> str:
        """What the logs say of a program, or a system, that did not come to its end."""
        told = [f"the program ended with status {status} without coming to its end"]
        for log in (f"{PROGRAM}.log", "monitor.log", "zygote.log", "root.log"):
            with contextlib.suppress(OSError):
                text = (self._logs / log).read_bytes()[-LOG_BYTES:].decode(errors="replace").strip()
                told += [f"--- {log}", text] if text else []
        return "\n".join(told)


@contextlib.contextmanager
def _system(description: Description) -> Iterator[_System]:
    """The system, started; ended at the end of the block, and nothing of it left."""
    folder = system_folder(description.system.name)
    ensure_private(folder / "logs")
    parent = os.getpid()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _become_system(_joined(description, theirs.fileno()), folder, parent)
    theirs.close()
    system = _System(pid, ours, folder / "logs")
    try:
        yield system
    finally:
        system.end()
        shutil.rmtree(folder, ignore_errors=True)


def _joined(description: Description, line: int) -> Description:
    """The description with the program's line on a descriptor of this process."""
    link = description.host_parts[LINE]
    assert isinstance(link, NetworkLink)
    return replace(description, host_parts=description.host_parts | {LINE: replace(link, descriptor=line)})


def _become_system(description: Description, folder: Path, parent: int) -> NoReturn:
    """The child: runs the system and ends with its status."""
    status = 1
    try:
        os.setsid()
        die_with_parent(parent)
        log = os.open(folder / "logs" / "monitor.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        for descriptor, number in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(descriptor, number)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        status = launch(LaunchOptions(description))
    except BaseException as error:
        with contextlib.suppress(OSError):  # there is no room for it
            print(f"sel4py: {error}", file=sys.stderr)
    finally:
        end_process(status)
