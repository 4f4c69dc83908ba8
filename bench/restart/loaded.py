"""The workstation with all that it has at work: files, pages, typing, calls through the kernel and calls by channel."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from bench.tasks.starting import NAME as BEGIN
from deploy.images import opened
from deploy.management import Management, ManagementError
from kerneld.survey import digest, survey

ROOT: Final = Path(__file__).resolve().parents[2]
NAME: Final = "restart"
PAGE_BYTES: Final = 64
RETYPE_S: Final = 15
LONGEST_S: Final = 60.0
PROMPT: Final = b"sel4py> "
CLIENTS: Final = "clients = { "
FURTHER_CLIENTS: Final = 'writer = "rw /", by_channel = "r /tmp", by_kernel = "r /tmp", '
LOAD: Final = """
[task.apart]
image = "bench.tasks.counted"
provides = {{ counted = "bench.tasks.counted:Counted" }}

[task.beside]
image = "bench.tasks.counted"
provides = {{ counted = "bench.tasks.counted:Counted" }}

[task.by_channel]
image = "bench.tasks.pair_client"
config = {{ seconds = {seconds} }}
uses = {{ service = {{ from = "apart.counted", channel = "always" }}, files = {{ from = "vfs.files" }} }}

[task.by_kernel]
image = "bench.tasks.pair_client"
config = {{ seconds = {seconds} }}
uses = {{ service = {{ from = "beside.counted", channel = "never" }}, files = {{ from = "vfs.files" }} }}

