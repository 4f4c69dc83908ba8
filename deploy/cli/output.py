"""What commands print: for people by default, JSON with ``--json``; the exit status is 0 only if it worked.

Rule: a command returns a ``Report`` or raises; nothing else prints. Usage errors (exit status 2) are click's, or JSON
like others (``_Commands``).
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, ParamSpec

import click

from deploy.answers import AnswerError
from deploy.cli import JSON
from deploy.cli.rendering import printable, show

P = ParamSpec("P")
_JSON: Final = f"{__name__}.json"
_END: Final = object()


@dataclass(frozen=True)
class Report:
    """``result`` is what ``--json`` prints; ``show`` prints it for people, by default in a plain general form.

    An iterator's items are printed as a list, one after the other, and none of them is kept.

    ``status`` is the exit status where it is not ok, and ``error`` says why, where the result does not.
    """

    result: object
    show: Callable[[], None] | None = None
    ok: bool = True
    status: int = 1
    error: str = ""


class Failure(AnswerError):
    """The command could not do its work; the text says why, and what would work."""


system_option = click.option(
    "--system", "system_name", metavar="NAME", help="Which of the running systems; by default the only one."
)


def _name(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from deploy.names import NAME_PATTERN, NAME_RULE

    if value is not None and not NAME_PATTERN.fullmatch(value):
        raise click.BadParameter(NAME_RULE)
    return value


name_option = click.option(
    "--name", metavar="NAME", callback=_name, help="Call the system NAME, to run it beside others."
)


def reported(function: Callable[P, Report]) -> Callable[P, None]:
    """Makes a command of a function that returns a ``Report``: adds ``--json``, tells errors, sets the exit status."""

    @click.option(
        JSON, is_flag=True, expose_value=False, callback=_remember, help="Print JSON: {ok, result} or {ok, error}."
    )
    @functools.wraps(function)
    def command(*arguments: P.args, **options: P.kwargs) -> None:
        as_json = wants_json()
        try:
            report = function(*arguments, **options)
        except BrokenPipeError:  # of what it has printed as it went
            raise
        except (AnswerError, OSError) as error:
            _fail(error, as_json)
        written(lambda: _print(report, as_json))
        if not report.ok:
            raise SystemExit(report.status)

    return command


def written(output: Callable[[], None]) -> None:
    """Prints by ``output``. Where that cannot be the command ends; a pipe that nobody reads ends it silently."""
    try:
        output()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has seen enough: click's
        raise
    except OSError as error:
        tell_not_written(error)


def tell_not_written(error: OSError) -> NoReturn:
    """Ends the command, whose output cannot be written; or cannot be read from a file, where the error names one."""
    text = f"the output cannot be written: {error.strerror}" if error.filename is None else _text(error)
    with open(os.devnull, "w") as nowhere:  # what is left of it is not tried again when the interpreter ends
        os.dup2(nowhere.fileno(), 1)
    click.echo(f"sel4py: {printable(text)}", err=True)
    raise SystemExit(1) from None


def _print(report: Report, as_json: bool) -> None:
    if as_json and isinstance(report.result, Iterator):
        _print_items(report.result)
    elif as_json:
        answer = {"ok": report.ok, "result": report.result} | ({"error": report.error} if report.error else {})
        click.echo(json.dumps(answer, default=str))
    elif report.error:
        click.echo(f"sel4py: {printable(report.error)}", err=True)
    elif report.show:
        report.show()
    else:
        show(report.result)


def _print_items(items: Iterator[object]) -> None:
    """Whether it was ok is told behind them: only then it is known."""
    put, between = sys.stdout.write, ""
    put('{"result": [')
    end: dict[str, object] = {"ok": True}
    while True:
        try:
            each = next(items, _END)
        except (AnswerError, OSError) as error:
            each, end = _END, {"ok": False, "error": _text(error)}
        if each is _END:
            break
        put(between + json.dumps(each, default=str))
        between = ", "
    put("], " + json.dumps(end)[1:] + "\n")
    if not end["ok"]:
        sys.stdout.flush()
        raise SystemExit(1)


def wants_json() -> bool:
    """Whether the running command was given ``--json``; for commands that print as they go."""
    return bool(click.get_current_context().meta[_JSON])


def console_output() -> int:
    """Where what a system says goes: standard output is for the answer alone where that is JSON."""
    return 2 if wants_json() else 1


def _remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    context.meta[_JSON] = value


def _fail(error: Exception, as_json: bool) -> NoReturn:
    from deploy.problems import BadDescription

    text = _text(error)
    if as_json:
        answer: dict[str, object] = {"ok": False, "error": text}
        if isinstance(error, BadDescription):
            fields = ("file", "line", "finding", "remedy")
            answer["problems"] = [{name: getattr(each, name) for name in fields} for each in error.problems]
        written(lambda: click.echo(json.dumps(answer)))
    elif isinstance(error, BadDescription):
        click.echo(printable(text), err=True)
    else:
        click.echo(f"sel4py: {printable(text)}", err=True)
    raise SystemExit(1)


def _text(error: Exception) -> str:
    """What an error says to a person: of one of the host's, the file and what is the matter with it."""
    if isinstance(error, OSError) and error.strerror and isinstance(error.filename, str | Path):
        return f"{error.filename}: {error.strerror}"
    return str(error)
