"""The shell's commands: each a function with a line of help, by its name.

A command writes by the session's console and raises `CommandError` with a sentence where it cannot do what was asked.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from apps.shell.call import BadArguments, call, show, split
from apps.shell.table import seconds, size, table
from libsel4py import ServiceError
from libsel4py.interface import Interface, find_interface
from libsel4py.interfaces.console import Console
from libsel4py.interfaces.names import Names
from libsel4py.interfaces.ping import Ping
from libsel4py.interfaces.system import System

MAX_PINGS = 1_000_000


class CommandError(Exception):
    """What was asked cannot be done; the text says what would work."""


class Exit(Exception):
    """The person wants to leave, with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@dataclass(frozen=True, slots=True)
class Session:
    """What commands work with: this task's connections. ``services`` keeps what was looked up, by name."""

    console: Console
    names: Names
    system: System
    name: str
    history: list[str] = field(default_factory=list)
    services: dict[str, Interface] = field(default_factory=dict)

    def write(self, text: str) -> None:
        self.console.write(text)


Function = Callable[[Session, list[str]], None]


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    usage: str
    help: str
    function: Function


COMMANDS: dict[str, Command] = {}


def command(usage: str, help: str) -> Callable[[Function], Function]:
    """Register a function named ``run_NAME`` as the command NAME."""

    def register(function: Function) -> Function:
        name = function.__name__.removeprefix("run_")
        COMMANDS[name] = Command(name, f"{name} {usage}".rstrip(), help, function)
        return function

    return register


def run(session: Session, line: str) -> None:
    """Carry out one line. Raises CommandError, Exit, and what servers raise."""
    words = split(line)
    if not words:
        return
    found = COMMANDS.get(words[0])
    if found is None:
        raise CommandError(f"there is no command {words[0]!r}; help lists them")
    found.function(session, words[1:])


def _number(text: str, least: int, most: int, what: str) -> int:
    if not text.isdigit() or not least <= int(text) <= most:
        raise CommandError(f"{what} is a number from {least} to {most}, not {text!r}")
    return int(text)


@command("", "the commands")
def run_help(session: Session, arguments: list[str]) -> None:
    session.write(table(("command", "what it does"), [(each.usage, each.help) for each in COMMANDS.values()]))


@command("", "the tasks of this system")
def run_ps(session: Session, arguments: list[str]) -> None:
    rows = [
        (task.name, task.state, task.priority, task.threads, size(task.memory_bytes), task.restarts, task.image)
        for task in session.system.tasks()
    ]
    session.write(table(("task", "state", "priority", "threads", "memory", "restarts", "image"), rows))


@command("[TASK]", "the capabilities that a task was given (this shell's, if none is named)")
def run_caps(session: Session, arguments: list[str]) -> None:
    task = arguments[0] if arguments else session.name
    rows = [
        (capability.slot, capability.type, capability.rights, capability.description)
        for capability in session.system.capabilities(task)
    ]
    session.write(table(("slot", "type", "rights", "what"), rows))


@command("", "memory: every untyped, how much of it is used, and by whom")
def run_mem(session: Session, arguments: list[str]) -> None:
    memory = session.system.memory()
    rows = [
        ("  " * each.depth + f"{each.address:#x}", size(1 << each.size_bits), size(each.used_bytes), each.owner)
        for each in memory
    ]
    session.write(table(("address", "size", "used", "owner"), rows))
    top = [each for each in memory if each.depth == 0 and not each.is_device]
    total, used = sum(1 << each.size_bits for each in top), sum(each.used_bytes for each in top)
    session.write(f"{total} bytes of untyped memory, {used} used, {total - used} free\n")


@command("", "interrupt lines and their drivers")
def run_irq(session: Session, arguments: list[str]) -> None:
    rows = [(each.line, each.device, each.task) for each in session.system.interrupts()]
    session.write(table(("line", "device", "task"), rows))


