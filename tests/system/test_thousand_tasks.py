"""Tasks started and ended through the real system, by a task that pays for them: nothing of them may be left.

A first crowd of the same size comes before the measure: what a system makes once, and keeps, is no leak. From a plain
user the descriptors of the system's processes are hidden: then the other figures alone are compared.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.booted import BootedSystem
from deploy.management import Management
from kerneld.host.task_logs import KEPT

ANONYMOUS_BYTES = 4 << 20  # that kerneld may grow by: its memory stops to grow after some 2,000 tasks
SETTLING_SECONDS = 60.0
ONE_OF_MANY = "nothing"  # the name of a process that was started to end


@dataclass(frozen=True)
class Traces:
    """What tasks could leave behind, as the host sees it. By name: numbers of processes begin anew at some time."""

    processes: tuple[str, ...]
    descriptors: tuple[tuple[str, int], ...]
    memory_files: int
    frames: int
    tasks: int


class System(BootedSystem):
    """The benchmarks' system, looked at from outside."""

    def status(self) -> Mapping[str, int]:
        with Management(self.folder) as management:
            status = management.request("status")
        assert isinstance(status, Mapping)
        return status

    def traces(self) -> Traces:
        status = self.status()
        links = {pid: _links(pid) for pid in self.processes()}
        return Traces(
            tuple(sorted(_name(pid) for pid in links)),
            tuple(sorted((_name(pid), len(each)) for pid, each in links.items())),
            sum(link.startswith("/memfd:") for each in links.values() for link in each),
            int(status["frames_with_own_memory"]),
            int(status["tasks"]),
        )

    def settled(self, wanted: Traces | None = None) -> Traces:
        """The traces once they are as wanted, or stop to change: the monitor closes a little later what it kept.

        Ends are told before the host has taken processes down, and these are waited for. A round trip through the
        system paces it; after a bounded time the traces as they are.
        """
        last, deadline = self.traces(), time.monotonic() + SETTLING_SECONDS
        while time.monotonic() < deadline:
            self.order("single 1")
            now = self.traces()
            if now == (last if wanted is None else wanted) and ONE_OF_MANY not in now.processes:
                return now
            last = now
        return last

    def logs(self) -> int:
        return len(list((self.folder / "logs").iterdir()))

    def kernel_bytes(self) -> int:
        """Private memory of the kernel's process: its Python objects, not RAM."""
        text = Path(f"/proc/{self.status()['pid']}/status").read_text()
        (line,) = [line for line in text.splitlines() if line.startswith("RssAnon:")]
        return int(line.split()[1]) << 10


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _links(pid: int) -> list[str]:
    """Those that are closed meanwhile are none, as all of a process that has ended."""
    folder, found = f"/proc/{pid}/fd", list[str]()
    with suppress(PermissionError, FileNotFoundError, ProcessLookupError):
        for number in os.listdir(folder):
            with suppress(FileNotFoundError):
                found.append(os.readlink(f"{folder}/{number}"))
    return found


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_tasks_leave_nothing(count: int) -> None:
    system = System()
    with system:
        first = system.order(f"crowd {count}")
        system.order(f"start {count}")
        before, memory = system.settled(), system.kernel_bytes()
        again = system.order(f"crowd {count}")
        system.order(f"start {count}")
        assert system.settled(before) == before
        assert again["free"] == first["free"]
        assert system.kernel_bytes() - memory < ANONYMOUS_BYTES
        assert system.logs() <= KEPT + len(before.processes)
