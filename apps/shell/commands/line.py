"""Commands that concern the shell itself: help, history, how long a command takes, a line of text, the end."""

from __future__ import annotations

import time

from apps.shell.command import COMMANDS, command, find, number, run_words
from apps.shell.session import Exit, Session
from apps.shell.table import seconds, table


@command("[COMMAND]", "the commands, or one of them")
def run_help(session: Session, arguments: list[str]) -> None:
    if arguments:
        found = find(arguments[0])
        session.write(f"{found.usage}\n  {found.help}\n" + (f"  {found.more}\n" if found.more else ""))
        return
    session.write(table(("command", "what it does"), [(each.usage, each.help) for each in COMMANDS.values()]))


@command("[COMMAND …]", "how long the system has run, or how long a command takes")
def run_time(session: Session, arguments: list[str]) -> None:
    if not arguments:
        session.write(f"up {seconds(session.system.uptime())}\n")
        return
    start = time.perf_counter_ns()
    run_words(session, arguments)
    session.write(f"{' '.join(arguments)}: {seconds(time.perf_counter_ns() - start)}\n")


@command("[TEXT …]", "put out a line of text")
def run_echo(session: Session, arguments: list[str]) -> None:
    session.write(f"{' '.join(arguments)}\n")


@command("", "the lines typed so far")
def run_history(session: Session, arguments: list[str]) -> None:
    session.write("".join(f"{number:4}  {line}\n" for number, line in enumerate(session.history, 1)))


@command("[STATUS]", "leave; the system ends with this status (0)")
def run_exit(session: Session, arguments: list[str]) -> None:
    raise Exit(number(arguments[0], 0, 255, "the exit status") if arguments else 0)
