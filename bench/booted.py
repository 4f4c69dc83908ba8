"""A booted system that takes orders on its console, and its processes as the host sees them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from deploy.management import Management

SYSTEMS = Path(__file__).parent / "systems"
NAME = "bench"  # of a system that is alone
MARK = b"@"
LOG_CHARACTERS = 2000  # of the driver's log, when it has ended


class BootedSystem:
    """A system whose driver takes orders, from that moment to its end. A context manager.

    Args:
        folder: where it keeps its sockets and logs; systems that are joined by a switch have one of them, and a name
            each. Without it, one of its own that goes with it.
    """

    def __init__(
        self,
        description: Path = SYSTEMS / "kernel.toml",
        name: str = NAME,
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._own_folder = tempfile.TemporaryDirectory(prefix="sel4py-bench-")
        runtime = folder or Path(self._own_folder.name)
        self.folder = runtime / name
        variables = {**os.environ, **(environment or {}), "SEL4PY_RUNTIME_DIR": str(runtime)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "deploy.cli", "up", str(description), "--name", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=variables,
        )

    def order(self, text: str) -> dict[str, Any]:
        """Give the driver one order (`bench.tasks.driver`), and wait for its figures.

        Raises:
            RuntimeError: the system has ended instead.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode() + b"\n")
        self._process.stdin.flush()
        return self.answer(text)

    def answer(self, text: str) -> dict[str, Any]:
        """The driver's next figures, of those orders that have several. Raises as `order`; ``text``: the order's."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(MARK):
                answer: dict[str, Any] = json.loads(line[len(MARK) :])
                return answer
        log = self.folder / "logs" / "driver.log"
        said = log.read_text()[-LOG_CHARACTERS:] if log.exists() else ""
        raise RuntimeError(f"the system ended at {text!r} with status {self._process.wait()}; its driver: {said}")

    def tasks(self) -> dict[str, int]:
        """The pid of each task's process, by the task's name."""
        with Management(self.folder) as management:
            threads: Any = management.request("ps")
        return {thread["name"]: thread["pid"] for thread in threads if thread["thread"] == 0}

    def states(self) -> dict[str, str]:
        """What each task's first thread does, by the task's name, as `sel4py ps` shows it."""
        with Management(self.folder) as management:
            threads: Any = management.request("ps")
        return {thread["name"]: thread["state"] for thread in threads if thread["thread"] == 0}

    def devices(self) -> list[dict[str, Any]]:
        """Its devices, as `sel4py inspect devices` shows them."""
        with Management(self.folder) as management:
            rows: Any = management.request("inspect", what="devices")
        return list(rows)

    def processes(self) -> list[int]:
        """The pids of all its processes: the monitor, and what descends from it."""
        parents = {
            int(entry.name): _parent(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()
        }
        found = [self._process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def names(self) -> set[str]:
        """What its processes are called at the host."""
        found = set()
        for pid in self.processes():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                found.add(Path(f"/proc/{pid}/comm").read_text().strip())
        return found

    def descriptors(self) -> int | None:
        """Open file descriptors of all its processes; None where the host shows them to root alone."""
        try:
            return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.processes())
        except PermissionError:
            return None

    def processor_seconds(self) -> float:
        """Processor time that all its living processes have used."""
        ticks = sum(sum(_stat(pid)[11:13]) for pid in self.processes())
        return ticks / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> BootedSystem:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            if kind is not None:  # an order may be under way, behind which another would wait
                self._process.terminate()
            elif self._process.poll() is None:
                self._process.stdin.write(b"end\n")
            self._process.stdin.close()
            self._process.wait(20)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            self._process.terminate()
            self._process.wait()
        finally:
            self._process.stdout.close()
            self._own_folder.cleanup()


def _stat(pid: int) -> list[int]:
    """Fields of /proc/PID/stat behind the name, from the state's on; the state counts as 0. proc(5)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return [0] * 20
    fields = text.rpartition(")")[2].split()
    return [0, *map(int, fields[1:20])]


def _parent(pid: int) -> int:
    return _stat(pid)[1]
