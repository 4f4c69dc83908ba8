"""The monitor: parent of everything. Starts kernel and zygote, keeps their descriptors, ends the system, cleans up
behind it.

It runs in the process that calls `run` (`sel4py up`) and returns the system's exit status. All other processes die
with it: the kernel and the zygote have asked the host to be killed when it ends, tasks when the zygote ends. It knows
no kernel: it starts `python -m kerneld` and `python -m kerneld.host.zygote`, and speaks msgpack with the one and
nothing with the other.

SIGINT, SIGTERM and SIGHUP end the system in order; a second one ends it at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Final

import msgpack

from hw.cpu import hide_memory
from hw.devices.stdio import RawTerminal
from hw.fd_store import FdStore, close_all
from hw.helpers import Helpers, Process
from hw.machine import BackendKind, MachineDescription, create_ram
from hw.module_path import python_command, python_environment
from hw.monitor_options import MonitorOptions
from hw.runtime_folder import clean_folder, prepare_folder
from hw.time_slice import ask_for_short_slice

END_SECONDS: Final = 5.0
KILLED: Final = 72  # exit status of a system whose kernel was killed or fell silent
MESSAGE_BYTES: Final = 4096

__all__ = ["MonitorOptions", "run"]


def run(options: MonitorOptions) -> int:
    """Run a system until it ends; returns its exit status (0: it ended as it should).

    Raises:
        ValueError: the machine cannot be built, or the folder's path is too long. PermissionError: the folder is not
        ours alone. OSError: the host refuses a process, a descriptor or memory.
    """
    machine = options.machine()
    hide_memory()
    prepare_folder(options.folder)
    source = 0 if options.script is None else options.script
    status = KILLED
    with contextlib.ExitStack() as stack:
        monitor = stack.enter_context(contextlib.closing(Monitor(options, machine)))
        if any(device.backend is BackendKind.STDIO for device in machine.devices):
            stack.enter_context(RawTerminal(source))
        console = tuple(stack.enter_context(_above_standard(each)) for each in (source, options.output))
        monitor.start(console)
        status = monitor.wait()
    clean_folder(options.folder, keep_logs=status != 0)
    if status not in (0, KILLED) and status < 64:
        return status
    if status:
        print(f"{options.name} ended with status {status}; see {options.folder / 'logs'}", file=sys.stderr)
    return status


@contextlib.contextmanager
def _above_standard(descriptor: int) -> Iterator[int]:
    """A copy of a descriptor that a child's own standard input and output do not replace."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)
    try:
        yield copy
    finally:
        os.close(copy)


