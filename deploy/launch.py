"""Starts a system: the one place that knows how the monitor is called.

Rules: the lock on the runtime folder is taken before anything else, by the process that becomes the monitor. A detached
start returns only when the system is up or has failed, and tells which; a failed one leaves nothing running.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final, NoReturn

from deploy.answers import AnswerError
from deploy.builder_digest import builder_digest
from deploy.description import SYSTEMS, Description
from deploy.host_devices import opened
from deploy.memory import ROOT_MEMORY
from deploy.runtime import (
    RuntimeRefused,
    already_running,
    clean_after,
    end_forcibly,
    ensure_private,
    release,
    running,
    state_folder,
    system_folder,
    take,
    wait_ended,
)
from libsel4py.description import Backend, System

REHEARSAL: Final = "libsel4py.rehearsal"
UP_SECONDS: Final = 30.0
_LOCKED: Final = b"\0"
_NOBODY: Final = -1


@dataclass(frozen=True)
class LaunchOptions:
    """How to run a description. ``script`` is an open descriptor that becomes the console's input.

    ``snapshot``: a suspended system's file, which it goes on from. ``output``: what a console on the standard streams
    writes to.

    A kernel that dies more often than ``most_kernel_deaths`` within ten seconds is not replaced.
    """

    description: Description
    console: Backend | None = None
    script: int | None = None
    most_kernel_deaths: int | None = None
    snapshot: Path | None = None
    output: int = 1


Run = Callable[[LaunchOptions], int]


def run_monitor(options: LaunchOptions) -> int:
    """Calls the monitor, which returns the system's exit status at its end. This process holds the system's lock."""
    from hw.kernel_process import MOST_DEATHS
    from hw.monitor import MonitorOptions, run

    system = options.description.system
    description = options.description
    with ExitStack() as stack:
        host = stack.enter_context(opened(description.host_parts, _disk_folder(description), system.name))
        monitor = MonitorOptions(
            name=system.name,
            folder=system_folder(system.name),
            ram_bytes=system.ram,
            images=system.images,
            devices=system.devices,
            description=options.description.pack(),
            builder=builder_digest(),
            source=str(options.description.source.resolve()),
            console=options.console,
            script=options.script,
            output=options.output,
            modules=interface_modules(system),
            rehearsal=REHEARSAL,
            module_paths=options.description.paths,
            host_calls={task.image: task.host_calls for task in system.tasks if task.host_calls},
            descriptors=host.descriptors,
            networks=host.networks,
            helpers=host.helpers,
            cores=system.cores,
            step_us=system.step_us,
            initial_memory_bits=ROOT_MEMORY.bit_length() - 1,
            most_kernel_deaths=MOST_DEATHS if options.most_kernel_deaths is None else options.most_kernel_deaths,
        )
        try:
            if options.snapshot is not None:
                from deploy.snapshots import resumed

                ram = stack.enter_context(resumed(options.snapshot, monitor.machine(), description.pack()))
                monitor = replace(monitor, ram=ram)
            return run(monitor)
        except ValueError as error:
            raise RuntimeRefused(f"the machine cannot be built: {error}") from error
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            remedy = "make room there, or set SEL4PY_RUNTIME_DIR to a folder elsewhere"
            raise RuntimeRefused(f"{monitor.folder}: {error.strerror}; {remedy}") from error


def _disk_folder(description: Description) -> Path:
    """What paths of disks count from: the description's folder, or the user's own if it came with sel4py."""
    own = description.source.resolve().parent
    return state_folder(description.system.name) if own == SYSTEMS and description.host_parts else own


def interface_modules(system: System) -> tuple[str, ...]:
    """The modules of all interfaces that a description names: a task finds them loaded and opens no file for them."""
    named: list[str] = []
    for task in system.tasks:
        named += (provided.interface for provided in task.provides)
        named += (use.interface for use in (*task.uses, *task.names))
    return tuple(dict.fromkeys(interface.partition(":")[0] for interface in named))


def launch(options: LaunchOptions, run: Run = run_monitor) -> int:
    """Runs the system in this process until it ends; returns its exit status. Raises RuntimeRefused, OSError."""
    folder = system_folder(options.description.system.name)
    lock = take(folder)
    try:
        return run(options)
    finally:
        release(folder, lock)


def launch_detached(options: LaunchOptions, run: Run = run_monitor) -> None:
    """Runs the system in a process of its own, and returns when it is up.

    Raises:
        ManagementError: it could not start; the text gives the reason and the log. RuntimeRefused: as ``launch``.
    """
    folder = system_folder(options.description.system.name)
    ensure_private(folder / "logs")
    if any(system.name == folder.name for system in running()):
        raise already_running(folder.name)
    with ended_in_order():
        _start_and_wait(options, run, folder)


def _start_and_wait(options: LaunchOptions, run: Run, folder: Path) -> None:
    life, alive = os.pipe()
    waiting = os.fdopen(life, "rb", buffering=0)
    child = _NOBODY  # it leads the session of all that is started
    first = b""
    try:
        child = os.fork()
        if child == 0:
            _become_monitor(options, run, folder, waiting, alive)
        from deploy.management import Management, ManagementError  # loaded while the system starts

        os.close(alive)
        os.waitpid(child, 0)
        # Without the lock it would be another system of that name that answers.
        first = os.read(life, 4096)
        if first != _LOCKED:
            raise ManagementError(first.decode(errors="replace").lstrip("\0") or "it ended before it was up")
        with Management(folder) as management:
            management.wait_up(life, UP_SECONDS)
    except AnswerError as error:
        reason = _read_reason(life)
        end_at_once(folder.name, child)
        where = f"; its log is {folder / 'logs' / 'monitor.log'}" if first.startswith(_LOCKED) else ""
        raise ManagementError(f"the system did not start: {reason or error}{where}") from error
    except BaseException:
        # Whoever waits has given up (Ctrl-C): what is half started is of no use to anybody. What has no lock yet is not
        # found here, and ends when it finds that nobody waits.
        waiting.close()
        end_at_once(folder.name, child)
        raise
    finally:
        waiting.close()


@contextmanager
def ended_in_order() -> Iterator[None]:
    """What ends this process leaves no system behind: SIGTERM, and a terminal that goes, raise SystemExit as Ctrl-C
    raises KeyboardInterrupt. What is ignored (nohup) stays so.
    """
    former = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in former.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, _exit)
    try:
        yield
    finally:
        for number, handler in former.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, handler)


def _exit(number: int, frame: object) -> NoReturn:
    sys.exit(128 + number)


def end_at_once(name: str, session: int | None = None) -> None:
    """Ends a system without asking it, and cleans up behind it. Nothing happens where none of that name runs.

    ``session``: only if its monitor is of that session. One that somebody else has started meanwhile is his.
    """
    for system in running():
        if system.name == name and session in (None, _session(system.pid)):
            end_forcibly(system)
            if wait_ended(system, UP_SECONDS):
                clean_after(system)


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return _NOBODY


def _become_monitor(options: LaunchOptions, run: Run, folder: Path, waiting: IO[bytes], alive: int) -> NoReturn:
    """In the first child: leaves the caller's session and process group for good, and never returns."""
    status = 1
    try:
        waiting.close()  # so that what is written to nobody fails
        os.setsid()
        if os.fork():
            os._exit(0)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        lock = take(folder)
        log = folder / "logs" / "monitor.log"  # another system's, until the lock is taken
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        os.write(alive, _LOCKED)
        try:
            status = run(options)
        finally:
            release(folder, lock)
    except BaseException as error:
        # This process ends here whatever it was; the reason goes to the log, and then to the waiting parent.
        with suppress(OSError):  # there is no room for it
            traceback.print_exc()
        with suppress(OSError):  # nobody waits
            os.write(alive, str(error).encode(errors="replace")[:4096])
    finally:
        end_process(status)


def end_process(status: int) -> NoReturn:
    """Ends a process that has been forked: it never comes back to who forked it, also where no log has room."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(status)


def _read_reason(life: int) -> str:
    os.set_blocking(life, False)
    try:
        return os.read(life, 4096).decode(errors="replace")
    except BlockingIOError:
        return ""
