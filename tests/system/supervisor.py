"""The command `sel4py` as a user runs it: a process of its own, with a runtime folder of its own.

Rules: every process that a test starts is a descendant of the test's own process (it is their subreaper), and so can be
found, ended by its pid, and missed. `watched` checks at the end, also of a failed test, that no process, no descriptor
and no file in the runtime folder is left, and that the file systems on the systems' disks are whole.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import gc
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.disk import checked

ROOT: Final = Path(__file__).resolve().parents[2]
SECONDS: Final = 60.0
END_SECONDS: Final = 10.0
PROMPT: Final = b"sel4py> "
_PR_SET_CHILD_SUBREAPER: Final = 36


@dataclass(frozen=True)
class Finished:
    """A command that has ended: its exit status and what it wrote."""

    status: int
    output: str
    error: str

    def json(self) -> dict[str, object]:
        """The one line of JSON that it printed."""
        answer = json.loads(self.output)
        assert isinstance(answer, dict)
        return answer


class Terminal:
    """A command on a pseudo-terminal, and the person before it."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.shown = b""
        self._seen = 0
        try:
            self.process = subprocess.Popen(
                arguments,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                env=environment,
                cwd=folder,
                start_new_session=True,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
        finally:
            os.close(theirs)

    def type(self, text: bytes) -> None:
        """Type these keys."""
        while text:
            text = text[os.write(self._ours, text) :]

    def until(self, text: bytes, seconds: float = SECONDS) -> bytes:
        """What is shown from where the last look ended up to this text. Raises AssertionError if it does not come."""
        deadline = time.monotonic() + seconds
        while text not in self.shown[self._seen :]:
            left = max(0.0, deadline - time.monotonic())
            assert _readable([self._ours], left), f"{text!r} did not come within {seconds} s after {self.shown!r}"
            try:
                self.shown += os.read(self._ours, 1 << 16)
            except OSError as end:  # EIO: nobody has the other end open
                raise AssertionError(f"the command ended before it showed {text!r}: {self.shown!r}") from end
        start, self._seen = self._seen, self.shown.index(text, self._seen) + len(text)
        return self.shown[start : self._seen]

    def wait(self) -> int:
        """The exit status; what the command shows until then is read, so that it never waits for us."""
        while True:
            assert _readable([self._ours], SECONDS), f"the command does not end: {self.shown!r}"
            try:
                self.shown += os.read(self._ours, 1 << 16)
            except OSError:
                return self.process.wait(SECONDS)

    def close(self) -> None:
        os.close(self._ours)


class Supervisor:
    """Runs `sel4py` with ``folder`` as its runtime folder, and one beside it for disks.

    Attributes:
        root: the tree whose code that is; this one, at first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = ROOT
        self.environment = {**os.environ, "SEL4PY_RUNTIME_DIR": str(folder), "COLUMNS": "200"}
        self.environment["SEL4PY_STATE_DIR"] = str(folder.with_name(folder.name + "-state"))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._terminals: list[Terminal] = []

    def run(self, *arguments: str | Path, typed: bytes = b"", seconds: float = SECONDS) -> Finished:
        """Runs the command to its end. Raises AssertionError, with what its systems say, if that does not come."""
        process = self.start(*arguments)
        try:
            output, error = process.communicate(typed, seconds)
        except subprocess.TimeoutExpired as late:
            raise AssertionError(f"{late}\n{(late.stdout or b'').decode()}\n{self._state()}") from late
        return Finished(process.returncode, output.decode(), error.decode())

    def _state(self) -> str:
        """What each system that runs does, and what its tasks have logged."""
        found = []
        for system in self.rows("systems"):
            for command in ("ps", "logs"):
                asked = self.start(command, "--system", str(system["name"]))
                output, error = asked.communicate(timeout=END_SECONDS)
                found.append((output + error).decode())
        return "\n".join(found)

    def ok(self, *arguments: str | Path, typed: bytes = b"") -> str:
        """Runs a command that must succeed; returns its output."""
        finished = self.run(*arguments, typed=typed)
        assert finished.status == 0, finished
        return finished.output

    def result(self, *arguments: str | Path) -> object:
        """The result that a command prints with ``--json``; it must succeed."""
        answer = json.loads(self.ok(*arguments, "--json"))
        assert answer["ok"] is True
        result: object = answer["result"]
        return result

    def rows(self, *arguments: str | Path) -> list[dict[str, object]]:
        """As ``result``, of a command whose result is a list of rows."""
        found = self.result(*arguments)
        assert isinstance(found, list)
        return found

    def start(self, *arguments: str | Path | int) -> subprocess.Popen[bytes]:
        """Starts the command on pipes."""
        process = subprocess.Popen(
            self._command(*arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
            cwd=self.root,
        )
        self._processes.append(process)
        return process

    def terminal(self, *arguments: str | Path) -> Terminal:
        """Starts the command on a terminal."""
        terminal = Terminal(self._command(*arguments), self.environment, self.root)
        self._processes.append(terminal.process)
        self._terminals.append(terminal)
        return terminal

    def forwarded_port(self, *options: str) -> int:
        """The port of this host, chosen by it, that leads to the system's network."""
        (card,) = [row for row in self.rows("inspect", "devices", *options) if row["name"] == "net0"]
        found = re.search(r"127\.0\.0\.1:(\d+)-", str(card))
        assert found is not None, card
        return int(found[1])

    def wait_ended(self, name: str) -> None:
        """Waits until a system that ends by itself has ended: until its monitor, our child, has."""
        for row in self.rows("systems"):
            if row["name"] == name:
                assert not wait_ended({int(str(row["pid"]))}), f"{name} does not end"

    def left_behind(self) -> list[str]:
        """What stands in the runtime folder. Logs of a system that did not end with 0 are kept for the user."""
        found = [path.relative_to(self.folder) for path in self.folder.rglob("*") if not path.is_dir()]
        return sorted(str(path) for path in found if not (len(path.parts) == 3 and path.parts[1] == "logs"))

    def damaged(self) -> list[str]:
        """What `sel4py disk check` finds on the systems' own disks; one that nobody has written to is empty."""
        found = []
        for image in Path(self.environment["SEL4PY_STATE_DIR"]).rglob("*.img"):
            if image.stat().st_blocks:
                found += [f"{image.name}: {problem}" for problem in checked(image, None).problems]
        return found

    def close(self) -> None:
        """Ends what a failed test left running, in order if it obeys, and lets go of all descriptors."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
                wait_ended({process.pid})
                process.kill()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
            process.wait()
        for terminal in self._terminals:
            terminal.close()

    @staticmethod
    def _command(*arguments: str | Path | int) -> list[str]:
        return [sys.executable, "-m", "deploy.cli", *map(str, arguments)]


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[Supervisor]:
    """A supervisor, and the check that it leaves nothing."""
    folder.mkdir(mode=0o700, exist_ok=True)
    folder.chmod(0o700)
    _set_aside_what_stays()
    gc.collect()  # what former tests left to it would be closed at any moment
    before, open_before = descendants(), open_descriptors()
    set_subreaper(True)
    supervisor = Supervisor(folder)
    try:
        yield supervisor
    finally:
        supervisor.close()
        stuck = wait_ended(descendants() - before)
        if stuck:
            # A detached system that its test did not end: its monitor, our child now, ends it in order.
            wait_ended(stuck & descendants(depth=1), signal.SIGTERM)
            wait_ended(descendants() - before, signal.SIGKILL)
        set_subreaper(False)
    assert not stuck, f"processes {stuck} are left"
    gc.collect()
    assert open_descriptors() == open_before
    assert supervisor.left_behind() == []
    assert supervisor.damaged() == []


@functools.cache
def _set_aside_what_stays() -> None:
    """The tests themselves, and all modules: the collector's looks around each test leave them out from now on."""
    gc.collect()
    gc.freeze()


def open_descriptors() -> set[tuple[int, str]]:
    """This process's descriptors, with what each is open on."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one of this listing
            found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
    return found


def descendants(depth: int = 1000) -> set[int]:
    """The processes below this one, to this depth; those that have ended and wait to be reaped too."""
    parents = {}
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        with contextlib.suppress(OSError):
            parents[pid] = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    found: set[int] = set()
    level = {os.getpid()}
    for _ in range(depth):
        level = {pid for pid, parent in parents.items() if parent in level}
        if not level:
            break
        found |= level
    return found


def wait_ended(pids: set[int], number: signal.Signals | None = None, seconds: float = END_SECONDS) -> set[int]:
    """Waits for the ends of processes, sent a signal (None: none). Returns which run on.

    Reaps our children among them, and whatever else of a system was left to us by its zygote's death: process 1 of its
    pid namespace ends when all in it are reaped, also those that were forked after somebody had listed the others.
    """
    opened: dict[int, int] = {}
    deadline = time.monotonic() + seconds
    try:
        for pid in pids:
            _open(pid, opened)
        running = set(opened)
        if number is not None:
            for descriptor in running:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, number)
        while running and (left := deadline - time.monotonic()) > 0:
            for pid in _left_to_us().difference(opened.values()):  # by the zygote's end, which has woken us
                _open(pid, opened)
            for descriptor in _readable(opened, left):
                with contextlib.suppress(ChildProcessError):
                    os.waitid(os.P_PIDFD, descriptor, os.WEXITED)
                running.discard(descriptor)
                del opened[descriptor]
                os.close(descriptor)
        return {opened[descriptor] for descriptor in running}
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _readable(descriptors: Iterable[int], seconds: float) -> list[int]:
    """Those that are, as soon as one is; none after so long. Not by select(2): a thousand tasks have high numbers."""
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return [descriptor for descriptor, _ in poll.poll(seconds * 1000)]


def _open(pid: int, opened: dict[int, int]) -> None:
    """Adds a pidfd of a process that has not been reaped."""
    with contextlib.suppress(ProcessLookupError):
        opened[os.pidfd_open(pid)] = pid


def _left_to_us() -> set[int]:
    """Our children in a pid namespace below ours. We start none there: a zygote does, and they are left to us when it
    dies, where we are their subreaper or process 1 of our own namespace."""
    found = set()
    for pid in descendants(depth=1):
        with contextlib.suppress(OSError):
            (inside,) = re.findall(r"^NSpid:(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
            if len(inside.split()) > 1:
                found.add(pid)
    return found


def set_subreaper(on: bool) -> None:
    """Whether what loses its parent below us is left to us."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