@command("", "the services that this shell can find")
def run_names(session: Session, arguments: list[str]) -> None:
    session.write(table(("name", "interface"), [(each.name, each.interface) for each in session.names.services()]))


@command("NAME METHOD [ARGUMENT …]", "call a method of a service that this shell can find")
def run_call(session: Session, arguments: list[str]) -> None:
    if len(arguments) < 2:
        raise CommandError("call NAME METHOD [ARGUMENT …]: names lists what can be called")
    text = show(call(_service(session, arguments[0]), arguments[1], arguments[2:]))
    session.write(text + "\n" if text else "")


def _service(session: Session, name: str) -> Interface:
    if name not in session.services:
        interface, endpoint = session.names.lookup(name)
        session.services[name] = find_interface(interface)(endpoint)
    return session.services[name]


@command("[N] [NAME]", "call a Ping service N times (1, pong) and say how long a call takes")
def run_ping(session: Session, arguments: list[str]) -> None:
    count = _number(arguments[0], 1, MAX_PINGS, "the number of calls") if arguments else 1
    name = arguments[1] if len(arguments) > 1 else "pong"
    service = _service(session, name)
    if not isinstance(service, Ping):
        raise CommandError(f"{name} speaks {type(service).__name__}, not Ping")
    times = []
    for number in range(count):
        start = time.perf_counter_ns()
        answer = service.ping(number)
        times.append(time.perf_counter_ns() - start)
        if answer != number:
            raise CommandError(f"{name} answered {answer} to {number}")
    median = seconds(int(statistics.median(times)))
    session.write(
        f"{count} calls to {name} in {seconds(sum(times))}: "
        f"fastest {seconds(min(times))}, median {median}, slowest {seconds(max(times))}\n"
    )


@command("[COMMAND …]", "how long the system has run, or how long a command takes")
def run_time(session: Session, arguments: list[str]) -> None:
    if not arguments:
        session.write(f"up {seconds(session.system.uptime())}\n")
        return
    start = time.perf_counter_ns()
    run(session, " ".join(arguments))
    session.write(f"{' '.join(arguments)}: {seconds(time.perf_counter_ns() - start)}\n")


@command("[TASK] [LINES]", "the last events of a task, as root knows them")
def run_log(session: Session, arguments: list[str]) -> None:
    task = arguments[0] if arguments else session.name
    lines = _number(arguments[1], 1, 1000, "the number of lines") if len(arguments) > 1 else 20
    session.write("".join(line + "\n" for line in session.system.task_log(task, lines)))


@command("TASK", "why a task does not run: whom it waits for, to the end of the chain")
def run_why(session: Session, arguments: list[str]) -> None:
    if not arguments:
        raise CommandError("why TASK: name a task; ps lists them")
    session.write("".join(line + "\n" for line in session.system.why(arguments[0])))


@command("TASK", "end a task; its restart policy decides what comes after")
def run_kill(session: Session, arguments: list[str]) -> None:
    if not arguments:
        raise CommandError("kill TASK: name a task; ps lists them")
    session.system.kill(arguments[0])
    session.write(f"{arguments[0]} was ended\n")


@command("", "the lines typed so far")
def run_history(session: Session, arguments: list[str]) -> None:
    session.write("".join(f"{number:4}  {line}\n" for number, line in enumerate(session.history, 1)))


@command("[STATUS]", "leave; the system ends with this status (0)")
def run_exit(session: Session, arguments: list[str]) -> None:
    raise Exit(_number(arguments[0], 0, 255, "the exit status") if arguments else 0)


def describe(error: Exception) -> str:
    """A failed command's error, for a person."""
    explanation = getattr(error, "explanation", "")
    name = "" if isinstance(error, BadArguments | CommandError | ServiceError) else f"{type(error).__name__}: "
    return f"{name}{error}" + (f"\n  {explanation}" if explanation and explanation not in str(error) else "")
