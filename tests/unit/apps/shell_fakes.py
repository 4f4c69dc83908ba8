"""What the shell is connected to, for its tests: a console that types a script, root's instruments, a directory."""

from __future__ import annotations

from collections import deque

from libsel4py import Endpoint, ServerDied
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.console import Console, EndOfInput, Interrupted
from libsel4py.interfaces.names import Names, Service, UnknownName
from libsel4py.interfaces.ping import Ping
from libsel4py.interfaces.system import CapabilityInfo, InterruptInfo, System, TaskInfo, UnknownTask, UntypedInfo
from libsel4py.signature import Word

PROMPT = "sel4py> "


class Script(Console):
    """Types these lines, or raises these exceptions in the place of a line; then the input ends."""

    def __init__(self, *lines: str | Exception) -> None:
        self._lines = deque(lines)
        self.answers: list[str] = []  # what was shown behind each prompt; the first is what came before any
        self.deaths = 0  # how many of the writes to come lose the console
        self.shown = ""

    def write_piece(self, text: str) -> None:
        if self.deaths:
            self.deaths -= 1
            raise ServerDied("the console was killed")
        self.shown += text

    def read_line(self, prompt: str, echo: bool = True, history: bool = True) -> str:
        assert echo
        is_shell = prompt.startswith(PROMPT[:-2])
        assert history == is_shell
        if is_shell:  # else a command asks for more
            self.answers.append(self.shown)
            self.shown = ""
        if not self._lines:
            raise EndOfInput("the script is over")
        line = self._lines.popleft()
        if isinstance(line, Exception):
            raise line
        return line

    def columns(self) -> int:
        return 80


class Counter(Ping):
    """Answers wrongly from its call number ``wrong_from`` on."""

    def __init__(self, wrong_from: int | None = None) -> None:
        self.calls: list[int] = []
        self._wrong_from = wrong_from

    def ping(self, value: int) -> int:
        self.calls.append(value)
        return value + (self._wrong_from is not None and len(self.calls) > self._wrong_from)

    def count(self) -> int:
        if not self.calls:
            raise ZeroDivisionError("nothing was counted")
        return len(self.calls)


class Directory(Names):
    """Finds clients by name, and counts how often it was asked."""

    def __init__(self, **services: tuple[str, Endpoint]) -> None:
        self._services = services
        self.lookups: list[str] = []

    def lookup(self, name: str) -> tuple[str, Endpoint]:
        self.lookups.append(name)
        if name not in self._services:
            raise UnknownName(f"shell may find {', '.join(self._services)}, and {name!r} is not among it")
        return self._services[name]

    def services(self) -> list[Service]:
        return [Service(name, interface) for name, (interface, _) in sorted(self._services.items())]

    def register(self, name: str, interface: str, service: Endpoint) -> None:
        raise AssertionError("the shell registers nothing")

    def unregister(self, name: str) -> None:
        raise AssertionError("the shell registers nothing")


def offered(client: Ping) -> tuple[str, Endpoint]:
    """A directory's entry for a client."""
    return Ping.interface_name, endpoint_of(client)


class Instruments(System):
    """Root, with two tasks."""

    def __init__(self) -> None:
        self.killed: list[str] = []
        self.asked: list[object] = []

    def tasks(self) -> list[TaskInfo]:
        return [
            TaskInfo("pong", "apps.pong.main", "running", 110, 0, 2, 33 << 20, 1500, 3),
            TaskInfo("shell", "apps.shell.main", "dead: ended", 100, 0, 1, 4096, 2_500_000, 0),
        ]

    def memory(self) -> list[UntypedInfo]:
        return [
            UntypedInfo(0, 0, 0x100000, 0x100000, owner="kernel"),
            UntypedInfo(0, 0x100000, 1 << 20, 3000, 1096),
            UntypedInfo(1, 0x100000, 4096, 3000, 1096, "pong: tcb"),
            UntypedInfo(0, 0xFE000000, 4096, 0, 0, "", True),
        ]

    def capabilities(self, task: str) -> list[CapabilityInfo]:
        self._ensure(task)
        return [CapabilityInfo(16, "ENDPOINT", "WP", 0, f"what {task} has")]

    def interrupts(self) -> list[InterruptInfo]:
        return [InterruptInfo(4, "uart0", "serial")]

    def task_log(self, task: str, lines: int = 50) -> list[str]:
        self._ensure(task)
        return [f"event {number} of {task}" for number in range(100)][-lines:]

    def kill(self, task: str) -> None:
        self._ensure(task)
        self.killed.append(task)

    def stop_task(self, task: str) -> None:
        self._ensure(task)
        self.asked.append(("stop", task))

    def start_task(self, task: str) -> None:
        self._ensure(task)
        self.asked.append(("start", task))

    def update_task(self, task: str, image: str) -> None:
        self._ensure(task)
        self.asked.append((f"update to {image}", task))

    def restart_task(self, task: str) -> None:
        self._ensure(task)
        self.asked.append(("restart", task))

    def why(self, task: str) -> list[str]:
        self._ensure(task)
        return [f"{task} is running", f"{task} waits"]

    def uptime(self) -> Word:
        return Word(61_500_000_000)

    def _ensure(self, task: str) -> None:
        if task not in ("pong", "shell"):
            raise UnknownTask(f"there is no task {task!r}; there are pong, shell")


def interrupted() -> Exception:
    return Interrupted("Ctrl-C")


def died() -> Exception:
    return ServerDied("the console was killed")


def lines(text: str) -> list[list[str]]:
    """A table's rows, as words."""
    return [line.split() for line in text.splitlines()]
