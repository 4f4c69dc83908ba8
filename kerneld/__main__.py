"""The nursery that kernels come from: `python -m kerneld --monitor FD --parent PID --name SYSTEM`, started by the
monitor.

Loads the kernel's code, and forks a process whenever the monitor asks for one (hw/kernel_process.py). That one waits
until the monitor makes it the kernel (kerneld/host/options.py), which may be because another one has died; while it
waits it does what can be done ahead (kerneld/host/readiness.py). Then it boots RAM, or attaches to what RAM holds, runs
the system, tells the monitor the exit status, and ends with it.

Rules. The nursery is single-threaded, so that a fork copies all there is. It knows nothing of the system.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import traceback

import msgpack
import uvloop

from hw.cpu import hide_memory
from hw.descriptor_passing import send_descriptors
from hw.parent_death import die_with_parent
from kerneld.host.linux import set_process_name
from kerneld.host.options import wait_for_turn
from kerneld.host.readiness import Haste, have_pages
from kerneld.host.system import run

MESSAGE_BYTES = 4096
SENDING_S = 2.0  # less than the monitor waits for an answer


def main() -> int:
    # The terminal's signals are the monitor's: it ends the system in order.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="kerneld")
    parser.add_argument("--monitor", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--name", required=True, help="for people who look at a list of processes")
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    set_process_name("sel4py-kernels")
    hide_memory()
    channel = socket.socket(fileno=arguments.monitor)
    channel.set_inheritable(False)
    # The host reaps what it forks: who waits for a kernel has its pidfd.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # What was made so far lives as long as the kernel: the collector need not look at it again and again.
    gc.freeze()
    return serve(channel)


def serve(channel: socket.socket) -> int:
    """Fork kernels until the monitor ends. Returns in the nursery, and never in a kernel."""
    nursery = os.getpid()
    while True:
        data, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return 0
        (end,) = descriptors
        try:
            pid, pidfd = fork_kernel(channel, end, nursery)
        except OSError as error:
            channel.send(msgpack.packb({"op": "failed", "error": str(error)}))
            continue
        finally:
            os.close(end)
        try:
            send_descriptors(channel, msgpack.packb({"op": "forked", "pid": pid}), [pidfd], SENDING_S)
        except TimeoutError as error:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            channel.send(msgpack.packb({"op": "failed", "error": str(error)}))
        finally:
            os.close(pidfd)


def fork_kernel(channel: socket.socket, end: int, nursery: int) -> tuple[int, int]:
    """A process that waits at its end of a socket to be made the kernel: its pid and pidfd. Raises OSError."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    while True:
        pid = os.fork()
        if pid == 0:
            channel.close()
            be_kernel(socket.socket(fileno=end), nursery, nice)
        # One that was killed at once is reaped already.
        with contextlib.suppress(ProcessLookupError):
            return pid, os.pidfd_open(pid)


def be_kernel(monitor: socket.socket, nursery: int, nice: int) -> None:
    """In a process that was just forked. Never returns: what the nursery would clean up is not this process's."""
    status = 1
    try:
        die_with_parent(nursery)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        set_process_name("sel4py-spare")
        haste = Haste(nice)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.get_loop()
            have_pages(monitor)
            haste.begin()
            turn = wait_for_turn(monitor)
            haste.go_first()
            set_process_name("sel4py-kerneld")
            status = 0 if turn is None else runner.run(run(*turn, monitor, haste.end))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
