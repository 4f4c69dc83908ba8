"""Booted systems: started, asked, ended; nothing may be left of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from deploy.management import Management, ManagementError
from hw.kernel_process import MOST_DEATHS
from tests.system.supervisor import Supervisor, wait_ended, watched

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
RAM_BYTES = 256 << 20
PROC = "/proc"  # hostile images find there what tells them most, as on a host without Landlock


class Booted:
    """A system that was started. Its monitor is `process`."""

    def __init__(
        self,
        folder: Path,
        images: list[str],
        description: str,
        ram_bytes: int,
        descriptors: int = 0,
        kernel_deaths: int = MOST_DEATHS,
        readable: Sequence[str] = (PROC,),
        root: Path = ROOT,
        host_calls: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.folder = folder
        plain: dict[str, object] = {"folder": str(folder), "images": images, "description": description}
        plain |= {"ram_bytes": ram_bytes, "descriptors": descriptors, "kernel_deaths": kernel_deaths}
        plain |= {"module_paths": list(readable), "host_calls": host_calls or {}}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.system.launch", json.dumps(plain)],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.output = ""

    def ask(self, op: str, **fields: object) -> object:
        """A management request's result; waits for a system that is just starting."""
        with Management(self.folder, SECONDS) as management:
            return management.request(op, **fields)

    def wait(self) -> int:
        """The exit status. Where none comes in time, the error tells what its threads do."""
        try:
            output, _ = self.process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            error.add_note(self._what_it_does())
            raise
        self.output = output.decode()
        return self.process.returncode

    def _what_it_does(self) -> str:
        try:
            rows = self.ask("ps")
        except ManagementError as error:
            rows = [error]
        assert isinstance(rows, list)
        return "\n".join([*map(str, rows), self.logs()])

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def pids(self) -> list[int]:
        """All processes of the system but the monitor: they have its folder in their command line or are the kernel."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            return False
        return pid != self.process.pid and (os.fsencode(self.folder) in command or parent == self.process.pid)

    def log(self, name: str) -> str:
        file = self.folder / "logs" / f"{name}.log"
        return file.read_text() if file.exists() else ""

    def logs(self) -> str:
        return "".join(f"--- {file.name}\n{file.read_text()}" for file in sorted(self.folder.glob("logs/*.log")))


Boot = Callable[..., Booted]


@pytest.fixture
def boot() -> Iterator[Boot]:
    """Starts systems: `boot(description, *images)`, of this tree's code or another ``root``'s.

    Checks at the end that no process and no folder is left.
    """
    base = Path(tempfile.mkdtemp(prefix="sel4py-test-"))
    started: list[Booted] = []

    def start(
        description: str = "",
        *images: str,
        image: str = "tests.system.images.initial",
        ram_bytes: int = RAM_BYTES,
        descriptors: int = 0,
        kernel_deaths: int = MOST_DEATHS,
        readable: Sequence[str] = (PROC,),
        root: Path = ROOT,
        host_calls: Mapping[str, Sequence[str]] | None = None,
    ) -> Booted:
        folder = base / str(len(started))
        limits = (ram_bytes, descriptors, kernel_deaths)
        system = Booted(folder, [image, *images], description, *limits, readable, root, host_calls)
        started.append(system)
        return system

    try:
        yield start
    finally:
        for system in started:
            if system.process.poll() is None:
                system.process.kill()
                system.process.communicate()
        left = [pid for system in started for pid in system.pids()]
        gone = wait_gone(*left)
        shutil.rmtree(base)
    assert gone, f"processes {left} are left"


def wait_gone(*pids: int, seconds: float = SECONDS) -> bool:
    """Waits until processes that were told to end have ended, and reaps what is left to us."""
    return not wait_ended(set(pids), seconds=seconds)


@pytest.fixture
def sel4py(tmp_path: Path) -> Iterator[Supervisor]:
    """The command `sel4py`, with a runtime folder of this test's own. Checks at the end that nothing is left."""
    with watched(tmp_path / "run") as supervisor:
        yield supervisor