class Monitor:
    """The processes of one system."""

    def __init__(self, options: MonitorOptions, machine: MachineDescription) -> None:
        self._options = options
        self._machine = machine
        self._ram = create_ram(machine.ram_bytes, options.name)
        self._store = FdStore()
        self._channel: socket.socket | None = None
        self._processes: list[tuple[subprocess.Popen[bytes], int]] = []  # with their pidfds: zygote, kernel
        self._helpers = Helpers(self._start)
        self._status: int | None = None
        self._signals = 0
        self._wakeup, self._wakeup_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._saved: dict[int, object] = {}
        self._saved_wakeup = -1

    def start(self, console: tuple[int, ...]) -> None:
        """Start zygote and kernel. ``console``: descriptors of the stdio console's input and output."""
        _raise_descriptor_limit()
        ask_for_short_slice()  # all that is started from here inherits it; where it is refused, nothing changes
        self._catch_signals()
        (self._options.folder / "monitor.pid").write_text(f"{os.getpid()}\n")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel = ours
        kernel_end, zygote_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, kernel_end, zygote_end, _memory_file(self._options.description) as description:
            for helper in self._options.helpers:
                self._helpers.start(helper)
            self._start_zygote(zygote_end.fileno())
            plain = self._kernel_options(kernel_end.fileno(), theirs.fileno(), description, console)
            with _memory_file(json.dumps(plain).encode()) as text:
                inherited = [text, description, kernel_end.fileno(), theirs.fileno(), self._ram]
                inherited += [each.descriptor for each in self._machine.devices if each.descriptor >= 0]
                arguments = ["-m", "kerneld", "--options", str(text)]
                self._processes.append(self._start("kerneld", arguments, (*inherited, *console)))

    def wait(self) -> int:
        """Wait for the system's end; returns its exit status."""
        assert self._channel is not None
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        kernel, pidfd = self._processes[-1]
        for descriptor in (pidfd, *self._helpers.descriptors):
            poll.register(descriptor, select.POLLIN)
        deadline_ms: float | None = None
        while True:
            ready = [descriptor for descriptor, _ in poll.poll(deadline_ms)]
            if not ready:
                return self._give_up()
            if self._channel.fileno() in ready and not self._receive():
                poll.unregister(self._channel.fileno())
            for each in [descriptor for descriptor in ready if descriptor in self._helpers.descriptors]:
                self._helper_ended(each, poll)
            if self._wakeup in ready:
                os.read(self._wakeup, 64)
                self._signals += 1
                if self._signals > 1:
                    return self._give_up()
                signal.pidfd_send_signal(pidfd, signal.SIGTERM)
                deadline_ms = END_SECONDS * 1000
            if pidfd in ready:
                while self._channel.fileno() >= 0 and self._receive():
                    continue
                kernel.wait()
                return KILLED if self._status is None else self._status

    def close(self) -> None:
        """End all that is left, the kernel first, and let go of everything."""
        for process, pidfd in reversed(self._processes):
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            process.wait()
            os.close(pidfd)
        self._processes.clear()
        self._helpers.close()
        if self._channel is not None:
            self._channel.close()
        self._store.close()
        self._restore_signals()
        close_all((self._ram, self._wakeup, self._wakeup_end))

    def _helper_ended(self, pidfd: int, poll: select.poll) -> None:
        poll.unregister(pidfd)
        said, again = self._helpers.ended(pidfd)
        print(f"{self._options.name}: {said}", file=sys.stderr)
        if again is not None:
            poll.register(again, select.POLLIN)

    def _give_up(self) -> int:
        print(f"{self._options.name} did not end in time and is killed", file=sys.stderr)
        return KILLED

    def _receive(self) -> bool:
        """Take one message of the kernel's; False when there is none or will be no more."""
        assert self._channel is not None
        try:
            data, descriptors, _, _ = socket.recv_fds(
                self._channel, MESSAGE_BYTES, 4, socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, ConnectionResetError):
            return False
        if not data:
            return False
        message = msgpack.unpackb(data)
        match message:
            case {"op": "ended", "status": int(status)}:
                self._status = status
            case _:
                self._store.take(message, descriptors)
        return True

    # --- children ------------------------------------------------------------------------------------------

    def _start_zygote(self, descriptor: int) -> None:
        logs = self._options.folder / "logs"
        arguments = ["-m", "kerneld.host.zygote", "--fd", str(descriptor), "--log-folder", str(logs)]
        arguments += ["--parent", str(os.getpid()), "--preload", ",".join(dict.fromkeys(self._options.images))]
        arguments += ["--import", ",".join(dict.fromkeys(self._options.modules))]
        for folder in self._options.module_paths:
            arguments += ["--path", str(folder)]
        self._processes.append(self._start("zygote", arguments, (descriptor,)))

    def _start(self, name: str, arguments: Sequence[str], descriptors: Sequence[int]) -> Process:
        log = os.open(
            self._options.folder / "logs" / f"{name}.log",
            os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
        )
        try:
            # In this process's group: the kernel reads the terminal, which only the foreground job may.
            process = subprocess.Popen(
                python_command(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=descriptors,
                env=python_environment(),
            )
        finally:
            os.close(log)
        return process, os.pidfd_open(process.pid)

    def _kernel_options(
        self, zygote: int, monitor: int, description: int, console: tuple[int, ...]
    ) -> dict[str, object]:
        return {
            "name": self._options.name,
            "folder": str(self._options.folder),
            "ram_fd": self._ram,
            "zygote_fd": zygote,
            "monitor_fd": monitor,
            "description_fd": description,
            "console_in": console[0],
            "console_out": console[1],
            "parent": os.getpid(),
            "ram_bytes": self._machine.ram_bytes,
            "devices": [device.plain() for device in self._machine.devices],
            "images": list(self._options.images),
            "poll_ns": self._options.poll_ns,
            "initial_memory_bits": self._options.memory_bits(),
        }

    # --- signals -------------------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        self._saved_wakeup = signal.set_wakeup_fd(self._wakeup_end, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._saved[number] = signal.signal(number, _woken)

    def _restore_signals(self) -> None:
        for number, handler in self._saved.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        if self._saved:
            signal.set_wakeup_fd(self._saved_wakeup)
        self._saved.clear()


def _woken(number: int, frame: object) -> None:
    """The wake-up descriptor has told the loop already."""


def _raise_descriptor_limit() -> None:
    """Each frame that is handed out is a descriptor here and in the kernel."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def _memory_file(data: bytes) -> Iterator[int]:
    """A descriptor to read these bytes from, for a child."""
    descriptor = os.memfd_create("sel4py-options", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