[task.writer]
image = "bench.tasks.synced_writer"
config = {{ seconds = {seconds} }}
uses = {{ files = {{ from = "vfs.files", rights = "wgp" }} }}
"""
TOLD: Final = ("by_channel", "by_kernel", "writer")


class Loaded:
    """A booted workstation under load for so many seconds. A context manager; `start` begins the load.

    Attributes:
        pages, lines: fetched and typed so far. resets: connections that were, so that the page was fetched anew (a host
            on which nobody gets a processor has TCP's and the web server's time limits pass). wrong: what should not
            have been.
        garbled: answers on the console that were not as expected. What was on its way to or from a terminal when a
            kernel was killed may be lost, or come twice (docs/CAVEATS.md).
    """

    def __init__(self, seconds: float) -> None:
        self._own = tempfile.TemporaryDirectory(prefix="sel4py-restart-")
        folder = Path(self._own.name)
        text = (ROOT / "deploy/systems/workstation.toml").read_text()
        assert CLIENTS in text
        text = f'[system]\nname = "{NAME}"\npaths = ["{ROOT}"]\n' + text
        text = text.replace(CLIENTS, CLIENTS + FURTHER_CLIENTS, 1) + LOAD.format(seconds=seconds)
        self.description = folder / f"{NAME}.toml"
        self.description.write_text(text)
        self.folder = folder / "run" / NAME
        environment = {
            **os.environ,
            "SEL4PY_RUNTIME_DIR": str(folder / "run"),
            "SEL4PY_STATE_DIR": str(folder / "state"),
        }
        command = [sys.executable, "-m", "deploy.cli", "up", str(self.description), "--kernel-deaths", "1000000"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=ROOT
        )
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self.pages = self.lines = self.resets = 0
        self.wrong: list[str] = []
        self.garbled: list[bytes] = []

    def start(self) -> None:
        """Make a page, have the tasks of the load begin, and begin to fetch the page and to type."""
        self._until(PROMPT)
        self._type("mkdir www")
        self._type(f"write www/page {'x' * PAGE_BYTES}")
        self._type(f"write /tmp/{BEGIN} now")
        for load in (self._fetch_pages, self._type_on):
            self._threads.append(threading.Thread(target=self._guarded, args=(load,)))
            self._threads[-1].start()

    def status(self) -> Mapping[str, Any]:
        """What the kernel that there is then says of itself."""
        with Management(self.folder, LONGEST_S) as management:
            status: Any = management.request("status")
        return dict(status)

    def graph(self) -> str:
        """The capability graph as RAM holds it now, once what a killed kernel has begun is rolled back.

        Raises PermissionError where the host lets nobody look at the monitor's memory.
        """
        ram = next(path for path in Path(f"/proc/{self.monitor}/fd").iterdir() if "sel4py-ram" in os.readlink(path))
        with opened(ram) as image:
            image.recover()
            return digest(survey(image))

    @property
    def monitor(self) -> int:
        """The pid of the monitor."""
        return int((self.folder / "monitor.pid").read_text())

    def kill(self, *, stopped: bool = False) -> tuple[int, str]:
        """Kill the kernel. Returns when (CLOCK_MONOTONIC, ns), and the capability graph then, if it was ``stopped``."""
        pid = int(self.status()["pid"])
        pidfd = os.pidfd_open(pid)
        try:
            graph = ""
            if stopped:
                signal.pidfd_send_signal(pidfd, signal.SIGSTOP)
                self._wait_stopped(pid)
                graph = self.graph()
            at = time.monotonic_ns()
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            return at, graph
        finally:
            os.close(pidfd)

    @staticmethod
    def _wait_stopped(pid: int) -> None:
        """The host stops all of its threads in its own time, and tells its parent alone."""
        while any("State:\tT" not in path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")):
            os.sched_yield()

    def told(self) -> dict[str, dict[str, Any]]:
        """What the tasks of the load say, once they have ended."""
        with Management(self.folder, LONGEST_S) as management, management.listen() as listener:
            while {str(row["name"]) for row in self._ps(management)} & set(TOLD):
                listener.next(1.0)
        found = {}
        for name in TOLD:
            lines = (self.folder / "logs" / f"{name}.log").read_text().splitlines()
            found[name] = json.loads(next(line[line.index("@") + 1 :] for line in lines if "@{" in line))
        return found

    def stop(self) -> None:
        """No more pages and lines."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @staticmethod
    def _ps(management: Management) -> list[dict[str, Any]]:
        rows: Any = management.request("ps")
        return list(rows)

    # --- load from outside

    def _guarded(self, load: Any) -> None:
        try:
            load()
        except (OSError, http.client.HTTPException, ManagementError, ValueError) as error:
            if not self._ended.is_set():
                self.wrong.append(f"{load.__name__}: {error!r}")

    def _port(self) -> int:
        with Management(self.folder, LONGEST_S) as management:
            devices: Any = management.request("inspect", what="devices")
        forward = next(each["state"]["forwards"][0] for each in devices if each["name"] == "net0")
        return int(forward.rpartition(":")[2].partition("-")[0])  # tcp:127.0.0.1:PORT-80

    def _fetch_pages(self) -> None:
        port = self._port()
        expected = hashlib.sha256(b"x" * PAGE_BYTES + b"\n").digest()
        while not self._ended.is_set():
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST_S)) as connection:
                try:
                    connection.request("GET", "/page")
                    answer = connection.getresponse()
                    body = answer.read()
                except (ConnectionError, http.client.RemoteDisconnected):
                    self.resets += 1
                    continue
            if answer.status != 200 or hashlib.sha256(body).digest() != expected:
                self.wrong.append(f"a page of status {answer.status} with {len(body)} bytes")
            self.pages += 1

    def _type_on(self) -> None:
        while not self._ended.is_set():
            self.lines += 1
            shown = self._type(f"call pong ping {self.lines}")
            if f"\n{self.lines}\n".encode() not in shown.replace(b"\r", b""):
                self.garbled.append(shown)

    def _type(self, line: str) -> bytes:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()
        return self._until(PROMPT)

    def _until(self, text: bytes) -> bytes:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        shown = b""
        output = select.poll()
        output.register(self.process.stdout, select.POLLIN)
        while not shown.endswith(text):
            if not output.poll(RETYPE_S * 1000):
                self.process.stdin.write(b"\n")  # the end of the line was lost
                self.process.stdin.flush()
                continue
            if not (more := os.read(self.process.stdout.fileno(), 1 << 16)):
                raise ValueError(f"the system has ended with status {self.process.wait()} after {shown!r}")
            shown += more
        return shown

    def __enter__(self) -> Loaded:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._ended.set()
        self.process.terminate()
        for thread in self._threads:
            thread.join()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self._own.cleanup()
