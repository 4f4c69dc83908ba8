"""What a command of the shell is: a function with a line of help, found by its name.

A command writes to its session's output and raises `CommandError` with a sentence where it cannot do what was asked. It
gets as many words as its usage says, or is not run.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from apps.shell.patterns import expand
from apps.shell.session import CommandError, Session

MISSING: Final = {
    "TASK": "name a task; ps lists them",
    "NAME": "name a service; names lists them",
    "METHOD": "name a method of the service",
    "PATH": "name a file; ls lists them",
    "FROM": "name what to take, and where to",
    "TO": "say where to",
    "TEXT": "say what to look for",
    "HOST": "name a host, or give its address",
    "URL": "give an address such as http://10.0.2.2:8000/",
}

PATHS: Final = ("PATH", "FROM")  # words of a usage that stand for files

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

    def expand(self, session: Session, arguments: list[str]) -> list[str]:
        """These, with the files that match where the usage has paths. Raises CommandError: the shell has no files."""
        if not any(each in self.usage for each in PATHS):
            return arguments
        found: list[str] = []
        for at, text in enumerate(arguments):
            is_text = "TEXT" in self.words[min(at, len(self.words) - 1)]
            found += [text] if is_text else expand(session, text)
        return found


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


def run_words(session: Session, words: list[str]) -> None:
    """Carry out one command, its name first. Raises CommandError, Exit, and what servers raise."""
    if not words:
        return
    found = find(words[0])
    arguments = found.expand(session, words[1:])
    found.check(arguments)
    found.function(session, arguments)


def find(name: str) -> Command:
    """The command of this name. Raises CommandError."""
    found = COMMANDS.get(name)
    if found is None:
        raise CommandError(f"there is no command {name!r}; help lists them")
    return found


def number(text: str, least: int, most: int, what: str) -> int:
    """A typed number. Raises CommandError."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise CommandError(f"{what} is a number from {least} to {most}, not {text!r}")
    return int(text)
