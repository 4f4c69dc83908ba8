"""Commands that call services which the shell can find at the names server."""

from __future__ import annotations

import statistics
import time
from typing import Final

from apps.shell import command as words
from apps.shell.call import call, show
from apps.shell.command import command
from apps.shell.commands.network import SECONDS, ping_host
from apps.shell.session import CommandError, Session
from apps.shell.table import seconds, table
from libsel4py.interfaces.ping import Ping

MAX_PINGS: Final = 1_000_000
MOST_ECHOES: Final = 100
MOST_SECONDS: Final = 60


@command("", "the services that this shell can find")
def run_names(session: Session, arguments: list[str]) -> None:
    session.write(table(("name", "interface"), [(each.name, each.interface) for each in session.names.services()]))


@command("NAME METHOD [ARGUMENT …]", "call a method of a service that this shell can find")
def run_call(session: Session, arguments: list[str]) -> None:
    """Names lists what can be called. A word is text where the method wants text, and JSON everywhere else."""
    text = show(call(session.service(arguments[0]), arguments[1], arguments[2:]))
    session.write(text + "\n" if text else "")


@command("[N or HOST] [NAME or N] [SECONDS]", "call a Ping service N times (1, pong), or send N echo requests (3)")
def run_ping(session: Session, arguments: list[str]) -> None:
    """Ping 1000 calls pong, ping 1000 echo another service that speaks Ping; ping 10.0.2.2 goes out on the network, and
    waits SECONDS (5) for each answer."""
    if arguments and not arguments[0].isdigit():
        echoes = words.number(arguments[1], 1, MOST_ECHOES, "the number of requests") if arguments[1:] else 3
        limit = words.number(arguments[2], 1, MOST_SECONDS, "how many seconds to wait") if arguments[2:] else SECONDS
        ping_host(session, arguments[0], echoes, limit)
        return
    if arguments[2:]:
        raise CommandError(f"a service's answer is waited for in any case: {arguments[2]!r} is a word too many")
    count = words.number(arguments[0], 1, MAX_PINGS, "the number of calls") if arguments else 1
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
