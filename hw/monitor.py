"""The monitor: parent of everything. Starts kernel and zygote, keeps their descriptors, replaces a kernel that dies,
ends the system, cleans up behind it.

It runs in the process that calls `run` (`sel4py up`) and returns the system's exit status. All other processes die
with it: the kernel and the zygote have asked the host to be killed when it ends, tasks when the zygote ends. It knows
no kernel: it starts `python -m kerneld` and `python -m kerneld.host.zygote`, and speaks msgpack with the one and
nothing with the other. How a kernel is replaced: hw/kernel_process.py.

SIGINT, SIGTERM and SIGHUP end the system in order; a second one ends it at once. A SIGHUP that is ignored stays so
(nohup).
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
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from hw.control_group import Bounds, ControlGroup, keep_record
from hw.control_group_places import NotDelegated
from hw.cpu import hide_memory
from hw.devices.stdio import RawTerminal
from hw.fd_store import FdStore, close_all
from hw.helpers import Helpers, Process
from hw.kernel_process import FOREVER, Kernels, Nursery
from hw.layers import VARIABLE, Layer
from hw.machine import BackendKind, MachineDescription, create_ram
from hw.module_path import bare_environment, python_command, python_environment
from hw.monitor_options import MonitorOptions
from hw.runtime_folder import clean_folder, prepare_folder
from hw.time_slice import ask_for_short_slice
from hw.waiting import wait_readable

END_SECONDS: Final = 5.0
ZYGOTE_SECONDS: Final = 5.0
KILLED: Final = 72  # exit status of a system whose kernel was killed again and again, or fell silent
NOT_WRITTEN: Final = 74  # EX_IOERR: of one that ended as it should, but its console's output was not written whole
_STANDARD_OUTPUT: Final = 1

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
    try:
        with contextlib.ExitStack() as stack:
            monitor = stack.enter_context(contextlib.closing(Monitor(options, machine)))
            if any(device.backend is BackendKind.STDIO for device in machine.devices):
                stack.enter_context(RawTerminal(source))
            console = tuple(stack.enter_context(_above_standard(each)) for each in (source, options.output))
            monitor.start(console)
            status = monitor.wait()
            lost = monitor.lost if options.output == _STANDARD_OUTPUT else 0
    finally:
        clean_folder(options.folder, keep_logs=status != 0)
    if not status and lost:
        print(f"{options.name}: the output cannot be written: {os.strerror(lost)}", file=sys.stderr)
        return NOT_WRITTEN
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
    """The processes of one system. ``lost``: an error's number, where its console's output was not written whole."""

    def __init__(self, options: MonitorOptions, machine: MachineDescription) -> None:
        self._options = options
        self._machine = machine
        self.lost = 0
        self._ram = create_ram(machine.memory_bytes, options.name) if options.ram < 0 else os.dup(options.ram)
        self._store = FdStore()
        self._more: dict[str, int] = {"ram": self._ram}  # what each kernel is handed besides the store
        self._kernels = Kernels(self._load_kernel, self._store, self._more, options.most_kernel_deaths)
        self._group: ControlGroup | None = None
        self._zygote: Process | None = None
        self._zygote_channel: socket.socket | None = None  # the kernel's end
        self._files = contextlib.ExitStack()
        self._helpers = Helpers(self._start)
        self._status: int | None = None
        self._has_run = False  # a kernel has said that it serves: something may be lost that it cannot end in order
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
        group = self._control_group()  # before there is any process but this one
        kernel_end, zygote_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._zygote_channel = kernel_end
        description = self._files.enter_context(_memory_file(self._options.description))
        text = self._files.enter_context(_memory_file(json.dumps(self._kernel_options()).encode()))
        self._more |= {"options": text, "description": description, "zygote": kernel_end.fileno()}
        self._more |= {"console-in": console[0], "console-out": console[1]}
        self._more |= {f"device:{each.name}": each.descriptor for each in self._machine.devices if each.descriptor >= 0}
        with zygote_end:
            for helper in self._options.helpers:
                self._helpers.start(helper)
            self._start_zygote(zygote_end.fileno(), group)
        self._kernels.begin()

    def wait(self) -> int:
        """Wait for the system's end; returns its exit status."""
        deadline_s = FOREVER
        while True:
            ready = self._poll(deadline_s)
            noticed_ns = time.monotonic_ns()
            if not ready and deadline_s <= time.monotonic():
                return self._give_up()
            self._kernels.end_trial()
            while self._receive():
                continue
            for each in [descriptor for descriptor in ready if descriptor in self._helpers.descriptors]:
                self._helper_ended(each)
            for keeper in [keeper for end, keeper in self._helpers.keepers.items() if end in ready]:
                keeper.take()
            if self._wakeup in ready:
                os.read(self._wakeup, 64)
                self._signals += 1
                if self._signals > 1:
                    return self._give_up()
                signal.pidfd_send_signal(self._kernels.running.pidfd, signal.SIGTERM)
                deadline_s = time.monotonic() + END_SECONDS
            if self._kernels.loading in ready:
                self._kernels.loaded()
            if self._kernels.running.pidfd in ready and (ended := self._kernel_ended(noticed_ns)) is not None:
                return ended

    def _poll(self, deadline_s: float) -> list[int]:
        poll = select.poll()
        kernel = self._kernels.running
        descriptors = [
            kernel.channel.fileno(),
            kernel.pidfd,
            self._wakeup,
            *self._helpers.descriptors,
            *self._helpers.keepers,
        ]
        if self._kernels.loading >= 0:
            descriptors.append(self._kernels.loading)
        for descriptor in descriptors:
            poll.register(descriptor, select.POLLIN)
        until_s = min(deadline_s, self._kernels.trial_ends)
        left = None if until_s == FOREVER else max(0.0, until_s - time.monotonic()) * 1000
        ready = [descriptor for descriptor, _ in poll.poll(left)]
        if ready == [kernel.channel.fileno()] and not self._receive():
            # It has closed its end, and is about to end.
            poll.unregister(kernel.channel.fileno())
            ready = [descriptor for descriptor, _ in poll.poll(left)]
        return ready

    def _kernel_ended(self, noticed_ns: int) -> int | None:
        """The kernel's process has ended: the system's exit status, or None if another kernel goes on."""
        while self._receive():
            continue
        if self._status is not None:
            return self._status
        if self._signals:  # one that starts, and hears no signal yet, is ended by it
            return KILLED if self._has_run else 0
        why = self._kernels.replace(noticed_ns)
        if why is None:
            return None
        print(f"{self._options.name}: {why}; the system ends", file=sys.stderr)
        return KILLED

    def close(self) -> None:
        """End all that is left, the kernel first, and let go of everything."""
        self._kernels.close()
        if self._zygote_channel is not None:
            self._zygote_channel.close()
        if self._zygote is not None:
            process, pidfd = self._zygote
            # Kernel and monitor have closed its socket, so it ends its tasks, waits for them, and ends.
            if not wait_readable(pidfd, ZYGOTE_SECONDS):
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            process.wait()
            os.close(pidfd)
        if self._group is not None and (said := self._group.close()):
            print(f"{self._options.name}: {said}", file=sys.stderr)
        self._helpers.close()
        self._files.close()
        self._store.close()
        self._restore_signals()
        close_all((self._ram, self._wakeup, self._wakeup_end))

    def _helper_ended(self, pidfd: int) -> None:
        said, _ = self._helpers.ended(pidfd)
        print(f"{self._options.name}: {said}", file=sys.stderr)

    def _give_up(self) -> int:
        print(f"{self._options.name} did not end in time and is killed", file=sys.stderr)
        return KILLED

    def _receive(self) -> bool:
        """Take one message of the kernel's; False when there is none now, or will be no more."""
        received = self._kernels.running.receive()
        if received is None:
            return False
        message, descriptors = received
        match message:
            case {"op": "ended", "status": int(status)}:
                if not self._kernels.is_on_trial:
                    self._status = status
            case {"op": "lost", "error": int(error)}:
                self.lost = self.lost or error
            case {"op": "runs"}:
                self._has_run = True
                self._kernels.runs()
            case {"op": "upgrade"}:
                self._kernels.upgrade()
            case _:
                self._store.take(message, descriptors)
        return True

    def _load_kernel(self) -> Nursery:
        return Nursery(self._start, self._options.name)

    # --- children ------------------------------------------------------------------------------------------

    def _control_group(self) -> list[str]:
        """Make it; what the zygote is to be told of it."""
        if Layer.CGROUP in self._options.without:
            return []
        try:
            self._group = ControlGroup.make(self._options.name, Bounds.of(self._machine.memory_bytes))
        except NotDelegated as refused:
            return ["--no-control-group", str(refused)]
        keep_record(self._options.folder, self._group)
        return [word for folder in self._group.folders for word in ("--control-group", str(folder))]

    def _start_zygote(self, descriptor: int, group: Sequence[str]) -> None:
        logs = self._options.folder / "logs"
        arguments = ["-m", "kerneld.host.zygote", "--fd", str(descriptor), "--log-folder", str(logs)]
        arguments += ["--parent", str(os.getpid()), "--preload", ",".join(dict.fromkeys(self._options.images))]
        arguments += ["--import", ",".join(dict.fromkeys(self._options.modules)), *group]
        if self._options.rehearsal:
            arguments += ["--rehearse", self._options.rehearsal]
        for folder in self._options.module_paths:
            arguments += ["--path", str(folder)]
        for image, names in self._options.host_calls.items():
            arguments += ["--host-calls", f"{image}={','.join(names)}"]
        if without := self._options.without.names():
            arguments += ["--without", ",".join(without)]
            print(f"{self._options.name}: tasks run WITHOUT {', '.join(without)} ({VARIABLE})", file=sys.stderr)
        self._zygote = self._start("zygote", arguments, (descriptor,), bare_environment())

    def _start(
        self,
        name: str,
        arguments: Sequence[str],
        descriptors: Sequence[int],
        environment: Mapping[str, str] | None = None,
    ) -> Process:
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
                env=python_environment() if environment is None else environment,
            )
        finally:
            os.close(log)
        return process, os.pidfd_open(process.pid)

    def _kernel_options(self) -> dict[str, object]:
        return {
            "name": self._options.name,
            "source": self._options.source,
            "builder": self._options.builder,
            "folder": str(self._options.folder),
            "ram_bytes": self._machine.ram_bytes,
            "devices": [device.plain() for device in self._machine.devices],
            "images": list(self._options.images),
            "poll_ns": self._options.poll_ns,
            "initial_memory_bits": self._options.memory_bits(),
            "cores": self._options.cores,
            "step_us": self._options.step_us,
            "without": list(self._options.without.names()),
        }

    # --- signals -------------------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        self._saved_wakeup = signal.set_wakeup_fd(self._wakeup_end, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
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
