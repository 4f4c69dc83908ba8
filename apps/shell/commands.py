"""The shell's commands: each a function with a line of help, by its name.

A command writes by its session and raises `CommandError` with a sentence where it cannot do what was asked. It gets as
many words as its usage says, or is not run.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from apps.shell.call import call, show, split
from apps.shell.session import CommandError, Exit, Session
from apps.shell.table import seconds, size, table
from libsel4py.interfaces.ping import Ping
from libsel4py.interfaces.system import UntypedInfo

MAX_PINGS: Final = 1_000_000
MAX_LOG_LINES: Final = 1000
MISSING: Final = {
    "TASK": "name a task; ps lists them",
    "NAME": "name a service; names lists them",
    "METHOD": "name a method of the service",
}

Function = Callable[[Session, list[str]], None]


@dataclass(frozen=True, slots=True)
class Command:
    """A command: how it is written, a line on what it does, and more for ``help COMMAND``.

    ``words`` are those of its usage behind its name: ``TASK``, ``[TASK]``, ``[ARGUMENT …]``.
    """

    name: str
    usage: str
    help: str
    more: str
    words: tuple[str, ...]
    function: Function

    def check(self, arguments: list[str]) -> None:
        """Raises CommandError if these are too few, or too many."""
        required = [word for word in self.words if not word.startswith("[")]
        if len(arguments) < len(required):
            raise CommandError(f"{self.usage}: {MISSING[required[len(arguments)]]}")
        if len(arguments) > len(self.words) and not any("…" in word for word in self.words):
            raise CommandError(f"{self.usage}: {arguments[len(self.words)]!r} is a word too many")


COMMANDS: dict[str, Command] = {}


def command(usage: str, help: str) -> Callable[[Function], Function]:
    """Register a function named ``run_NAME`` as the command NAME; its docstring is what ``help NAME`` adds.

    Args:
        usage: the words behind the name; ``[…]`` may be left out, and ``…`` stands for any number.
    """

    def register(function: Function) -> Function:
        name = function.__name__.removeprefix("run_")
        words = tuple(re.findall(r"\[.*?\]|\S+", usage))
        text = " ".join((function.__doc__ or "").split())
        COMMANDS[name] = Command(name, f"{name} {usage}".rstrip(), help, text, words, function)
        return function

    return register


def run(session: Session, line: str) -> None:
    """Carry out one line. Raises CommandError, Exit, and what servers raise."""
    run_words(session, split(line))


def run_words(session: Session, words: list[str]) -> None:
    """As `run`, for a line that was split already."""
    if not words:
        return
    found = find(words[0])
    found.check(words[1:])
    found.function(session, words[1:])


def find(name: str) -> Command:
    """The command of this name. Raises CommandError."""
    found = COMMANDS.get(name)
    if found is None:
        raise CommandError(f"there is no command {name!r}; help lists them")
    return found


def _number(text: str, least: int, most: int, what: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise CommandError(f"{what} is a number from {least} to {most}, not {text!r}")
    return int(text)


@command("[COMMAND]", "the commands, or one of them")
def run_help(session: Session, arguments: list[str]) -> None:
    if arguments:
        found = find(arguments[0])
        session.write(f"{found.usage}\n  {found.help}\n" + (f"  {found.more}\n" if found.more else ""))
        return
    session.write(table(("command", "what it does"), [(each.usage, each.help) for each in COMMANDS.values()]))


@command("", "the tasks of this system")
def run_ps(session: Session, arguments: list[str]) -> None:
    """Time is the processor time that the task's threads have used since its first start."""
    rows = [
        (
            task.name,
            task.state,
            task.priority,
            task.threads,
            size(task.memory_bytes),
            task.restarts,
            seconds(task.consumed_us * 1000),
            task.image,
        )
        for task in session.system.tasks()
    ]
    session.write(table(("task", "state", "priority", "threads", "memory", "restarts", "time", "image"), rows))


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
    """To the byte: used, padding (what alignment leaves) and free are the size, and the sizes at the left are RAM."""
    memory = session.system.memory()
    columns = ("address", "bytes", "used", "padding", "free", "owner")
    session.write(table(columns, [("  " * each.depth + f"{each.address:#x}", *_parts([each])) for each in memory]))
    owned: dict[str, list[UntypedInfo]] = {}
    for each in memory:
        if each.owner and not each.is_device:
            owned.setdefault(each.owner.partition(": ")[0], []).append(each)
    session.write(table(("owner", "bytes"), [(name, sum(each.bytes for each in owned[name])) for name in owned]))
    total, used, padding, free, _ = _parts([each for each in memory if each.depth == 0 and not each.is_device])
    session.write(f"{total} bytes of RAM: {used} used, {padding} padding, {free} free\n")


def _parts(parts: list[UntypedInfo]) -> tuple[int, int, int, int, str]:
    """Bytes, used, padding, free, and the first one's owner."""
    total, used = sum(each.bytes for each in parts), sum(each.used_bytes for each in parts)
    padding = sum(each.padding_bytes for each in parts)
    return total, used, padding, total - used - padding, parts[0].owner if parts else ""


@command("", "interrupt lines and their drivers")
def run_irq(session: Session, arguments: list[str]) -> None:
    rows = [(each.line, each.device, each.task) for each in session.system.interrupts()]
    session.write(table(("line", "device", "task"), rows))


@command("", "the services that this shell can find")
def run_names(session: Session, arguments: list[str]) -> None:
    session.write(table(("name", "interface"), [(each.name, each.interface) for each in session.names.services()]))


@command("NAME METHOD [ARGUMENT …]", "call a method of a service that this shell can find")
def run_call(session: Session, arguments: list[str]) -> None:
    """Names lists what can be called. A word is text where the method wants text, and JSON everywhere else."""
    text = show(call(session.service(arguments[0]), arguments[1], arguments[2:]))
    session.write(text + "\n" if text else "")


@command("[N] [NAME]", "call a Ping service N times (1, pong) and say how long a call takes")
def run_ping(session: Session, arguments: list[str]) -> None:
    count = _number(arguments[0], 1, MAX_PINGS, "the number of calls") if arguments else 1
    name = arguments[1] if len(arguments) > 1 else "pong"
    service = session.service(name)
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
    run_words(session, arguments)
    session.write(f"{' '.join(arguments)}: {seconds(time.perf_counter_ns() - start)}\n")


@command("[TASK] [LINES]", "the last events of a task, as root knows them")
def run_log(session: Session, arguments: list[str]) -> None:
    task = arguments[0] if arguments else session.name
    lines = _number(arguments[1], 1, MAX_LOG_LINES, "the number of lines") if len(arguments) > 1 else 20
    session.write("".join(line + "\n" for line in session.system.task_log(task, lines)))


@command("TASK", "why a task does not run: whom it waits for, to the end of the chain")
def run_why(session: Session, arguments: list[str]) -> None:
    session.write("".join(line + "\n" for line in session.system.why(arguments[0])))


@command("TASK", "end a task; its restart policy decides what comes after")
def run_kill(session: Session, arguments: list[str]) -> None:
    """It also starts a task again that was given up because it ended too often."""
    session.system.kill(arguments[0])
    session.write(f"{arguments[0]} was ended\n")


@command("", "the lines typed so far")
def run_history(session: Session, arguments: list[str]) -> None:
    session.write("".join(f"{number:4}  {line}\n" for number, line in enumerate(session.history, 1)))


@command("[STATUS]", "leave; the system ends with this status (0)")
def run_exit(session: Session, arguments: list[str]) -> None:
    raise Exit(_number(arguments[0], 0, 255, "the exit status") if arguments else 0)
