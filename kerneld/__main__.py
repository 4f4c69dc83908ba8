"""The kernel's process: `python -m kerneld --options FD`, started by the monitor.

Reads its options (JSON, kerneld/host/options.py) from the descriptor, boots RAM or attaches to what it holds, runs
the system, tells the monitor the exit status, and ends with it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import sys

import msgpack
import uvloop

from hw.cpu import hide_memory
from hw.parent_death import die_with_parent
from kerneld.host.linux import set_process_name
from kerneld.host.options import KernelOptions
from kerneld.host.system import System


def main() -> int:
    # The terminal's signals are the monitor's: it ends the system in order.
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parser = argparse.ArgumentParser(prog="kerneld")
    parser.add_argument("--options", type=int, required=True)
    descriptor = parser.parse_args().options
    with open(descriptor, encoding="utf-8") as file:
        options = KernelOptions.parse(file.read())
    die_with_parent(options.parent)
    set_process_name("sel4py-kerneld")
    hide_memory()
    for inherited in (options.ram_fd, options.zygote_fd, options.monitor_fd):
        os.set_inheritable(inherited, False)
    with open(options.description_fd, "rb") as file:
        description = file.read()
    # What was made so far lives as long as the kernel: the collector need not look at it again and again.
    gc.collect()
    gc.freeze()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(options, description))


async def run(options: KernelOptions, description: bytes) -> int:
    """Run the system that the options say; returns its exit status."""
    system = System(options, description, asyncio.get_running_loop())
    status = await system.run()
    if system.monitor is not None:
        # A monitor that has ended needs no status.
        with contextlib.suppress(OSError):
            system.monitor.send(msgpack.packb({"op": "ended", "status": status}))
        system.monitor.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
